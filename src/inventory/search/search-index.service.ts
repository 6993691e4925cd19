import { Context, Effect, Layer } from "effect"
import { Db, type Transaction } from "#platform/db/db.ts"
import { lexemesOf, type PartTexts, toTsvector, vocabularyOf } from "./lexemes.ts"
import { SearchIndexRepo, type Sources } from "./search-index.repo.ts"

/** How many parts are read and written at once; bounds memory and the length of a statement. */
const chunk = 500

/**
 * What search looks into, written in the transaction that changes a source: a search after the answer finds the change.
 * Call it last in the transaction, after everything a document is made from is written.
 */
export class SearchIndex extends Context.Service<
  SearchIndex,
  {
    /** After a change of these parts, their tags, barcodes or links to sellers. Ids without a part are passed over. */
    readonly refresh: (ids: ReadonlyArray<string>) => Effect.Effect<void, never, Transaction>
    /** After a change of a type's name or aliases: all its parts. */
    readonly refreshType: (typeId: number) => Effect.Effect<void, never, Transaction>
    /** After a change of a seller's name: all parts with a link to it. */
    readonly refreshSeller: (sellerId: number) => Effect.Effect<void, never, Transaction>
  }
>()("inventory/SearchIndex") {
  static readonly layerNoDeps = Layer.effect(
    SearchIndex,
    Effect.gen(function* () {
      const repo = yield* SearchIndexRepo

      const refreshChunk = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
        yield* repo.lock(ids)
        const documents = (yield* repo.sources(ids)).map((part) => ({ id4: part.id4, lexemes: lexemesOf(textsOf(part)) }))
        if (documents.length === 0) return
        yield* repo.write(documents.map(({ id4, lexemes }) => ({ id4, words: toTsvector(lexemes) })))
        yield* repo.addWords([...new Set(documents.flatMap(({ lexemes }) => vocabularyOf(lexemes)))].sort())
      })

      /** In the order of the ids, as everyone locks parts. */
      const refreshAll = Effect.fnUntraced(function* (next: (after: string, limit: number) => Effect.Effect<ReadonlyArray<string>>) {
        for (let after: string | undefined = ""; after !== undefined; ) {
          const ids: ReadonlyArray<string> = yield* next(after, chunk)
          if (ids.length > 0) yield* refreshChunk(ids)
          after = ids.length < chunk ? undefined : ids.at(-1)
        }
      })

      return SearchIndex.of({
        refresh: Effect.fn("SearchIndex.refresh")(function* (ids) {
          const sorted = [...new Set(ids)].sort()
          for (let from = 0; from < sorted.length; from += chunk) yield* refreshChunk(sorted.slice(from, from + chunk))
        }),
        refreshType: Effect.fn("SearchIndex.refreshType")((typeId) => refreshAll((after, limit) => repo.ofType(typeId, after, limit))),
        refreshSeller: Effect.fn("SearchIndex.refreshSeller")((sellerId) =>
          refreshAll((after, limit) => repo.ofSeller(sellerId, after, limit))
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(SearchIndexRepo.layer))
}

const textsOf = (part: Sources): PartTexts => {
  const one = (text: string | null) => (text === null ? [] : [text])
  return {
    id4: [part.id4],
    manufacturerCode: one(part.manufacturerCode),
    sellerPartNumber: part.sellerPartNumbers,
    barcode: part.barcodes,
    tags: part.tags,
    description: [part.description],
    type: [...one(part.type), ...(part.aliases ?? [])],
    manufacturer: one(part.manufacturer),
    series: one(part.series),
    package: one(part.package),
    seller: part.sellers,
    voltageRating: one(part.voltageRating),
    inputVoltage: one(part.inputVoltage),
    outputVoltage: one(part.outputVoltage),
    pinPitch: one(part.pinPitch),
    dimensions: one(part.dimensions),
    mountingType: one(part.mountingType),
    pinCount: one(part.pinCount)
  }
}
