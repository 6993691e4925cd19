import { randomBytes } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"

/** The server of this test run, as `global-setup.ts` provides it. */
export interface TestServer {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  /** Where statements like `create database` run. */
  readonly database: string
  /** The migrated, empty database that new ones are copied from. Nobody may be connected to it then. */
  readonly template: string
  readonly embedded: boolean
}

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: TestServer
  }
}

export interface Database {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: Redacted.Redacted
  readonly database: string
}

/** A migrated, empty database of its own until the scope closes. The name is only for those who look into the server. */
export const freshDatabase = (name = "test") =>
  Effect.gen(function* () {
    const server = inject("postgres")
    const database = `${name.slice(0, 40)}_${randomBytes(6).toString("hex")}`
    yield* Effect.acquireRelease(createDatabase(server, database, server.template), () => dropDatabase(server, database))
    return databaseOf(server, database)
  }).pipe(Effect.orDie)

export const databaseOf = ({ host, password, port, username }: TestServer, database: string): Database => ({
  host,
  port,
  username,
  password: Redacted.make(password),
  database
})

/** As DATABASE_URL names it. */
export const urlOf = ({ database, host, password, port, username }: Database) => {
  const at = host.startsWith("/") ? `localhost/${database}?host=${encodeURIComponent(host)}&port=${port}` : `${host}:${port}/${database}`
  return `postgres://${username}:${encodeURIComponent(Redacted.value(password))}@${at}`
}

/** Runs the effect on one connection of its own, closed at its end. */
export const connected = <A, E, R>(database: Database, effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, PgClient.layer({ ...database, maxConnections: 1, transformJson: false }), { local: true })

export const createDatabase = (server: TestServer, name: string, template?: string) =>
  connected(
    databaseOf(server, server.database),
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      if (template === undefined) return yield* sql`create database ${sql(name)}`
      // Copying files is faster than writing them to the log where nothing is synced; an outside server may sync.
      const strategy = sql.literal(server.embedded ? "strategy file_copy" : "")
      return yield* sql`create database ${sql(name)} template ${sql(template)} ${strategy}`
    })
  ).pipe(Effect.asVoid)

export const dropDatabase = (server: TestServer, name: string) =>
  connected(
    databaseOf(server, server.database),
    Effect.flatMap(SqlClient.SqlClient, (sql) => sql`drop database if exists ${sql(name)} with (force)`)
  ).pipe(Effect.interruptible, Effect.timeoutOption("10 seconds"), Effect.ignoreCause)
