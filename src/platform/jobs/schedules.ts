import { Context, Cron, Duration, Effect, Layer } from "effect"
import { Db, type Transaction } from "../db/db.ts"
import { SchedulesRepo } from "./schedules.repo.ts"

interface Scheduled {
  readonly name: string
  readonly cron: Cron.Cron
  readonly enqueue: Effect.Effect<unknown>
  readonly afterStart?: Duration.Duration | undefined
}

/** What is to be asked for regularly. Filled while the layers are built. */
export class Schedules extends Context.Service<Schedules, Array<Scheduled>>()("platform/Schedules") {
  static readonly layer = Layer.sync(Schedules, () => [])
}

/**
 * Asks for work at the ticks of a cron expression (five fields, UTC): once a tick over all replicas. After an outage of several ticks it
 * asks once. With `afterStart` also so long after the start of every process: for what a crash may have left.
 */
export const schedule = <R>(
  name: string,
  cron: string,
  enqueue: Effect.Effect<unknown, never, R | Transaction>,
  options: { readonly afterStart?: Duration.Duration } = {}
) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const schedules = yield* Schedules
      const context = yield* Effect.context<Exclude<R, Transaction>>()
      schedules.push({
        name,
        cron: Cron.parseUnsafe(cron, "UTC"),
        enqueue: Effect.provide(enqueue, context) as Effect.Effect<unknown>,
        afterStart: options.afterStart
      })
    })
  )

// A clock that jumps is noticed within this.
const look = Duration.minutes(1)

/** Takes the latest tick that nobody has taken yet. The first time a name is seen it only notes where it stands. */
export const fire = ({ cron, enqueue, name }: Scheduled) =>
  Effect.gen(function* () {
    const repo = yield* SchedulesRepo
    const db = yield* Db
    const now = yield* repo.now
    const tick = Cron.prev(cron, new Date(now.getTime() + 1))
    yield* db.transaction(
      Effect.gen(function* () {
        const isKnown = yield* repo.isKnown(name)
        if ((yield* repo.take(name, tick)) && isKnown) yield* enqueue
      })
    )
    return Duration.millis(Math.max(1, Cron.next(cron, now).getTime() - now.getTime()))
  })

export const Scheduler = Layer.effectDiscard(
  Effect.gen(function* () {
    const schedules = yield* Schedules
    const keep = (scheduled: Scheduled) =>
      fire(scheduled).pipe(
        Effect.catchCause((cause) => Effect.as(Effect.logWarning(`the schedule ${scheduled.name} could not be looked after`, cause), look)),
        Effect.flatMap((wait) => Effect.sleep(Duration.min(wait, look))),
        Effect.forever,
        Effect.withTracerEnabled(false),
        Effect.forkScoped
      )
    yield* Effect.forEach(schedules, keep, { discard: true })
    const db = yield* Db
    const once = ({ afterStart, enqueue, name }: Scheduled) =>
      afterStart === undefined
        ? Effect.void
        : db.transaction(enqueue).pipe(
            Effect.delay(afterStart),
            Effect.catchCause((cause) => Effect.logWarning(`${name} could not be asked for after the start`, cause)),
            Effect.withTracerEnabled(false),
            Effect.forkScoped
          )
    yield* Effect.forEach(schedules, once, { discard: true })
  })
)
