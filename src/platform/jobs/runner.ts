import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import {
  Cause,
  Clock,
  Context,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Metric,
  Random,
  References,
  Schedule,
  Schema,
  Stream
} from "effect"
import { Announcer } from "../changes/announcer.ts"
import { Db } from "../db/db.ts"
import { unavailable } from "../db/sql-errors.ts"
import { Events } from "../events/events.service.ts"
import { CurrentRequest } from "../http/request.ts"
import { startAtZero } from "../telemetry/metrics.ts"
import { batched } from "./batched.ts"
import { JobHandlers, type Registered } from "./handlers.ts"
import { backoff, type JobError } from "./job.ts"
import type { Completed, HandlerError, JobRun } from "./job-kind.ts"
import { JobSignals } from "./job-signals.ts"
import { type Claimed, type Completing, type Failing, type Held, JobsRepo } from "./jobs.repo.ts"
import { Queue } from "./queue.ts"
import { isStorableJson, storableText } from "./storable.ts"
import { spanOf } from "./trace-context.ts"

interface RunnerOptions {
  readonly concurrency: number
  /** How long a worker that says nothing keeps its jobs. */
  readonly lease: Duration.Duration
}

/** The job is not this worker's any more, so nothing it writes may be committed. */
class Lost extends Data.TaggedError("Lost") {}

interface Running extends Held {
  readonly kind: string
  readonly fiber: Deferred.Deferred<Fiber.Fiber<void>>
  /** Its handler has not ended. */
  isBusy: boolean
  progress: number
  /** What it has said and is told as soon as it may be, by a fiber of its own. */
  untold: { message: string | null } | undefined
  /** Why it is interrupted. */
  reason?: "cancelled" | "lost" | "stopping"
}

const durations = Metric.histogram("job_duration_seconds", {
  description: "Time of an attempt",
  boundaries: [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800]
})
const waited = Metric.histogram("job_wait_seconds", {
  description: "Time from when a job was due to its start",
  boundaries: [0.005, 0.01, 0.025, 0.1, 0.5, 1, 5, 30, 300, 3600]
})
const attempts = Metric.counter("job_attempts_total", { description: "Attempts that ended, by kind and outcome", incremental: true })
const leaseLosses = Metric.counter("job_lease_losses_total", {
  description: "Jobs taken from a worker that said nothing for too long",
  incremental: true
})
const runningHere = Metric.gauge("jobs_running_here", { description: "Jobs that this process runs now" })
const outcomes = ["succeeded", "failed", "retried", "cancelled", "lost", "requeued"] as const
type Outcome = (typeof outcomes)[number]

const completed = {} as Completed

/** Runs jobs: claims them, keeps their leases, ends them. */
export class Runner extends Context.Service<
  Runner,
  {
    /** Takes no more; lets what runs end within the time, then puts the rest back into the queue. */
    readonly stop: (within: Duration.Duration) => Effect.Effect<void>
    /** When nothing runs here and nothing is due. */
    readonly idle: Effect.Effect<void>
    /** Attempts that ended here. */
    readonly settled: () => number
  }
>()("platform/Runner") {
  static readonly layerNoDeps = (options: RunnerOptions) => Layer.effect(Runner, make(options))
}

