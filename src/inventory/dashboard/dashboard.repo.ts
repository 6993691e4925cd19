import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, rows } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { defaultThreshold, Stats, TypeUsage } from "./dashboard.ts"

const figures = rows(Stats)
const typePage = rows(Schema.Struct({ ...TypeUsage.fields, ...PageKey }))
const lowPage = rows(Schema.Struct({ id4: Schema.String, level: Schema.Int, ...PageKey }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const low = (threshold: number) => sql`s.total <= coalesce(p.min_quantity, ${threshold}::integer)`

  return {
    stats: Effect.map(
      figures(sql`
        select stock.parts, stock.quantity as "totalQuantity", boxes.boxes, boxes.slots, occupied.slots as "occupiedSlots",
          (select count(*)::int from part_types) as types, recent.week as "operations7d", recent.month as "operations30d", stock.low as "lowStock"
        from (select count(*)::int as parts, coalesce(sum(s.total), 0)::float8 as quantity, (count(*) filter (where ${low(defaultThreshold)}))::int as low
            from part_stock s join parts p on p.id4 = s.part_id4) stock,
          (select count(*)::int as boxes, coalesce(sum(capacity), 0)::int as slots from boxes) boxes,
          (select count(*)::int as slots from locations l
            where exists (select from part_locations x where x.box_no = l.box_no and x.loc_no = l.loc_no)) occupied,
          (select (count(*) filter (where at > now() - interval '7 days'))::int as week, count(*)::int as month
            from stock_operations where at > now() - interval '30 days') recent`),
      ([found]) => found!
    ),

    types: Effect.fn("DashboardRepo.types")(function* (params: PageParams) {
      const page = yield* keyset(
        sql,
        { list: "inventory-types", sorts: { parts: sortKey("u.parts", "bigint") }, defaultSort: "-parts", id: sortKey("u.id", "bigint") },
        params
      )
      const found = yield* typePage(sql`
        select u.id as "typeId", u.name, u.parts, u.quantity, ${page.key} from (
          select t.id, t.name, count(p.id4)::int as parts, coalesce(sum(s.total), 0)::float8 as quantity
          from part_types t left join parts p on p.type_id = t.id left join part_stock s on s.part_id4 = p.id4 group by t.id) u
        where ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from part_types`))
    }),

    low: Effect.fn("DashboardRepo.low")(function* (threshold: number, params: PageParams) {
      const page = yield* keyset(
        sql,
        {
          list: `low-stock ${threshold}`,
          sorts: { totalQuantity: sortKey("s.total", "bigint") },
          defaultSort: "totalQuantity",
          id: sortKey("s.part_id4", "text")
        },
        params
      )
      const from = sql`part_stock s join parts p on p.id4 = s.part_id4`
      const found = yield* lowPage(sql`
        select s.part_id4 as id4, coalesce(p.min_quantity, ${threshold}::integer) as level, ${page.key} from ${from}
        where ${low(threshold)} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from ${from} where ${low(threshold)}`))
    })
  }
})

export class DashboardRepo extends Context.Service<DashboardRepo, Effect.Success<typeof make>>()("inventory/DashboardRepo") {
  static readonly layer = Layer.effect(DashboardRepo, make)
}
