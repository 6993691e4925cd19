import { randomUUID } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { announcing } from "../db/announcing.ts"
import { run } from "../db/db.ts"
import { listenOn } from "../db/listening.ts"

const channel = "partwright_jobs"

// A job may be due, as a process says that has this name. Every other payload is the id of a job that was cancelled while it ran.
const wakeUp = "wake "

/** What processes tell each other about jobs. It only hurries: whoever listens also looks by itself, because signals get lost. */
export class JobSignals extends Context.Service<
  JobSignals,
  {
    /** A job may be due, at once and whenever a signal may have been missed. */
    readonly wakeUps: Stream.Stream<void>
    readonly cancelled: Stream.Stream<string>
    /** To be called after the commit. */
    readonly wake: Effect.Effect<void>
    /** Leaves with the commit of the transaction around it. */
    readonly cancel: (id: string) => Effect.Effect<void>
  }
>()("platform/JobSignals") {
  static readonly layer = Layer.effect(
    JobSignals,
    Effect.gen(function* () {
      const client = yield* PgClient.PgClient
      const sql = yield* SqlClient.SqlClient
      const mine = wakeUp + randomUUID()
      // The slowest listener loses the oldest: it looks by itself.
      const payloads = yield* PubSub.sliding<string>(4096)
      yield* Effect.gen(function* () {
        const arrived = yield* listenOn(channel)
        yield* PubSub.publish(payloads, wakeUp)
        // What this process says itself it has heard at once.
        const others = Effect.map(arrived, (all) => all.filter((payload) => payload !== mine))
        yield* Effect.forever(Effect.flatMap(others, (all) => PubSub.publishAll(payloads, all)))
      }).pipe(
        Effect.scoped,
        Effect.provideService(PgClient.PgClient, client),
        Effect.catchCause((cause) => Effect.logDebug("signals of jobs are not heard until the database is back", cause)),
        Effect.repeat(Schedule.spaced("250 millis")),
        Effect.withTracerEnabled(false),
        Effect.forkScoped
      )
      const heard = Stream.unwrap(Effect.map(PubSub.subscribe(payloads), Stream.fromSubscription))
      return JobSignals.of({
        wakeUps: Stream.unwrap(
          Effect.map(PubSub.subscribe(payloads), (subscription) =>
            Stream.concat(
              Stream.succeed(undefined),
              Stream.fromSubscription(subscription).pipe(
                Stream.filter((payload) => payload.startsWith(wakeUp)),
                Stream.map(() => undefined)
              )
            )
          )
        ),
        cancelled: Stream.filter(heard, (payload) => !payload.startsWith(wakeUp)),
        wake: Effect.andThen(PubSub.publish(payloads, mine), yield* announcing(channel, mine)),
        cancel: (id) => run(sql`select pg_notify(${channel}, ${id})`)
      })
    })
  )
}
