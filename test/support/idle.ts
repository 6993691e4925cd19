import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql"

/** Waits until every job of the inventory that was asked for has ended. */
export const idle = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [open] = yield* sql<{ readonly jobs: number }>`
    select count(*)::int as jobs from jobs where kind like 'inventory.%' and state in ('queued', 'running')`
  return open?.jobs ?? 0
}).pipe(Effect.repeat({ until: (jobs) => jobs === 0, schedule: Schedule.spaced("10 millis") }), Effect.orDie, Effect.asVoid)
