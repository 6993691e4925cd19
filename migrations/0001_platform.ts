import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create extension if not exists pg_trgm`

  // Times leave as text in one shape, so that a row needs no decoding. to_char is only stable; in UTC it is immutable.
  yield* sql`create function iso(t timestamptz) returns text language sql immutable parallel safe
    return to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

  // For tables that are only ever appended to: the database itself refuses everything else.
  yield* sql`create function refuse_change() returns trigger language plpgsql as $$
    begin
      raise exception 'rows of % are never changed or removed', tg_table_name using errcode = 'integrity_constraint_violation';
    end $$`

  yield* sql`create table changes (
    seq bigint generated always as identity constraint changes_pkey primary key,
    xact xid8 not null default pg_current_xact_id(),
    at timestamptz not null default now(),
    principal text not null,
    request_id text,
    topic text not null,
    action text not null,
    entity text not null,
    entity_id text not null,
    before jsonb,
    after jsonb
  )`
  yield* sql`create index changes_entity_index on changes (entity, entity_id, seq)`
  yield* sql`create index changes_feed_index on changes (xact, seq)`
  yield* sql`create index changes_at_index on changes using brin (at)`
  yield* sql`create trigger changes_append_only before update or delete or truncate on changes for each statement execute function refuse_change()`

  yield* sql`create table idempotency_keys (
    scope text constraint idempotency_keys_pkey primary key,
    body_hash text not null,
    status integer not null,
    headers jsonb not null,
    body text not null,
    created_at timestamptz not null default now()
  )`
  yield* sql`create index idempotency_keys_age_index on idempotency_keys (created_at)`
})
