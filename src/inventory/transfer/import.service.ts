import { Context, Data, Effect, Layer, Metric, Result, Semaphore, Stream } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import { uuidv7 } from "#platform/db/uuid.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { startAtZero } from "#platform/telemetry/metrics.ts"
import { Boxes } from "../boxes/boxes.service.ts"
import type { Slot } from "../boxes/slot.ts"
import { formatSlot } from "../boxes/slot.ts"
import type { BarcodeTaken, Id4 } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Parts } from "../parts/parts.service.ts"
import { squash } from "../search/fold.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import { linkOrNumber } from "../sellers/seller.ts"
import { SellerLinks } from "../sellers/seller-links.service.ts"
import { Sellers } from "../sellers/sellers.service.ts"
import type { Command } from "../stock/ledger.ts"
import { Stock } from "../stock/stock.service.ts"
import { Types } from "../types/types.service.ts"
import type { Row, UnreadableFile } from "./csv.ts"
import { ImportRepo } from "./import.repo.ts"
import { type ImportOptions, type Problem, type ReadRow, type RowOutcome, readRow } from "./import.ts"
import { type Known, type Meant, type PlannedRow, plan, Seen } from "./matching.ts"
import { rowsOf, type Survey, survey } from "./survey.ts"

const importRows = Metric.counter("inventory_import_rows_total", { description: "Rows of imported files, by outcome", incremental: true })

const outcomes = ["created", "updated", "unchanged", "rejected"] as const

/** Rows by what became of them. */
export type Counts = Readonly<Record<RowOutcome["outcome"], number>> & { readonly rows: number }

export interface ImportResult extends Counts {
  readonly importId: string
  /** False for a dry run, and when a rejected row undid an atomic import: then the counts say what would have been. */
  readonly applied: boolean
}

/** Who watches an import. What it fails with ends the import. */
export interface Watcher<E> {
  /**
   * The file can be read and has so many rows. Called again when another transaction's conflict with this one makes it start anew:
   * then nothing of what was told before holds.
   */
  readonly started: (rows: number) => Effect.Effect<void, E>
  /** In the order of the file. */
  readonly rows: (outcomes: ReadonlyArray<RowOutcome>, soFar: Counts) => Effect.Effect<void, E>
}

/** Internal: undoes everything that was written, and still answers. */
class Undone extends Data.TaggedError("Undone")<{ readonly result: ImportResult }> {}

/** Internal: these rows of a batch cannot be written, or someone else wrote what the batch was decided on. Undoes the batch. */
class Again extends Data.TaggedError("Again")<{ readonly rejected: ReadonlyMap<number, ReadonlyArray<Problem>> }> {}

const batchSize = 500
const rowsPerChange = 100
const mostConflicts = 10

interface Job {
  readonly importId: string
  readonly survey: Survey
  readonly options: ImportOptions
  readonly seen: Seen
}

interface Done {
  readonly outcomes: ReadonlyArray<RowOutcome>
  readonly parts: ReadonlyArray<{ readonly id4: Id4; readonly meant: Meant }>
}

export class Imports extends Context.Service<
  Imports,
  {
    /**
     * Imports a list of parts. The bytes are read three times and never held; memory does not grow with their number. Rows go in
     * batches, atomic ones in one transaction, others in one per batch. One import at a time.
     */
    readonly run: <E, W>(
      bytes: Stream.Stream<Uint8Array, E>,
      options: ImportOptions,
      watcher: Watcher<W>
    ) => Effect.Effect<ImportResult, E | W | UnreadableFile>
  }
