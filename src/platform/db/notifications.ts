import { PgClient, PgConnection } from "@effect/sql-pg"
import { Context, Duration, Effect, Layer, Metric, PubSub, Queue, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { run } from "./db.ts"

const topics = ["job", "job-cancelled", "change", "event"] as const
export type NotificationTopic = (typeof topics)[number]

/** Something may have been missed: the connection is new. Whoever waits for a notification looks for itself then. */
export const missed = Symbol("missed")
export type Notification = string | typeof missed

// One channel, because a connection listens on one; what it is about stands before the first colon.
const channel = "partwright"

const connected = Metric.gauge("db_notifications_connected", { description: "1 while notifications of the database arrive, else 0" })

// More than this waits nowhere: what is lost is found by whoever polls.
const waiting = 4096

/**
 * What transactions tell all processes when they commit. Notifications only hurry: everyone who waits for one must also look by
 * itself from time to time, because they are lost while the connection is away.
 */
export class Notifications extends Context.Service<
  Notifications,
  {
    /** From the moment of the subscription on, beginning with `missed`. */
    readonly on: (topic: NotificationTopic) => Stream.Stream<Notification>
    /** Sends with the commit of the transaction around it, else at once. At most 8000 bytes. */
    readonly notify: (topic: NotificationTopic, payload?: string) => Effect.Effect<void>
  }
>()("platform/Notifications") {
  static readonly layer = Layer.effect(
    Notifications,
    Effect.gen(function* () {
      const { config } = yield* PgClient.PgClient
      const sql = yield* SqlClient.SqlClient
      const hub = yield* PubSub.sliding<readonly [NotificationTopic, Notification]>(waiting)
      yield* Metric.update(connected, 0)

      const publish = (payload: string) => {
        const [name = ""] = payload.split(":", 1)
        const topic = topics.find((topic) => topic === name)
        return topic === undefined ? Effect.void : PubSub.publish(hub, [topic, payload.slice(name.length + 1)] as const)
      }
      yield* Effect.gen(function* () {
        // Beside the pool, which listeners would otherwise take connections from.
        const connection = yield* PgConnection.make({ ...config, applicationName: "partwright notifications", multiplex: false })
        const queue = yield* connection.listen(channel)
        yield* Metric.update(connected, 1)
        for (const topic of topics) yield* PubSub.publish(hub, [topic, missed] as const)
        yield* Effect.forever(Effect.flatMap(Queue.take(queue), ({ payload }) => publish(payload)))
      }).pipe(
        Effect.scoped,
        Effect.ensuring(Metric.update(connected, 0)),
        Effect.catchCause(() => Effect.void),
        Effect.repeat(Schedule.jittered(Schedule.spaced(Duration.millis(500)))),
        Effect.withTracerEnabled(false),
        Effect.forkScoped
      )

      return Notifications.of({
        on: (topic) =>
          Stream.unwrap(
            Effect.map(PubSub.subscribe(hub), (subscription) =>
              Stream.concat(
                Stream.succeed<Notification>(missed),
                Stream.fromSubscription(subscription).pipe(
                  Stream.filter(([name]) => name === topic),
                  Stream.map(([, notification]) => notification)
                )
              )
            )
          ),
        notify: (topic, payload = "") => run(sql`select pg_notify(${channel}, ${`${topic}:${payload}`})`)
      })
    })
  )
}
