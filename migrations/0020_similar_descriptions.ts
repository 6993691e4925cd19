import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { fold } from "../src/inventory/search/fold.ts"

const chunk = 2000

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // The description as search compares texts. Folded here, since PostgreSQL has nothing that folds alike on every server.
  yield* sql`alter table search_documents add column description text not null default ''`
  for (let after = ""; ; ) {
    const parts = yield* sql<{ readonly id4: string; readonly description: string }>`
      select id4, description from parts where id4 > ${after} order by id4 limit ${chunk}`
    yield* sql`
      update search_documents d set description = n.description
      from unnest(${parts.map(({ id4 }) => id4)}::text[], ${parts.map(({ description }) => fold(description))}::text[]) as n (id4, description)
      where d.part_id4 = n.id4`
    if (parts.length < chunk) break
    after = parts.at(-1)?.id4 ?? ""
  }
  yield* sql`create index search_documents_description_index on search_documents using gin (description gin_trgm_ops)
    with (gin_pending_list_limit = 1024)`

  // With all values asked for or, for null, with none: every value is a word that begins with ~, and nothing else does. The operator takes
  // its threshold from the session, where the typos of a search want another one; and the planner, who cannot tell how rarely
  // descriptions are that much alike, would read all of them.
  yield* sql`create function parts_described_like(query text, having_values tsquery) returns table (part_id4 text, similarity real)
    language plpgsql stable rows 100 set pg_trgm.similarity_threshold = '0.8' set enable_seqscan = off set plan_cache_mode = force_custom_plan as $$
    begin
      if having_values is null then
        return query select d.part_id4, similarity(d.description, query) from search_documents d
          where d.description % query and not d.words @@ '''~'':*'::tsquery;
      else
        return query select d.part_id4, similarity(d.description, query) from search_documents d
          where d.description % query and d.words @@ having_values;
      end if;
    end $$`
})
