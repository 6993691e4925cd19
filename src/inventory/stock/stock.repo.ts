import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, row, rows, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import type { Slot } from "../boxes/slot.ts"
import { StockInSlot } from "../parts/part.ts"
import type { Line } from "./ledger.ts"
import { HistoryItem, type Kind, Movement, Operation, type OperationsFilter } from "./stock.ts"

/** An operation about to be written. */
export interface NewOperation {
  readonly id: string
  readonly kind: Kind
  readonly note: string | null
  readonly undoes: string | null
  readonly lines: ReadonlyArray<Line>
}

export interface Held {
  readonly id4: string
  readonly boxNo: number
  readonly locNo: number
  readonly quantity: number
  readonly lastCountedAt: string | null
}

const LockedSlots = rows(Schema.Struct({ boxNo: Schema.Int, locNo: Schema.Int, quantity: Schema.NullOr(Schema.Int), id4: Schema.NullOr(Schema.String), lastCountedAt: Schema.NullOr(Schema.String) }))
const Held = rows(Schema.Struct({ id4: Schema.String, boxNo: Schema.Int, locNo: Schema.Int, quantity: Schema.Int }))
const ids = rows(Schema.Struct({ id4: Schema.String }))
const Written = rows(Schema.Struct({ at: Schema.String, movements: Schema.Array(Schema.Struct({ ...Movement.fields, operationId: Schema.String })) }))
const one = row(Operation)
const operationPage = rows(Schema.Struct({ ...Operation.fields, ...PageKey }))
const historyPage = rows(Schema.Struct({ ...HistoryItem.fields, ...PageKey }))
const slotPage = rows(Schema.Struct({ ...StockInSlot.fields, ...PageKey }))
const found = rows(Schema.Struct({ yes: Schema.Boolean }))

