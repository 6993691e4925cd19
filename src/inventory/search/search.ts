import { Schema, SchemaTransformation } from "effect"
import { PartRow, StockInSlot } from "../parts/part.ts"
import { fieldNames } from "./fields.ts"

const cleaned = (q: string) => q.replace(/[\p{Cc}\p{Cs}]/gu, " ").trim()

/** What a person types: anything. Control characters and halves of surrogate pairs count as spaces. */
export const SearchText = Schema.String.check(
  Schema.makeFilter(
    (q: string) => {
      const { length } = Array.from(cleaned(q))
      return length >= 1 && length <= 200
    },
    { expected: "1 to 200 characters that are not only blanks", toJsonSchema: () => [{ minLength: 1 }, true] }
  )
).pipe(Schema.decodeTo(Schema.String, SchemaTransformation.transform<string, string>({ decode: cleaned, encode: (q) => q })))

export interface SearchFilter {
  readonly typeId?: ReadonlyArray<number> | undefined
  readonly inStock?: boolean | undefined
  readonly boxNo?: number | undefined
}

/** Where the query, or a term of it, was found. */
export const MatchedOn = Schema.Struct({
  field: Schema.Literals([...fieldNames, "location"]),
  term: Schema.String
}).annotate({ identifier: "SearchMatch" })
export type MatchedOn = typeof MatchedOn.Type

const found = {
  kind: Schema.Literal("part"),
  tier: Schema.Int.annotate({
    description:
      "0 the label or the slot itself; 1 an equal part number or barcode; 2 the beginning of a part number; 3 all terms; 4 all terms, at least one of them with a typo; 5 at least one term"
  }),
  score: Schema.Number.annotate({ description: "0 to 1" }),
  matchedOn: Schema.Array(MatchedOn)
}

export const SearchItem = Schema.Struct({
  ...found,
  ...PartRow.fields,
  locations: Schema.Array(StockInSlot).annotate({ description: "At most 20" })
}).annotate({ identifier: "SearchItem" })
export type SearchItem = typeof SearchItem.Type

export const SearchResult = Schema.Struct({
  items: Schema.Array(SearchItem),
  relaxed: Schema.Boolean.annotate({ description: "No part has all terms; these have at least one" })
}).annotate({ identifier: "SearchResult" })
export type SearchResult = typeof SearchResult.Type
