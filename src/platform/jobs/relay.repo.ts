import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { row, rows, run } from "../db/db.ts"
import type { Token } from "./broker.ts"

const Marked = rows(
  Schema.Struct({ id: Schema.String, kind: Schema.String, priority: Schema.Int, traceContext: Schema.NullOr(Schema.String) })
)
const Kinds = rows(Schema.Struct({ kind: Schema.String }))
const Due = row(Schema.Struct({ inMs: Schema.NullOr(Schema.Number) }))
const Ids = rows(Schema.Struct({ id: Schema.String }))

/** At most so many jobs are published by one call of `mark`. */
export const batch = 500

// Without a token a job waits for as long as the broker has others of its kind, and so do all after it.
const mostLost = 10_000

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const unpublished = sql.literal("state = 'queued' and published_at is null")

  return {
    /**
     * Takes due jobs for publishing, the most urgent first, but none of these kinds. From then on no other relay publishes them. A
     * statement of its own: while a row is locked, no worker can claim it.
     */
    mark: (except: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Token>> =>
      Marked(sql`
        update jobs j set published_at = now()
        from (
          select id from jobs where ${unpublished} and run_at <= now() and kind <> all(${except}::text[])
          order by priority desc, run_at limit ${sql.literal(String(batch))} for update skip locked
        ) due where j.id = due.id
        returning j.id, j.kind, j.priority, j.trace_context as "traceContext"`),

    /** What could not be published, or perhaps was not. */
    unmark: (ids: ReadonlyArray<string>) =>
      run(sql`update jobs set published_at = null where id = any(${ids}::uuid[]) and state = 'queued'`),

    /** Milliseconds until the next job has to be published; null when none waits for its time. */
    nextDue: (except: ReadonlyArray<string>) =>
      Effect.map(
        Due(sql`
          select extract(epoch from min(next.run_at) - clock_timestamp())::float8 * 1000 as "inMs"
          from generate_series(0, 2) as level (priority)
          cross join lateral (
            select run_at from jobs where ${unpublished} and priority = level.priority and kind <> all(${except}::text[])
            order by run_at limit 1
          ) next`),
        (found) => (found._tag === "Some" ? found.value.inMs : null)
      ),

    /** The kinds of queued jobs, one probe of the index for each. */
    kinds: Effect.suspend(() =>
      Effect.map(
        Kinds(sql`
          with recursive found as (
            (select kind from jobs where state = 'queued' order by kind limit 1)
            union all
            select (select j.kind from jobs j where j.state = 'queued' and j.kind > found.kind order by j.kind limit 1)
            from found where found.kind is not null
          ) select kind from found where kind is not null`),
        (found) => found.map(({ kind }) => kind)
      )
    ),

    /** Jobs of the kind that are due and were published a while ago are published again. How many. */
    unmarkLost: (kind: string, afterSeconds: number) =>
      Effect.map(
        Ids(sql`
          update jobs j set published_at = null
          from (
            select id from jobs
            where state = 'queued' and kind = ${kind} and run_at <= now() and published_at < now() - ${afterSeconds} * interval '1 second'
            order by priority desc, run_at limit ${sql.literal(String(mostLost))} for update skip locked
          ) lost where j.id = lost.id
          returning j.id`),
        ({ length }) => length
      )
  }
})

export class RelayRepo extends Context.Service<RelayRepo, Effect.Success<typeof make>>()("platform/RelayRepo") {
  static readonly layer = Layer.effect(RelayRepo, make)
}
