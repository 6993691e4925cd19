import { randomUUID } from "node:crypto"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, run } from "#platform/db/db.ts"
import type { Consumer } from "#platform/jobs/queue.ts"

const Ids = rows(Schema.Struct({ id: Schema.String }))
const Counted = rows(Schema.Struct({ state: Schema.String, count: Schema.Int }))

interface Options {
  readonly priority?: number
  readonly inMs?: number
  readonly traceContext?: string
}

/** Jobs of a kind that no handler knows, in the transaction around it. */
export const addJobs = (kind: string, count: number, { inMs = 0, priority = 1, traceContext }: Options = {}) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const ids = Array.from({ length: count }, () => randomUUID())
    yield* run(sql`
      insert into jobs (id, kind, payload, priority, run_at, max_attempts, principal, trace_context)
      select id, ${kind}, '{}', ${priority}, now() + ${inMs} * interval '1 millisecond', 3, 'test', ${traceContext ?? null}::text
      from unnest(${ids}::uuid[]) as id`)
    return ids
  })

/** What a worker does with an offer: the most urgent due jobs are its own from now on. */
export const claim = (kinds: ReadonlyArray<string>, limit: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const claimed = yield* Ids(sql`
      update jobs j set state = 'succeeded', claim = claim + 1, started_at = now(), finished_at = now()
      from (
        select id from jobs where state = 'queued' and kind = any(${kinds}::text[]) and run_at <= now()
        order by priority desc, run_at limit ${limit} for update skip locked
      ) due where j.id = due.id returning j.id`)
    return claimed.map(({ id }) => id)
  })

/** Works on whatever is offered until it is interrupted. */
export const work = (consumer: Consumer, kinds: ReadonlyArray<string>, limit = 10) =>
  Effect.gen(function* () {
    const offer = yield* consumer.next({ kinds, limit })
    const claimed = yield* claim(offer.kinds, offer.limit)
    yield* offer.settle(claimed.length)
  }).pipe(Effect.forever)

/** How many jobs are in each state; one that was claimed twice is in none. */
export const states = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const found = yield* Counted(sql`
    select case when claim > 1 then 'claimed ' || claim || ' times' else state end as state, count(*)::int as count from jobs group by 1`)
  return Object.fromEntries(found.map(({ count, state }) => [state, count]))
})
