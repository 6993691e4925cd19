import { Option, Schema } from "effect"
import { webAddress } from "#platform/http/text.ts"

/** What people and models write where there is nothing. */
const nothing = /^(?:null|none|unknown|undefined|n\/?a|[-–—?.]*)$/iu

/**
 * A text that somebody else wrote, as it can be kept and shown: one line unless `lines`, no control characters and none that are not seen
 * but turn or hide what is; null when nothing is left.
 */
export const legible = (text: string | null, { lines = false }: { readonly lines?: boolean } = {}): string | null => {
  if (text === null) return null
  const clean = text
    .toWellFormed()
    .replaceAll(/\r\n?/gu, "\n")
    .replaceAll(/\p{Cf}/gu, "")
    .replaceAll(lines ? /[^\P{Cc}\n]+/gu : /\p{Cc}+/gu, " ")
    .replaceAll(lines ? /[^\S\n]+/gu : /\s+/gu, " ")
    .replaceAll(/ ?\n ?/gu, "\n")
    .trim()
  return nothing.test(clean) ? null : clean
}

/** The same, cut at so many characters. */
export const cut = (text: string | null, most: number, options?: { readonly lines?: boolean }): string | null => {
  const clean = legible(text, options)
  const characters = Array.from(clean ?? "")
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : clean
}

/** The same, or null when it is longer: half a part number is none. */
export const whole = (text: string | null, most: number): string | null => {
  const clean = legible(text)
  return clean !== null && Array.from(clean).length > most ? null : clean
}

const decodeAddress = Schema.decodeUnknownOption(webAddress(2000))

/** An address that may be fetched; null when it is none, or does not look like what it is. */
export const address = (text: string | null): string | null =>
  text === null || /\p{Cf}/u.test(text) ? null : Option.getOrNull(decodeAddress(text))

/** Each once, by what `key` says, and only so many. */
export const distinct = <A>(all: ReadonlyArray<A>, key: (one: A) => unknown, most: number): ReadonlyArray<A> => {
  const seen = new Set<unknown>()
  return all
    .filter((one) => {
      const is = key(one)
      if (seen.has(is)) return false
      seen.add(is)
      return true
    })
    .slice(0, most)
}
