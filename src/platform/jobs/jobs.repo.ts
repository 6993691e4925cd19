import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, onConstraint, row, rows, run, type Transaction } from "../db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "../db/paging.ts"
import { Job, type JobError, type JobState, JobSuperseded } from "./job.ts"

export interface JobsFilter {
  readonly kind?: string | undefined
  readonly state?: JobState | undefined
  readonly entity?: string | undefined
  readonly entityId?: string | undefined
}

/** A job as it is asked for. */
export interface NewJob {
  readonly id: string
  readonly kind: string
  /** JSON. */
  readonly payload: unknown
  readonly priority: number
  readonly delayMs: number
  readonly maxAttempts: number
  readonly key: string | null
  readonly entityType: string | null
  readonly entityId: string | null
  readonly principal: string
  readonly requestId: string | null
  readonly traceContext: string | null
}

/** A job that this worker runs now, and nobody else as long as `claim` is the number in its row. */
export const Claimed = Schema.Struct({
  id: Schema.String,
  kind: Schema.String,
  claim: Schema.Int,
  payload: Schema.Unknown,
  attempt: Schema.Int,
  maxAttempts: Schema.Int,
  progress: Schema.Int,
  principal: Schema.String,
  requestId: Schema.NullOr(Schema.String),
  traceContext: Schema.NullOr(Schema.String),
  waitedMs: Schema.Number
})
export type Claimed = typeof Claimed.Type

/** A kind that a worker could run now, and how many of it. */
export interface Wanted {
  readonly kind: string
  readonly most: number
}

export interface Held {
  readonly id: string
  readonly claim: number
}

/** How a job ends: with the last it has said, which may not have been written yet. */
interface Ending extends Held {
  readonly message: string | null
  readonly result: unknown
}

export type Completing = Ending

export interface Failing extends Ending {
  readonly error: JobError
  readonly progress: number
  /** Null: it stays failed. */
  readonly retryInMs: number | null
}

const One = row(Job)
const Listed = rows(Schema.Struct({ ...Job.fields, ...PageKey }))
const ClaimedRows = rows(Claimed)
const Ids = rows(Schema.Struct({ id: Schema.String }))
const Ended = rows(Schema.Struct({ id: Schema.String, state: Schema.Literals(["queued", "failed"]) }))
const Before = row(Schema.Struct({ state: Schema.String }))
const Due = row(Schema.Struct({ inMs: Schema.NullOr(Schema.Number) }))
const Figures = rows(
  Schema.Struct({ kind: Schema.String, queued: Schema.Int, running: Schema.Int, failed: Schema.Int, oldestSeconds: Schema.Number })
)

