import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create table documents (
    id uuid constraint documents_pkey primary key,
    part_id4 text collate "C" not null constraint documents_part_fk references parts (id4),
    kind text not null constraint documents_kind_check check (kind in ('pdf', 'image', 'link')),
    title text not null,
    original_filename text,
    url text,
    object_id bigint constraint documents_object_fk references objects (id) on delete restrict,
    preview_id bigint constraint documents_preview_fk references objects (id) on delete restrict,
    media_type text,
    size bigint,
    width integer,
    height integer,
    page_count integer,
    is_cover boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version bigint not null default 1,
    constraint documents_content_check check ((kind = 'link') = (object_id is null) and (kind <> 'link' or url is not null))
  )`
  yield* sql`create index documents_part_index on documents (part_id4, id)`
  yield* sql`create unique index documents_cover_key on documents (part_id4) where is_cover`
  yield* sql`create index documents_object_index on documents (object_id)`
  yield* sql`create index documents_preview_index on documents (preview_id) where preview_id is not null`
})
