import { Context, Data, Effect, FileSystem, Layer, Option, type PlatformError, type Scope, Stream } from "effect"
import { Db, type Transaction } from "#platform/db/db.ts"
import { isUuid } from "#platform/db/uuid.ts"
import type { Download } from "#platform/http/download.ts"
import { StorageUnavailable, type UnreadableFile } from "#platform/http/problems.ts"
import type { Job } from "#platform/jobs/job.ts"
import { type Completed, JobFailure, type JobRun } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import type { ByteRange, Staged, StoredObject } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { type ImportResult, Imports, type Watcher } from "./import.service.ts"
import type { ImportOptions } from "./import.ts"
import { ImportNotFinished, ImportNotFound, type ImportReport, importKind, reportAddress, toldRejections } from "./import-job.ts"
import { ImportJobsRepo, type Kept } from "./import-jobs.repo.ts"
import { firstRejected, reportOf, reportTo, together } from "./report.ts"
import { survey } from "./survey.ts"

/** A file that arrived, and what is to be done with it. */
export interface Upload {
  readonly staged: Staged
  readonly options: ImportOptions
}

/** Something that must be committed with a new job: the answer kept under an Idempotency-Key. */
export type Within<A, E> = (made: Effect.Effect<Job, never, Transaction>) => Effect.Effect<A, E, Transaction>

/** Imports as jobs: their files, their reports, and that each row counts once whatever happens to the worker. */
export class ImportJobs extends Context.Service<
  ImportJobs,
  {
    /** Keeps the file and asks for the job. Begins transactions itself, after the file is stored: never inside another one. */
    readonly accept: <A, E>(upload: Upload, within: Within<A, E>) => Effect.Effect<A, E | UnreadableFile | StorageUnavailable>
    /** One attempt. */
    readonly run: (
      options: ImportOptions,
      run: JobRun<ImportReport>
    ) => Effect.Effect<Completed, JobFailure | StorageUnavailable | UnreadableFile>
    /** What became of every row, as CSV. */
    readonly report: (jobId: string) => Effect.Effect<Download<StorageUnavailable, Scope.Scope>, ImportNotFound | ImportNotFinished>
    /** Releases what imports do not need any more that did not end by themselves, or were forgotten. */
    readonly settle: Effect.Effect<{ readonly settled: number; readonly forgotten: number }, StorageUnavailable>
  }
