import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create table part_types (
    id integer generated always as identity constraint part_types_pkey primary key,
    key text constraint part_types_key_key unique,
    name text not null constraint part_types_name_check check (length(name) between 1 and 100),
    type_group text,
    aliases text[] not null default '{}',
    reference text,
    kicad_symbol text,
    kicad_footprint text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version bigint not null default 1
  )`
  yield* sql`create unique index part_types_name_key on part_types (lower(name))`

  // Every starter key that was ever inserted, so that a renamed or deleted starter type does not come back.
  yield* sql`create table starter_types (
    key text constraint starter_types_pkey primary key,
    created_at timestamptz not null default now()
  )`
})
