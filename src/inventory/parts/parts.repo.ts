import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, onConstraint, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, type ListOptions, nullableText, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { invalidField } from "#platform/http/problems.ts"
import { squash } from "../search/fold.ts"
import {
  BarcodeTaken,
  type BulkEdit,
  descriptionHash,
  type Id4,
  id4Count,
  ListedPart,
  nthId4,
  Part,
  type PartFields,
  PartRow,
  type PartsFilter,
  TagCount,
  textFields
} from "./part.ts"

const lists: ListOptions = {
  list: "parts",
  sorts: {
    id4: sortKey("p.id4", "text"),
    createdAt: sortKey("p.created_at", "timestamptz"),
    updatedAt: sortKey("p.updated_at", "timestamptz"),
    description: sortKey(`(lower(left(p.description, 200)) collate "C")`, "text"),
    manufacturerCode: nullableText(`lower(p.manufacturer_code) collate "C"`),
    totalQuantity: sortKey("s.total", "bigint")
  },
  defaultSort: "-createdAt",
  id: sortKey("p.id4", "text")
}

export const sorts = Object.keys(lists.sorts)

const one = row(Part)
const plain = rows(PartRow)
const page = rows(Schema.Struct({ ...ListedPart.fields, ...PageKey }))
const tagPage = rows(Schema.Struct({ ...TagCount.fields, ...PageKey }))
const ids = rows(Schema.Struct({ id4: Schema.String as unknown as Schema.Codec<Id4, string> }))
const offset = rows(Schema.Struct({ n: Schema.Int }))
const taken = rows(Schema.Struct({ barcode: Schema.String, id4: Schema.String }))

/** camelCase of a text field → its column. */
const column = (name: string) => name.replaceAll(/[A-Z]/gu, (capital) => `_${capital.toLowerCase()}`)

const values = (fields: PartFields) => ({
  description: fields.description,
  ...Object.fromEntries(Object.keys(textFields).map((name) => [column(name), fields[name as keyof typeof textFields]])),
  manufacturer_code_squashed: fields.manufacturerCode === null ? null : squash(fields.manufacturerCode),
  description_hash: descriptionHash(fields),
  product_page: fields.productPage,
  type_id: fields.typeId,
  pin_count: fields.pinCount,
  min_quantity: fields.minQuantity,
  kicad: fields.kicad === null ? null : JSON.stringify(fields.kicad)
})

const columnTypes = {
  id4: "text",
  description: "text",
  ...Object.fromEntries(Object.keys(textFields).map((name) => [column(name), "text"])),
  manufacturer_code_squashed: "text",
  description_hash: "bigint",
  product_page: "text",
  type_id: "integer",
  pin_count: "integer",
  min_quantity: "integer",
  kicad: "jsonb"
}
const columnList = Object.keys(columnTypes).join(", ")
const recordset = Object.entries(columnTypes)
  .map(([name, type]) => `${name} ${type}`)
  .join(", ")
const assignments = Object.keys(columnTypes)
  .filter((name) => name !== "id4")
  .map((name) => `${name} = n.${name}`)
  .join(", ")