>()("inventory/ImportJobs") {
  static readonly layerNoDeps = Layer.effect(
    ImportJobs,
    Effect.gen(function* () {
      const repo = yield* ImportJobsRepo
      const imports = yield* Imports
      const objects = yield* Objects
      const jobs = yield* Jobs
      const db = yield* Db
      const fs = yield* FileSystem.FileSystem

      const read = (object: StoredObject, range?: ByteRange) =>
        Effect.map(objects.read(object, range), ({ body }) => body).pipe(
          Effect.catchTag("ObjectMissing", () =>
            Effect.fail(
              new StorageUnavailable({
                detail: "The file is not in the store. Whoever runs the server can look with: partwright objects verify."
              })
            )
          )
        )

      /** The file of the import, here: it is read several times and slowly. */
      const fetched = Effect.fnUntraced(function* (fileId: number) {
        const object = yield* Effect.map(objects.find(fileId), Option.getOrThrow)
        const { path, sha256 } = yield* objects
          .stage(yield* read(object), { maxBytes: object.size })
          .pipe(Effect.catchTag("TooLarge", Effect.die))
        if (sha256 !== object.sha256) return yield* new StorageUnavailable({ detail: "The file came back damaged from the store." })
        return path
      })

      /** Stores a report and lets go of the one before, in one transaction with `within`. */
      const storeReport = <E, W>(jobId: string, bytes: Stream.Stream<Uint8Array, E>, within: Effect.Effect<void, W, Transaction>) =>
        Effect.gen(function* () {
          const staged = yield* objects.stage(bytes, { maxBytes: Number.MAX_SAFE_INTEGER }).pipe(Effect.catchTag("TooLarge", Effect.die))
          yield* objects.store({ staged, bucket: "docs", mediaType: "text/csv" }, (report) =>
            Effect.gen(function* () {
              const before = yield* repo.setReport(jobId, report)
              if (before !== null && before !== report.id) yield* objects.release([before])
              yield* within
            })
          )
        }).pipe(Effect.scoped)

      const end = Effect.fnUntraced(function* ({ fileId, jobId }: Pick<Kept, "fileId" | "jobId">) {
        const files = fileId === null ? [] : [fileId]
        yield* objects.lock(files)
        yield* repo.end(jobId)
        yield* objects.release(files)
      })

      const run = Effect.fnUntraced(function* (options: ImportOptions, run: JobRun<ImportReport>) {
        const kept = Option.getOrUndefined(yield* repo.find(run.id))
        if (kept === undefined || kept.fileId === null) return yield* new JobFailure(fileGone)
        const path = yield* fetched(kept.fileId)
        const reportPath = `${path}.report`
        yield* Effect.addFinalizer(() => Effect.ignore(fs.remove(reportPath)))
        const report = yield* Effect.provideService(reportTo(reportPath), FileSystem.FileSystem, fs)
        const rejected = firstRejected(toldRejections)
        const toReport = ({ importId: _, ...counts }: ImportResult): ImportReport => ({
          ...counts,
          dryRun: options.dryRun,
          rejections: rejected.found().map(({ line, problems }) => ({ line, problems })),
          reportUrl: reportAddress(run.id)
        })

        let completed: Completed | undefined
        const complete = (result: ImportResult) =>
          Effect.map(run.complete(toReport(result)), (done) => {
            completed = done
          })
        const result = yield* imports.run(
          fs.stream(path),
          options,
          together<PlatformError.PlatformError>(report, rejected.watcher, progressOf(run)),
          {
            jobId: run.id,
            committed: repo.batches(run.id),
            commit: (batch) => Effect.andThen(repo.addBatch(run.id, batch), run.hold),
            // Before the rows count: a job that has ended has its report. Stored beside the transaction, which may end otherwise.
            through: db.outside(storeReport(run.id, fs.stream(reportPath), run.hold)),
            close: complete
          }
        )
        if (!result.applied && !options.dryRun) {
          const { rejected } = result
          const detail = `${rejected} ${rejected === 1 ? "row was" : "rows were"} rejected, so nothing was imported. The report says why.`
          return yield* new JobFailure({ code: "rows-rejected", detail, result: toReport(result) })
        }
        if (completed === undefined) yield* db.transaction(complete(result))
        yield* Effect.catchCause(db.transaction(end(kept)), (cause) => Effect.logDebug("the file of an import is released later", cause))
        return completed as unknown as Completed
      })

      /** One that was cancelled or failed has a report of what it has committed, if anything. One that failed keeps its file for a retry. */
      const settleOne = (kept: Kept) =>
        kept.state === "succeeded"
          ? db.transaction(end(kept))
          : storeReport(
              kept.jobId,
              reportOf(Stream.flatMap(repo.batches(kept.jobId), ({ outcomes }) => Stream.fromIterable(outcomes))),
              Effect.gen(function* () {
                if (!(yield* repo.holdEnded(kept.jobId))) return yield* new Retried()
                yield* kept.state === "failed" ? repo.settled(kept.jobId) : end(kept)
              })
            ).pipe(Effect.catchTag("Retried", () => Effect.void))

      const forget = Effect.fnUntraced(function* ({ fileId, jobId, reportId }: Kept) {
        const files = [fileId, reportId].filter((id) => id !== null)
        yield* objects.lock(files)
        yield* repo.remove(jobId)
        yield* objects.release(files)
      })

      return ImportJobs.of({
        accept: Effect.fn("ImportJobs.accept")(function* ({ options, staged }, within) {
          yield* survey(fs.stream(staged.path), options.mapping).pipe(onDisk)
          return yield* objects.store({ staged, bucket: "docs", mediaType: "text/csv" }, (file) =>
            Effect.gen(function* () {
              let isNew = false
              const answer = yield* within(
                Effect.gen(function* () {
                  isNew = true
                  const job = yield* jobs.enqueue(importKind, { options })
                  yield* repo.insert(job.id, file)
                  return job
                })
              )
              // The same request came again: perhaps nothing needs its file any more.
              if (!isNew) yield* objects.release([file.id])
              return answer
            })
          )
        }),

        run: Effect.fn("ImportJobs.run")((options, job) => run(options, job).pipe(onDisk, Effect.scoped)),

        report: Effect.fn("ImportJobs.report")(function* (jobId) {
          const kept = isUuid(jobId) ? Option.getOrUndefined(yield* repo.find(jobId)) : undefined
          if (kept === undefined) return yield* new ImportNotFound({ detail: `There is no import with the job ${jobId.slice(0, 64)}.` })
          // While it runs, there may be the report of an attempt that did not come to its end.
          const object = kept.isOver && kept.reportId !== null ? Option.getOrUndefined(yield* objects.find(kept.reportId)) : undefined
          if (object === undefined) return yield* new ImportNotFinished({ detail: `The import is ${kept.state ?? "forgotten"}.` })
          return {
            size: object.size,
            mediaType: "text/csv; charset=utf-8; header=present",
            sha256: object.sha256,
            filename: "import-report.csv",
            attachment: true,
            immutable: false,
            open: (range) => read(object, range)
          }
        }),

        settle: Effect.gen(function* () {
          const forgotten = yield* repo.forgotten(mostSettled)
          yield* Effect.forEach(forgotten, (kept) => db.transaction(forget(kept)), { discard: true })
          const ended = yield* repo.unsettled(mostSettled)
          yield* Effect.forEach(ended, settleOne, { discard: true })
          return { settled: ended.length, forgotten: forgotten.length }
        }).pipe(Effect.withSpan("ImportJobs.settle"))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([ImportJobsRepo.layer, Imports.layer]))
}

/** Internal: the job was failed and is wanted again. */
class Retried extends Data.TaggedError("Retried") {}

const mostSettled = 1000

const fileGone = { code: "import-file-gone", detail: "The file of the import is not kept any more. Send it again for another import." }

const progressOf = (run: JobRun<ImportReport>): Watcher<never> => {
  let all = 0
  return {
    started: (rows) =>
      Effect.sync(() => {
        all = rows
      }),
    rows: (_, { rejected, rows }) =>
      run.progress((100 * rows) / Math.max(all, 1), `${rows} of ${all} rows${rejected === 0 ? "" : `, ${rejected} rejected`}`)
  }
}

const onDisk = <A, E, R>(effect: Effect.Effect<A, E | PlatformError.PlatformError, R>) =>
  Effect.catchTag(effect as Effect.Effect<A, PlatformError.PlatformError, R>, "PlatformError", (error) =>
    Effect.andThen(
      Effect.logWarning("the server's disk fails an import", error),
      Effect.fail(new StorageUnavailable({ detail: "The file could not be kept on the server's disk. Try again in a moment." }))
    )
  ) as Effect.Effect<A, Exclude<E, PlatformError.PlatformError> | StorageUnavailable, R>
