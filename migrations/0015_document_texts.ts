import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // What is written in a file, kept once however many documents show it. It is made of the object and goes with it, so it does not
  // keep the object from going, as rows that use one do.
  yield* sql`create table document_texts (
    object_id bigint constraint document_texts_pkey primary key
      constraint document_texts_object_fk references objects (id) on delete cascade,
    state text not null default 'queued' constraint document_texts_state_check check (state in ('queued', 'done', 'failed')),
    content text,
    created_at timestamptz not null default now(),
    constraint document_texts_content_check check ((state = 'done') = (content is not null))
  )`

  // Apart from the words of the parts: those are read for every candidate of a search and written with every edit of a part.
  yield* sql`create table search_texts (
    object_id bigint constraint search_texts_pkey primary key
      constraint search_texts_text_fk references document_texts (object_id) on delete cascade,
    words tsvector not null,
    created_at timestamptz not null default now()
  )`
  // A row is found by the index alone; its thousands of words are never wanted back, so they lie where nobody passes by.
  yield* sql`alter table search_texts alter column words set storage external`
  // A job can wait for the index, a search not for thousands of words that are not in it yet.
  yield* sql`create index search_texts_words_index on search_texts using gin (words) with (fastupdate = off)`

  // Without it the planner, who knows nothing of what lies apart, reads all words of all texts one after the other as soon as there are
  // a few hundred: it takes the rows for small.
  yield* sql`create function search_texts_with(query tsquery, most integer) returns setof bigint
    language plpgsql stable rows 100 set enable_seqscan = off set enable_indexscan = off as $$
    begin return query select object_id from search_texts where words @@ query limit most; end $$`

  // Documents from before are read like new ones.
  yield* sql`insert into document_texts (object_id) select distinct object_id from documents where kind = 'pdf'`
  yield* sql`
    insert into jobs (id, kind, payload, priority, max_attempts, unique_key, entity_type, entity_id, principal)
    select gen_random_uuid(), 'inventory.document.text', jsonb_build_object('documentId', d.id, 'objectId', d.object_id), 0, 5,
      d.object_id::text, 'document', d.id::text, 'system'
    from (select distinct on (object_id) id, object_id from documents where kind = 'pdf' order by object_id, id) d`
})
