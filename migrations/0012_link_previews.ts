import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // The image stands in the row and not in the store of files: it is small, and gone after an hour.
  yield* sql`create table link_previews (
    id uuid constraint link_previews_pkey primary key,
    title text not null,
    kind text not null constraint link_previews_kind_check check (kind in ('webpage', 'image', 'pdf')),
    final_url text not null,
    image bytea,
    image_sha256 text collate "C",
    created_at timestamptz not null default now(),
    expires_at timestamptz not null default now() + interval '1 hour',
    constraint link_previews_image_check check ((image is null) = (image_sha256 is null))
  )`
  yield* sql`create index link_previews_expiry_index on link_previews (expires_at)`
  // WebP is as small as it gets.
  yield* sql`alter table link_previews alter column image set storage external`
})