const id = sortKey("j.id", "uuid")
const list = { list: "jobs", sorts: { id }, defaultSort: "-id", id }

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const columns = sql.literal(`j.id, j.kind, j.state, j.priority::int as priority, j.progress, j.message, j.attempt,
    j.max_attempts as "maxAttempts", iso(j.run_at) as "runAt", iso(j.created_at) as "createdAt", iso(j.started_at) as "startedAt",
    iso(j.finished_at) as "finishedAt", j.result, j.error,
    case when j.entity_id is not null then json_build_object('type', j.entity_type, 'id', j.entity_id) end as entity, j.principal,
    split_part(nullif(j.trace_context, ''), '-', 2) as "traceId"`)

  /** The event of each job that a statement has moved to another state, in the same statement. */
  const eventsOf = (moved: string, action: string) =>
    sql.literal(`insert into changes (principal, request_id, topic, action, entity, entity_id, after)
      select principal, request_id, 'job', ${action}, 'job', id::text, json_strip_nulls(json_build_object(
        'kind', kind, 'state', state, 'attempt', attempt, 'progress', progress, 'error', case when state in ('queued', 'failed') then error end,
        'entityType', entity_type, 'entityId', entity_id)) from ${moved}`)

  const held = (jobs: ReadonlyArray<Held>) => JSON.stringify(jobs.map(({ claim, id }) => ({ claim, id })))

  /** One with the key of a job that has not ended is not made. */
  const inserting = (jobs: ReadonlyArray<NewJob>) => sql`made as (
          insert into jobs (id, kind, payload, priority, run_at, max_attempts, unique_key, entity_type, entity_id, principal, request_id, trace_context)
          select n.id, n.kind, n.payload, n.priority, now() + n."delayMs" * interval '1 millisecond', n."maxAttempts", n.key,
            n."entityType", n."entityId", n.principal, n."requestId", n."traceContext"
          from json_to_recordset(${JSON.stringify(jobs)}::json) as n (id uuid, kind text, payload jsonb, priority smallint,
            "delayMs" float8, "maxAttempts" int, key text, "entityType" text, "entityId" text, principal text, "requestId" text, "traceContext" text)
          on conflict (kind, unique_key) where unique_key is not null and state in ('queued', 'running') do nothing
          returning *
        ), told as (${eventsOf("made", "'queued'")})`

  return {
    /** The job, unless one with its key has not ended. */
    insert: Effect.fn("JobsRepo.insert")((job: NewJob) => One(sql`with ${inserting([job])} select ${columns} from made j`)) as (
      job: NewJob
    ) => Effect.Effect<Option.Option<Job>, never, Transaction>,

    insertAll: Effect.fn("JobsRepo.insertAll")((jobs: ReadonlyArray<NewJob>) =>
      run(sql`with ${inserting(jobs)} select from made limit 0`)
    ) as (jobs: ReadonlyArray<NewJob>) => Effect.Effect<void, never, Transaction>,

    find: Effect.fn("JobsRepo.find")((id: string) => One(sql`select ${columns} from jobs j where j.id = ${id}::uuid`)),

    findOpen: Effect.fn("JobsRepo.findOpen")((kind: string, key: string) =>
      One(sql`select ${columns} from jobs j where j.kind = ${kind} and j.unique_key = ${key} and j.state in ('queued', 'running')`)
    ),

    list: Effect.fn("JobsRepo.list")(function* (filter: JobsFilter, params: PageParams) {
      const page = yield* keyset(sql, list, params)
      const where = sql.and([
        sql`true`,
        ...(filter.kind === undefined ? [] : [sql`j.kind = ${filter.kind}`]),
        // As a literal, so that the partial indexes are seen to hold it.
        ...(filter.state === undefined ? [] : [sql.literal(`j.state = '${filter.state}'`)]),
        ...(filter.entity === undefined ? [] : [sql`j.entity_type = ${filter.entity}`]),
        ...(filter.entityId === undefined ? [] : [sql`j.entity_id = ${filter.entityId}`])
      ])
      const found = yield* Listed(sql`select ${columns}, ${page.key} from jobs j where ${where} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from jobs j where ${where}`))
    }),

    /** The most urgent due jobs, now this worker's. Of equal urgency the kinds are taken in the order in which they stand. */
    claim: Effect.fnUntraced(function* (options: {
      readonly kinds: ReadonlyArray<Wanted>
      readonly limit: number
      readonly worker: string
      readonly leaseMs: number
    }) {
      // Each level of lateral is one probe of the index, and rows are locked one by one: no more than are taken.
      const found = yield* ClaimedRows(sql`
        with found as materialized (
          select found.id, found.kind, found.priority, found.run_at, found.most
          from generate_series(2, 0, -1) as level (priority)
          cross join lateral (
            select next.id, wanted.kind, level.priority, next.run_at, wanted.most
            from unnest(${options.kinds.map(({ kind }) => kind)}::text[], ${options.kinds.map(({ most }) => most)}::int[]) as wanted (kind, most)
            cross join lateral (
              select j.id, j.run_at from jobs j
              where j.state = 'queued' and j.kind = wanted.kind and j.priority = level.priority and j.run_at <= now()
              order by j.run_at, j.id limit least(wanted.most, ${options.limit}::int) for update skip locked
            ) next limit ${options.limit}
          ) found limit ${options.limit}
        ), due as materialized (
          -- A kind with a limit may have been found at several priorities.
          select id from (select id, most, row_number() over (partition by kind order by priority desc, run_at, id) as nth from found) counted
          where nth <= most
        ), claimed as (
          update jobs j set state = 'running', claim = j.claim + 1, attempt = j.attempt + 1, worker = ${options.worker},
            lease_until = clock_timestamp() + ${options.leaseMs} * interval '1 millisecond', started_at = now(), message = null
          from due where j.id = due.id
          returning j.*
        ), told as (${eventsOf("claimed", "'started'")})
        select id, kind, claim::float8 as claim, payload, attempt, max_attempts as "maxAttempts", progress, principal, request_id as "requestId",
          trace_context as "traceContext", greatest(extract(epoch from now() - run_at) * 1000, 0)::float8 as "waitedMs"
        from claimed order by priority desc, run_at, id`)
      return found
    }),

    /** Milliseconds until the next job of the kinds is due: 0 or less when one is due now. */
    nextDue: (kinds: ReadonlyArray<string>) =>
      Effect.map(
        Due(sql`
          select extract(epoch from min(next.run_at) - now())::float8 * 1000 as "inMs" from unnest(${kinds}::text[]) as wanted (kind)
          cross join generate_series(0, 2) as level (priority)
          cross join lateral (
            select j.run_at from jobs j where j.state = 'queued' and j.kind = wanted.kind and j.priority = level.priority
            order by j.run_at limit 1
          ) next`),
        (found) => (found._tag === "Some" ? found.value.inMs : null)
      ),

    /**
     * Those of the jobs that are still this worker's; their leases run anew from now. One whose end is about to be committed is locked: it
     * must not keep the others from being renewed.
     */
    renew: (jobs: ReadonlyArray<Held>, leaseMs: number) =>
      Ids(sql`
        with held as materialized (select id, claim from json_to_recordset(${held(jobs)}::json) as h (id uuid, claim bigint)),
        free as materialized (
          select j.id from jobs j join held h on j.id = h.id and j.claim = h.claim where j.state = 'running' for no key update of j skip locked
        ), renewed as (
          update jobs j set lease_until = clock_timestamp() + ${leaseMs} * interval '1 millisecond' from free where j.id = free.id
        )
        select j.id from jobs j join held h on j.id = h.id and j.claim = h.claim where j.state = 'running'`),

    /** Whether the job is still this worker's. If so, nobody can take it over or cancel it before the transaction ends. */
    hold: ({ claim, id }: Held) =>
      Effect.map(
        // This lock lets the worker renew its lease and tell progress meanwhile.
        Ids(sql`select id from jobs where id = ${id}::uuid and claim = ${claim} and state = 'running' for key share`),
        ({ length }) => length === 1
      ) as Effect.Effect<boolean, never, Transaction>,

    /** Those that could be completed. */
    complete: (jobs: ReadonlyArray<Completing>) =>
      Ids(sql`
        with done as (
          update jobs j set state = 'succeeded', progress = 100, message = coalesce(h.message, j.message), result = h.result, error = null,
            finished_at = now(), lease_until = null
          from json_to_recordset(${JSON.stringify(jobs)}::json) as h (id uuid, claim bigint, result jsonb, message text)
          where j.id = h.id and j.claim = h.claim and j.state = 'running' returning j.*
        ), told as (${eventsOf("done", "'succeeded'")})
        select id from done`),

    /** Those that could be, with their state now. */
    fail: (jobs: ReadonlyArray<Failing>) =>
      Ended(sql`
        with ended as (
          update jobs j set state = case when h."retryInMs" is null then 'failed' else 'queued' end, error = h.error, result = h.result,
            progress = greatest(j.progress, h.progress), message = coalesce(h.message, j.message),
            finished_at = case when h."retryInMs" is null then now() end, lease_until = null, published_at = null,
            run_at = case when h."retryInMs" is null then j.run_at else now() + h."retryInMs" * interval '1 millisecond' end
          from json_to_recordset(${JSON.stringify(jobs)}::json)
            as h (id uuid, claim bigint, error jsonb, result jsonb, progress integer, message text, "retryInMs" float8)
          where j.id = h.id and j.claim = h.claim and j.state = 'running' returning j.*
        ), told as (${eventsOf("ended", "case when state = 'failed' then 'failed' else 'queued' end")})
        select id, state from ended`),

    /** Back into the queue, as if they had not been claimed. */
    requeue: (jobs: ReadonlyArray<Held>) =>
      Ids(sql`
        with back as (
          update jobs j set state = 'queued', attempt = j.attempt - 1, lease_until = null, published_at = null
          from json_to_recordset(${held(jobs)}::json) as h (id uuid, claim bigint)
          where j.id = h.id and j.claim = h.claim and j.state = 'running' returning j.*
        ), told as (${eventsOf("back", "'queued'")})
        select id from back`),

    /** Jobs of workers that did not renew their leases: queued again, or failed when that was their last attempt. */
    reap: Ended(sql`
      with lost as materialized (
        select id from jobs where state = 'running' and lease_until < now() order by lease_until limit 1000 for update skip locked
      ), ended as (
        update jobs j set state = case when j.attempt >= j.max_attempts then 'failed' else 'queued' end, lease_until = null, published_at = null,
          finished_at = case when j.attempt >= j.max_attempts then now() end,
          error = json_build_object('code', 'worker-lost', 'detail', 'The worker that ran the job ended or lost the database.')
        from lost where j.id = lost.id returning j.*
      ), told as (${eventsOf("ended", "case when state = 'failed' then 'failed' else 'queued' end")})
      select id, state from ended`),

    /** Never waits: the handler's own transaction may have locked the job, which is about to end then. */
    progress: ({ claim, id }: Held, percent: number, message: string | null) =>
      Ids(sql`
        with mine as materialized (
          select id from jobs where id = ${id}::uuid and claim = ${claim} and state = 'running' for no key update skip locked
        )
        update jobs j set progress = greatest(progress, ${percent}), message = coalesce(${message}::text, message)
        from mine where j.id = mine.id returning j.id`),

    /** Undefined when there is no such job; else its state before. */
    cancel: Effect.fn("JobsRepo.cancel")(function* (id: string) {
      const before = yield* Before(sql`select state from jobs where id = ${id}::uuid for update`)
      yield* run(sql`
        with cancelled as (
          update jobs set state = 'cancelled', cancel_requested_at = now(), finished_at = now(), lease_until = null
          where id = ${id}::uuid and state in ('queued', 'running') returning *
        ) ${eventsOf("cancelled", "'cancelled'")}`)
      return before._tag === "Some" ? (before.value.state as JobState) : undefined
    }) as (id: string) => Effect.Effect<JobState | undefined, never, Transaction>,

    /** Whether it was failed. */
    retry: Effect.fn("JobsRepo.retry")((id: string) =>
      sql`
        with again as (
          update jobs set state = 'queued', attempt = 0, progress = 0, message = null, error = null, result = null, finished_at = null,
            started_at = null, published_at = null, run_at = now()
          where id = ${id}::uuid and state = 'failed' returning *
        ), told as (${eventsOf("again", "'queued'")})
        select id from again`.pipe(
        onConstraint({
          jobs_unique_key: () => new JobSuperseded({ detail: "A newer job for the same thing is queued or running already." })
        }),
        Effect.map(({ length }) => length > 0)
      )
    ) as (id: string) => Effect.Effect<boolean, JobSuperseded, Transaction>,

    figures: Figures(sql`
      select kind, sum(queued)::int as queued, sum(running)::int as running, sum(failed)::int as failed,
        coalesce(extract(epoch from now() - min(due)), 0)::float8 as "oldestSeconds"
      from (
        select kind, count(*) as queued, 0 as running, 0 as failed, min(run_at) filter (where run_at <= now()) as due
          from jobs where state = 'queued' group by kind
        union all select kind, 0, count(*), 0, null from jobs where state = 'running' group by kind
        union all select kind, 0, 0, count(*), null from jobs where state = 'failed' group by kind
      ) counted group by kind`),

    /** How many there were, at most `limit`. */
    removeEnded: (days: number, limit: number) =>
      Effect.map(
        Ids(sql`
          with old as materialized (select id from jobs where finished_at < now() - ${days} * interval '1 day' order by finished_at limit ${limit})
          delete from jobs j using old where j.id = old.id returning j.id`),
        ({ length }) => length
      )
  }
})

export class JobsRepo extends Context.Service<JobsRepo, Effect.Success<typeof make>>()("platform/JobsRepo") {
  static readonly layer = Layer.effect(JobsRepo, make)
}
