import { Context, Effect, Layer, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, run, type Transaction } from "#platform/db/db.ts"

const attempts = rows(Schema.Struct({ free: Schema.Boolean }))

const growing = "part_types, boxes, locations, parts, part_stock, sellers, seller_links, part_locations, stock_operations, search_documents"

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
    ) as Effect.Effect<unknown, never, Transaction>,

    /**
     * Lets plans be made anew for tables that grow from nothing, faster than autovacuum looks or in a transaction that it cannot see. The
     * checks of foreign keys keep the plan of their first rows: to look through a table that fits one page. Measured on 100,000 new parts.
     */
    analyze: run(sql`analyze (skip_locked) ${sql.literal(growing)}`)
  }
})

export class ImportRepo extends Context.Service<ImportRepo, Effect.Success<typeof make>>()("inventory/ImportRepo") {
  static readonly layer = Layer.effect(ImportRepo, make)
}
