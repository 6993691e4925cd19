import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, run, type Transaction } from "../db/db.ts"
import { Instant } from "../http/text.ts"

const Names = rows(Schema.Struct({ name: Schema.String }))
const Now = rows(Schema.Struct({ now: Instant }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return {
    /** The clock that all replicas share. */
    now: Effect.map(Now(sql`select iso(now()) as now`), ([found]) => new Date(found?.now ?? 0)),

    /**
     * Whether this tick is the first to be taken after all that were before, and by nobody else. Ticks of the future do not count: the
     * clock was wrong then, and would otherwise stop the schedule until it is as late again.
     */
    take: (name: string, tick: Date) =>
      Effect.map(
        Names(sql`
          insert into schedule_runs (name, tick) select ${name}, ${tick.toISOString()}::timestamptz
          where not exists (select from schedule_runs where name = ${name} and tick >= ${tick.toISOString()}::timestamptz and tick <= now())
          on conflict do nothing returning name`),
        ({ length }) => length === 1
      ) as Effect.Effect<boolean, never, Transaction>,

    isKnown: (name: string) =>
      Effect.map(Names(sql`select name from schedule_runs where name = ${name} limit 1`), ({ length }) => length === 1),

    removeOld: run(sql`delete from schedule_runs r where created_at < now() - interval '90 days'
      and exists (select from schedule_runs newer where newer.name = r.name and newer.tick > r.tick)`)
  }
})

export class SchedulesRepo extends Context.Service<SchedulesRepo, Effect.Success<typeof make>>()("platform/SchedulesRepo") {
  static readonly layer = Layer.effect(SchedulesRepo, make)
}
