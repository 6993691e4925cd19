import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // One row per part: every lexeme with the numbers of the fields it stands in as positions (src/inventory/search/fields.ts).
  yield* sql`create table search_documents (
    part_id4 text collate "C" constraint search_documents_pkey primary key
      constraint search_documents_part_fk references parts (id4) on delete cascade,
    words tsvector not null,
    created_at timestamptz not null default now()
  )`
  // Every search reads the whole pending list of an index. By default that may be 4 MB and take 5 ms; a small one costs imports a tenth.
  yield* sql`create index search_documents_words_index on search_documents using gin (words) with (gin_pending_list_limit = 1024)`

  // The vocabulary: what prefixes and typos of a query's words are expanded to. A count may be stale, which costs only ranking.
  yield* sql`create table search_words (
    word text collate "C" constraint search_words_pkey primary key,
    parts integer not null default 1,
    created_at timestamptz not null default now()
  )`
  yield* sql`create index search_words_trigram_index on search_words using gin (word gin_trgm_ops) with (gin_pending_list_limit = 1024)`
  // A tenth of a real vocabulary. The most frequent words that begin with a single letter are found among these.
  yield* sql`create index search_words_frequent_index on search_words (word) include (parts) where parts > 1`
})
