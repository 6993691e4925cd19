import { Context, Effect, Layer } from "effect"
import { Db, type Transaction } from "#platform/db/db.ts"
import { fold } from "./fold.ts"
import { lexemesOf, type PartTexts, type Seen, toTsvector, vocabularyOf, wordsOfPieces } from "./lexemes.ts"
import { SearchIndexRepo, type Sources } from "./search-index.repo.ts"

/** How many parts are read and written at once; bounds memory and the length of a statement. */
const chunk = 500
const wordChunk = 1000
const textChunk = 20

/** Those at the beginning of a text say what it is about; a data sheet of fifty pages has five thousand different ones. */
const mostWords = 10_000
/** Half of what a tsvector may have. */
const mostBytes = 500_000

/**
 * What search looks into, written in the transaction that changes a source: a search after the answer finds the change.
 * Call it last in the transaction, after everything a document is made from is written.
 */
export class SearchIndex extends Context.Service<
  SearchIndex,
  {
    /** After a change of these parts, their tags, barcodes, documents or links to sellers. Ids without a part are passed over. */
    readonly refresh: (ids: ReadonlyArray<string>) => Effect.Effect<void, never, Transaction>
    /** After a change of a type's name or aliases: all its parts. */
    readonly refreshType: (typeId: number) => Effect.Effect<void, never, Transaction>
    /** After a change of a seller's name: all parts with a link to it. */
    readonly refreshSeller: (sellerId: number) => Effect.Effect<void, never, Transaction>
    /** The words by which a long text is found. Computes for a while, beside everything else: not in a transaction. */
    readonly wordsOf: (text: string) => Effect.Effect<ReadonlyArray<string>>
    /** What is written in an object; every part with a document of it is found by these words from the commit on. */
    readonly writeText: (objectId: number, words: ReadonlyArray<string>) => Effect.Effect<void, never, Transaction>
    /**
     * Counts anew how many parts carry each word, and removes words that none carries. A new word comes with the count of the parts that
     * were refreshed with it; a wrong count only makes a worse choice among many words that begin alike. Run it after large changes and
     * now and then. Runs beside writers, in short transactions of its own.
     */
    readonly recount: Effect.Effect<{ readonly removed: number }>
    /** The same index, from nothing but the parts and the texts of their documents. Runs beside writers and searches, in transactions of its own. */
    readonly rebuild: (progress?: (done: number, total: number) => Effect.Effect<void>) => Effect.Effect<{ readonly parts: number }>
  }
