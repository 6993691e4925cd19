import { Context, Effect, Layer, Option, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { row, rows, run, type Transaction } from "#platform/db/db.ts"
import { jobStates } from "#platform/jobs/job.ts"
import type { ObjectRef } from "#platform/objects/object.ts"
import { Batch } from "./import-batch.ts"

/** What is kept of an import besides its job. */
export const Kept = Schema.Struct({
  jobId: Schema.String,
  /** As long as it may be wanted: until the job has succeeded or is cancelled, and of one that failed as long as there is the job. */
  fileId: Schema.NullOr(Schema.Int),
  reportId: Schema.NullOr(Schema.Int),
  /** The report is that of its end, not that of an attempt before. */
  isOver: Schema.Boolean,
  /** Null when the job was forgotten. */
  state: Schema.NullOr(Schema.Literals(jobStates))
})
export type Kept = typeof Kept.Type

const one = row(Kept)
const many = rows(Kept)
const Batches = rows(Schema.Struct({ batch: Schema.fromJsonString(Schema.toCodecJson(Batch)) }))
const Previous = row(Schema.Struct({ reportId: Schema.NullOr(Schema.Int) }))
const Ids = rows(Schema.Struct({ id: Schema.String }))
const encodeBatch = Schema.encodeSync(Schema.fromJsonString(Schema.toCodecJson(Batch)))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // One whose rows were rejected has written its report itself; one without its file failed before files were kept for a retry.
  const isSettled = "(i.file_id is null or j.error ->> 'code' = 'rows-rejected' or coalesce(i.settled_at >= j.finished_at, false))"
  const kept = sql.literal(`select i.job_id as "jobId", i.file_id::float8 as "fileId", i.report_id::float8 as "reportId", j.state,
    case j.state when 'succeeded' then true when 'failed' then ${isSettled} else i.file_id is null end as "isOver"
    from imports i left join jobs j on j.id = i.job_id`)

  return {
    find: Effect.fn("ImportJobsRepo.find")((jobId: string) => one(sql`${kept} where i.job_id = ${jobId}::uuid`)),

    insert: Effect.fn("ImportJobsRepo.insert")((jobId: string, file: ObjectRef) =>
      run(sql`insert into imports (job_id, file_id) values (${jobId}::uuid, ${file.id})`)
    ) as (jobId: string, file: ObjectRef) => Effect.Effect<void, never, Transaction>,

    /** Answers the object of the report before, if there was one. */
    setReport: Effect.fn("ImportJobsRepo.setReport")((jobId: string, report: ObjectRef) =>
      Effect.map(
        Previous(sql`
          with before as (select job_id, report_id from imports where job_id = ${jobId}::uuid for update)
          update imports i set report_id = ${report.id} from before where i.job_id = before.job_id returning before.report_id::float8 as "reportId"`),
        Option.match({ onNone: () => null, onSome: ({ reportId }) => reportId })
      )
    ) as (jobId: string, report: ObjectRef) => Effect.Effect<number | null, never, Transaction>,

    addBatch: Effect.fn("ImportJobsRepo.addBatch")((jobId: string, batch: Batch) =>
      run(sql`
        insert into import_batches (job_id, first_row, rows, batch)
        values (${jobId}::uuid, ${batch.firstRow}, ${batch.rows}, ${encodeBatch(batch)})`)
    ) as (jobId: string, batch: Batch) => Effect.Effect<void, never, Transaction>,

    /** In order, one at a time. */
    batches: (jobId: string): Stream.Stream<Batch> =>
      Stream.paginate(-1, (after) =>
        Effect.map(
          Batches(sql`select batch from import_batches where job_id = ${jobId}::uuid and first_row > ${after} order by first_row limit 1`),
          ([found]) => [found === undefined ? [] : [found.batch], Option.map(Option.fromUndefinedOr(found), ({ batch }) => batch.firstRow)]
        )
      ),

    /** Nothing needs its file any more. */
    end: Effect.fn("ImportJobsRepo.end")(function* (jobId: string) {
      yield* run(sql`update imports set file_id = null where job_id = ${jobId}::uuid`)
      yield* run(sql`delete from import_batches where job_id = ${jobId}::uuid`)
    }) as (jobId: string) => Effect.Effect<void, never, Transaction>,

    /** Its report tells what it has done until it failed; it may be tried again. */
    settled: Effect.fn("ImportJobsRepo.settled")((jobId: string) =>
      run(sql`update imports set settled_at = clock_timestamp() where job_id = ${jobId}::uuid`)
    ) as (jobId: string) => Effect.Effect<void, never, Transaction>,

    /** Imports whose jobs have ended, with their files or without the report of their end. */
    unsettled: (most: number) =>
      many(sql`
        ${kept} where i.file_id is not null and (j.state in ('succeeded', 'cancelled') or (j.state = 'failed' and not ${sql.literal(isSettled)}))
        order by i.job_id limit ${most}`),

    forgotten: (most: number) => many(sql`${kept} where j.id is null order by i.job_id limit ${most}`),

    /** Whether the job has ended; it stays so to the end of the transaction. */
    holdEnded: (jobId: string) =>
      Effect.map(
        Ids(sql`select id from jobs where id = ${jobId}::uuid and state in ('succeeded', 'failed', 'cancelled') for share`),
        ({ length }) => length === 1
      ) as Effect.Effect<boolean, never, Transaction>,

    remove: (jobId: string) => run(sql`delete from imports where job_id = ${jobId}::uuid`) as Effect.Effect<void, never, Transaction>
  }
})

export class ImportJobsRepo extends Context.Service<ImportJobsRepo, Effect.Success<typeof make>>()("inventory/ImportJobsRepo") {
  static readonly layer = Layer.effect(ImportJobsRepo, make)
}
