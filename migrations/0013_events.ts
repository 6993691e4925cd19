import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // Numbers of transactions belong to one run of one cluster. A copy of the database somewhere else begins with smaller ones, so its
  // changes would seem to lie in the future. Each place has an epoch of its own, and the feed has only the changes of the newest one.
  yield* sql`create table event_epochs (
    id integer generated always as identity constraint event_epochs_pkey primary key,
    name text collate "C" not null default substr(md5(gen_random_uuid()::text), 1, 8),
    origin text not null,
    first_seq bigint not null,
    first_xact xid8 not null,
    created_at timestamptz not null default now(),
    constraint event_epochs_name_key unique (name),
    constraint event_epochs_name_check check (name ~ '^[0-9a-f]{8}$')
  )`
})
