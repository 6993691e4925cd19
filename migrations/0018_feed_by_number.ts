import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** Marks the advisory locks of transactions that record changes: the upper 16 bits; below them, a number that all of theirs lie above. */
const mark = 0x5057

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // Numbers are drawn before they are committed, so a change can become visible after others with higher numbers. Before a transaction
  // draws its first one it says, by a lock that everybody sees until the moment after its end, above what its numbers will lie. A
  // savepoint that is rolled back takes the lock and the note of it along.
  yield* sql`create function advertise_changes() returns trigger language plpgsql as ${sql.literal(`$$
    declare mine text := pg_current_xact_id()::text;
    begin
      if current_setting('partwright.records_changes', true) is distinct from mine then
        perform pg_advisory_xact_lock_shared(${mark}::bigint << 48 | coalesce(pg_sequence_last_value('changes_seq_seq'), 0));
        perform set_config('partwright.records_changes', mine, true);
      end if;
      return null;
    end $$`)}`
  yield* sql`create trigger changes_advertised before insert on changes for each statement execute function advertise_changes()`

  // The last number first: who is not seen among the locks after that draws higher ones, or has ended.
  yield* sql`create function settled_changes() returns bigint volatile language plpgsql as ${sql.literal(`$$
    declare last bigint := coalesce(pg_sequence_last_value('changes_seq_seq'), 0);
    begin
      return least(last, (
        select min((classid::bigint & 65535) << 32 | objid::bigint) from pg_locks
        where locktype = 'advisory' and objsubid = 1 and mode = 'ShareLock' and classid::bigint >> 16 = ${mark}
          and database = (select oid from pg_database where datname = current_database())));
    end $$`)}`

  // What a long transaction records waits here for its end, so that its numbers, once drawn, hold nobody back for long. Only it sees its
  // rows, and none is ever committed.
  yield* sql`create table deferred_changes (
    n bigint generated always as identity constraint deferred_changes_pkey primary key,
    principal text not null,
    request_id text,
    topic text not null,
    action text not null,
    entity text not null,
    entity_id text not null,
    before jsonb,
    after jsonb
  )`
  yield* sql`create function refuse_waiting_change() returns trigger language plpgsql as ${sql.literal(`$$
    begin
      if exists (select from deferred_changes where n = new.n) then raise 'a deferred change would have been lost'; end if;
      return null;
    end $$`)}`
  yield* sql`create constraint trigger deferred_changes_written after insert on deferred_changes deferrable initially deferred
    for each row execute function refuse_waiting_change()`

  yield* sql`drop index changes_feed_index`
  // Places of the old order mean nothing in the new one: a new epoch begins with the next start.
  yield* sql`delete from event_epochs`
  yield* sql`alter table event_epochs drop column first_xact`
})
