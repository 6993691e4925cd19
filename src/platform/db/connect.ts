import { Data, Effect, Redacted, Ref, Schedule, Schema } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { AppConfig } from "../config.ts"
import { acquire, claim, type Role } from "./data-dir.ts"
import { type Connection, layerClient } from "./db.ts"
import type { EmbeddedPostgresError } from "./embedded-postgres.ts"
import { sqlState } from "./sql-errors.ts"

/** The message is a sentence for the person who runs the server, and says what to do. */
export class DatabaseUnusable extends Data.TaggedError("DatabaseUnusable")<{ readonly message: string }> {}

/**
 * Where the database is, until the scope closes: the one that DATABASE_URL names, else the embedded one of DATA_DIR. With a database
 * elsewhere, `shared` lets other processes use the same DATA_DIR.
 */
export const connect = Effect.fn("Database.connect")(function* (role: Role, options: { readonly shared?: boolean } = {}) {
  const { databaseUrl, dataDir } = yield* AppConfig
  if (databaseUrl !== null) {
    if (role === "server" && options.shared !== true) yield* claim({ dataDir, role })
    const connection: Connection = { url: databaseUrl }
    yield* answers(databaseUrl)
    return { connection, embedded: false, failed: Effect.never as Effect.Effect<never, EmbeddedPostgresError> }
  }
  const { database, failed, host, port, username } = yield* acquire({ dataDir, role })
  const connection: Connection = { host, port, username, database }
  return { connection, embedded: true, failed }
})

const patience = "30 seconds"
const oldestVersion = 15

/** Machines that start together come up in any order: a database that is away is waited for, one that refuses us is not. */
const answers = (url: Redacted.Redacted) =>
  Effect.gen(function* () {
    const { host, pathname, searchParams } = new URL(Redacted.value(url))
    const name = decodeURIComponent((searchParams.get("host") ?? host) + pathname)
    const latest = yield* Ref.make("no answer")
    const attempt = version({ url }).pipe(
      Effect.tapError((error) =>
        Effect.flatMap(Ref.getAndSet(latest, reasonOf(error)), (before) =>
          before === reasonOf(error) || !isAway(error)
            ? Effect.void
            : Effect.logWarning(`waiting for the database ${name}: ${reasonOf(error)}`)
        )
      )
    )
    const major = yield* attempt.pipe(
      Effect.retry({ while: isAway, schedule: Schedule.spaced("250 millis") }),
      Effect.mapError((error) => unusable(`The database ${name} cannot be used: ${reasonOf(error)}. Correct DATABASE_URL.`)),
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () =>
          Effect.flatMap(Ref.get(latest), (reason) =>
            Effect.fail(unusable(`The database ${name} did not answer within ${patience} (${reason}). Start it, or correct DATABASE_URL.`))
          )
      })
    )
    if (major >= oldestVersion) return
    return yield* unusable(`The database ${name} is PostgreSQL ${major}; Partwright needs ${oldestVersion} or newer.`)
  })

const version = (connection: Connection) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql`select current_setting('server_version_num')::int / 10000 as major`
    const [row] = yield* Schema.decodeUnknownEffect(Versions)(rows).pipe(Effect.orDie)
    return row.major
  }).pipe(Effect.provide(layerClient(connection, { maxConnections: 1 }), { local: true }))

const Versions = Schema.Tuple([Schema.Struct({ major: Schema.Int })])

const unusable = (message: string) => new DatabaseUnusable({ message })

// 57P03: it is starting up. 53300: all its connections are taken.
const isAway = (error: SqlError.SqlError) => error.reason._tag === "ConnectionError" || ["57P03", "53300"].includes(sqlState(error) ?? "")

const reasonOf = ({ message, reason }: SqlError.SqlError) => {
  const { cause } = reason
  if (cause instanceof AggregateError && cause.errors[0] instanceof Error) return cause.errors[0].message
  return cause instanceof Error && cause.message !== "" ? cause.message : message
}
