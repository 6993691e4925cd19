import { Flag } from "effect/cli"

/** A whole number in a range; another one ends the command with a sentence. */
export const wholeNumber = (name: string, min: number, max: number, fallback: number, description: string) =>
  Flag.Int(name).pipe(
    Flag.filter(
      (n) => n >= min && n <= max,
      (n) => `Expected a whole number from ${min} to ${max}, found ${n}`
    ),
    Flag.withDefault(fallback),
    Flag.withDescription(description)
  )
