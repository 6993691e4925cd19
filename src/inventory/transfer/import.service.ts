import { Context, Data, Effect, Layer, Metric, Semaphore, Stream } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import { uuidv7 } from "#platform/db/uuid.ts"
import type { UnreadableFile } from "#platform/http/problems.ts"
import { startAtZero } from "#platform/telemetry/metrics.ts"
import { ImportRepo } from "./import.repo.ts"
import type { ImportOptions, RowOutcome } from "./import.ts"
import type { Batch } from "./import-batch.ts"
import { ImportBatches, type Job } from "./import-batches.service.ts"
import { Seen } from "./matching.ts"
import { rowsOf, survey } from "./survey.ts"

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

/** What an import as a job has to do besides. What it fails with ends the import. */
export interface Course<E> {
  readonly jobId: string
  /** What an import that is not atomic has committed before, in the order of the file: it goes on behind that. */
  readonly committed: Stream.Stream<Batch, E>
  /** In the transaction of each such batch, as the last of its writes. */
  readonly commit: (batch: Batch) => Effect.Effect<void, E, Transaction>
  /** Every row is through. Inside the transaction of an atomic import. */
  readonly through: Effect.Effect<void, E>
  /** In the transaction that makes the import count, as the last of its writes. */
  readonly close: (result: ImportResult) => Effect.Effect<void, E, Transaction>
}

/** Internal: undoes everything that was written, and still answers. */
class Undone extends Data.TaggedError("Undone")<{ readonly result: ImportResult }> {}

const batchSize = 500

export class Imports extends Context.Service<
  Imports,
  {
    /**
     * Imports a list of parts. The bytes are read three times and never held; memory does not grow with their number. Rows go in
     * batches, atomic ones in one transaction, others in one per batch. One import at a time.
     */
    readonly run: <E, W, C = never>(
      bytes: Stream.Stream<Uint8Array, E>,
      options: ImportOptions,
      watcher: Watcher<W>,
      course?: Course<C>
    ) => Effect.Effect<ImportResult, E | W | C | UnreadableFile>
  }
>()("inventory/Imports") {
  static readonly layerNoDeps = Layer.effect(
    Imports,
    Effect.gen(function* () {
      const repo = yield* ImportRepo
      const batches = yield* ImportBatches
      const changes = yield* Changes
      const db = yield* Db
      const oneAtATime = yield* Semaphore.make(1)
      yield* startAtZero(
        importRows,
        outcomes.map((outcome) => ({ outcome }))
      )

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

      const run = Effect.fn("Imports.run")(function* <E, W, C>(
        bytes: Stream.Stream<Uint8Array, E>,
        options: ImportOptions,
        watcher: Watcher<W>,
        course?: Course<C>
      ) {
        const file = yield* survey(bytes, options.mapping)
        const importId = course?.jobId ?? (yield* uuidv7)
        const inOne = options.atomic || options.dryRun
        const aloneInTransaction = <A, F, R>(effect: Effect.Effect<A, F, R>) => db.transaction(Effect.andThen(repo.exclusive, effect))

        const allRows = Effect.gen(function* () {
          const job: Job = { importId, jobId: course?.jobId ?? null, survey: file, options, seen: new Seen() }
          const counts = { rows: 0, created: 0, updated: 0, unchanged: 0, rejected: 0 }
          const take = Effect.fnUntraced(function* ({ outcomes, parts, rows }: Batch) {
            for (const part of parts) job.seen.remember(part)
            counts.rows += rows
            for (const { outcome } of outcomes) counts[outcome]++
            yield* watcher.rows(outcomes, { ...counts })
          })
          yield* watcher.started(file.rows)
          if (course !== undefined && !inOne) yield* Stream.runForEach(course.committed, take)
          yield* rowsOf(bytes, file).pipe(
            Stream.drop(counts.rows),
            Stream.grouped(batchSize),
            Stream.runForEach(
              Effect.fnUntraced(function* (rows) {
                const firstRow = counts.rows
                const written = Effect.map(
                  batches.write(rows, job),
                  ({ outcomes, parts }): Batch => ({
                    firstRow,
                    rows: rows.length,
                    outcomes,
                    parts: parts.map(({ id4, meant: { line, made, said, slots } }) => ({ id4, line, made, said, slots }))
                  })
                )
                const batch = yield* inOne
                  ? (written as Effect.Effect<Batch>)
                  : aloneInTransaction(course === undefined ? written : Effect.tap(written, course.commit))
                if (rows.length === batchSize && isPowerOfFour(firstRow / batchSize + 1)) yield* repo.analyze
                yield* take(batch)
              })
            )
          )
          const applied = !options.dryRun && !(options.atomic && counts.rejected > 0)
          if (course !== undefined) yield* course.through
          return { importId, applied, ...counts } satisfies ImportResult as ImportResult
        })
        const closing = (result: ImportResult) => {
          const { applied: _, importId: __, ...counts } = result
          return Effect.andThen(finish(importId, counts), course === undefined ? Effect.void : course.close(result))
        }

        const result = inOne
          ? yield* aloneInTransaction(
              Effect.tap(
                changes.deferred(allRows),
                (done): Effect.Effect<void, C | Undone, Transaction> =>
                  done.applied ? closing(done) : Effect.fail(new Undone({ result: done }))
              )
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

      return Imports.of({
        run: (bytes, options, watcher, course) => oneAtATime.withPermits(1)(run(bytes, options, watcher, course)) as never
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([ImportRepo.layer, ImportBatches.layer, Changes.layer]))
}

/** 1, 4, 16: often while tables are small, seldom when it takes long. */
const isPowerOfFour = (n: number) => Number.isInteger(Math.log2(n) / 2)
