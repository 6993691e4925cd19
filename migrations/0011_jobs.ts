import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create table jobs (
    id uuid constraint jobs_pkey primary key,
    kind text collate "C" not null,
    payload jsonb not null,
    state text collate "C" not null default 'queued' constraint jobs_state_check check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    priority smallint not null constraint jobs_priority_check check (priority between 0 and 2),
    run_at timestamptz not null default now(),
    attempt integer not null default 0 constraint jobs_attempt_check check (attempt >= 0),
    max_attempts integer not null constraint jobs_max_attempts_check check (max_attempts >= 1),
    claim bigint not null default 0,
    lease_until timestamptz,
    worker text,
    published_at timestamptz,
    progress integer not null default 0 constraint jobs_progress_check check (progress between 0 and 100),
    message text,
    result jsonb,
    error jsonb,
    unique_key text collate "C",
    entity_type text collate "C",
    entity_id text collate "C",
    principal text not null,
    request_id text,
    trace_context text,
    cancel_requested_at timestamptz,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    constraint jobs_lease_check check ((state = 'running') = (lease_until is not null)),
    constraint jobs_finished_check check ((state in ('succeeded', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint jobs_entity_check check ((entity_type is null) = (entity_id is null))
  )`
  // What a claim looks for: one probe for each kind and priority.
  yield* sql`create index jobs_due_index on jobs (kind, priority, run_at, id) where state = 'queued'`
  yield* sql`create index jobs_lease_index on jobs (lease_until) where state = 'running'`
  // One job of a kind and key at a time.
  yield* sql`create unique index jobs_unique_key on jobs (kind, unique_key) where unique_key is not null and state in ('queued', 'running')`
  yield* sql`create index jobs_kind_index on jobs (kind, id)`
  yield* sql`create index jobs_failed_index on jobs (kind, id) where state = 'failed'`
  yield* sql`create index jobs_entity_index on jobs (entity_type, entity_id, id) where entity_id is not null`
  yield* sql`create index jobs_finished_index on jobs (finished_at) where finished_at is not null`
  // What the relay has to tell the broker.
  yield* sql`create index jobs_unpublished_index on jobs (priority desc, run_at, id) where state = 'queued' and published_at is null`

  yield* sql`create table schedule_runs (
    name text collate "C",
    tick timestamptz,
    created_at timestamptz not null default now(),
    constraint schedule_runs_pkey primary key (name, tick)
  )`
})
