import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { channel } from "../changes/announcer.ts"
import { Topic } from "../changes/topic.ts"
import { Db, row, rows, run } from "../db/db.ts"
import type { Event, Position } from "./event.ts"

/** A run of the database, see the migration. `start` lies before all its changes. */
export interface Epoch {
  readonly start: Position
}

/** Some changes in order, as events. */
export interface EventPage {
  readonly events: ReadonlyArray<{ readonly event: Event; readonly position: Position }>
  /** The last place that was looked at; undefined when nothing is there. */
  readonly last: Position | undefined
  /** Seconds since the transaction of the last one began. */
  readonly age: number
  /** Nothing more can be read now. */
  readonly atEnd: boolean
}

const Place = Schema.Struct({ epoch: Schema.String, seq: Schema.Int })
const Found = rows(
  Schema.Struct({
    seq: Schema.Int,
    age: Schema.Number,
    at: Schema.String,
    principal: Schema.String,
    requestId: Schema.NullOr(Schema.String),
    topic: Schema.String,
    action: Schema.String,
    entity: Schema.String,
    id: Schema.String,
    said: Schema.NullOr(Schema.Record(Schema.String, Schema.Json))
  })
)
const isTopic = Schema.is(Topic)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const db = yield* Db

  // Another cluster, another database in it, another history of the same one (a restored backup, a promoted standby).
  const origin = sql`(select system_identifier::text from pg_control_system()) || '/'
    || (select oid::text from pg_database where datname = current_database()) || '/'
    || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)`
  const newest = row(Place)(sql`
    select name as epoch, first_seq::float8 - 1 as seq
    from event_epochs where origin = ${origin} and id = (select max(id) from event_epochs)`)

  const of = ({ start }: Epoch) => sql`c.seq > ${start.seq}::float8::bigint`
  const after = ({ seq }: Position) => sql`c.seq > ${seq}::float8::bigint`

  return {
    /** The present epoch; begins one when the database is not where it was. */
    epoch: db
      .transaction(
        Effect.gen(function* () {
          const known = yield* newest
          if (Option.isSome(known)) return known.value
          yield* run(sql`lock table event_epochs in share row exclusive mode`)
          const begun = yield* newest
          if (Option.isSome(begun)) return begun.value
          yield* run(sql`insert into event_epochs (origin, first_seq) select ${origin}, settled_changes() + 1`)
          return yield* Effect.map(newest, Option.getOrThrow)
        })
      )
      .pipe(Effect.map((start): Epoch => ({ start }))),

    /**
     * Up to here everything is settled: a change with this number or a lower one is committed, and seen by every later statement, or it
     * never will be. Held back by those who record changes and have not ended, not by other transactions.
     */
    settled: row(Schema.Struct({ seq: Schema.Int }))(sql`select settled_changes()::float8 as seq`).pipe(
      Effect.map((found) => Option.getOrThrow(found).seq)
    ),

    /** The newest place of what is settled. */
    latest: (epoch: Epoch, settled: number) =>
      row(Place)(sql`
        select ${epoch.start.epoch} as epoch, c.seq::float8 as seq from changes c
        where ${of(epoch)} and c.seq <= ${settled}::float8::bigint order by c.seq desc limit 1`).pipe(
        Effect.map(Option.getOrElse(() => epoch.start))
      ),

    /** Where a place that a client names lies: there, not reached yet, or with changes after it that are not kept any more. */
    look: ({ seq }: Position, { start }: Epoch) =>
      row(Schema.Struct({ there: Schema.Boolean, future: Schema.Boolean }))(sql`
        select exists (select from changes where seq = ${seq}::float8::bigint) as there,
          ${seq}::float8 > coalesce(pg_sequence_last_value('changes_seq_seq'), 0) as future`).pipe(
        Effect.map(Option.getOrThrow),
        Effect.map(({ future, there }): "there" | "future" | "gone" =>
          seq === start.seq ? "there" : future ? "future" : there ? "there" : "gone"
        )
      ),

    /** What comes after a place, in order, up to a number that is known to be settled. */
    after: (position: Position, epoch: Epoch, upTo: number, limit: number) =>
      Effect.map(
        Found(sql`
          select c.seq::float8 as seq, iso(c.at) as at, c.principal, c.request_id as "requestId", c.topic,
            c.action, c.entity, c.entity_id as id, extract(epoch from clock_timestamp() - c.at)::float8 as age,
            case
              when c.action = 'updated' then jsonb_build_object('changed', (
                select coalesce(jsonb_agg(key order by key), '[]') from (
                  select key from jsonb_each(case jsonb_typeof(c.before) when 'object' then c.before else '{}' end) b
                    full join jsonb_each(case jsonb_typeof(c.after) when 'object' then c.after else '{}' end) a using (key)
                  where a.value is distinct from b.value and key not in ('version', 'updatedAt')) changed))
              when c.action not in ('created', 'deleted') and jsonb_typeof(c.after) = 'object' then c.after
            end as said
          from changes c
          where ${after(position)} and ${of(epoch)} and c.seq <= ${upTo}::float8::bigint
          order by c.seq limit ${limit}`),
        (found): EventPage => {
          const { epoch: name } = epoch.start
          const last = found.at(-1)
          return {
            events: found.flatMap(({ age: _, seq, topic, ...event }) =>
              // Another version of the program may know topics that clients of this one cannot ask for.
              isTopic(topic) ? [{ event: { topic, ...event }, position: { epoch: name, seq } }] : []
            ),
            last: last === undefined ? undefined : { epoch: name, seq: last.seq },
            age: last?.age ?? 0,
            atEnd: found.length < limit
          }
        }
      ),

    /** How many seconds the oldest change waits that is committed and yet not settled; null when none does. */
    held: (epoch: Epoch, settled: number) =>
      row(Schema.Struct({ age: Schema.NullOr(Schema.Number) }))(sql`
        select extract(epoch from clock_timestamp() - min(c.at))::float8 as age from changes c
        where ${of(epoch)} and c.seq > ${settled}::float8::bigint`).pipe(Effect.map((found) => Option.getOrThrow(found).age)),

    notify: (payload: string) => run(sql`select pg_notify(${channel}, ${payload})`)
  }
})

export class EventsRepo extends Context.Service<EventsRepo, Effect.Success<typeof make>>()("platform/EventsRepo") {
  static readonly layer = Layer.effect(EventsRepo, make)
}
