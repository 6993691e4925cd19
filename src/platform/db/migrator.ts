import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { NodeServices } from "@effect/platform-node"
import { PgMigrator } from "@effect/sql-pg"
import { Data, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { fromFileSystem } from "effect/sql/MigratorFileSystem"

const directory = fileURLToPath(new URL("../../../migrations", import.meta.url))
const table = "schema_migrations"

export class SchemaTooNew extends Data.TaggedError("SchemaTooNew")<{ readonly known: number; readonly found: number }> {
  override get message() {
    return `The database has schema ${this.found}, this version of Partwright knows only up to ${this.known}. Start the newer version, or restore a backup made before the upgrade.`
  }
}

/** The migrations of this version, by id, ascending. */
export const known: ReadonlyArray<{ readonly id: number; readonly file: string }> = readdirSync(directory)
  .flatMap((file) => {
    const id = /^(\d+)_[^.]+\.ts$/u.exec(file)?.[1]
    return id === undefined ? [] : [{ id: Number(id), file }]
  })
  .sort((a, b) => a.id - b.id)

/**
 * Brings the schema up to this version: all pending migrations in one transaction under a lock, so replicas may start at once.
 * An id below the highest applied one would be skipped without a word; a test keeps ids strictly increasing.
 */
export const migrate = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* refuseNewer
  const applied = yield* PgMigrator.run({ loader: fromFileSystem(directory), table })
  if (applied.length > 0) yield* sql`analyze`
  return applied
}).pipe(Effect.provide(NodeServices.layer), Effect.withSpan("Migrator.migrate"))

const refuseNewer = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [exists] = yield* sql<{ readonly found: boolean }>`select to_regclass(${table}) is not null as found`
  if (exists?.found !== true) return
  const [latest] = yield* sql<{ readonly id: number | null }>`select max(migration_id) as id from ${sql(table)}`
  const newest = known.at(-1)?.id ?? 0
  if ((latest?.id ?? 0) > newest) return yield* new SchemaTooNew({ known: newest, found: latest?.id ?? 0 })
})
