import { Effect, Queue } from "effect"
import { SqlClient } from "effect/sql"
import { run } from "./db.ts"

const pace = "10 millis"

/**
 * What wakes all processes that listen on the channel, after the commit and for many commits at once. PostgreSQL lets only one
 * transaction at a time commit that notifies, in the whole cluster and with its wait for the disk: with NOTIFY in the transaction of each
 * change 12 writers committed 600 to 3,000 changes a second where they commit 3,500 to 8,000 without. Nor does this one wait for the disk:
 * a notification is never stored, and is lost with the process that owes it, so whoever waits for one must also look by itself.
 */
export const announcing = (channel: string, payload = "") =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const wanted = yield* Queue.sliding<void>(1)
    yield* Queue.take(wanted).pipe(
      Effect.andThen(run(sql`select pg_notify(${channel}, ${payload}), set_config('synchronous_commit', 'off', true)`)),
      Effect.catchCause((cause) => Effect.logDebug(`nobody was told on ${channel}`, cause)),
      Effect.andThen(Effect.sleep(pace)),
      Effect.forever,
      Effect.withTracerEnabled(false),
      Effect.forkScoped
    )
    return Effect.asVoid(Queue.offer(wanted, undefined))
  })