const make = Effect.fnUntraced(function* ({ concurrency, lease }: RunnerOptions) {
  const repo = yield* JobsRepo
  const db = yield* Db
  const queue = yield* Queue
  const handlers = yield* JobHandlers
  const signals = yield* JobSignals
  const events = yield* Events
  const { announce } = yield* Announcer
  const traced = yield* References.TracerEnabled
  const kinds = [...handlers.keys()]
  const leaseMs = Duration.toMillis(lease)
  const worker = `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`

  yield* Effect.all([
    startAtZero(leaseLosses),
    startAtZero(
      durations,
      kinds.map((kind) => ({ kind }))
    ),
    startAtZero(
      waited,
      kinds.map((kind) => ({ kind }))
    )
  ])
  yield* startAtZero(
    attempts,
    kinds.flatMap((kind) => outcomes.map((outcome) => ({ kind, outcome })))
  )
  yield* Metric.update(runningHere, 0)

  const jobs = yield* Effect.scope
  const running = new Map<string, Running>()
  /** Opened when a slot has become free. */
  const changed = yield* Latch.make(false)
  const empty = yield* Latch.make(true)
  let stopping = false

  let settled = 0
  const settle = (kind: string, outcome: Outcome) => {
    settled++
    return Metric.update(Metric.withAttributes(attempts, { kind, outcome }), 1)
  }

  // A job whose handler has ended and whose end is being written takes no slot: others are claimed meanwhile, but not without bound.
  const busy = new Map<string, number>()
  let busyInAll = 0
  /** Those whose ends are still to be written too, but none that waits for others. */
  let inPlaces = 0
  const waits = (kind: string) => handlers.get(kind)?.kind.waits === true
  const freeInAll = () => Math.min(concurrency - busyInAll, 2 * concurrency - inPlaces)
  const free = ({ kind }: Registered) => {
    const ofKind = kind.concurrency - (busy.get(kind.name) ?? 0)
    return kind.waits ? ofKind : Math.min(ofKind, freeInAll())
  }
  /** How many of these may be begun: without a free place only those that take none. */
  const room = (able: ReadonlyArray<Registered>) =>
    freeInAll() > 0 ? freeInAll() : able.reduce((sum, registered) => sum + Math.max(0, free(registered)), 0)
  const takeSlot = ({ kind }: Running) => {
    if (!waits(kind)) {
      busyInAll++
      inPlaces++
    }
    busy.set(kind, (busy.get(kind) ?? 0) + 1)
  }
  const leaveSlot = (job: Running) => {
    if (!job.isBusy) return
    job.isBusy = false
    if (!waits(job.kind)) busyInAll--
    busy.set(job.kind, (busy.get(job.kind) ?? 1) - 1)
    changed.openUnsafe()
  }

  const interrupt = (job: Running, reason: NonNullable<Running["reason"]>) =>
    Effect.suspend(() => {
      job.reason ??= reason
      return Effect.flatMap(Deferred.await(job.fiber), Fiber.interrupt)
    })

  // What ends at about the same time is written together.
  const completions = yield* batched<Completing, boolean>((jobs) =>
    Effect.map(Effect.tap(repo.complete(jobs), announce), (done) => areIn(done, jobs))
  )
  const failures = yield* batched<Failing, boolean>((jobs) =>
    Effect.map(Effect.tap(repo.fail(jobs), Effect.andThen(announce, signals.wake)), (ended) => areIn(ended, jobs))
  )

  const ending = ({ claim, id, progress, untold }: Running) => ({ id, claim, progress, message: untold?.message ?? null })

  const progressOf = (job: Running) => {
    let toldAt = Number.NEGATIVE_INFINITY
    const tell = (message: string | null) =>
      Effect.gen(function* () {
        toldAt = Number(yield* Clock.monotonicTimeNanos) / 1e6
        const { progress } = job
        const told = yield* repo.progress(job, progress, message)
        if (told.length === 0) return
        yield* events.send({ topic: "job", action: "progress", entity: "job", id: job.id, said: { kind: job.kind, progress, message } })
      }).pipe(
        // Seen at once, also while the handler's transaction is open; and no reason to fail.
        db.outside,
        Effect.catchCause((cause) => Effect.logDebug("progress could not be told", cause))
      )
    return (percent: number, message?: string) =>
      Effect.gen(function* () {
        // Also when it is no number.
        if (percent > job.progress) job.progress = Math.min(100, Math.floor(percent))
        const words = message === undefined ? (job.untold?.message ?? null) : storableText(message, 1000)
        const inMs = progressPace - (Number(yield* Clock.monotonicTimeNanos) / 1e6 - toldAt)
        if (job.untold !== undefined) job.untold.message = words
        else if (inMs <= 0) yield* tell(words)
        else {
          const mine = { message: words }
          job.untold = mine
          const later = Effect.suspend(() => {
            if (running.get(job.id) !== job) return Effect.void
            job.untold = undefined
            return tell(mine.message)
          })
          yield* Effect.forkIn(Effect.delay(later, Duration.millis(inMs)), jobs)
        }
      })
  }

  const attempt = (claimed: Claimed, job: Running, { handle, kind }: Registered): Effect.Effect<Outcome, Lost> => {
    const fail = (error: JobError, retryable: boolean, result: unknown = null) =>
      Effect.gen(function* () {
        const again = retryable && claimed.attempt < claimed.maxAttempts
        const policy = { first: Duration.toMillis(kind.backoff.first), most: Duration.toMillis(kind.backoff.most) }
        const retryInMs = again ? backoff(policy, claimed.attempt, yield* Random.next) : null
        if (!(yield* failures({ ...ending(job), error, result, retryInMs }))) return yield* new Lost()
        return again ? ("retried" as const) : ("failed" as const)
      })
    const run: JobRun<unknown> = {
      id: job.id,
      attempt: claimed.attempt,
      isLastAttempt: claimed.attempt >= claimed.maxAttempts,
      progress: progressOf(job),
      hold: Effect.flatMap(repo.hold(job), (mine) => (mine ? Effect.void : Effect.die(new Lost()))),
      complete: (result) =>
        Effect.gen(function* () {
          const encoded = yield* encode(kind.result, result)
          const done = yield* repo.complete([{ ...ending(job), result: encoded }])
          if (done.length === 0) return yield* Effect.die(new Lost())
          yield* db.afterCommit(announce)
          return completed
        })
    }
    return Effect.gen(function* () {
      const payload = yield* Effect.result(Schema.decodeUnknownEffect(Schema.toCodecJson(kind.payload))(claimed.payload))
      if (payload._tag === "Failure") {
        return yield* fail(
          { code: "payload-unreadable", detail: "The job was asked for by a version whose words this one does not understand." },
          false
        )
      }
      const work = Effect.gen(function* () {
        const value = yield* handle(payload.success, run)
        return value === completed ? undefined : { result: yield* encode(kind.result, value) }
      }).pipe(Effect.timeoutOrElse({ duration: kind.timeout, orElse: () => Effect.fail(new TookTooLong()) }))
      const exit = yield* Effect.exit(Effect.interruptible(work))
      leaveSlot(job)
      if (Exit.isSuccess(exit)) {
        if (exit.value === undefined) return "succeeded" as const
        return (yield* completions({ ...ending(job), ...exit.value })) ? ("succeeded" as const) : yield* new Lost()
      }
      if (job.reason !== undefined) return yield* Effect.interrupt
      if (Cause.squash(exit.cause) instanceof Lost) return yield* new Lost()
      const error = exit.cause.reasons.find(Cause.isFailReason)?.error
      if (error instanceof TookTooLong) {
        return yield* fail({ code: "timeout", detail: `The job took longer than ${Duration.format(kind.timeout)}.` }, true)
      }
      if (error !== undefined) return yield* fail({ code: error.code, detail: detailOf(error) }, isRetryable(error), resultOf(error))
      const away = unavailable(Cause.squash(exit.cause))
      if (away !== undefined) return yield* fail({ code: away.code, detail: detailOf(away) }, true)
      yield* Effect.logError("a job failed unexpectedly", exit.cause)
      return yield* fail({ code: "internal-error", detail: "Something went wrong in the server. Its log says what." }, true)
    })
  }

  const putBack = (jobs: ReadonlyArray<Held>) =>
    repo.requeue(jobs).pipe(
      Effect.tap(Effect.andThen(signals.wake, announce)),
      Effect.catchCause((cause) =>
        Effect.as(Effect.logWarning("jobs could not be put back: they wait for the end of their lease", cause), [])
      )
    )

  const execute = (claimed: Claimed, job: Running, registered: Registered) =>
    Effect.gen(function* () {
      const since = yield* Clock.monotonicTimeNanos
      yield* Metric.update(Metric.withAttributes(waited, { kind: job.kind }), claimed.waitedMs / 1000)
      const exit = yield* Effect.exit(attempt(claimed, job, registered))
      const outcome = Exit.isSuccess(exit)
        ? exit.value
        : job.reason === "cancelled"
          ? "cancelled"
          : job.reason === "stopping" && (yield* putBack([job])).length > 0
            ? "requeued"
            : "lost"
      if (Exit.isFailure(exit) && job.reason === undefined && !(Cause.squash(exit.cause) instanceof Lost)) {
        yield* Effect.logError("the end of a job could not be written", exit.cause)
      }
      yield* settle(job.kind, outcome)
      yield* Metric.update(Metric.withAttributes(durations, { kind: job.kind }), Number((yield* Clock.monotonicTimeNanos) - since) / 1e9)
    }).pipe(
      Effect.withSpan(`job ${job.kind}`, {
        kind: "consumer",
        parent: spanOf(claimed.traceContext),
        attributes: { "job.id": job.id, "job.attempt": claimed.attempt }
      }),
      // The claims, from which this is forked, are not traced.
      Effect.withTracerEnabled(traced),
      Effect.annotateLogs({ jobId: job.id, jobKind: job.kind }),
      // Only the handler can be interrupted: what became of the job is always written.
      Effect.uninterruptible,
      Effect.provideService(CurrentRequest, { requestId: claimed.requestId, principal: claimed.principal, route: null }),
      Effect.ensuring(
        Effect.suspend(() => {
          leaveSlot(job)
          running.delete(job.id)
          if (!waits(job.kind)) inPlaces--
          return Effect.all([Metric.update(runningHere, running.size), changed.open, running.size === 0 ? empty.open : Effect.void])
        })
      )
    )

  const begin = (claimed: Claimed) =>
    Effect.gen(function* () {
      const registered = handlers.get(claimed.kind)
      if (registered === undefined) return yield* Effect.die(new Error(`claimed a job of the unknown kind ${claimed.kind}`))
      const { claim, id, kind, progress } = claimed
      const job: Running = { id, claim, kind, progress, isBusy: true, untold: undefined, fiber: yield* Deferred.make<Fiber.Fiber<void>>() }
      running.set(job.id, job)
      takeSlot(job)
      yield* empty.close
      // Interrupted by name only, so that the reason is known: the scope's end comes after `stop`.
      const fiber = yield* Effect.forkIn(execute(claimed, job, registered), jobs, { uninterruptible: true })
      yield* Deferred.succeed(job.fiber, fiber)
    })

  const claim = (offer: { readonly kinds: ReadonlyArray<string>; readonly limit: number }) =>
    Effect.gen(function* () {
      const able = offer.kinds.flatMap((kind) => handlers.get(kind) ?? []).filter((registered) => free(registered) > 0)
      const wanted = able.map((registered) => ({ kind: registered.kind.name, most: free(registered) }))
      const limit = Math.min(offer.limit, room(able))
      if (wanted.length === 0 || limit <= 0) return 0
      const found = yield* repo.claim({ kinds: wanted, limit, worker, leaseMs })
      yield* Effect.forEach(found, begin, { discard: true })
      yield* Metric.update(runningHere, running.size)
      if (found.length > 0) yield* announce
      return found.length
    })

  const claiming = Effect.gen(function* () {
    const consumer = yield* queue.consume(kinds)
    const round = Effect.gen(function* () {
      yield* changed.close
      const able = [...handlers.values()].filter((registered) => free(registered) > 0)
      const limit = room(able)
      if (able.length === 0 || limit <= 0) return yield* changed.await
      const offer = yield* Effect.raceFirst(
        consumer.next({ kinds: able.map(({ kind }) => kind.name), limit }),
        Effect.as(changed.await, undefined)
      )
      if (offer === undefined) return
      // Between the claim and the start of the fibers nothing may interrupt, or jobs would be claimed and nobody's.
      yield* Effect.uninterruptible(Effect.flatMap(claim(offer), offer.settle))
    })
    yield* round.pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause)
          : Effect.andThen(Effect.logWarning("jobs could not be claimed", cause), Effect.sleep("1 second"))
      ),
      Effect.forever
    )
  }).pipe(Effect.scoped, Effect.withTracerEnabled(false))

  /** Interrupts what is not this worker's any more; when it cannot ask before its leases end, everything. */
  const keepLeases = Effect.gen(function* () {
    let renewedAt = Number(yield* Clock.monotonicTimeNanos) / 1e6
    yield* Effect.gen(function* () {
      const now = Number(yield* Clock.monotonicTimeNanos) / 1e6
      const held = [...running.values()]
      if (held.length === 0) {
        renewedAt = now
        return
      }
      const renewed = yield* Effect.exit(Effect.timeout(repo.renew(held, leaseMs), Duration.millis(leaseMs / 4)))
      if (Exit.isSuccess(renewed)) {
        renewedAt = now
        const mine = new Set(renewed.value.map(({ id }) => id))
        const gone = held.filter(({ id }) => running.has(id) && !mine.has(id))
        yield* Effect.forEach(gone, (job) => Effect.forkIn(interrupt(job, "lost"), jobs), { discard: true })
      } else if (Number(yield* Clock.monotonicTimeNanos) / 1e6 + leaseMs / 4 > renewedAt + leaseMs) {
        yield* Effect.logWarning("the leases of the running jobs could not be renewed: they are interrupted", renewed.cause)
        yield* Effect.forEach(held, (job) => Effect.forkIn(interrupt(job, "lost"), jobs), { discard: true })
      }
    }).pipe(Effect.repeat(Schedule.spaced(Duration.millis(leaseMs / 4))))
  }).pipe(Effect.withTracerEnabled(false))

  const heedCancellations = Stream.runForEach(signals.cancelled, (id) => {
    const job = running.get(id)
    return job === undefined ? Effect.void : Effect.asVoid(Effect.forkIn(interrupt(job, "cancelled"), jobs))
  })

  const reap = db.transaction(repo.reap).pipe(
    Effect.tap((ended) =>
      ended.length === 0
        ? Effect.void
        : Effect.all([
            Effect.logWarning(`${ended.length} jobs were taken from workers that ended`),
            Metric.update(leaseLosses, ended.length),
            signals.wake,
            announce
          ])
    ),
    Effect.catchCause((cause) => Effect.logDebug("leases could not be looked through", cause)),
    Effect.withTracerEnabled(false)
  )

  yield* Effect.forkScoped(keepLeases)
  yield* Effect.forkScoped(heedCancellations)
  yield* Effect.forkScoped(Effect.repeat(reap, Schedule.jittered(Schedule.spaced(Duration.millis(leaseMs / 4)))))
  const claims = yield* Effect.forkScoped(claiming)

  const stop = Effect.fnUntraced(function* (within: Duration.Duration) {
    if (!stopping) {
      stopping = true
      yield* Fiber.interrupt(claims)
    }
    const ended = yield* Effect.timeoutOption(empty.await, within)
    if (ended._tag === "Some") return
    yield* Effect.logInfo(`${running.size} running jobs go back into the queue`)
    const interrupted = Effect.forEach([...running.values()], (job) => interrupt(job, "stopping"), {
      concurrency: "unbounded",
      discard: true
    })
    yield* Effect.forkIn(interrupted, jobs)
    yield* Effect.timeoutOption(empty.await, Duration.max(leastToEnd, Duration.times(within, 0.2)))
    if (running.size === 0) return
    yield* Effect.logWarning(`${running.size} jobs do not heed their interruption: others may begin them anew`)
    yield* putBack([...running.values()])
  })
  yield* Effect.addFinalizer(() => stop(Duration.zero))
  const idle = Effect.gen(function* () {
    for (;;) {
      yield* empty.await
      // What a worker has left that died is due as well.
      yield* reap
      const due = yield* repo.nextDue(kinds)
      if (running.size === 0 && (due ?? Number.POSITIVE_INFINITY) > 0) return
      yield* Effect.sleep("50 millis")
    }
  })
  return Runner.of({ stop, idle, settled: () => settled })
})