const placeOf = ({ boxNo, id4, locNo }: { readonly id4: string } & Slot) => `${id4} ${boxNo}-${locNo}`

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const operationColumns = sql.literal(`o.id, o.kind, iso(o.at) as at, o.principal, o.note, o.undoes,
    (select u.id from stock_operations u where u.undoes = o.id) as "undoneBy",
    coalesce((select json_agg(json_build_object('id', m.id, 'partId4', m.part_id4, 'boxNo', m.box_no, 'locNo', m.loc_no,
      'location', m.box_no || '-' || m.loc_no, 'deltaQty', m.delta_qty, 'balanceAfter', m.balance_after) order by m.id)
      from stock_movements m where m.operation_id = o.id), '[]') as movements`)

  const operationsWhere = (filter: OperationsFilter) => {
    const conditions = [sql`true`]
    if (filter.kind !== undefined) conditions.push(sql`o.kind = ${filter.kind}`)
    if (filter.principal !== undefined) conditions.push(sql`o.principal = ${filter.principal}`)
    if (filter.id4 !== undefined) conditions.push(sql`o.id in (select m.operation_id from stock_movements m where m.part_id4 = ${filter.id4})`)
    if (filter.boxNo !== undefined) conditions.push(sql`o.id in (select m.operation_id from stock_movements m where m.box_no = ${filter.boxNo})`)
    if (filter.from !== undefined) conditions.push(sql`o.at >= ${filter.from}::timestamptz`)
    if (filter.to !== undefined) conditions.push(sql`o.at < ${filter.to}::timestamptz`)
    return sql.and(conditions)
  }

  return {
    /** Takes the stock locks of the parts, in the order of their ids; answers those that exist. */
    lockParts: Effect.fn("StockRepo.lockParts")((wanted: ReadonlyArray<string>) =>
      Effect.map(
        ids(sql`select part_id4 as id4 from part_stock where part_id4 = any(${wanted}::text[]) order by part_id4 for update`),
        (locked) => new Set(locked.map(({ id4 }) => id4))
      )
    ) as (wanted: ReadonlyArray<string>) => Effect.Effect<ReadonlySet<string>, never, Transaction>,

    /**
     * Keeps the slots from being removed, in slot order, and reads the parts' stock. One statement: the parts' locks are held
     * already, so nothing in their stock can change any more.
     */
    lockSlots: Effect.fn("StockRepo.lockSlots")(function* (slots: ReadonlyArray<Slot>, parts: ReadonlyArray<string>) {
      const read = yield* LockedSlots(sql`
        with held as (
          select l.box_no, l.loc_no from locations l
          where (l.box_no, l.loc_no) in (select * from unnest(${slots.map(({ boxNo }) => boxNo)}::integer[], ${slots.map(({ locNo }) => locNo)}::integer[]))
          order by l.box_no, l.loc_no for key share)
        select box_no as "boxNo", loc_no as "locNo", null::integer as quantity, null::text as id4, null::text as "lastCountedAt" from held
        union all
        select box_no, loc_no, quantity, part_id4, iso(last_counted_at) from part_locations where part_id4 = any(${parts}::text[])`)
      return {
        slots: read.filter(({ id4 }) => id4 === null).map(({ boxNo, locNo }): Slot => ({ boxNo, locNo })),
        stock: read.filter((entry): entry is Held => entry.id4 !== null)
      }
    }) as (
      slots: ReadonlyArray<Slot>,
      parts: ReadonlyArray<string>
    ) => Effect.Effect<{ readonly slots: ReadonlyArray<Slot>; readonly stock: ReadonlyArray<Held> }, never, Transaction>,

    /** The stock of these parts, in no particular order. */
    held: Effect.fn("StockRepo.held")((parts: ReadonlyArray<string>) =>
      Held(sql`
        select part_id4 as id4, box_no as "boxNo", loc_no as "locNo", quantity from part_locations where part_id4 = any(${parts}::text[])`)
    ),

    everHeld: Effect.fn("StockRepo.everHeld")((id4: string, { boxNo, locNo }: Slot) =>
      Effect.map(
        found(sql`select exists (select from stock_movements where part_id4 = ${id4} and box_no = ${boxNo} and loc_no = ${locNo}) as yes`),
        ([answer]) => answer?.yes === true
      )
    ),

    /**
     * Writes bookings and the stock they lead to, in one statement; answers their time and movements.
     * `stock` holds the new quantity of every slot that changed, 0 for a slot that is used up; `totals` the parts' sums.
     */
    write: Effect.fn("StockRepo.write")(function* (input: {
      readonly operations: ReadonlyArray<NewOperation>
      readonly stock: ReadonlyArray<{ readonly id4: string; readonly boxNo: number; readonly locNo: number; readonly quantity: number }>
      readonly counted: ReadonlyArray<{ readonly id4: string } & Slot>
      readonly totals: ReadonlyArray<{ readonly id4: string; readonly total: number }>
      readonly principal: string
    }) {
      const movements = input.operations.flatMap(({ id, lines }) => lines.map((line) => ({ operation: id, ...line })))
      const counted = new Set(input.counted.map(placeOf))
      const changed = new Set(input.stock.map(placeOf))
      const kept = input.stock.filter(({ quantity }) => quantity > 0)
      const gone = input.stock.filter(({ quantity }) => quantity === 0)
      const json = (value: unknown) => JSON.stringify(value)
      const [written] = yield* Written(sql`
        with moment as materialized (select clock_timestamp() as at),
        operations as (
          insert into stock_operations (id, kind, at, principal, note, undoes)
          select n.id, n.kind, moment.at, ${input.principal}, n.note, n.undoes
          from json_to_recordset(${json(input.operations.map(({ lines: _, ...operation }) => operation))}::json) as n (id uuid, kind text, note text, undoes uuid), moment),
        movements as (
          insert into stock_movements (operation_id, part_id4, box_no, loc_no, delta_qty, balance_after, at)
          select n.operation, n.id4, n."boxNo", n."locNo", n.delta, n."balanceAfter", moment.at
          from json_to_recordset(${json(movements)}::json)
            as n (operation uuid, id4 text, "boxNo" integer, "locNo" integer, delta integer, "balanceAfter" integer), moment
          returning id, operation_id, part_id4, box_no, loc_no, delta_qty, balance_after),
        kept as (
          insert into part_locations as x (part_id4, box_no, loc_no, quantity, last_counted_at)
          select n.id4, n."boxNo", n."locNo", n.quantity, case when n.counted then moment.at end
          from json_to_recordset(${json(kept.map((slot) => ({ ...slot, counted: counted.has(placeOf(slot)) })))}::json)
            as n (id4 text, "boxNo" integer, "locNo" integer, quantity integer, counted boolean), moment
          on conflict on constraint part_locations_pkey do update
            set quantity = excluded.quantity, last_counted_at = coalesce(excluded.last_counted_at, x.last_counted_at)),
        counted as (
          update part_locations x set last_counted_at = moment.at
          from json_to_recordset(${json(input.counted.filter((slot) => !changed.has(placeOf(slot))))}::json)
            as n (id4 text, "boxNo" integer, "locNo" integer), moment
          where x.part_id4 = n.id4 and x.box_no = n."boxNo" and x.loc_no = n."locNo"),
        gone as (
          delete from part_locations x using json_to_recordset(${json(gone)}::json) as n (id4 text, "boxNo" integer, "locNo" integer)
          where x.part_id4 = n.id4 and x.box_no = n."boxNo" and x.loc_no = n."locNo"),
        totals as (
          update part_stock s set total = n.total
          from json_to_recordset(${json(input.totals)}::json) as n (id4 text, total bigint) where s.part_id4 = n.id4)
        select iso(moment.at) as at, coalesce((select json_agg(json_build_object('id', m.id, 'operationId', m.operation_id, 'partId4', m.part_id4,
          'boxNo', m.box_no, 'locNo', m.loc_no, 'location', m.box_no || '-' || m.loc_no, 'deltaQty', m.delta_qty,
          'balanceAfter', m.balance_after) order by m.id) from movements m), '[]') as movements
        from moment`)
      return written!
    }) as (input: {
      readonly operations: ReadonlyArray<NewOperation>
      readonly stock: ReadonlyArray<{ readonly id4: string; readonly boxNo: number; readonly locNo: number; readonly quantity: number }>
      readonly counted: ReadonlyArray<{ readonly id4: string } & Slot>
      readonly totals: ReadonlyArray<{ readonly id4: string; readonly total: number }>
      readonly principal: string
    }) => Effect.Effect<{ readonly at: string; readonly movements: ReadonlyArray<Movement & { readonly operationId: string }> }, never, Transaction>,

    find: Effect.fn("StockRepo.find")((id: string) => one(sql`select ${operationColumns} from stock_operations o where o.id = ${id.toLowerCase()}::uuid`)),

    operations: Effect.fn("StockRepo.operations")(function* (filter: OperationsFilter, params: PageParams) {
      const id = sortKey("o.id", "uuid")
      const page = yield* keyset(sql, { list: "operations", sorts: { id }, defaultSort: "-id", id }, params)
      const where = operationsWhere(filter)
      const all = yield* operationPage(sql`select ${operationColumns}, ${page.key} from stock_operations o where ${where} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(all), params, count(sql`select count(*)::int as count from stock_operations o where ${where}`))
    }),

    history: Effect.fn("StockRepo.history")(function* (id4: string, filter: OperationsFilter, params: PageParams) {
      const id = sortKey("m.id", "bigint")
      const page = yield* keyset(sql, { list: "history", sorts: { id }, defaultSort: "-id", id }, params)
      const where = sql`m.part_id4 = ${id4} and ${operationsWhere({ ...filter, id4: undefined, boxNo: undefined })}`
      const all = yield* historyPage(sql`
        select m.operation_id as "operationId", iso(m.at) as at, o.kind, o.principal, o.note, m.box_no || '-' || m.loc_no as location,
          m.delta_qty as "deltaQty", m.balance_after as "balanceAfter",
          (select u.id from stock_operations u where u.undoes = o.id) as "undoneBy", ${page.key}
        from stock_movements m join stock_operations o on o.id = m.operation_id where ${where} and ${page.after} ${page.order}`)
      return yield* withTotal(
        page.toPage(all),
        params,
        count(sql`select count(*)::int as count from stock_movements m join stock_operations o on o.id = m.operation_id where ${where}`)
      )
    }),

    locations: Effect.fn("StockRepo.locations")(function* (id4: string, params: PageParams) {
      const slot = sortKey("(x.box_no * 10000 + x.loc_no)", "bigint")
      const page = yield* keyset(sql, { list: "part-locations", sorts: { slot }, defaultSort: "slot", id: slot }, params)
      const all = yield* slotPage(sql`
        select x.box_no as "boxNo", x.loc_no as "locNo", x.box_no || '-' || x.loc_no as location, x.quantity,
          iso(x.last_counted_at) as "lastCountedAt", ${page.key}
        from part_locations x where x.part_id4 = ${id4} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(all), params, count(sql`select count(*)::int as count from part_locations where part_id4 = ${id4}`))
    })
  }
})

export class StockRepo extends Context.Service<StockRepo, Effect.Success<typeof make>>()("inventory/StockRepo") {
  static readonly layer = Layer.effect(StockRepo, make)
}

