import { Schema } from "effect"
import { optionalText } from "#platform/http/text.ts"
import { Id4, NewPart, type PartFields, PartRow } from "../parts/part.ts"
import { fold, normalise, squash } from "../search/fold.ts"
import { valueLexemesOf } from "../search/lexemes.ts"

/** The most parts that are named as possible duplicates, or offered for a closer look. */
export const mostCandidates = 30

/** A part that somebody thinks of adding: whatever is known of it. What may be sent to add it may be sent here. */
export const PartDraft = Schema.Struct({ ...NewPart.fields, description: optionalText(2000) })
  .check(
    Schema.makeFilter(
      ({ description, manufacturerCode }: { readonly description: string | null; readonly manufacturerCode: string | null }) =>
        description !== null || manufacturerCode !== null,
      { expected: "a part number or a description" }
    )
  )
  .annotate({ identifier: "PartDraft" })
export type PartDraft = typeof PartDraft.Type

/** What is known of a part that may be there already; anything may be missing. */
export type KnownFields = { readonly [F in keyof PartFields]?: PartFields[F] | null | undefined }

export const Duplicate = Schema.Struct({
  id4: Id4,
  confidence: Schema.Literals(["high", "medium"]).annotate({
    description: "high: the same part number, and no other manufacturer; medium: the same type and values, and nearly the same description"
  }),
  reason: Schema.String,
  part: PartRow
}).annotate({ identifier: "PartDuplicate" })
export type Duplicate = typeof Duplicate.Type

export const DuplicateList = Schema.Struct({ items: Schema.Array(Duplicate) }).annotate({ identifier: "PartDuplicates" })
export type DuplicateList = typeof DuplicateList.Type

/** A part as it is shown to whoever judges whether it is the same as another one. */
export interface Candidate {
  readonly id4: Id4
  readonly description: string
  readonly manufacturer: string | null
  readonly manufacturerCode: string | null
  readonly typeName: string | null
  readonly package: string | null
  readonly tags: ReadonlyArray<string>
}

export const toCandidate = ({ description, id4, manufacturer, manufacturerCode, package: housing, tags, type }: PartRow): Candidate => ({
  id4,
  description,
  manufacturer,
  manufacturerCode,
  typeName: type?.name ?? null,
  package: housing,
  tags
})

const maker = (manufacturer: string | null | undefined) => fold(manufacturer ?? "").trim()

/** Whether two manufacturers may be one: they are written alike, or one is not said. */
export const mayBeOneMaker = (one: string | null | undefined, other: string | null | undefined) =>
  maker(one) === maker(other) || maker(one) === "" || maker(other) === ""

/** What the values of a part say, wherever in it they stand. */
export const valuesOf = (fields: KnownFields): ReadonlyArray<string> => {
  const one = (text: string | null | undefined) => (text == null ? [] : [text])
  return valueLexemesOf({
    description: one(fields.description),
    tags: fields.tags ?? [],
    voltageRating: one(fields.voltageRating),
    inputVoltage: one(fields.inputVoltage),
    outputVoltage: one(fields.outputVoltage),
    pinPitch: one(fields.pinPitch),
    dimensions: one(fields.dimensions)
  })
}

const mostNumbers = 1000

/** Everything in a text that may be a part number, squashed: words of three letters or digits and more, and two neighbours as one. */
export const numbersIn = (text: string): ReadonlyArray<string> => {
  const words = normalise(text)
    .split(/[\s,;()|"']+/u)
    .map(squash)
    .filter((word) => word !== "")
  const numbers = new Set<string>()
  for (const [at, word] of words.entries()) {
    for (const number of [word, word + (words[at + 1] ?? "")]) {
      // A part number has at most 255 characters.
      if (number.length >= 3 && number.length <= 300) numbers.add(number)
    }
    if (numbers.size >= mostNumbers) break
  }
  return [...numbers]
}

const longestQuery = 200

/** As much of a text as a search takes, without half a word at the end. */
export const queryOf = (text: string): string => {
  const blank = normalise(text).replaceAll(/\s+/gu, " ").trim()
  const letters = Array.from(blank)
  if (letters.length <= longestQuery) return blank
  const beginning = letters.slice(0, longestQuery + 1).join("")
  const end = beginning.lastIndexOf(" ")
  return end > 0 ? beginning.slice(0, end) : letters.slice(0, longestQuery).join("")
}
