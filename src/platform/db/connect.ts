import { Effect } from "effect"
import { AppConfig } from "../config.ts"
import { acquire, claim, type Role } from "./data-dir.ts"
import type { Connection } from "./db.ts"
import type { EmbeddedPostgresError } from "./embedded-postgres.ts"

/** Where the database is, until the scope closes: the one that DATABASE_URL names, else the embedded one of DATA_DIR. */
export const connect = Effect.fn("Database.connect")(function* (role: Role) {
  const { databaseUrl, dataDir } = yield* AppConfig
  if (databaseUrl !== null) {
    if (role === "server") yield* claim({ dataDir, role })
    const connection: Connection = { url: databaseUrl }
    return { connection, embedded: false, failed: Effect.never as Effect.Effect<never, EmbeddedPostgresError> }
  }
  const { database, failed, host, port, username } = yield* acquire({ dataDir, role })
  const connection: Connection = { host, port, username, database }
  return { connection, embedded: true, failed }
})
