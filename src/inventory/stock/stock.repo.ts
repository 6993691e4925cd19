import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, type Transaction } from "#platform/db/db.ts"
import type { Slot } from "../boxes/slot.ts"
import { type Content, type Line, now, type Place } from "./ledger.ts"
import { type Kind, Movement } from "./stock.ts"

/** What there is of the slots and parts that were asked for. */
export interface Read {
  readonly slots: ReadonlyArray<Slot>
  readonly stock: ReadonlyArray<Place & Content>
  /** Those of the places asked for that something was ever booked into. */
  readonly emptied: ReadonlyArray<Place>
}

/** An operation about to be written. */
export interface NewOperation {
  readonly id: string
  readonly kind: Kind
  readonly note: string | null
  readonly jobId: string | null
  readonly undoes: string | null
  readonly lines: ReadonlyArray<Line>
}

/** What one transaction writes: its bookings, the content of every place they change, and the sums of their parts. */
export interface Writing {
  readonly principal: string
  readonly operations: ReadonlyArray<NewOperation>
  readonly stock: ReadonlyArray<Place & Content>
  readonly totals: ReadonlyArray<{ readonly id4: string; readonly total: number }>
}

const slot = { boxNo: Schema.Int, locNo: Schema.Int }
const place = { id4: Schema.String, ...slot }
const NewMovement = Schema.Struct({ ...Movement.fields, operationId: Schema.String })

export interface Written {
  readonly at: string
  readonly movements: ReadonlyArray<typeof NewMovement.Type>
}