const unknownType = onConstraint({ parts_type_fk: () => invalidField("body", "/typeId", "No type has this id") })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const texts = Object.keys(textFields)
    .map((name) => `p.${column(name)} as "${name}"`)
    .join(", ")
  const rowColumns = sql.literal(`p.id4, p.description, ${texts}, p.product_page as "productPage", p.type_id as "typeId",
    case when t.id is null then null else json_build_object('id', t.id, 'name', t.name) end as type,
    p.pin_count as "pinCount", p.min_quantity as "minQuantity", p.kicad,
    array(select g.tag from part_tags g where g.part_id4 = p.id4 order by g.position) as tags,
    array(select b.barcode from part_barcodes b where b.part_id4 = p.id4 order by b.position) as barcodes,
    s.total::float8 as "totalQuantity", l.seller, l.link as "sellerLink",
    iso(p.created_at) as "createdAt", iso(p.updated_at) as "updatedAt", p.version::float8 as version`)

  const from = sql.literal(`parts p join part_stock s on s.part_id4 = p.id4 left join part_types t on t.id = p.type_id
    left join lateral (select v.name as seller, k.link from seller_links k join sellers v on v.id = k.seller_id
      where k.part_id4 = p.id4 and k.is_primary) l on true`)

  const locations = sql.literal(`coalesce((select json_agg(json_build_object('boxNo', x.box_no, 'locNo', x.loc_no,
      'location', x.box_no || '-' || x.loc_no, 'quantity', x.quantity, 'lastCountedAt', iso(x.last_counted_at))
      order by x.box_no, x.loc_no) from part_locations x where x.part_id4 = p.id4), '[]') as locations`)

  const sellerLinks = sql.literal(`coalesce((select json_agg(json_build_object('id', k.id, 'sellerId', k.seller_id, 'sellerName', v.name,
      'link', k.link, 'sellerPartNumbers', array(select n.number from seller_part_numbers n where n.link_id = k.id order by n.position),
      'primary', k.is_primary, 'createdAt', iso(k.created_at), 'updatedAt', iso(k.updated_at), 'version', k.version) order by k.id)
      from seller_links k join sellers v on v.id = k.seller_id where k.part_id4 = p.id4), '[]') as "sellerLinks"`)

  const whole = (id4: string) => sql`select ${rowColumns}, ${locations}, ${sellerLinks} from ${from} where p.id4 = ${id4}`

  const filtered = (filter: PartsFilter) => {
    const conditions = [sql`true`]
    if (filter.typeId !== undefined) conditions.push(sql`p.type_id = any(${filter.typeId}::integer[])`)
    for (const tag of filter.tag ?? []) conditions.push(sql`exists (select from part_tags g where g.part_id4 = p.id4 and g.tag = ${tag})`)
    if (filter.sellerId !== undefined) {
      conditions.push(sql`exists (select from seller_links k where k.part_id4 = p.id4 and k.seller_id = ${filter.sellerId})`)
    }
    if (filter.boxNo !== undefined) conditions.push(sql`exists (select from part_locations x where x.part_id4 = p.id4 and x.box_no = ${filter.boxNo})`)
    if (filter.manufacturer !== undefined) conditions.push(sql`lower(p.manufacturer) = lower(${filter.manufacturer})`)
    if (filter.package !== undefined) conditions.push(sql`p.package = ${filter.package}`)
    if (filter.mountingType !== undefined) conditions.push(sql`p.mounting_type = ${filter.mountingType}`)
    if (filter.inStock !== undefined) conditions.push(filter.inStock ? sql`s.total > 0` : sql`s.total = 0`)
    if (filter.belowMinimum !== undefined) {
      conditions.push(filter.belowMinimum ? sql`s.total <= p.min_quantity` : sql`(p.min_quantity is null or s.total > p.min_quantity)`)
    }
    if (filter.updatedSince !== undefined) conditions.push(sql`p.updated_at >= ${filter.updatedSince}::timestamptz`)
    return sql.and(conditions)
  }

  const writeTags = (tagsOf: ReadonlyArray<{ readonly id4: string; readonly tags: ReadonlyArray<string> }>) => {
    const all = tagsOf.flatMap(({ id4, tags }) => tags.map((tag, position) => ({ id4, position, tag })))
    return all.length === 0
      ? Effect.void
      : run(sql`insert into part_tags (part_id4, position, tag) select * from unnest(
          ${all.map(({ id4 }) => id4)}::text[], ${all.map(({ position }) => position)}::smallint[], ${all.map(({ tag }) => tag)}::text[])`)
  }

  const writeBarcodes = (of: ReadonlyArray<{ readonly id4: string; readonly barcodes: ReadonlyArray<string> }>): Effect.Effect<void, BarcodeTaken> => {
    const codes = of.flatMap(({ barcodes, id4 }) =>
      barcodes.map((barcode, position) => ({ id4, position, barcode, squashed: squash(barcode) }))
    )
    if (codes.length === 0) return Effect.void
    return taken(sql`select barcode, part_id4 as id4 from part_barcodes where ${sql.in(
      "barcode",
      codes.map(({ barcode }) => barcode)
    )} limit 1`).pipe(
      Effect.flatMap(([other]) =>
        other === undefined
          ? Effect.void
          : Effect.fail(new BarcodeTaken({ detail: `The barcode ${other.barcode} belongs to ${other.id4}.`, barcode: other.barcode, id4: other.id4 }))
      ),
      Effect.andThen(
        // Someone may have taken it since: the constraint decides, but does not say who.
        sql`insert into part_barcodes (part_id4, position, barcode, squashed) select * from unnest(${codes.map(({ id4 }) => id4)}::text[],
          ${codes.map(({ position }) => position)}::smallint[], ${codes.map(({ barcode }) => barcode)}::text[], ${codes.map(({ squashed }) => squashed)}::text[])`.pipe(
          onConstraint({
            part_barcodes_barcode_key: () =>
              new BarcodeTaken({ detail: "One of the barcodes belongs to another part.", barcode: codes[0]?.barcode ?? "", id4: null })
          })
        )
      ),
      Effect.asVoid
    )
  }

  return {
    find: Effect.fn("PartsRepo.find")((id4: Id4) => one(whole(id4))),

    /** Holds the part's own row to the end of the transaction: its fields, tags, barcodes and links, not its stock. */
    lock: Effect.fn("PartsRepo.lock")(
      (id4: Id4): Effect.Effect<Option.Option<Part>, never, Transaction> =>
        Effect.andThen(run(sql`select 1 from parts where id4 = ${id4} for update`), one(whole(id4)))
    ),

    /** Holds many, in the order of their ids; answers those that exist. */
    lockMany: Effect.fn("PartsRepo.lockMany")(
      (wanted: ReadonlyArray<Id4>): Effect.Effect<ReadonlyArray<PartRow>, never, Transaction> =>
        Effect.andThen(
          run(sql`select 1 from parts where ${sql.in("id4", [...wanted])} order by id4 for update`),
          plain(sql`select ${rowColumns} from ${from} where ${sql.in("p.id4", [...wanted])} order by p.id4`)
        )
    ),

    /** Those with one of the ids, with one of the squashed part numbers, or without any and with one of the hashes of descriptions. */
    candidates: Effect.fn("PartsRepo.candidates")(
      (wanted: ReadonlyArray<string>, squashed: ReadonlyArray<string>, hashes: ReadonlyArray<number>) =>
        plain(sql`select ${rowColumns} from ${from} where p.id4 in (
          select id4 from parts where id4 = any(${wanted}::text[])
          union select id4 from parts where manufacturer_code_squashed = any(${squashed}::text[])
          union select id4 from parts where description_hash = any(${hashes}::bigint[]))`)
    ),

    /** Writes the fields of the parts that are still in the version given, raises it, and answers the ids of those parts. */
    updateEach: Effect.fn("PartsRepo.updateEach")(
      (parts: ReadonlyArray<{ readonly id4: Id4; readonly version: number; readonly fields: PartFields }>) =>
        run(sql`select 1 from parts where id4 = any(${parts.map(({ id4 }) => id4)}::text[]) order by id4 for no key update`).pipe(
          Effect.andThen(
            sql<{ readonly id4: string }>`
              update parts p set ${sql.literal(assignments)}, version = p.version + 1, updated_at = now()
              from json_to_recordset(${JSON.stringify(parts.map(({ fields, id4, version }) => ({ id4, version, ...values(fields), kicad: fields.kicad })))}::json)
                as n (version bigint, ${sql.literal(recordset)})
              where p.id4 = n.id4 and p.version = n.version returning p.id4`.pipe(unknownType)
          ),
          Effect.map((updated) => new Set(updated.map(({ id4 }) => id4)))
        )
    ) as (
      parts: ReadonlyArray<{ readonly id4: Id4; readonly version: number; readonly fields: PartFields }>
    ) => Effect.Effect<ReadonlySet<string>, ReturnType<typeof invalidField>, Transaction>,

    /** Which parts have the barcodes. */
    barcodeHolders: Effect.fn("PartsRepo.barcodeHolders")((barcodes: ReadonlyArray<string>) =>
      taken(sql`select barcode, part_id4 as id4 from part_barcodes where barcode = any(${barcodes}::text[])`)
    ),

    /** In no particular order. */
    rows: Effect.fn("PartsRepo.rows")((wanted: ReadonlyArray<string>) =>
      plain(sql`select ${rowColumns} from ${from} where ${sql.in("p.id4", [...wanted])}`)
    ),

    list: Effect.fn("PartsRepo.list")(function* (
      filter: PartsFilter,
      withLocations: boolean,
      params: PageParams & { readonly sort?: string | undefined }
    ) {
      const keyed = yield* keyset(sql, lists, params)
      const where = filtered(filter)
      const found = yield* page(sql`
        select ${rowColumns}, ${withLocations ? sql`${locations},` : sql``} ${keyed.key} from ${from} where ${where} and ${keyed.after} ${keyed.order}`)
      return yield* withTotal(
        keyed.toPage(found),
        params,
        count(sql`select count(*)::int as count from parts p join part_stock s on s.part_id4 = p.id4 where ${where}`)
      )
    }),

    /**
     * Inserts the parts whose ids are free and answers those ids; an id that is in use or was used is left out, for another draw.
     * The parts have no stock, tags or barcodes yet.
     */
    insertFree: Effect.fn("PartsRepo.insertFree")(
      (parts: ReadonlyArray<{ readonly id4: Id4; readonly fields: PartFields }>) =>
        sql<{ readonly id4: string }>`
          with inserted as (
            insert into parts (${sql.literal(columnList)})
            select ${sql.literal(columnList)} from json_to_recordset(${JSON.stringify(parts.map(({ fields, id4 }) => ({ id4, ...values(fields), kicad: fields.kicad })))}::json)
              as n (${sql.literal(recordset)})
            where not exists (select from retired_parts r where r.id4 = n.id4)
            order by id4
            on conflict (id4) do nothing
            returning id4)
          select id4 from inserted`.pipe(
          unknownType,
          Effect.map((found) => new Set(found.map(({ id4 }) => id4))),
          Effect.tap((inserted) => (inserted.size === 0 ? Effect.void : run(sql`insert into part_stock (part_id4) select unnest(${[...inserted].sort()}::text[])`)))
        )
    ) as (
      parts: ReadonlyArray<{ readonly id4: Id4; readonly fields: PartFields }>
    ) => Effect.Effect<ReadonlySet<string>, ReturnType<typeof invalidField>, Transaction>,

    writeTags: writeTags as (tagsOf: Parameters<typeof writeTags>[0]) => Effect.Effect<void, never, Transaction>,
    writeBarcodes: writeBarcodes as (of: Parameters<typeof writeBarcodes>[0]) => Effect.Effect<void, BarcodeTaken, Transaction>,

    replaceTags: (id4: string, tags: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
      Effect.andThen(run(sql`delete from part_tags where part_id4 = ${id4}`), writeTags([{ id4, tags }])),

    replaceBarcodes: (id4: string, barcodes: ReadonlyArray<string>): Effect.Effect<void, BarcodeTaken, Transaction> =>
      Effect.andThen(run(sql`delete from part_barcodes where part_id4 = ${id4}`), writeBarcodes([{ id4, barcodes }])),

    update: Effect.fn("PartsRepo.update")(
      (id4: Id4, fields: PartFields) =>
        sql`update parts set ${sql.update(values(fields))}, version = version + 1, updated_at = now() where id4 = ${id4}`.pipe(unknownType, Effect.asVoid)
    ) as (id4: Id4, fields: PartFields) => Effect.Effect<void, ReturnType<typeof invalidField>, Transaction>,

    /** The columns of a bulk edit, for all of these parts; raises their versions. */
    updateMany: Effect.fn("PartsRepo.updateMany")((wanted: ReadonlyArray<string>, set: BulkEdit["set"]) => {
      const columns = Object.fromEntries(Object.entries(set).map(([name, value]) => [column(name), value]))
      const assignments = Object.keys(columns).length === 0 ? sql`` : sql`${sql.update(columns)},`
      return sql`update parts set ${assignments} version = version + 1, updated_at = now() where ${sql.in("id4", [...wanted])}`.pipe(
        unknownType,
        Effect.asVoid
      )
    }) as (wanted: ReadonlyArray<string>, set: BulkEdit["set"]) => Effect.Effect<void, ReturnType<typeof invalidField>, Transaction>,

    /** Takes the part's id out of use for ever. Documents, links, tags and barcodes go with it. */
    retire: Effect.fn("PartsRepo.retire")(
      (id4: Id4, description: string, principal: string): Effect.Effect<void, never, Transaction> =>
        Effect.andThen(
          run(sql`insert into retired_parts ${sql.insert({ id4, description, principal })}`),
          run(sql`delete from parts where id4 = ${id4}`)
        )
    ),

    /** Holds the part's stock and answers it: nothing can be booked until the transaction ends. */
    lockStock: Effect.fn("PartsRepo.lockStock")(
      (id4: Id4): Effect.Effect<number, never, Transaction> =>
        count(sql`select total::float8 as count from part_stock where part_id4 = ${id4} for update`)
    ),

    /** The first id in alphabetical order from the n-th on, going round, that nobody has or had. */
    nextFree: Effect.fn("PartsRepo.nextFree")((from: number) =>
      Effect.map(
        offset(sql`
          with drawn as (select n, ${sql.literal(
            [3, 2, 1, 0].map((place) => `substr('ABCDEFGHJKMNPQRSTUVWXYZ', (n / ${23 ** place}) % 23 + 1, 1)`).join(" || ")
          )} as id4 from generate_series(0, ${id4Count - 1}) as n)
          select n from drawn d
          where not exists (select from parts p where p.id4 = d.id4) and not exists (select from retired_parts r where r.id4 = d.id4)
          order by (n < ${from}), n limit 30`),
        (free) => free.map(({ n }) => nthId4(n))
      )
    ),

    tags: Effect.fn("PartsRepo.tags")(function* (prefix: string | undefined, params: PageParams) {
      const tag = sortKey("g.tag", "text")
      const keyed = yield* keyset(sql, { list: "part-tags", sorts: { tag }, defaultSort: "tag", id: tag }, params)
      // Half-open range instead of like: one index scan, and % and _ mean nothing.
      const where = prefix === undefined ? sql`true` : sql`(g.tag >= ${prefix} and g.tag < ${prefix + "\u{10FFFF}"})`
      const found = yield* tagPage(sql`
        select g.tag, count(*)::int as parts, ${keyed.key} from part_tags g where ${where} and ${keyed.after} group by g.tag ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(distinct g.tag)::int as count from part_tags g where ${where}`))
    }),

    /** Holds the parts that carry the tag and answers their ids. */
    lockTagged: Effect.fn("PartsRepo.lockTagged")(
      (tag: string): Effect.Effect<ReadonlyArray<Id4>, never, Transaction> =>
        Effect.map(
          ids(sql`select p.id4 from parts p where p.id4 in (select part_id4 from part_tags where tag = ${tag}) order by p.id4 for update of p`),
          (found) => found.map(({ id4 }) => id4)
        )
    ),

    tagsOf: (wanted: ReadonlyArray<string>) =>
      rows(Schema.Struct({ id4: Schema.String, tags: Schema.Array(Schema.String) }))(
        sql`select part_id4 as id4, array_agg(tag order by position) as tags from part_tags where ${sql.in("part_id4", [...wanted])} group by part_id4`
      ),

    removeTags: (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
      run(sql`delete from part_tags where ${sql.in("part_id4", [...wanted])}`),

    removeBarcodes: (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
      run(sql`delete from part_barcodes where ${sql.in("part_id4", [...wanted])}`)
  }
})

export class PartsRepo extends Context.Service<PartsRepo, Effect.Success<typeof make>>()("inventory/PartsRepo") {
  static readonly layer = Layer.effect(PartsRepo, make)
}
