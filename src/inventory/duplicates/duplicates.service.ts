import { Context, Effect, Layer } from "effect"
import { type InvalidRequest, invalidField } from "#platform/http/problems.ts"
import { Parts } from "../parts/parts.service.ts"
import { fold, squash } from "../search/fold.ts"
import { Search } from "../search/search.service.ts"
import { Types } from "../types/types.service.ts"
import {
  type Candidate,
  type Duplicate,
  type KnownFields,
  mayBeOneMaker,
  mostCandidates,
  numbersIn,
  type PartDraft,
  queryOf,
  toCandidate,
  valuesOf
} from "./duplicate.ts"
import { DuplicatesRepo } from "./duplicates.repo.ts"

/** Parts that may be the one somebody is about to add. Only reads. */
export class Duplicates extends Context.Service<
  Duplicates,
  {
    /**
     * The at most 30 parts that are, or may be, the one with these fields: first those with its part number and no other manufacturer,
     * then those of its type with its values and nearly its description. Without a type there are none of the latter.
     */
    readonly check: (fields: KnownFields) => Effect.Effect<ReadonlyArray<Duplicate>>
    /** The same for what somebody sent, with a type that exists. */
    readonly checkDraft: (draft: PartDraft) => Effect.Effect<ReadonlyArray<Duplicate>, InvalidRequest>
    /**
     * At most 30 parts, each once, among which a duplicate would be: those with an equal part number first, whatever their manufacturer,
     * then what search finds. In a text every word may be a part number, and its first 200 characters are searched for.
     */
    readonly candidates: (of: KnownFields | string, limit?: number) => Effect.Effect<ReadonlyArray<Candidate>>
  }
>()("inventory/Duplicates") {
  static readonly layerNoDeps = Layer.effect(
    Duplicates,
    Effect.gen(function* () {
      const repo = yield* DuplicatesRepo
      const parts = yield* Parts
      const search = yield* Search
      const types = yield* Types

      /** In the order of the ids; a part that has gone meanwhile is left out. */
      const rowsOf = (ids: ReadonlyArray<string>) =>
        Effect.map(parts.rows(ids), (rows) => {
          const found = new Map<string, (typeof rows)[number]>(rows.map((row) => [row.id4, row]))
          return ids.flatMap((id4) => found.get(id4) ?? [])
        })

      const check = Effect.fnUntraced(function* (fields: KnownFields) {
        const { manufacturer, manufacturerCode, typeId } = fields
        const number = squash(manufacturerCode ?? "")
        const description = fold(fields.description ?? "")
        const [numbered, described] = yield* Effect.all(
          [
            number === "" ? Effect.succeed([]) : repo.withNumber(number, description),
            typeId == null || description === ""
              ? Effect.succeed([])
              : repo.described({ typeId, values: valuesOf(fields), description }, 2 * mostCandidates)
          ],
          { concurrency: 2 }
        )
        const certain = numbered.filter((part) => mayBeOneMaker(part.manufacturer, manufacturer)).slice(0, mostCandidates)
        const similarities = new Map(described.map(({ id4, similarity }) => [id4, similarity]))
        for (const { id4 } of certain) similarities.delete(id4)
        const rows = yield* rowsOf([...certain.map(({ id4 }) => id4), ...similarities.keys()].slice(0, mostCandidates))
        return rows.map((part): Duplicate => {
          const similarity = similarities.get(part.id4)
          return similarity === undefined
            ? { id4: part.id4, confidence: "high", reason: sameNumber(part.manufacturerCode, part.manufacturer, manufacturer), part }
            : { id4: part.id4, confidence: "medium", reason: likeness(similarity), part }
        })
      })

      return Duplicates.of({
        check: Effect.fn("Duplicates.check")(check),
        checkDraft: Effect.fn("Duplicates.checkDraft")(function* (draft) {
          const [unknown] = yield* types.unknown(draft.typeId === null ? [] : [draft.typeId])
          if (unknown !== undefined) return yield* invalidField("body", "/typeId", "No type has this id")
          return yield* check(draft)
        }),
        candidates: Effect.fn("Duplicates.candidates")(function* (of, most = mostCandidates) {
          const limit = Math.min(most, mostCandidates)
          const number = typeof of === "string" ? "" : squash(of.manufacturerCode ?? "")
          const numbers = typeof of === "string" ? numbersIn(of) : number === "" ? [] : [number]
          const queries = typeof of === "string" ? [of] : [of.manufacturerCode ?? "", of.description ?? ""]
          const [equal, ...found] = yield* Effect.all(
            [
              numbers.length === 0 ? Effect.succeed([]) : repo.withNumbers(numbers, limit),
              ...queries.map((text, at) => {
                const query = queryOf(text)
                if (query === "" || limit < 1) return Effect.succeed([])
                return Effect.map(search.find(query, {}, limit), ({ items, relaxed }) =>
                  // A number of which only pieces are found says less than any word of the description.
                  relaxed && at < queries.length - 1 ? [] : items.map(({ id4 }): string => id4)
                )
              })
            ],
            { concurrency: 3 }
          )
          const ids = [...new Set([...(equal ?? []), ...found.flat()])].slice(0, limit)
          return (yield* rowsOf(ids)).map(toCandidate)
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([DuplicatesRepo.layer, Parts.layer, Search.layer, Types.layer]))
}

const sameNumber = (number: string | null, its: string | null, asked: string | null | undefined) => {
  if (its === null) return `It has the part number ${number}, and no manufacturer is given for it.`
  return asked == null
    ? `It has the part number ${number}, made by ${its}.`
    : `It has the same part number, ${number}, of the same manufacturer.`
}

const likeness = (similarity: number) =>
  similarity === 1
    ? "It has the same type, the same values and the same words in its description."
    : `It has the same type, the same values and a description that is ${Math.floor(similarity * 100)} % alike.`
