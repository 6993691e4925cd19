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

export class SchemaTooOld extends Data.TaggedError("SchemaTooOld")<{ readonly needed: number; readonly found: number }> {
  override get message() {
    return `The database has schema ${this.found}, this version of Partwright needs ${this.needed}. Run \`partwright migrate\` first.`
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

const newest = known.at(-1)?.id ?? 0

/** 0 when nothing has been made yet. */
const latest = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [exists] = yield* sql<{ readonly found: boolean }>`select to_regclass(${table}) is not null as found`
  if (exists?.found !== true) return 0
  const [found] = yield* sql<{ readonly id: number | null }>`select max(migration_id) as id from ${sql(table)}`
  return found?.id ?? 0
})

const refuseNewer = Effect.gen(function* () {
  const found = yield* latest
  if (found > newest) return yield* new SchemaTooNew({ known: newest, found })
})

/** For processes of which there are many: they take the schema as it is, and end when it is not theirs. */
export const checkSchema = Effect.gen(function* () {
  yield* refuseNewer
  const found = yield* latest
  if (found < newest) return yield* new SchemaTooOld({ needed: newest, found })
}).pipe(Effect.withSpan("Migrator.check"))
