import { Context, Duration, Effect, Layer, Option, Schema } from "effect"
import { Announcer } from "../changes/announcer.ts"
import { Db, type Transaction } from "../db/db.ts"
import type { InvalidCursor, Page, PageParams } from "../db/paging.ts"
import { isUuid, uuidv7 } from "../db/uuid.ts"
import type { InvalidRequest } from "../http/problems.ts"
import { CurrentRequest } from "../http/request.ts"
import { type Job, JobFinished, JobNotFailed, JobNotFound, type JobSuperseded, type Priority, priorities } from "./job.ts"
import type { JobKind } from "./job-kind.ts"
import { JobSignals } from "./job-signals.ts"
import { type JobsFilter, JobsRepo, type NewJob } from "./jobs.repo.ts"
import { traceparent } from "./trace-context.ts"

export interface EnqueueOptions {
  readonly entity?: { readonly type: string; readonly id: string }
  /** Of jobs of a kind with the same key only one is queued or running: asking again gives that one. */
  readonly key?: string
  readonly delay?: Duration.Duration
  readonly priority?: Priority
}

export class Jobs extends Context.Service<
  Jobs,
  {
    /** Asks for work in the transaction of what makes it necessary: the job exists exactly when that is committed. */
    readonly enqueue: <Payload, Result>(
      kind: JobKind<Payload, Result>,
      payload: Payload,
      options?: EnqueueOptions
    ) => Effect.Effect<Job, never, Transaction>
    /** Many without keys, in few statements. Their ids, in order. */
    readonly enqueueAll: <Payload, Result>(
      kind: JobKind<Payload, Result>,
      payloads: ReadonlyArray<Payload>,
      options?: Omit<EnqueueOptions, "key" | "entity">
    ) => Effect.Effect<ReadonlyArray<string>, never, Transaction>
    /** Of each kind that has any: how many wait, run and have failed, and for how long the first of them has been due. */
    readonly figures: JobsRepo["Service"]["figures"]
    readonly list: (filter: JobsFilter, params: PageParams) => Effect.Effect<Page<Job>, InvalidCursor | InvalidRequest>
    readonly get: (id: string) => Effect.Effect<Job, JobNotFound>
    /** At once, also when it runs: what it has done by then in its transactions stays. */
    readonly cancel: (id: string) => Effect.Effect<Job, JobNotFound | JobFinished>
    /** A new series of attempts of a job that failed. */
    readonly retry: (id: string) => Effect.Effect<Job, JobNotFound | JobNotFailed | JobSuperseded>
  }
>()("platform/Jobs") {
  static readonly layer = Layer.effect(
    Jobs,
    Effect.gen(function* () {
      const repo = yield* JobsRepo
      const db = yield* Db
      const { cancel, wake } = yield* JobSignals
      const { announce } = yield* Announcer
      /** Workers, and whoever follows the feed. */
      const told = db.afterCommit(Effect.andThen(wake, announce))

      const newJob = Effect.fnUntraced(function* <Payload, Result>(
        kind: JobKind<Payload, Result>,
        payload: Payload,
        { delay = Duration.zero, entity, key, priority = kind.priority }: EnqueueOptions
      ) {
        const { principal, requestId } = yield* CurrentRequest
        return {
          id: yield* uuidv7,
          kind: kind.name,
          payload: yield* Effect.orDie(Schema.encodeEffect(Schema.toCodecJson(kind.payload))(payload)),
          priority: priorities[priority],
          delayMs: Duration.toMillis(delay),
          maxAttempts: kind.maxAttempts,
          key: key ?? null,
          entityType: entity?.type ?? null,
          entityId: entity?.id ?? null,
          principal,
          requestId,
          traceContext: yield* traceparent
        } satisfies NewJob
      })

      const found = (id: string) => Effect.map(repo.find(id), Option.getOrThrow)
      const existing = Effect.fnUntraced(function* (id: string) {
        const job = isUuid(id) ? yield* repo.find(id) : Option.none()
        if (Option.isNone(job)) return yield* new JobNotFound({ detail: `There is no job ${id.slice(0, 64)}.` })
        return job.value
      })

      // A job with the key that ends between the two statements makes room for the new one.
      const made = (job: NewJob): Effect.Effect<Job, never, Transaction> =>
        Effect.gen(function* () {
          const inserted = yield* repo.insert(job)
          if (Option.isSome(inserted)) return inserted.value
          const open = yield* repo.findOpen(job.kind, job.key ?? "")
          return Option.isSome(open) ? open.value : yield* made(job)
        })

      return Jobs.of({
        enqueue: Effect.fn("Jobs.enqueue")(function* (kind, payload, options = {}) {
          const job = yield* made(yield* newJob(kind, payload, options))
          yield* told
          return job
        }) as Jobs["Service"]["enqueue"],

        enqueueAll: Effect.fn("Jobs.enqueueAll")(function* (kind, payloads, options = {}) {
          const jobs = yield* Effect.forEach(payloads, (payload) => newJob(kind, payload, options))
          for (let at = 0; at < jobs.length; at += mostAtOnce) yield* repo.insertAll(jobs.slice(at, at + mostAtOnce))
          yield* told
          return jobs.map(({ id }) => id)
        }) as Jobs["Service"]["enqueueAll"],

        figures: repo.figures,

        list: Effect.fn("Jobs.list")((filter, params) => repo.list(filter, params)),

        get: Effect.fn("Jobs.get")(existing),

        cancel: Effect.fn("Jobs.cancel")((id) =>
          db.transaction(
            Effect.gen(function* () {
              yield* existing(id)
              const before = yield* repo.cancel(id)
              const job = yield* found(id)
              if (before !== "queued" && before !== "running") {
                return yield* new JobFinished({
                  detail: `The job has ${before === "failed" ? "failed" : before === "cancelled" ? "been cancelled" : "succeeded"} already.`
                })
              }
              yield* cancel(id)
              yield* db.afterCommit(announce)
              return job
            })
          )
        ),

        retry: Effect.fn("Jobs.retry")((id) =>
          db.transaction(
            Effect.gen(function* () {
              yield* existing(id)
              const isDone = yield* repo.retry(id)
              const job = yield* found(id)
              if (!isDone) return yield* new JobNotFailed({ detail: `The job is ${job.state}, not failed.` })
              yield* told
              return job
            })
          )
        )
      })
    })
  )
}

// As text one statement of all would keep the event loop busy for too long.
const mostAtOnce = 500
