import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows } from "../db/db.ts"

const Found = rows(Schema.Struct({ version: Schema.String, schema: Schema.Int, sizeBytes: Schema.Int, connections: Schema.Int }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return {
    database: Effect.map(
      Found(sql`select current_setting('server_version') as version, (select max(migration_id) from schema_migrations) as schema,
        pg_database_size(current_database())::float8 as "sizeBytes",
        (select count(*)::int from pg_stat_activity where datname = current_database()) as connections`),
      ([found]) => found!
    )
  }
})

export class HealthRepo extends Context.Service<HealthRepo, Effect.Success<typeof make>>()("platform/HealthRepo") {
  static readonly layer = Layer.effect(HealthRepo, make)
}
