import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // The job that booked. A value, not a reference: the ledger outlives jobs.
  yield* sql`alter table stock_operations add column job_id uuid`

  // What belongs to the job of an import. The job may be forgotten first, so it is no reference: else the objects would go unreleased.
  yield* sql`create table imports (
    job_id uuid constraint imports_pkey primary key,
    file_id bigint constraint imports_file_fk references objects (id) on delete restrict,
    report_id bigint constraint imports_report_fk references objects (id) on delete restrict,
    failure jsonb,
    created_at timestamptz not null default now(),
    constraint imports_failure_check check (failure is null or file_id is null)
  )`
  yield* sql`create index imports_file_index on imports (file_id) where file_id is not null`
  yield* sql`create index imports_report_index on imports (report_id) where report_id is not null`

  // What an import that is not atomic has committed, until it ends: another attempt goes on behind it.
  yield* sql`create table import_batches (
    job_id uuid not null constraint import_batches_import_fk references imports (job_id) on delete cascade,
    first_row integer not null,
    rows integer not null,
    batch text not null,
    created_at timestamptz not null default now(),
    constraint import_batches_pkey primary key (job_id, first_row)
  )`
})