class TookTooLong extends Data.TaggedError("TookTooLong")<{ readonly code: "timeout"; readonly status: 504; readonly detail: string }> {
  constructor() {
    super({ code: "timeout", status: 504, detail: "" })
  }
}

const progressPace = 500

/** How much of SHUTDOWN_GRACE running jobs may use to come to their end; the rest is for putting them back and for everything after. */
export const jobsShareOfGrace = 0.5

/** What interrupted jobs have at least to come to their end. */
const leastToEnd = Duration.millis(250)

const encode = <A>(schema: Schema.Codec<A, unknown>, value: A) =>
  Effect.orDie(Schema.encodeEffect(Schema.toCodecJson(schema))(value)).pipe(
    Effect.filterOrElse(isStorableJson, () => Effect.die(new Error("The result holds NUL characters or lone surrogates.")))
  )

const detailOf = (error: { readonly code: string; readonly detail?: string | undefined }) => storableText(error.detail ?? error.code, 2000)
const isRetryable = (error: HandlerError) => ("status" in error ? error.status >= 500 || error.status === 429 : error.retryable === true)
const resultOf = (error: HandlerError) => ("result" in error && isStorableJson(error.result) ? (error.result ?? null) : null)

const areIn = (answers: ReadonlyArray<{ readonly id: string }>, asked: ReadonlyArray<{ readonly id: string }>) => {
  const ids = new Set(answers.map(({ id }) => id))
  return asked.map(({ id }) => ids.has(id))
}