>()("inventory/SearchIndex") {
  static readonly layerNoDeps = Layer.effect(
    SearchIndex,
    Effect.gen(function* () {
      const repo = yield* SearchIndexRepo
      const db = yield* Db

      const refreshChunk = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
        yield* repo.lock(ids)
        const seen: Seen = new Map()
        const documents = (yield* repo.sources(ids)).map((part) => ({
          id4: part.id4,
          lexemes: lexemesOf(textsOf(part), seen),
          description: fold(part.description)
        }))
        if (documents.length === 0) return
        yield* repo.write(documents.map(({ description, id4, lexemes }) => ({ id4, words: toTsvector(lexemes), description })))
        const counts = new Map<string, number>()
        for (const { lexemes } of documents) {
          for (const word of vocabularyOf(lexemes)) counts.set(word, (counts.get(word) ?? 0) + 1)
        }
        yield* repo.addWords(Array.from(counts, ([word, parts]) => ({ word, parts })).sort((a, b) => (a.word < b.word ? -1 : 1)))
      })

      /** In the order of the ids, as everyone locks parts. */
      const inChunks = <R>(
        next: (after: string, limit: number) => Effect.Effect<ReadonlyArray<string>>,
        each: (ids: ReadonlyArray<string>) => Effect.Effect<void, never, R>
      ) =>
        Effect.gen(function* () {
          for (let after: string | undefined = ""; after !== undefined; ) {
            const ids: ReadonlyArray<string> = yield* next(after, chunk)
            if (ids.length > 0) yield* each(ids)
            after = ids.length < chunk ? undefined : ids.at(-1)
          }
        })

      const wordsOf = Effect.fnUntraced(function* (text: string) {
        const words = new Set<string>()
        let bytes = 0
        for (const piece of wordsOfPieces(text)) {
          for (const word of piece) {
            if (word === "" || words.has(word)) continue
            bytes += Buffer.byteLength(word)
            if (words.size === mostWords || bytes > mostBytes) return [...words]
            words.add(word)
          }
          yield* Effect.yieldNow
        }
        return [...words]
      })

      /** Beside a job that reads the same text: it writes the same words. */
      const rebuildTexts = Effect.gen(function* () {
        for (let after = 0; ; ) {
          const texts: ReadonlyArray<{ readonly objectId: number; readonly content: string }> = yield* repo.texts(after, textChunk)
          for (const { content, objectId } of texts) {
            const words = yield* wordsOf(content)
            yield* db.transaction(repo.writeText(objectId, words))
            after = objectId
          }
          if (texts.length < textChunk) return
        }
      })

      const recount = Effect.gen(function* () {
        const wrong = yield* db.transaction(repo.miscounted)
        const used = wrong.filter(({ parts }) => parts > 0)
        for (let from = 0; from < used.length; from += wordChunk) {
          yield* db.transaction(repo.setCounts(used.slice(from, from + wordChunk)))
        }
        const unused = wrong.flatMap(({ parts, word }) => (parts > 0 ? [] : [word]))
        let removed = 0
        for (let from = 0; from < unused.length; from += wordChunk) {
          removed += yield* db
            .transaction(repo.removeUnused(unused.slice(from, from + wordChunk)))
            // They do no harm until the next time.
            .pipe(Effect.catchTag("WordsBusy", () => Effect.succeed(0)))
        }
        return { removed }
      })

      return SearchIndex.of({
        refresh: Effect.fn("SearchIndex.refresh")(function* (ids) {
          const sorted = [...new Set(ids)].sort()
          for (let from = 0; from < sorted.length; from += chunk) yield* refreshChunk(sorted.slice(from, from + chunk))
        }),
        refreshType: Effect.fn("SearchIndex.refreshType")((typeId) =>
          Effect.andThen(
            repo.lockType(typeId),
            inChunks((after, limit) => repo.ofType(typeId, after, limit), refreshChunk)
          )
        ),
        refreshSeller: Effect.fn("SearchIndex.refreshSeller")((sellerId) =>
          Effect.andThen(
            repo.lockSeller(sellerId),
            inChunks((after, limit) => repo.ofSeller(sellerId, after, limit), refreshChunk)
          )
        ),
        wordsOf: Effect.fn("SearchIndex.wordsOf")(wordsOf),
        writeText: Effect.fn("SearchIndex.writeText")((objectId, words) => repo.writeText(objectId, words)),
        recount: Effect.withSpan(recount, "SearchIndex.recount"),
        rebuild: Effect.fn("SearchIndex.rebuild")(function* (progress = () => Effect.void) {
          const total = yield* repo.partCount
          let done = 0
          yield* inChunks(
            repo.all,
            Effect.fnUntraced(function* (ids) {
              yield* db.transaction(Effect.andThen(repo.addMissing(ids), refreshChunk(ids)))
              done += ids.length
              yield* progress(done, Math.max(done, total))
            })
          )
          yield* rebuildTexts
          yield* recount
          return { parts: done }
        })
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
    documentTitle: part.documentTitles,
    documentFile: part.documentFiles,
    voltageRating: one(part.voltageRating),
    inputVoltage: one(part.inputVoltage),
    outputVoltage: one(part.outputVoltage),
    pinPitch: one(part.pinPitch),
    dimensions: one(part.dimensions),
    mountingType: one(part.mountingType),
    pinCount: one(part.pinCount)
  }
}
