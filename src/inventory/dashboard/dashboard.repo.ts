import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, rows } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { lowStockThreshold, Stats, TypeUsage } from "./dashboard.ts"

const { operations30d, operations7d, ...shelfFigures } = Stats.fields
const shelves = rows(Schema.Struct(shelfFigures))
const recent = rows(Schema.Struct({ operations7d, operations30d }))
const partPage = rows(Schema.Struct({ id4: Schema.String, ...PageKey }))
const typePage = rows(Schema.Struct({ ...TypeUsage.fields, ...PageKey }))
const perType = rows(Schema.Struct({ name: Schema.String, parts: Schema.Int }))
const perBox = rows(Schema.Struct({ boxNo: Schema.Int, ratio: Schema.Finite }))

const id4 = sortKey("s.part_id4", "text")
const lowList = { sorts: { total: sortKey("s.total", "bigint") }, defaultSort: "total", id: id4 }

const bare = sortKey("p.id4", "text")
const bareList = { list: "parts-without-documents", sorts: { id4: bare }, defaultSort: "id4", id: bare }

const typeList = {
  list: "inventory-types",
  sorts: { parts: sortKey("(-coalesce(c.parts, 0))", "integer") },
  defaultSort: "parts",
  id: sortKey(`lower(t.name) collate "C"`, "text")
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // A box at a time, each a piece of an index that is in order already: a third of what sorting or hashing all slots takes.
  const usage = sql.literal(`boxes b cross join lateral (
      select count(distinct x.loc_no)::int as occupied from part_locations x where x.box_no = b.box_no) u`)

  const contents = sql.literal(`(
      select p.type_id, count(*)::int as parts, sum(s.total)::float8 as quantity
      from parts p join part_stock s on s.part_id4 = p.id4 group by p.type_id) c`)

  return {
    /** Everything but the bookings. part_stock has a row for every part, and is a tenth as wide. */
    shelves: Effect.map(
      shelves(sql`
        select s.*, b.*, (select count(*)::int from part_types) as types,
          s.parts - (select count(distinct part_id4)::int from documents) as "partsWithoutDocuments"
        from (
          select count(*)::int as parts, coalesce(sum(total), 0)::float8 as "totalQuantity",
            count(*) filter (where total <= coalesce(min_quantity, ${lowStockThreshold}))::int as "lowStock"
          from part_stock) s,
          (select count(*)::int as boxes, coalesce(sum(b.capacity), 0)::int as slots, coalesce(sum(u.occupied), 0)::int as "occupiedSlots"
          from ${usage}) b`),
      ([found]) => found!
    ).pipe(Effect.withSpan("DashboardRepo.shelves")),

    /** From the end of an index on the time, without a look at the rows. */
    recent: Effect.map(
      recent(sql`
        select week.bookings as "operations7d", week.bookings + before.bookings as "operations30d"
        from (select count(*)::int as bookings from stock_operations where at >= now() - interval '168 hours') week,
          (select count(*)::int as bookings from stock_operations
            where at >= now() - interval '720 hours' and at < now() - interval '168 hours') before`),
      ([found]) => found!
    ).pipe(Effect.withSpan("DashboardRepo.recent")),

    /** Parts at or below their own level, and parts without one at or below the threshold; each from its own index, merged. */
    low: Effect.fn("DashboardRepo.low")(function* (threshold: number, params: PageParams) {
      const keyed = yield* keyset(sql, { ...lowList, list: `low-stock ${threshold}` }, params)
      const below = sql`s.total <= s.min_quantity`
      const under = sql`s.min_quantity is null and s.total <= ${threshold}`
      const part = (where: typeof below) =>
        sql`(select s.part_id4, s.total from part_stock s where ${where} and ${keyed.after} ${keyed.order})`
      const found = yield* partPage(sql`
        select s.part_id4 as id4, ${keyed.key} from (${part(below)} union all ${part(under)}) s ${keyed.order}`)
      const total = count(sql`select count(*)::int as count from part_stock s where ${below} or ${under}`)
      return yield* withTotal(keyed.toPage(found), params, total)
    }),

    withoutDocuments: Effect.fn("DashboardRepo.withoutDocuments")(function* (params: PageParams) {
      const keyed = yield* keyset(sql, bareList, params)
      const from = sql`parts p where not exists (select from documents d where d.part_id4 = p.id4)`
      const found = yield* partPage(sql`select p.id4, ${keyed.key} from ${from} and ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from ${from}`))
    }),

    types: Effect.fn("DashboardRepo.types")(function* (params: PageParams) {
      const keyed = yield* keyset(sql, typeList, params)
      const found = yield* typePage(sql`
        select t.id as "typeId", t.name, coalesce(c.parts, 0) as parts, coalesce(c.quantity, 0) as quantity, ${keyed.key}
        from part_types t left join ${contents} on c.type_id = t.id where ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from part_types`))
    }),

    /** The types with most parts; how many parts there are besides is left to the caller. */
    commonTypes: Effect.fn("DashboardRepo.commonTypes")((limit: number) =>
      perType(sql`
        select t.name, c.parts from (select type_id, count(*)::int as parts from parts where type_id is not null group by type_id) c
        join part_types t on t.id = c.type_id order by c.parts desc, t.id limit ${limit}`)
    ),

    boxes: perBox(sql`select b.box_no as "boxNo", u.occupied::float8 / b.capacity as ratio from ${usage}`).pipe(
      Effect.withSpan("DashboardRepo.boxes")
    )
  }
})

export class DashboardRepo extends Context.Service<DashboardRepo, Effect.Success<typeof make>>()("inventory/DashboardRepo") {
  static readonly layer = Layer.effect(DashboardRepo, make)
}
