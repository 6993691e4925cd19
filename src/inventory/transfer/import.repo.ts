import { Context, Effect, Layer, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, type Transaction } from "#platform/db/db.ts"

const attempts = rows(Schema.Struct({ free: Schema.Boolean }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return {
    /**
     * Waits for the imports of other processes, and keeps them out to the end of the transaction: two that bring the same new part
     * would both make it. Asked again and again, because a statement that waits is stopped after 30 seconds.
     */
    exclusive: attempts(sql`select pg_try_advisory_xact_lock(hashtextextended('inventory-import', 0)) as free`).pipe(
      Effect.repeat({ until: (found) => found[0]?.free === true, schedule: Schedule.spaced("200 millis") }),
      Effect.withSpan("ImportRepo.exclusive")
    ) as Effect.Effect<unknown, never, Transaction>
  }
})

export class ImportRepo extends Context.Service<ImportRepo, Effect.Success<typeof make>>()("inventory/ImportRepo") {
  static readonly layer = Layer.effect(ImportRepo, make)
}
