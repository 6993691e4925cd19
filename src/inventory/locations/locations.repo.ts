import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, row, rows } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import type { Slot } from "../boxes/slot.ts"
import { Location, type LocationsFilter } from "./location.ts"
import { reasons, Suggestion, type ToPutAway } from "./suggestion.ts"

const one = row(Location)
const page = rows(Schema.Struct({ ...Location.fields, ...PageKey }))
const suggestions = rows(Suggestion)
const partType = row(Schema.Struct({ typeId: Schema.NullOr(Schema.Int) }))

const slotOrder = {
  sorts: { slot: sortKey("l.box_no", "integer") },
  defaultSort: "slot",
  id: sortKey("l.loc_no", "integer")
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const columns = sql.literal(`l.box_no as "boxNo", l.loc_no as "locNo", l.box_no || '-' || l.loc_no as location,
    coalesce((
      select json_agg(json_build_object('id4', p.id4, 'description', p.description, 'manufacturerCode', p.manufacturer_code,
        'type', case when t.id is not null then json_build_object('id', t.id, 'name', t.name) end,
        'quantity', s.quantity, 'lastCountedAt', iso(s.last_counted_at)) order by p.id4)
      from part_locations s join parts p on p.id4 = s.part_id4 left join part_types t on t.id = p.type_id
      where s.box_no = l.box_no and s.loc_no = l.loc_no
    ), '[]') as parts`)

  const isOccupied = sql.literal("exists (select from part_locations s where s.box_no = l.box_no and s.loc_no = l.loc_no)")

  return {
    find: Effect.fn("LocationsRepo.find")(
      ({ boxNo, locNo }: Slot): Effect.Effect<Option.Option<Location>> =>
        one(sql`select ${columns} from locations l where l.box_no = ${boxNo} and l.loc_no = ${locNo}`)
    ),

    /** In slot order. `list` names the list in its cursors. */
    list: Effect.fn("LocationsRepo.list")(function* (name: string, filter: LocationsFilter, params: PageParams) {
      const keyed = yield* keyset(sql, { list: name, ...slotOrder }, params)
      const where = sql.and([
        sql`true`,
        ...(filter.boxNo === undefined ? [] : [sql`l.box_no = ${filter.boxNo}`]),
        ...(filter.free === undefined ? [] : [filter.free ? sql`not ${isOccupied}` : sql`${isOccupied}`])
      ])
      const found = yield* page(sql`select ${columns}, ${keyed.key} from locations l where ${where} and ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from locations l where ${where}`))
    }),

    typeOfPart: Effect.fn("LocationsRepo.typeOfPart")((id4: string) =>
      partType(sql`select type_id as "typeId" from parts where id4 = ${id4}`)
    ),

    /**
     * The best slots for it, best first. Boxes are put in order and then walked one after the other until enough slots are found:
     * to rank all free slots of all boxes would read the whole stock each time. A reason is its place in `reasons`, from 1.
     */
    suggest: Effect.fn("LocationsRepo.suggest")(({ id4, typeId }: ToPutAway, limit: number) =>
      suggestions(sql`
        with recursive same_part as (
          select s.box_no, s.loc_no from part_locations s where s.part_id4 = ${id4}::text order by s.box_no, s.loc_no limit ${limit}
        ), same_type as (
          select s.box_no, count(distinct s.loc_no) as slots
          from parts p join part_locations s on s.part_id4 = p.id4 where p.type_id = ${typeId}::int group by s.box_no
        ), ranked as materialized (
          select b.box_no, coalesce(h.slots, 0) as slots, case
            when h.slots > 0 then 2
            when exists (select from box_designated_types d where d.box_no = b.box_no and d.type_id = ${typeId}::int) then 3
            when not exists (select from box_designated_types d where d.box_no = b.box_no) then 4
            else 5 end as reason
          from boxes b left join same_type h on h.box_no = b.box_no
        ), route as (
          select array_agg(box_no order by reason, slots desc, box_no) as boxes, array_agg(reason order by reason, slots desc, box_no) as reasons
          from ranked
        ), walk as (
          select 0 as stop, (select count(*)::int from same_part) as found, '{}'::int[] as free
          union all
          select w.stop + 1, w.found + cardinality(here.free), here.free
          from walk w cross join route r cross join lateral (
            select array(
              select l.loc_no from locations l where l.box_no = r.boxes[w.stop + 1] and not ${isOccupied} order by l.loc_no limit ${limit}
            ) as free
          ) here
          where w.found < ${limit} and w.stop < cardinality(r.boxes)
        ), suggested as (
          select 0 as stop, box_no, loc_no, 1 as reason from same_part
          union all
          select w.stop, r.boxes[w.stop], f.loc_no, r.reasons[w.stop]
          from walk w cross join route r cross join lateral unnest(w.free) as f (loc_no)
        )
        select box_no as "boxNo", loc_no as "locNo", box_no || '-' || loc_no as location, (${[...reasons]}::text[])[reason] as reason
        from suggested order by stop, box_no, loc_no limit ${limit}`)
    )
  }
})

export class LocationsRepo extends Context.Service<LocationsRepo, Effect.Success<typeof make>>()("inventory/LocationsRepo") {
  static readonly layer = Layer.effect(LocationsRepo, make)
}
