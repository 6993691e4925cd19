import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // What a language model proposed. No reference to the part: it may be deleted, and then the proposal cannot be accepted.
  yield* sql`create table proposals (
    id uuid constraint proposals_pkey primary key,
    kind text not null constraint proposals_kind_check check (kind in ('tags', 'type', 'photo', 'datasheet', 'part', 'cleanup')),
    job_id uuid not null constraint proposals_job_key unique,
    part_id4 text collate "C",
    part_version bigint,
    status text not null default 'pending'
      constraint proposals_status_check check (status in ('pending', 'accepted', 'rejected', 'expired', 'superseded')),
    input jsonb not null,
    output jsonb not null,
    -- The fields of the part as they were, by which an acceptance sees what changed since.
    before jsonb,
    usage jsonb not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    settled_by text,
    settled_at timestamptz,
    accepted_fields text[],
    constraint proposals_settled_check check ((status = 'pending') = (settled_at is null))
  )`
  yield* sql`create index proposals_status_index on proposals (status, id)`
  yield* sql`create index proposals_part_index on proposals (part_id4, id) where part_id4 is not null`
  yield* sql`create index proposals_expiry_index on proposals (expires_at) where status = 'pending'`

  // Of a job first: what a person sent, and what was found for it. Of a proposal once there is one, and gone when that is settled.
  yield* sql`create table proposal_files (
    id bigint generated always as identity constraint proposal_files_pkey primary key,
    job_id uuid not null,
    proposal_id uuid constraint proposal_files_proposal_fk references proposals (id) on delete restrict,
    place smallint,
    was_sent boolean not null,
    kind text not null constraint proposal_files_kind_check check (kind in ('image', 'pdf', 'link')),
    document_type text,
    title text not null,
    original_filename text,
    url text,
    object_id bigint constraint proposal_files_object_fk references objects (id) on delete restrict,
    preview_id bigint constraint proposal_files_preview_fk references objects (id) on delete restrict,
    media_type text,
    size bigint,
    width integer,
    height integer,
    page_count integer,
    verified boolean,
    created_at timestamptz not null default now(),
    constraint proposal_files_place_check check ((proposal_id is null) = (place is null)),
    constraint proposal_files_place_key unique (proposal_id, place)
  )`
  yield* sql`create index proposal_files_job_index on proposal_files (job_id) where proposal_id is null`
  yield* sql`create index proposal_files_object_index on proposal_files (object_id) where object_id is not null`
  yield* sql`create index proposal_files_preview_index on proposal_files (preview_id) where preview_id is not null`
})
