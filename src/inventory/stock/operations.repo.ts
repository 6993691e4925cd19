import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, row, rows } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { StockInSlot } from "../parts/part.ts"
import { type HistoryFilter, HistoryItem, Operation, type OperationsFilter } from "./stock.ts"

const one = row(Operation)
const operationPage = rows(Schema.Struct({ ...Operation.fields, ...PageKey }))
const historyPage = rows(Schema.Struct({ ...HistoryItem.fields, ...PageKey }))
const slotPage = rows(Schema.Struct({ ...StockInSlot.fields, ...PageKey }))

// By the time under the part's lock: ids are in no order within a millisecond.
const operationList = {
  list: "operations",
  sorts: { at: sortKey("o.at", "timestamptz") },
  defaultSort: "-at",
  id: sortKey("o.id", "uuid")
}
const movement = sortKey("m.id", "bigint")
const historyList = { list: "history", sorts: { id: movement }, defaultSort: "-id", id: movement }
const slot = sortKey("(x.box_no * 10000 + x.loc_no)", "integer")
const slotList = { list: "part-locations", sorts: { slot }, defaultSort: "slot", id: slot }

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const undoneBy = sql.literal(`(select u.id from stock_operations u where u.undoes = o.id) as "undoneBy"`)
  const columns = sql.literal(`o.id, o.kind, iso(o.at) as at, o.principal, o.note, o.job_id as "jobId", o.undoes,
    coalesce((select json_agg(json_build_object('id', m.id, 'partId4', m.part_id4, 'boxNo', m.box_no, 'locNo', m.loc_no,
      'location', m.box_no || '-' || m.loc_no, 'deltaQty', m.delta_qty, 'balanceAfter', m.balance_after) order by m.id)
      from stock_movements m where m.operation_id = o.id), '[]') as movements`)

  const within = ({ from, kind, to }: HistoryFilter) => [
    ...(kind === undefined ? [] : [sql`o.kind = ${kind}`]),
    ...(from === undefined ? [] : [sql`o.at >= ${from}::timestamptz`]),
    ...(to === undefined ? [] : [sql`o.at < ${to}::timestamptz`])
  ]

  return {
    find: Effect.fn("OperationsRepo.find")((id: string) =>
      one(sql`select ${columns}, ${undoneBy} from stock_operations o where o.id = ${id}::uuid`)
    ),

    list: Effect.fn("OperationsRepo.list")(function* (filter: OperationsFilter, params: PageParams) {
      const { boxNo, id4, principal } = filter
      const page = yield* keyset(sql, operationList, params)
      const where = sql.and([
        sql`true`,
        ...within(filter),
        ...(principal === undefined ? [] : [sql`o.principal = ${principal}`]),
        ...(id4 === undefined ? [] : [sql`o.id in (select m.operation_id from stock_movements m where m.part_id4 = ${id4})`]),
        ...(boxNo === undefined ? [] : [sql`o.id in (select m.operation_id from stock_movements m where m.box_no = ${boxNo})`])
      ])
      const found = yield* operationPage(sql`
        select ${columns}, ${undoneBy}, ${page.key} from stock_operations o where ${where} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from stock_operations o where ${where}`))
    }),

    history: Effect.fn("OperationsRepo.history")(function* (id4: string, filter: HistoryFilter, params: PageParams) {
      const page = yield* keyset(sql, historyList, params)
      const movements = sql`stock_movements m join stock_operations o on o.id = m.operation_id
        where ${sql.and([sql`m.part_id4 = ${id4}`, ...within(filter)])}`
      const found = yield* historyPage(sql`
        select m.operation_id as "operationId", iso(m.at) as at, o.kind, o.principal, o.note, m.box_no || '-' || m.loc_no as location,
          m.delta_qty as "deltaQty", m.balance_after as "balanceAfter", ${undoneBy}, ${page.key}
        from ${movements} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from ${movements}`))
    }),

    locations: Effect.fn("OperationsRepo.locations")(function* (id4: string, params: PageParams) {
      const page = yield* keyset(sql, slotList, params)
      const found = yield* slotPage(sql`
        select x.box_no as "boxNo", x.loc_no as "locNo", x.box_no || '-' || x.loc_no as location, x.quantity,
          iso(x.last_counted_at) as "lastCountedAt", ${page.key}
        from part_locations x where x.part_id4 = ${id4} and ${page.after} ${page.order}`)
      return yield* withTotal(
        page.toPage(found),
        params,
        count(sql`select count(*)::int as count from part_locations where part_id4 = ${id4}`)
      )
    })
  }
})

export class OperationsRepo extends Context.Service<OperationsRepo, Effect.Success<typeof make>>()("inventory/OperationsRepo") {
  static readonly layer = Layer.effect(OperationsRepo, make)
}
