import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { row, rows } from "#platform/db/db.ts"
import { type Rule, Violation } from "./ledger-check.ts"

const counted = row(Schema.Struct({ operations: Schema.Int, movements: Schema.Int }))
const violations = rows(Schema.Struct({ ...Violation.fields, count: Schema.Int }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // Each over whole tables at once, so that half a million operations take seconds. No row of a slot means a quantity of 0.
  const queries: Record<Rule, Statement.Fragment> = {
    quantity: sql`
      select coalesce(m.part_id4, x.part_id4) as part, coalesce(m.box_no, x.box_no) as box_no, coalesce(m.loc_no, x.loc_no) as loc_no,
        null::uuid as operation, coalesce(m.sum, 0) as expected, coalesce(x.quantity, 0) as found
      from (select part_id4, box_no, loc_no, sum(delta_qty) as sum from stock_movements group by part_id4, box_no, loc_no) m
      full join part_locations x on x.part_id4 = m.part_id4 and x.box_no = m.box_no and x.loc_no = m.loc_no
      where coalesce(m.sum, 0) <> coalesce(x.quantity, 0) or m.sum < 0`,
    balance: sql`
      select part_id4 as part, box_no, loc_no, operation_id as operation, before + delta_qty as expected, balance_after as found
      from (select *, lag(balance_after, 1, 0) over (partition by part_id4, box_no, loc_no order by id) as before from stock_movements) m
      where balance_after <> before + delta_qty or balance_after < 0`,
    transfer: sql`
      select m.part_id4 as part, null::integer as box_no, null::integer as loc_no, o.id as operation, 0 as expected, sum(m.delta_qty) as found
      from stock_operations o join stock_movements m on m.operation_id = o.id where o.kind in ('move', 'reorg')
      group by o.id, m.part_id4 having sum(m.delta_qty) <> 0`,
    undo: sql`
      select part, box_no, loc_no, operation, -original as expected, taken_back as found
      from (
        select u.id as operation, m.part_id4 as part, m.box_no, m.loc_no,
          coalesce(sum(m.delta_qty) filter (where m.operation_id = u.undoes), 0) as original,
          coalesce(sum(m.delta_qty) filter (where m.operation_id = u.id), 0) as taken_back
        from stock_operations u join stock_movements m on m.operation_id in (u.id, u.undoes)
        where u.undoes is not null group by u.id, m.part_id4, m.box_no, m.loc_no) places
      where original + taken_back <> 0
      union all
      select null, null, null, o.id, 1, 0 from stock_operations o where (o.kind = 'undo') <> (o.undoes is not null)`,
    empty: sql`
      select null::text as part, null::integer as box_no, null::integer as loc_no, o.id as operation, 1 as expected, 0 as found
      from stock_operations o
      where o.kind not in ('count', 'import') and not exists (select from stock_movements m where m.operation_id = o.id)`,
    slot: sql`
      select x.part_id4 as part, x.box_no, x.loc_no, null::uuid as operation, 0 as expected, x.quantity as found from part_locations x
      where not exists (select from locations l where l.box_no = x.box_no and l.loc_no = x.loc_no)`,
    total: sql`
      select coalesce(p.id4, s.part_id4, x.part_id4) as part, null::integer as box_no, null::integer as loc_no, null::uuid as operation,
        coalesce(x.sum, 0) as expected, s.total as found
      from parts p full join part_stock s on s.part_id4 = p.id4
      full join (select part_id4, sum(quantity) as sum from part_locations group by part_id4) x on x.part_id4 = coalesce(p.id4, s.part_id4)
      where s.total is distinct from coalesce(x.sum, 0)`
  }

  return {
    size: Effect.map(
      counted(sql`
        select (select count(*) from stock_operations)::float8 as operations, (select count(*) from stock_movements)::float8 as movements`),
      (found) => (found._tag === "Some" ? found.value : { operations: 0, movements: 0 })
    ),

    /** Where the rule is broken: at most so many places, and in how many it is. */
    broken: Effect.fn("LedgerCheckRepo.broken")((rule: Rule, limit: number) =>
      Effect.map(
        violations(sql`
          select part, box_no || '-' || loc_no as location, operation as "operationId", expected::float8 as expected, found::float8 as found,
            (count(*) over ())::int as count
          from (${queries[rule]}) v order by part, box_no, loc_no, operation limit ${limit}`),
        (found) => ({ count: found[0]?.count ?? 0, first: found.map(({ count: _, ...violation }) => violation) })
      )
    )
  }
})

export class LedgerCheckRepo extends Context.Service<LedgerCheckRepo, Effect.Success<typeof make>>()("inventory/LedgerCheckRepo") {
  static readonly layer = Layer.effect(LedgerCheckRepo, make)
}
