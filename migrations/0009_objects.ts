import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // Whatever uses an object refers to it with on delete restrict: the database itself knows what is still in use.
  yield* sql`create table objects (
    id bigint generated always as identity constraint objects_pkey primary key,
    sha256 text collate "C" not null constraint objects_sha256_key unique constraint objects_sha256_check check (sha256 ~ '^[0-9a-f]{64}$'),
    bucket text not null constraint objects_bucket_check check (bucket in ('docs', 'images')),
    key text collate "C" not null constraint objects_key_key unique,
    size bigint not null constraint objects_size_check check (size >= 0),
    media_type text not null,
    created_at timestamptz not null default now()
  )`

  // What was made of an object: its thumbnails. They go with it.
  yield* sql`create table object_variants (
    source_id bigint not null constraint object_variants_source_fk references objects (id) on delete restrict,
    name text not null,
    object_id bigint not null constraint object_variants_object_fk references objects (id) on delete restrict,
    created_at timestamptz not null default now(),
    constraint object_variants_pkey primary key (source_id, name)
  )`
  yield* sql`create index object_variants_object_index on object_variants (object_id)`

  // Written before the upload begins, removed by the transaction that makes the row of the object: what is left here and old was given up.
  yield* sql`create table object_uploads (
    key text collate "C" constraint object_uploads_pkey primary key,
    bucket text not null,
    created_at timestamptz not null default now()
  )`
  yield* sql`create index object_uploads_age_index on object_uploads (created_at)`

  // Committed with what made the object useless; removed when the store has deleted it.
  yield* sql`create table object_deletions (
    key text collate "C" constraint object_deletions_pkey primary key,
    bucket text not null,
    attempts integer not null default 0,
    last_error text,
    next_attempt_at timestamptz not null default now(),
    created_at timestamptz not null default now()
  )`
  yield* sql`create index object_deletions_due_index on object_deletions (next_attempt_at)`
})
