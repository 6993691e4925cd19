import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { row, run } from "../db/db.ts"

/** What a call may cost at most, counted as spent until it is settled. */
export interface Reservation {
  readonly month: string
  readonly nanoUsd: number
}

const Reserved = row(Schema.Struct({ month: Schema.String }))
const Spent = row(Schema.Struct({ nanoUsd: Schema.Finite }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // The clock that all replicas share.
  const month = sql.literal("date_trunc('month', now() at time zone 'UTC')::date")

  return {
    /** None when the budget does not allow it. One statement, so that the row it changes serialises all who ask. */
    reserve: Effect.fn("SpendingRepo.reserve")((nanoUsd: number, budget: number | null): Effect.Effect<Option.Option<Reservation>> => {
      const most = budget ?? Number.MAX_SAFE_INTEGER
      return Effect.map(
        Reserved(sql`
          insert into ai_spending as spent (month, nano_usd)
          select ${month}, ${nanoUsd}::bigint where ${most}::bigint > 0 and ${nanoUsd}::bigint <= ${most}::bigint
          on conflict (month) do update set nano_usd = spent.nano_usd + excluded.nano_usd
          where spent.nano_usd + excluded.nano_usd <= ${most}::bigint
          returning month`),
        Option.map(({ month }) => ({ month, nanoUsd }))
      )
    }),

    /** Not to be repeated. A cost above what was reserved counts in full. */
    settle: Effect.fn("SpendingRepo.settle")((reservation: Reservation, nanoUsd: number) =>
      run(sql`
        update ai_spending set nano_usd = greatest(0, nano_usd - ${reservation.nanoUsd}::bigint + ${nanoUsd}::bigint)
        where month = ${reservation.month}::date`)
    ),

    /** In this month. */
    spent: Effect.map(Spent(sql`select nano_usd::float8 as "nanoUsd" from ai_spending where month = ${month}`), (found) =>
      Option.match(found, { onNone: () => 0, onSome: ({ nanoUsd }) => nanoUsd })
    )
  }
})

export class SpendingRepo extends Context.Service<SpendingRepo, Effect.Success<typeof make>>()("platform/SpendingRepo") {
  static readonly layer = Layer.effect(SpendingRepo, make)
}
