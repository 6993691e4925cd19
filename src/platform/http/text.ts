import { Effect, Schema, SchemaTransformation } from "effect"

/**
 * PostgreSQL refuses NUL (22021) and stores a lone surrogate as U+FFFD without a word, so both are refused where text enters.
 */
const storable = Schema.makeFilter((s: string) => s.isWellFormed() && !s.includes("\0"), {
  expected: "text without NUL characters and lone surrogates"
})

const trimmed = (wire: Schema.Codec<string, string>) =>
  wire.pipe(Schema.decodeTo(Schema.String, SchemaTransformation.transform<string, string>({ decode: (s) => s.trim(), encode: (s) => s })))

const lengthWithin = (min: number, max: number) =>
  Schema.makeFilter(
    (s: string) => {
      const length = [...s.trim()].length
      return length >= min && length <= max
    },
    {
      expected: min > 0 ? `${min} to ${max} characters that are not only blanks` : `at most ${max} characters`,
      toJsonSchema: () => [{ ...(min > 0 ? { minLength: min } : {}), maxLength: max }, true]
    }
  )

/** Text of a person: white space around it is dropped, at least one character is left, at most `max` code points. */
export const text = (max: number) => Schema.String.check(storable, lengthWithin(1, max)).pipe(trimmed)

/** As {@link text}, but may be blank: a note, a comment. */
export const blankableText = (max: number) => Schema.String.check(storable, lengthWithin(0, max)).pipe(trimmed)

/** Text or null; a missing key means null. */
export const optionalText = (max: number) => Schema.NullOr(text(max)).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null)))

const isWebAddress = (s: string) => {
  const url = URL.parse(s.trim())
  // URL.parse drops line breaks and mends slashes: what is fetched would not be what is shown.
  if (!/^https?:\/\/[^\s\\\p{Cc}]+$/iu.test(s.trim())) return false
  return url !== null && (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === ""
}

/** An absolute http or https address without credentials. Kept as typed: only the check uses the parsed form. */
export const webAddress = (max: number) =>
  Schema.String.check(
    storable,
    lengthWithin(1, max),
    Schema.makeFilter(isWebAddress, { expected: "an http:// or https:// address", toJsonSchema: () => [{ format: "uri" }, true] })
  ).pipe(trimmed)

/** RFC 3339 in UTC with milliseconds, as every time in an answer. */
export const Instant = Schema.String.annotate({ identifier: "Instant", format: "date-time", description: "A time in UTC, RFC 3339" })

const instant = /^(\d{4}-\d{2}-\d{2})T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-](0\d|1[0-4]):[0-5]\d)$/u

// JavaScript takes 30 February for 1 March; PostgreSQL refuses it, and the year 0.
const exists = (s: string) => {
  const date = instant.exec(s)?.[1] ?? ""
  const day = new Date(`${date}T00:00:00Z`)
  return !Number.isNaN(Date.parse(s)) && !date.startsWith("0000") && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(date)
}

/** RFC 3339 as a person or program sends it: with zone, any precision. Kept as text; PostgreSQL reads it. */
export const InstantInput = Schema.String.annotate({ format: "date-time", description: "A time with its zone, RFC 3339" }).check(
  Schema.isPattern(instant),
  Schema.makeFilter(exists, { expected: "an existing time" })
)

export const int = (min: number, max: number) => Schema.Int.check(Schema.isBetween({ minimum: min, maximum: max }))

/** Whether two names are one name: the rule of every unique name. */
export const sameName = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()