const locked = rows(Schema.Struct({ id4: Schema.String }))
const found = rows(
  Schema.Union([
    Schema.Struct({ is: Schema.Literal("slot"), ...slot }),
    Schema.Struct({ is: Schema.Literal("stock"), ...place, quantity: Schema.Int, lastCountedAt: Schema.NullOr(Schema.String) }),
    Schema.Struct({ is: Schema.Literal("emptied"), ...place })
  ])
)
const held = rows(Schema.Struct({ ...place, quantity: Schema.Int }))
const written = rows(Schema.Struct({ at: Schema.String, movements: Schema.Array(NewMovement) }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    /** Takes the stock locks of the parts, in the order of their ids; answers those that exist. */
    lockParts: Effect.fn("StockRepo.lockParts")(
      (wanted: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>, never, Transaction> =>
        Effect.map(
          locked(sql`
            select s.part_id4 as id4 from part_stock s where s.part_id4 in (select json_array_elements_text(${JSON.stringify(wanted)}::json))
            order by s.part_id4 for update`),
          (parts) => new Set(parts.map(({ id4 }) => id4))
        )
    ),

    /**
     * Keeps the slots from being removed, in slot order, and reads. Not one statement with `lockParts`: after it waited for its
     * locks, a statement still reads what was there before.
     */
    read: Effect.fn("StockRepo.read")(
      (parts: ReadonlyArray<string>, slots: ReadonlyArray<Slot>, places: ReadonlyArray<Place>): Effect.Effect<Read, never, Transaction> =>
        Effect.map(
          found(sql`
            with kept as (
              select l.box_no, l.loc_no from json_to_recordset(${JSON.stringify(slots)}::json) as n ("boxNo" integer, "locNo" integer)
              join locations l on l.box_no = n."boxNo" and l.loc_no = n."locNo" order by l.box_no, l.loc_no for key share of l)
            select 'slot' as is, null::text as id4, box_no as "boxNo", loc_no as "locNo", null::integer as quantity, null::text as "lastCountedAt"
            from kept
            union all
            select 'stock', part_id4, box_no, loc_no, quantity, iso(last_counted_at) from part_locations
            where part_id4 in (select json_array_elements_text(${JSON.stringify(parts)}::json))
            union all
            select 'emptied', n.id4, n."boxNo", n."locNo", null, null
            from json_to_recordset(${JSON.stringify(places)}::json) as n (id4 text, "boxNo" integer, "locNo" integer)
            where exists (select from stock_movements m where m.part_id4 = n.id4 and m.box_no = n."boxNo" and m.loc_no = n."locNo")`),
          (all) => ({
            slots: all.filter(({ is }) => is === "slot"),
            stock: all.flatMap((row) => (row.is === "stock" ? [row] : [])),
            emptied: all.flatMap((row) => (row.is === "emptied" ? [row] : []))
          })
        )
    ),

    /** Writes bookings and the stock they lead to, all in one statement; answers their time and movements. */
    write: Effect.fn("StockRepo.write")(({ operations, principal, stock, totals }: Writing): Effect.Effect<Written, never, Transaction> => {
      const heads = operations.map(({ lines: _, ...head }) => head)
      const movements = operations.flatMap(({ id, lines }) => lines.map((line) => ({ operation: id, ...line })))
      const left = stock.filter(({ quantity }) => quantity > 0)
      const gone = stock.filter(({ quantity }) => quantity === 0)
      const counted = (at: Content["lastCountedAt"]) => (at === now ? "now" : at === null ? "never" : "before")
      return Effect.map(
        written(sql`
            with moment as materialized (select clock_timestamp() as at),
            operations as (
              insert into stock_operations (id, kind, at, principal, note, job_id, undoes)
              select n.id, n.kind, moment.at, ${principal}, n.note, n."jobId", n.undoes
              from json_to_recordset(${JSON.stringify(heads)}::json) as n (id uuid, kind text, note text, "jobId" uuid, undoes uuid), moment),
            movements as (
              insert into stock_movements (operation_id, part_id4, box_no, loc_no, delta_qty, balance_after, at)
              select n.operation, n.id4, n."boxNo", n."locNo", n.delta, n."balanceAfter", moment.at
              from json_to_recordset(${JSON.stringify(movements)}::json)
                as n (operation uuid, id4 text, "boxNo" integer, "locNo" integer, delta integer, "balanceAfter" integer), moment
              returning id, operation_id, part_id4, box_no, loc_no, delta_qty, balance_after),
            kept as (
              insert into part_locations (part_id4, box_no, loc_no, quantity, last_counted_at)
              select n.id4, n."boxNo", n."locNo", n.quantity, case n.counted when 'now' then moment.at when 'before' then x.last_counted_at end
              from json_to_recordset(${JSON.stringify(left.map(({ lastCountedAt, ...content }) => ({ ...content, counted: counted(lastCountedAt) })))}::json)
                as n (id4 text, "boxNo" integer, "locNo" integer, quantity integer, counted text)
              cross join moment
              left join part_locations x on x.part_id4 = n.id4 and x.box_no = n."boxNo" and x.loc_no = n."locNo"
              on conflict on constraint part_locations_pkey do update
                set quantity = excluded.quantity, last_counted_at = excluded.last_counted_at),
            gone as (
              delete from part_locations x using json_to_recordset(${JSON.stringify(gone)}::json) as n (id4 text, "boxNo" integer, "locNo" integer)
              where x.part_id4 = n.id4 and x.box_no = n."boxNo" and x.loc_no = n."locNo"),
            totals as (
              update part_stock s set total = n.total
              from json_to_recordset(${JSON.stringify(totals)}::json) as n (id4 text, total bigint) where s.part_id4 = n.id4)
            select iso(moment.at) as at, coalesce((select json_agg(json_build_object('id', m.id, 'operationId', m.operation_id,
              'partId4', m.part_id4, 'boxNo', m.box_no, 'locNo', m.loc_no, 'location', m.box_no || '-' || m.loc_no, 'deltaQty', m.delta_qty,
              'balanceAfter', m.balance_after) order by m.id) from movements m), '[]') as movements
            from moment`),
        ([row]) => row!
      )
    }),

    /** The stock of these parts, in no particular order, without a lock. */
    held: Effect.fn("StockRepo.held")((parts: ReadonlyArray<string>) =>
      held(sql`
        select part_id4 as id4, box_no as "boxNo", loc_no as "locNo", quantity from part_locations where part_id4 = any(${parts}::text[])`)
    )
  }
})

export class StockRepo extends Context.Service<StockRepo, Effect.Success<typeof make>>()("inventory/StockRepo") {
  static readonly layer = Layer.effect(StockRepo, make)
}
