import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { Box, BoxContent } from "./box.ts"

const one = row(Box)
const page = rows(Schema.Struct({ ...Box.fields, ...PageKey }))
const number = row(Schema.Struct({ boxNo: Schema.NullOr(Schema.Int) }))
const several = rows(Box)
const capacities = rows(Schema.Struct({ boxNo: Schema.Int, capacity: Schema.Int }))
const slotNumbers = rows(Schema.Struct({ locNo: Schema.Int }))
const typeIds = rows(Schema.Struct({ id: Schema.Int }))
const contents = rows(BoxContent)

const boxNo = sortKey("b.box_no", "integer")
const list = {
  list: "boxes",
  sorts: { boxNo, description: sortKey(`lower(b.description) collate "C"`, "text") },
  defaultSort: "boxNo",
  id: boxNo
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const columns = sql.literal(`b.box_no as "boxNo", b.description, b.capacity, d.ids as "designatedTypeIds", d.types as "designatedTypes",
    b.capacity as "totalSlots", u.occupied as "occupiedSlots", b.capacity - u.occupied as "freeSlots",
    round(100.0 * u.occupied / b.capacity, 2)::float8 as "usagePercent",
    iso(b.created_at) as "createdAt", iso(b.updated_at) as "updatedAt", b.version::float8 as version`)
  const derived = sql.literal(`
    cross join lateral (select count(distinct s.loc_no)::int as occupied from part_locations s where s.box_no = b.box_no) u
    cross join lateral (
      select coalesce(array_agg(t.id order by t.id), '{}') as ids,
        coalesce(json_agg(json_build_object('id', t.id, 'name', t.name) order by t.id), '[]') as types
      from box_designated_types d join part_types t on t.id = d.type_id where d.box_no = b.box_no) d`)

  const find = (wanted: number) => one(sql`select ${columns} from boxes b ${derived} where b.box_no = ${wanted}`)

  return {
    find: Effect.fn("BoxesRepo.find")((wanted: number): Effect.Effect<Option.Option<Box>> => find(wanted)),

    /** Holds the row to the end of the transaction. */
    lock: Effect.fn("BoxesRepo.lock")(
      (wanted: number): Effect.Effect<Option.Option<Box>, never, Transaction> =>
        Effect.andThen(run(sql`select 1 from boxes where box_no = ${wanted} for update`), find(wanted))
    ),

    list: Effect.fn("BoxesRepo.list")(function* (params: PageParams & { readonly sort?: string | undefined }) {
      const keyed = yield* keyset(sql, list, params)
      // The page first: usage is counted for its boxes only.
      const found = yield* page(sql`
        with page as (select b.*, ${keyed.key} from boxes b where ${keyed.after} ${keyed.order})
        select ${columns}, b."pageKey" from page b ${derived} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from boxes`))
    }),

    /** Numbers are given out one transaction after the other, so that parallel creations never want the same one. */
    lockNumbers: run(sql`select pg_advisory_xact_lock(hashtextextended('box-numbers', 0))`) as Effect.Effect<void, never, Transaction>,

    /** One above the highest number ever used; the lowest never used one when that is too high; null when there is none. */
    nextNumber: number(sql`
      select case when coalesce(max(box_no), 0) < 99999 then coalesce(max(box_no), 0) + 1
        when count(*) < 99999 then (
          select n from generate_series(1, 99999) n where not exists (select from box_numbers u where u.box_no = n) order by n limit 1
        ) end as "boxNo" from box_numbers`),

    /** Marks the number as used for ever; false when it was used before. */
    useNumber: Effect.fn("BoxesRepo.useNumber")(
      (wanted: number): Effect.Effect<boolean, never, Transaction> =>
        Effect.map(
          number(sql`insert into box_numbers (box_no) values (${wanted}) on conflict do nothing returning box_no as "boxNo"`),
          (used) => used._tag === "Some"
        )
    ),

    insert: Effect.fn("BoxesRepo.insert")(
      (box: { readonly boxNo: number; readonly description: string; readonly capacity: number }): Effect.Effect<void, never, Transaction> =>
        run(sql`insert into boxes ${sql.insert({ box_no: box.boxNo, description: box.description, capacity: box.capacity })}`)
    ),

    /** Makes the boxes whose numbers were never used, with their slots, and answers them. */
    insertUnused: Effect.fn("BoxesRepo.insertUnused")(function* (
      boxes: ReadonlyArray<{ readonly boxNo: number; readonly description: string; readonly capacity: number }>
    ) {
      const made = yield* capacities(sql`
        with used as (
          insert into box_numbers (box_no) select n."boxNo" from json_to_recordset(${JSON.stringify(boxes)}::json) as n ("boxNo" integer)
          order by 1 on conflict do nothing returning box_no),
        made as (
          insert into boxes (box_no, description, capacity)
          select n."boxNo", n.description, n.capacity
          from json_to_recordset(${JSON.stringify(boxes)}::json) as n ("boxNo" integer, description text, capacity integer)
          join used on used.box_no = n."boxNo" returning box_no, capacity),
        slots as (insert into locations (box_no, loc_no) select made.box_no, n from made, generate_series(1, made.capacity) n)
        select box_no as "boxNo", capacity from made`)
      return yield* several(
        sql`select ${columns} from boxes b ${derived} where b.box_no = any(${made.map((box) => box.boxNo)}::int[]) order by b.box_no`
      )
    }) as (
      boxes: ReadonlyArray<{ readonly boxNo: number; readonly description: string; readonly capacity: number }>
    ) => Effect.Effect<ReadonlyArray<Box>, never, Transaction>,

    /** How many slots the boxes have; those that do not exist are left out. */
    capacities: Effect.fn("BoxesRepo.capacities")((wanted: ReadonlyArray<number>) =>
      Effect.map(
        capacities(sql`select box_no as "boxNo", capacity from boxes where box_no = any(${wanted}::int[])`),
        (found) => new Map(found.map((box) => [box.boxNo, box.capacity]))
      )
    ),

    update: Effect.fn("BoxesRepo.update")(
      (box: { readonly boxNo: number; readonly description: string; readonly capacity: number }): Effect.Effect<void, never, Transaction> =>
        run(sql`
          update boxes set ${sql.update({ description: box.description, capacity: box.capacity })}, version = version + 1, updated_at = now()
          where box_no = ${box.boxNo}`)
    ),

    remove: Effect.fn("BoxesRepo.remove")(
      (wanted: number): Effect.Effect<void, never, Transaction> => run(sql`delete from boxes where box_no = ${wanted}`)
    ),

    /** Adds the slots that the box lacks up to this one. */
    addSlots: Effect.fn("BoxesRepo.addSlots")(
      (wanted: number, upTo: number): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into locations (box_no, loc_no) select ${wanted}::int, n from generate_series(1, ${upTo}) n
          on conflict do nothing`)
    ),

    /** Holds the slots above this one. Whoever puts stock shares its slot's row, so from now on nothing comes into them. */
    lockSlots: Effect.fn("BoxesRepo.lockSlots")(
      (wanted: number, above: number): Effect.Effect<void, never, Transaction> =>
        run(sql`select 1 from locations where box_no = ${wanted} and loc_no > ${above} order by box_no, loc_no for update`)
    ),

    removeSlots: Effect.fn("BoxesRepo.removeSlots")(
      (wanted: number, above: number): Effect.Effect<void, never, Transaction> =>
        run(sql`delete from locations where box_no = ${wanted} and loc_no > ${above}`)
    ),

    /** The numbers of the slots above this one that hold stock. */
    occupied: Effect.fn("BoxesRepo.occupied")((wanted: number, above: number) =>
      Effect.map(
        slotNumbers(sql`
          select distinct loc_no as "locNo" from part_locations where box_no = ${wanted} and loc_no > ${above} order by loc_no`),
        (found) => found.map(({ locNo }) => locNo)
      )
    ),

    /** What lies in the box, in slot order. */
    contents: Effect.fn("BoxesRepo.contents")((wanted: number, limit: number) =>
      contents(sql`
        select s.box_no as "boxNo", s.loc_no as "locNo", s.box_no || '-' || s.loc_no as location, s.part_id4 as id4, p.description, s.quantity
        from part_locations s join parts p on p.id4 = s.part_id4
        where s.box_no = ${wanted} order by s.loc_no, s.part_id4 limit ${limit}`)
    ),

    /** Those of the types that exist; they do so to the end of the transaction. */
    holdTypes: Effect.fn("BoxesRepo.holdTypes")(
      (ids: ReadonlyArray<number>): Effect.Effect<ReadonlySet<number>, never, Transaction> =>
        Effect.map(
          typeIds(sql`select id from part_types where id = any(${ids}::int[]) order by id for key share`),
          (found) => new Set(found.map(({ id }) => id))
        )
    ),

    designate: Effect.fn("BoxesRepo.designate")(
      (wanted: number, ids: ReadonlyArray<number>): Effect.Effect<void, never, Transaction> =>
        Effect.andThen(
          run(sql`delete from box_designated_types where box_no = ${wanted} and type_id <> all(${ids}::int[])`),
          run(sql`
            insert into box_designated_types (box_no, type_id) select ${wanted}::int, unnest(${ids}::int[])
            on conflict do nothing`)
        )
    )
  }
})

export class BoxesRepo extends Context.Service<BoxesRepo, Effect.Success<typeof make>>()("inventory/BoxesRepo") {
  static readonly layer = Layer.effect(BoxesRepo, make)
}
