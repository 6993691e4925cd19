import { PgClient, PgConnection } from "@effect/sql-pg"
import { Effect, Queue, type Scope } from "effect"
import type { SqlError } from "effect/sql"

/**
 * The payloads that come on a channel from now on, on a connection of its own until the scope closes: of the pool it would take one
 * for ever. Fails when the connection breaks; what is sent before there is a new one is lost.
 */
export const listenOn = (
  channel: string
): Effect.Effect<Effect.Effect<ReadonlyArray<string>, SqlError.SqlError>, SqlError.SqlError, Scope.Scope | PgClient.PgClient> =>
  Effect.gen(function* () {
    const { config } = yield* PgClient.PgClient
    // Nothing is ever sent on it, so a network that forgets the connection would not be noticed.
    const connection = yield* PgConnection.make({ ...config, keepAlive: "15 seconds" })
    const queue = yield* connection.listen(channel)
    return Effect.map(Queue.takeAll(queue), (notifications) => notifications.map(({ payload }) => payload))
  })
