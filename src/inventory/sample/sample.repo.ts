import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, run, type Transaction } from "#platform/db/db.ts"
import type { SampleOperation, SampleStock } from "./sample.ts"

const answers = rows(Schema.Struct({ yes: Schema.Boolean }))
const labels = rows(Schema.Struct({ id4: Schema.String }))

const instant = (at: number) => new Date(at).toISOString()

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    /** One sample at a time. */
    lock: run(sql`select pg_advisory_xact_lock(hashtextextended('inventory-sample', 0))`) as Effect.Effect<void, never, Transaction>,

    isEmpty: Effect.map(
      answers(
        sql`select not exists (select from parts) and not exists (select from boxes) and not exists (select from stock_operations) as yes`
      ),
      ([answer]) => answer?.yes === true
    ),

    /** Every label that is or was in use. */
    labels: Effect.map(
      labels(sql`select id4 from parts union all select id4 from retired_parts`),
      (found) => new Set(found.map(({ id4 }) => id4))
    ),

    /** As if the parts had come in at these times. */
    backdate: Effect.fn("SampleRepo.backdate")(
      (parts: ReadonlyArray<{ readonly id4: string; readonly createdAt: number }>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          update parts p set created_at = n.at, updated_at = n.at
          from unnest(${parts.map(({ id4 }) => id4)}::text[], ${parts.map(({ createdAt }) => instant(createdAt))}::timestamptz[]) as n (id4, at)
          where p.id4 = n.id4`)
    ),

    /** Bookings of the past, without what they do to the stock. `idOf` gives the label of a part's number. */
    insertOperations: Effect.fn("SampleRepo.insertOperations")(function* (
      operations: ReadonlyArray<SampleOperation>,
      principal: string,
      idOf: (part: number) => string
    ) {
      // Empty texts for what is absent: an array of nulls alone has no type.
      const column = <A>(of: (operation: SampleOperation) => A) => operations.map(of)
      yield* run(sql`
        insert into stock_operations (id, kind, at, principal, note, undoes, created_at)
        select n.id, n.kind, n.at, ${principal}, nullif(n.note, ''), nullif(n.undoes, '')::uuid, n.at
        from unnest(${column(({ id }) => id)}::uuid[], ${column(({ kind }) => kind)}::text[], ${column(({ at }) => instant(at))}::timestamptz[],
          ${column(({ note }) => note ?? "")}::text[], ${column(({ undoes }) => undoes ?? "")}::text[]) as n (id, kind, at, note, undoes)`)
      const lines = operations.flatMap(({ at, id, lines }) => lines.map((line) => ({ ...line, at, id })))
      yield* run(sql`
        insert into stock_movements (operation_id, part_id4, box_no, loc_no, delta_qty, balance_after, at)
        select n.id, n.part, n.box, n.loc, n.delta, n.balance, n.at
        from unnest(${lines.map(({ id }) => id)}::uuid[], ${lines.map(({ part }) => idOf(part))}::text[],
          ${lines.map(({ boxNo }) => boxNo)}::integer[], ${lines.map(({ locNo }) => locNo)}::integer[],
          ${lines.map(({ delta }) => delta)}::integer[], ${lines.map(({ balanceAfter }) => balanceAfter)}::integer[],
          ${lines.map(({ at }) => instant(at))}::timestamptz[]) with ordinality as n (id, part, box, loc, delta, balance, at, position)
        order by n.position`)
    }) as (
      operations: ReadonlyArray<SampleOperation>,
      principal: string,
      idOf: (part: number) => string
    ) => Effect.Effect<void, never, Transaction>,

    /** What the bookings lead to. The parts had no stock before. */
    insertStock: Effect.fn("SampleRepo.insertStock")(function* (stock: ReadonlyArray<SampleStock>, idOf: (part: number) => string) {
      const ids = stock.map(({ part }) => idOf(part))
      const quantities = stock.map(({ quantity }) => quantity)
      yield* run(sql`
        insert into part_locations (part_id4, box_no, loc_no, quantity, last_counted_at)
        select n.part, n.box, n.loc, n.quantity, nullif(n.counted, '')::timestamptz
        from unnest(${ids}::text[], ${stock.map(({ boxNo }) => boxNo)}::integer[], ${stock.map(({ locNo }) => locNo)}::integer[],
          ${quantities}::integer[], ${stock.map(({ countedAt }) => (countedAt === null ? "" : instant(countedAt)))}::text[]) as n (part, box, loc, quantity, counted)`)
      yield* run(sql`
        update part_stock s set total = s.total + n.total
        from (select x.part, sum(x.quantity) as total from unnest(${ids}::text[], ${quantities}::bigint[]) as x (part, quantity) group by 1) n
        where s.part_id4 = n.part`)
    }) as (stock: ReadonlyArray<SampleStock>, idOf: (part: number) => string) => Effect.Effect<void, never, Transaction>,

    /** Leaves the tables as they are after some days of use: dead rows gone, statistics taken. Not inside a transaction. */
    settle: Effect.forEach(
      [
        "parts",
        "part_tags",
        "part_stock",
        "part_locations",
        "locations",
        "stock_operations",
        "stock_movements",
        "seller_links",
        "seller_part_numbers",
        "search_documents",
        "search_words"
      ],
      (table) => run(sql`vacuum (analyze) ${sql(table)}`),
      { discard: true }
    )
  }
})

export class SampleRepo extends Context.Service<SampleRepo, Effect.Success<typeof make>>()("inventory/SampleRepo") {
  static readonly layer = Layer.effect(SampleRepo, make)
}