>()("inventory/Imports") {
  static readonly layerNoDeps = Layer.effect(
    Imports,
    Effect.gen(function* () {
      const repo = yield* ImportRepo
      const parts = yield* Parts
      const ids = yield* PartIds
      const types = yield* Types
      const sellers = yield* Sellers
      const links = yield* SellerLinks
      const boxes = yield* Boxes
      const stock = yield* Stock
      const index = yield* SearchIndex
      const changes = yield* Changes
      const db = yield* Db
      const oneAtATime = yield* Semaphore.make(1)
      yield* startAtZero(
        importRows,
        outcomes.map((outcome) => ({ outcome }))
      )

      /** Everything that the rows name, read or, where that is allowed, made. */
      const gather = Effect.fnUntraced(function* (rows: ReadonlyArray<ReadRow>, { options, survey: { boxes: named } }: Job) {
        const all = <A>(of: (row: ReadRow) => A | undefined) => [...new Set(rows.flatMap((row) => of(row) ?? []))]
        const typeNames = all(({ cells }) => cells.type)
        const sellerNames = all(({ cells }) => cells.seller)
        const boxNos = all(({ cells }) => cells.boxNo)
        const wantedIds = all(({ cells }) => cells.id4)

        const knownSellers = yield* sellerNames.length === 0 ? Effect.succeed(new Map()) : sellers.named(sellerNames)
        const newSellers = options.createSellers ? sellerNames.filter((name) => !knownSellers.has(name)) : []
        const capacities = yield* boxes.capacities(boxNos)
        const newBoxes = options.createBoxes ? boxNos.filter((boxNo) => !capacities.has(boxNo)) : []
        const found = yield* parts.candidates({
          ids: wantedIds,
          manufacturerCodes: all(({ cells }) =>
            cells.id4 === undefined && cells.manufacturerCode ? squash(cells.manufacturerCode) : undefined
          ),
          descriptions: all(({ cells }) =>
            cells.id4 === undefined && !squash(cells.manufacturerCode ?? "") ? cells.description : undefined
          )
        })
        const foundIds = found.map(({ id4 }) => id4)
        const present = new Set<string>(foundIds)
        const retired = yield* ids.retired(wantedIds.filter((id4) => !present.has(id4)))
        const quantities = new Map((yield* stock.held(foundIds)).map((held) => [`${held.id4} ${formatSlot(held)}`, held.quantity]))
        return {
          types: yield* options.createTypes ? types.ensure(typeNames) : types.named(typeNames),
          sellers: newSellers.length === 0 ? knownSellers : new Map([...knownSellers, ...(yield* sellers.ensure(newSellers))]),
          parts: found,
          links: yield* links.primaries(foundIds),
          retired: new Set(retired.map(({ id4 }) => id4)),
          barcodes: yield* parts.barcodeHolders([...new Set(rows.flatMap(({ cells }) => cells.barcodes ?? []))]),
          boxes:
            newBoxes.length === 0
              ? capacities
              : new Map([
                  ...capacities,
                  ...(yield* boxes.createMany(
                    newBoxes.map((boxNo) => {
                      const { capacity = 1, description = null } = named.get(boxNo) ?? {}
                      return { boxNo, capacity, description: description ?? `Box ${boxNo}` }
                    })
                  ))
                ]),
          quantity: (id4: string, slot: Slot) => quantities.get(`${id4} ${formatSlot(slot)}`) ?? 0
        } satisfies Known
      })

      /** Sellers of the parts that the rows say one for. Answers which parts changed by it, and which cannot. */
      const link = Effect.fnUntraced(function* (planned: ReadonlyArray<PlannedRow>, idOf: (part: Meant) => Id4, job: Job) {
        const said = [...new Set(planned.filter(({ saysSeller }) => saysSeller).map(({ part }) => part))].flatMap((part) =>
          part.sellerEdit === null ? [] : [{ part, entry: { id4: idOf(part), ...part.sellerEdit } }]
        )
        const results = yield* links.attachMany(said.map(({ entry }) => entry))
        const changed = new Set<Meant>()
        const refused = new Map<Meant, Problem>()
        for (const [at, result] of results.entries()) {
          const { part } = said[at] as (typeof said)[number]
          if (result === "changed") changed.add(part)
          else if (result === "says-nothing") {
            refused.set(part, { column: job.survey.header.nameOf("seller"), reason: `Expected ${linkOrNumber} besides the seller` })
          } else if (result !== "unchanged") {
            refused.set(part, {
              column: job.survey.header.nameOf("sellerPartNumbers"),
              reason: `${result.number} belongs to ${result.id4}`
            })
          }
        }
        return { changed, refused }
      })

      const book = Effect.fnUntraced(function* (planned: ReadonlyArray<PlannedRow>, idOf: (part: Meant) => Id4, job: Job) {
        const rejected = new Map<number, ReadonlyArray<Problem>>()
        const { source, stockMode } = job.options
        const booked = planned.flatMap(({ line, part, stock: booking }) =>
          booking === null ? [] : [{ line, id4: idOf(part), ...booking }]
        )
        if (booked.length === 0) return rejected
        const results = yield* stock.bookAll(
          booked.map(({ id4, line, quantity, slot }): Command => {
            const what = { id4, slot, kind: "import", note: source === null ? `line ${line}` : `${source}, line ${line}` } as const
            return stockMode === "add" ? { ...what, verb: "put", quantity } : { ...what, verb: "count", counted: quantity }
          })
        )
        const { nameOf } = job.survey.header
        for (const [at, result] of results.entries()) {
          if (Result.isSuccess(result)) continue
          const column = nameOf(result.failure.code === "location-not-found" ? "locNo" : "quantity")
          rejected.set((booked[at] as (typeof booked)[number]).line, [{ column, reason: result.failure.detail ?? result.failure.title }])
        }
        return rejected
      })

      /** Writes what rows of one batch say, in a fixed number of statements. */
      const write = Effect.fnUntraced(function* (rows: ReadonlyArray<ReadRow>, job: Job) {
        const { options, survey: file, seen } = job
        const planned = plan(rows, yield* gather(rows, job), { options, seen, survey: file })
        // A type, seller or box that only a rejected row names must not stay.
        if (planned.rejected.size > 0 && (options.createTypes || options.createSellers || options.createBoxes)) {
          return yield* new Again({ rejected: planned.rejected })
        }

        const edits = planned.parts.flatMap(({ before, changed, fields }) => (before === null || !changed ? [] : [{ before, fields }]))
        if (!(yield* parts.editMany(edits).pipe(orAgain))) return yield* new Again({ rejected: new Map() })
        const made = planned.parts.filter(({ before }) => before === null)
        const drawn = yield* parts.insertMany(made, file.names).pipe(
          Effect.catchTag("Id4SpaceExhausted", ({ detail }) => {
            const unnamed = planned.rows.filter(({ created, part }) => created && part.id4 === null)
            const problem = { column: file.header.nameOf("id4"), reason: detail ?? "No label is left" }
            return Effect.fail(new Again({ rejected: new Map(unnamed.map(({ line }) => [line, [problem]])) }))
          }),
          orAgain
        )
        const labels = new Map(made.map((part, at) => [part, drawn[at] as Id4]))
        const idOf = (part: Meant) => part.id4 ?? (labels.get(part) as Id4)

        const linked = yield* link(planned.rows, idOf, job)
        if (linked.refused.size > 0) {
          const refused = planned.rows.filter(({ part, saysSeller }) => saysSeller && linked.refused.has(part))
          return yield* new Again({ rejected: new Map(refused.map(({ line, part }) => [line, [linked.refused.get(part) as Problem]])) })
        }
        const unbooked = yield* book(planned.rows, idOf, job)
        if (unbooked.size > 0) return yield* new Again({ rejected: unbooked })

        const done = planned.rows.map(({ changed, created, line, part, saysSeller, stock: booking }): RowOutcome => {
          const relinked = saysSeller && linked.changed.has(part)
          const outcome = created ? "created" : changed || relinked || booking !== null ? "updated" : "unchanged"
          const id4 = idOf(part)
          return { line, outcome, id4: options.dryRun && part.made && !file.names(id4) ? null : id4, problems: [] }
        })
        const refreshed = planned.parts.filter((part) => part.before === null || part.changed || linked.changed.has(part))
        if (refreshed.length > 0) yield* index.refresh(refreshed.map(idOf))
        yield* record(done, job)
        return {
          outcomes: [...done, ...rejections(planned.rejected)],
          parts: planned.parts.map((meant) => ({ id4: idOf(meant), meant }))
        } satisfies Done
      })

      const record = (done: ReadonlyArray<RowOutcome>, { importId }: Job): Effect.Effect<void, never, Transaction> => {
        const written = done.filter(({ outcome }) => outcome !== "unchanged")
        const idsOf = (some: ReadonlyArray<RowOutcome>, wanted: RowOutcome["outcome"]) => [
          ...new Set(some.flatMap(({ id4, outcome }) => (outcome === wanted ? (id4 ?? []) : [])))
        ]
        return changes.record(
          ...Array.from({ length: Math.ceil(written.length / rowsPerChange) }, (_, n) => {
            const some = written.slice(n * rowsPerChange, (n + 1) * rowsPerChange)
            return {
              topic: "part",
              action: "imported",
              entity: "inventory-import",
              entityId: importId,
              after: { created: idsOf(some, "created"), updated: idsOf(some, "updated") }
            }
          })
        )
      }

      /** One batch: again without the rows that turn out not to be writable, until the rest is written. */
      const batch = Effect.fn("Imports.batch")(function* (rows: ReadonlyArray<Row>, job: Job) {
        const rejected = new Map<number, ReadonlyArray<Problem>>()
        const readable: Array<ReadRow> = []
        for (const row of rows) {
          const read = readRow(row, job.survey.header)
          if (Result.isSuccess(read)) readable.push(read.success)
          else rejected.set(row.line, read.failure)
        }
        for (let conflicts = 0; ; ) {
          const attempt = yield* db
            .savepoint(
              write(
                readable.filter(({ line }) => !rejected.has(line)),
                job
              )
            )
            .pipe(Effect.result)
          if (Result.isSuccess(attempt)) {
            const { outcomes: done, parts: meant } = attempt.success
            return { parts: meant, outcomes: [...done, ...rejections(rejected)].sort((a, b) => a.line - b.line) } satisfies Done
          }
          if (attempt.failure.rejected.size === 0 && ++conflicts > mostConflicts) {
            return yield* Effect.die(new Error("others change the same parts faster than they can be imported"))
          }
          for (const [line, problems] of attempt.failure.rejected) rejected.set(line, problems)
        }
      }) as (rows: ReadonlyArray<Row>, job: Job) => Effect.Effect<Done, never, Transaction>

      const finish = (importId: string, counts: Counts): Effect.Effect<void, never, Transaction> =>
        counts.created + counts.updated === 0
          ? Effect.void
          : changes.record({
              topic: "inventory-import",
              action: "finished",
              entity: "inventory-import",
              entityId: importId,
              after: counts
            })

      const run = Effect.fn("Imports.run")(function* <E, W>(
        bytes: Stream.Stream<Uint8Array, E>,
        options: ImportOptions,
        watcher: Watcher<W>
      ) {
        const file = yield* survey(bytes, options.mapping)
        const importId = yield* uuidv7
        const inOne = options.atomic || options.dryRun
        const aloneInTransaction = <A, F, R>(effect: Effect.Effect<A, F, R>) => db.transaction(Effect.andThen(repo.exclusive, effect))

        const allRows = Effect.gen(function* () {
          const job: Job = { importId, survey: file, options, seen: new Seen() }
          const counts = { rows: 0, created: 0, updated: 0, unchanged: 0, rejected: 0 }
          yield* watcher.started(file.rows)
          yield* rowsOf(bytes, file).pipe(
            Stream.grouped(batchSize),
            Stream.runForEach(
              Effect.fnUntraced(function* (rows) {
                const done = yield* inOne ? (batch(rows, job) as Effect.Effect<Done>) : aloneInTransaction(batch(rows, job))
                if (inOne && isPowerOfFour(counts.rows / batchSize + 1)) yield* repo.analyze as Effect.Effect<void>
                for (const { id4, meant } of done.parts) job.seen.remember(id4, meant)
                counts.rows += rows.length
                for (const { outcome } of done.outcomes) counts[outcome]++
                yield* watcher.rows(done.outcomes, { ...counts })
              })
            )
          )
          const applied = !options.dryRun && !(options.atomic && counts.rejected > 0)
          return { importId, applied, ...counts } satisfies ImportResult as ImportResult
        })
        const closing = (result: ImportResult) => {
          const { applied: _, importId: __, ...counts } = result
          return finish(importId, counts)
        }

        const result = inOne
          ? yield* aloneInTransaction(
              Effect.tap(allRows, (done) => (done.applied ? closing(done) : Effect.fail(new Undone({ result: done }))))
            ).pipe(Effect.catchTag("Undone", (undone) => Effect.succeed((undone as Undone).result)))
          : yield* Effect.tap(allRows, (done) => db.transaction(closing(done)))
        if (!options.dryRun) {
          const counted = result.applied ? outcomes : (["rejected"] as const)
          yield* Effect.forEach(counted, (outcome) => Metric.update(Metric.withAttributes(importRows, { outcome }), result[outcome]), {
            discard: true
          })
        }
        return result
      })

      return Imports.of({ run: (bytes, options, watcher) => oneAtATime.withPermits(1)(run(bytes, options, watcher)) as never })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([
      ImportRepo.layer,
      Parts.layer,
      PartIds.layer,
      Types.layer,
      Sellers.layer,
      SellerLinks.layer,
      Boxes.layer,
      Stock.layer,
      SearchIndex.layer,
      Changes.layer
    ])
  )
}

/** 1, 4, 16: often while tables are small, seldom when it takes long. */
const isPowerOfFour = (n: number) => Number.isInteger(Math.log2(n) / 2)

const rejections = (rejected: ReadonlyMap<number, ReadonlyArray<Problem>>): ReadonlyArray<RowOutcome> =>
  [...rejected].map(([line, problems]) => ({ line, outcome: "rejected", id4: null, problems }))

/** Someone took a barcode or removed a type since the batch was decided: decided again, it is a rejected row or none. */
const orAgain = <A, R>(effect: Effect.Effect<A, BarcodeTaken | InvalidRequest | Again, R>): Effect.Effect<A, Again, R> =>
  Effect.mapError(effect, (error) => (error instanceof Again ? error : new Again({ rejected: new Map() })))
