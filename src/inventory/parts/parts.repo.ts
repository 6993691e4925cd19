import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { count, onConstraint, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, type ListOptions, nullableText, PageKey, type PageParams, type SortKey, sortKey, withTotal } from "#platform/db/paging.ts"
import { type InvalidRequest, invalidField } from "#platform/http/problems.ts"
import { squash } from "../search/fold.ts"
import {
  BarcodeTaken,
  type BulkEdit,
  descriptionHash,
  Id4,
  ListedPart,
  Part,
  type PartFields,
  PartRow,
  type PartsFilter,
  type partSorts,
  textFields
} from "./part.ts"

const list: ListOptions = {
  list: "parts",
  sorts: {
    id4: sortKey("p.id4", "text"),
    createdAt: sortKey("p.created_at", "timestamptz"),
    updatedAt: sortKey("p.updated_at", "timestamptz"),
    description: sortKey(`(lower(left(p.description, 200)) collate "C")`, "text"),
    manufacturerCode: nullableText(`lower(p.manufacturer_code) collate "C"`),
    totalQuantity: sortKey("s.total", "bigint", "s.part_id4")
  } satisfies Record<(typeof partSorts)[number], SortKey>,
  defaultSort: "-createdAt",
  id: sortKey("p.id4", "text")
}

const one = row(Part)
const plain = rows(PartRow)
const page = rows(Schema.Struct({ ...ListedPart.fields, ...PageKey }))
const ids = rows(Schema.Struct({ id4: Id4 }))
const holders = rows(Schema.Struct({ barcode: Schema.String, id4: Schema.String }))
const labels = row(Schema.Struct({ all: Schema.String }))

/** camelCase of a field → its column. */
const column = (field: string) => field.replaceAll(/[A-Z]/gu, (capital) => `_${capital.toLowerCase()}`)
const texts = Object.keys(textFields) as ReadonlyArray<keyof typeof textFields>

/** The columns that a person's fields become, as `json_to_recordset` reads them. */
const columnsOf = (fields: PartFields) => ({
  description: fields.description,
  ...Object.fromEntries(texts.map((field) => [column(field), fields[field]])),
  manufacturer_code_squashed: fields.manufacturerCode === null ? null : squash(fields.manufacturerCode),
  description_hash: descriptionHash(fields),
  product_page: fields.productPage,
  type_id: fields.typeId,
  pin_count: fields.pinCount,
  min_quantity: fields.minQuantity,
  kicad: fields.kicad
})
const columnTypes: Record<string, string> = {
  description: "text",
  ...Object.fromEntries(texts.map((field) => [column(field), "text"])),
  manufacturer_code_squashed: "text",
  description_hash: "bigint",
  product_page: "text",
  type_id: "integer",
  pin_count: "integer",
  min_quantity: "integer",
  kicad: "jsonb"
}
const columnNames = Object.keys(columnTypes)
const columnList = columnNames.join(", ")
const columnDefinitions = Object.entries(columnTypes)
  .map(([name, type]) => `${name} ${type}`)
  .join(", ")
const assignments = columnNames.map((name) => `${name} = n.${name}`).join(", ")

const rowColumns = (basePath: string) => `p.id4, p.description, ${texts.map((field) => `p.${column(field)} as "${field}"`).join(", ")},
  p.product_page as "productPage", p.type_id as "typeId",
  case when t.id is null then null else json_build_object('id', t.id, 'name', t.name) end as type,
  p.pin_count as "pinCount", p.min_quantity as "minQuantity", p.kicad,
  array(select g.tag from part_tags g where g.part_id4 = p.id4 order by g.position) as tags,
  array(select b.barcode from part_barcodes b where b.part_id4 = p.id4 order by b.position) as barcodes,
  s.total::float8 as "totalQuantity", l.seller, l.link as "sellerLink", c.id as "coverDocumentId",
  case when c.kind = 'image' then '${basePath}/api/documents/' || c.id || '/content' end as "imageUrl",
  case when c.seen then '${basePath}/api/documents/' || c.id || '/thumbnail?size=300' end as "thumbnailUrl",
  iso(p.created_at) as "createdAt", iso(p.updated_at) as "updatedAt", p.version::float8 as version`

const locations = `coalesce((select json_agg(json_build_object('boxNo', x.box_no, 'locNo', x.loc_no,
    'location', x.box_no || '-' || x.loc_no, 'quantity', x.quantity, 'lastCountedAt', iso(x.last_counted_at))
    order by x.box_no, x.loc_no) from part_locations x where x.part_id4 = p.id4), '[]') as locations`

const sellerLinks = `coalesce((select json_agg(json_build_object('id', k.id, 'sellerId', k.seller_id, 'sellerName', v.name,
    'link', k.link, 'sellerPartNumbers', array(select n.number from seller_part_numbers n where n.link_id = k.id order by n.position),
    'primary', k.is_primary, 'createdAt', iso(k.created_at), 'updatedAt', iso(k.updated_at), 'version', k.version) order by k.id)
    from seller_links k join sellers v on v.id = k.seller_id where k.part_id4 = p.id4), '[]') as "sellerLinks"`

const tables = `parts p join part_stock s on s.part_id4 = p.id4 left join part_types t on t.id = p.type_id
  left join lateral (select v.name as seller, k.link from seller_links k join sellers v on v.id = k.seller_id
    where k.part_id4 = p.id4 and k.is_primary) l on true
  left join lateral (select d.id, d.kind, coalesce(d.object_id, d.preview_id) is not null as seen from documents d
    where d.part_id4 = p.id4 and d.is_cover) c on true`

/** One part with everything; the bench runs it without the product. */
export const partStatement = (sql: SqlClient.SqlClient, id4: string, basePath = "") =>
  sql`select ${sql.literal(rowColumns(basePath))}, ${sql.literal(locations)}, ${sql.literal(sellerLinks)} from ${sql.literal(tables)} where p.id4 = ${id4}`

const unknownType = (pointer: string) => onConstraint({ parts_type_fk: () => invalidField("body", pointer, "No type has this id") })

interface Labelled {
  readonly id4: Id4
  readonly fields: PartFields
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { basePath } = yield* AppConfig

  const columns = rowColumns(basePath)
  const statement = (id4: string) => partStatement(sql, id4, basePath)
  const select = sql.literal(`select ${columns} from ${tables}`)
  const idsOf = (statement: Parameters<typeof ids>[0]) => Effect.map(ids(statement), (found) => found.map(({ id4 }) => id4))
  const asRecordset = (parts: ReadonlyArray<Labelled & { readonly version?: number }>) =>
    sql`json_to_recordset(${JSON.stringify(parts.map(({ fields, id4, version }) => ({ id4, version, ...columnsOf(fields) })))}::json)
      as n (id4 text, version bigint, ${sql.literal(columnDefinitions)})`

  // With several tags the planner takes each for independent of the others, and would walk a whole index for parts that have all.
  const withTags = ([tag, ...others]: ReadonlyArray<string>) => {
    if (tag === undefined) return []
    if (others.length === 0) return [sql`exists (select from part_tags g where g.part_id4 = p.id4 and g.tag = ${tag})`]
    const all = [...new Set([tag, ...others])]
    return [
      sql`p.id4 in (select part_id4 from part_tags where tag = any(${all}::text[]) group by part_id4 having count(*) = ${all.length})`
    ]
  }

  const filtered = (filter: PartsFilter) => {
    const { boxNo, belowMinimum, hasDocuments, inStock, manufacturer, mountingType, sellerId, tag = [], typeId, updatedSince } = filter
    const byStock = [
      ...(inStock === undefined ? [] : [inStock ? sql`s.total > 0` : sql`s.total = 0`]),
      ...(belowMinimum === undefined
        ? []
        : [belowMinimum ? sql`s.total <= s.min_quantity` : sql`(s.min_quantity is null or s.total > s.min_quantity)`])
    ]
    const where = sql.and([
      sql`true`,
      ...byStock,
      ...withTags(tag),
      ...(typeId === undefined ? [] : [sql`p.type_id = any(${typeId}::integer[])`]),
      ...(sellerId === undefined ? [] : [sql`exists (select from seller_links k where k.part_id4 = p.id4 and k.seller_id = ${sellerId})`]),
      ...(boxNo === undefined ? [] : [sql`exists (select from part_locations x where x.part_id4 = p.id4 and x.box_no = ${boxNo})`]),
      ...(manufacturer === undefined ? [] : [sql`lower(p.manufacturer) = lower(${manufacturer})`]),
      ...(filter.package === undefined ? [] : [sql`p.package = ${filter.package}`]),
      ...(mountingType === undefined ? [] : [sql`p.mounting_type = ${mountingType}`]),
      ...(hasDocuments === undefined
        ? []
        : [sql`${sql.literal(hasDocuments ? "" : "not")} exists (select from documents d where d.part_id4 = p.id4)`]),
      ...(updatedSince === undefined ? [] : [sql`p.updated_at >= ${updatedSince}::timestamptz`])
    ])
    const counted = sql.literal(byStock.length === 0 ? "parts p" : "parts p join part_stock s on s.part_id4 = p.id4")
    return { where, total: count(sql`select count(*)::int as count from ${counted} where ${where}`) }
  }

  return {
    find: Effect.fn("PartsRepo.find")((id4: Id4): Effect.Effect<Option.Option<Part>> => one(statement(id4))),

    /**
     * Holds the part's own row to the end of the transaction: its fields, tags, barcodes and links. Bookings refer to that row and
     * go on; its stock has a lock of its own.
     */
    lock: Effect.fn("PartsRepo.lock")(
      (id4: Id4): Effect.Effect<Option.Option<Part>, never, Transaction> =>
        Effect.andThen(run(sql`select from parts where id4 = ${id4} for no key update`), one(statement(id4)))
    ),

    /** Holds the stock of the parts, in the order of their ids. Before their rows: bookings hold it, and a part's level is copied to it. */
    lockStock: Effect.fn("PartsRepo.lockStock")(
      (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`select from part_stock where part_id4 = any(${wanted}::text[]) order by part_id4 for update`)
    ),

    /** Holds many, in the order of their ids; answers those that exist. */
    lockMany: Effect.fn("PartsRepo.lockMany")(
      (wanted: ReadonlyArray<Id4>): Effect.Effect<ReadonlyArray<PartRow>, never, Transaction> =>
        Effect.andThen(
          run(sql`select from parts where id4 = any(${wanted}::text[]) order by id4 for no key update`),
          plain(sql`${select} where p.id4 = any(${wanted}::text[]) order by p.id4`)
        )
    ),

    /** Holds the part against everything else that would hold or refer to it. */
    lockWhole: Effect.fn("PartsRepo.lockWhole")(
      (id4: Id4): Effect.Effect<Option.Option<Part>, never, Transaction> =>
        Effect.andThen(run(sql`select from parts where id4 = ${id4} for update`), one(statement(id4)))
    ),

    /** In no particular order. */
    rows: Effect.fn("PartsRepo.rows")((wanted: ReadonlyArray<string>) => plain(sql`${select} where p.id4 = any(${wanted}::text[])`)),

    /** Those with one of the ids, with one of the squashed part numbers, or without any and with one of the hashes of descriptions. */
    candidates: Effect.fn("PartsRepo.candidates")(
      (wanted: ReadonlyArray<string>, squashed: ReadonlyArray<string>, hashes: ReadonlyArray<number>) =>
        plain(sql`${select} where p.id4 in (
          select id4 from parts where id4 = any(${wanted}::text[])
          union select id4 from parts where manufacturer_code_squashed = any(${squashed}::text[])
          union select id4 from parts where description_hash = any(${hashes}::bigint[]))`)
    ),

    list: Effect.fn("PartsRepo.list")(function* (
      filter: PartsFilter,
      withLocations: boolean,
      params: PageParams & { readonly sort?: string | undefined }
    ) {
      const keyed = yield* keyset(sql, list, params)
      const { total, where } = filtered(filter)
      const found = yield* page(sql`
        select ${sql.literal(withLocations ? `${columns}, ${locations}` : columns)}, ${keyed.key} from ${sql.literal(tables)}
        where ${where} and ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, total)
    }),

    /**
     * Inserts the parts whose ids are free and answers those ids; an id that is in use or was used is left out, for another draw.
     * The parts have no stock, tags or barcodes yet.
     */
    insertFree: Effect.fn("PartsRepo.insertFree")(
      (parts: ReadonlyArray<Labelled>): Effect.Effect<ReadonlySet<Id4>, InvalidRequest, Transaction> =>
        sql`
          insert into parts (id4, ${sql.literal(columnList)}) select n.id4, ${sql.literal(columnList)} from ${asRecordset(parts)}
          where not exists (select from retired_parts r where r.id4 = n.id4) order by n.id4
          on conflict (id4) do nothing`.pipe(
          unknownType("/typeId"),
          // Those without a stock row are the ones just inserted. An insert that waited for the deletion of the part that had the
          // id has not seen it retired, so that is asked again.
          Effect.andThen(
            idsOf(sql`
              with drawn as (select unnest(${parts.map(({ id4 }) => id4)}::text[]) as id4),
              retired as (delete from parts p using drawn, retired_parts r where p.id4 = drawn.id4 and r.id4 = drawn.id4)
              insert into part_stock (part_id4)
              select p.id4 from drawn join parts p on p.id4 = drawn.id4
              where not exists (select from part_stock s where s.part_id4 = p.id4)
                and not exists (select from retired_parts r where r.id4 = p.id4)
              order by p.id4 returning part_id4 as id4`)
          ),
          Effect.map((inserted) => new Set(inserted))
        )
    ),

    /** All labels that are or were in use, in one text: of a full catalogue that takes a twentieth of the time of rows. */
    usedLabels: Effect.map(
      labels(sql`select concat((select string_agg(id4, '') from parts), (select string_agg(id4, '') from retired_parts)) as all`),
      Option.match({ onNone: () => "", onSome: ({ all }) => all })
    ),

    /** Other fields for parts whose rows are held; raises their versions. */
    update: Effect.fn("PartsRepo.update")(
      (parts: ReadonlyArray<Labelled>): Effect.Effect<void, InvalidRequest, Transaction> =>
        sql`update parts p set ${sql.literal(assignments)}, version = p.version + 1, updated_at = now() from ${asRecordset(parts)}
          where p.id4 = n.id4`.pipe(unknownType("/typeId"), Effect.asVoid)
    ),

    /** The same values for all of these parts, whose rows are held; raises their versions. */
    updateMany: Effect.fn("PartsRepo.updateMany")(
      (wanted: ReadonlyArray<string>, set: BulkEdit["set"]): Effect.Effect<void, InvalidRequest, Transaction> => {
        const values = Object.fromEntries(Object.entries(set).map(([field, value]) => [column(field), value]))
        return sql`update parts set ${Object.keys(set).length === 0 ? sql`` : sql`${sql.update(values)},`}
          version = version + 1, updated_at = now() where id4 = any(${wanted}::text[])`.pipe(unknownType("/set/typeId"), Effect.asVoid)
      }
    ),

    writeTags: Effect.fn("PartsRepo.writeTags")(
      (of: ReadonlyArray<{ readonly id4: string; readonly tags: ReadonlyArray<string> }>): Effect.Effect<void, never, Transaction> => {
        const all = of.flatMap(({ id4, tags }) => tags.map((tag, position) => ({ id4, position, tag })))
        return all.length === 0
          ? Effect.void
          : run(sql`insert into part_tags (part_id4, position, tag) select * from unnest(
              ${all.map(({ id4 }) => id4)}::text[], ${all.map(({ position }) => position)}::smallint[], ${all.map(({ tag }) => tag)}::text[])`)
      }
    ),

    removeTags: Effect.fn("PartsRepo.removeTags")(
      (of: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        of.length === 0 ? Effect.void : run(sql`delete from part_tags where part_id4 = any(${of}::text[])`)
    ),

    /** Fails when another part has one of the codes. */
    writeBarcodes: Effect.fn("PartsRepo.writeBarcodes")(
      (
        of: ReadonlyArray<{ readonly id4: string; readonly barcodes: ReadonlyArray<string> }>
      ): Effect.Effect<void, BarcodeTaken, Transaction> => {
        const all = of.flatMap(({ barcodes, id4 }) => barcodes.map((barcode, position) => ({ id4, position, barcode })))
        if (all.length === 0) return Effect.void
        const owners = all.map(({ id4 }) => id4)
        const codes = all.map(({ barcode }) => barcode)
        // In the order of the codes, or two parts with the same ones could wait for each other.
        return run(sql`
          insert into part_barcodes (part_id4, position, barcode, squashed)
          select * from unnest(${owners}::text[], ${all.map(({ position }) => position)}::smallint[], ${codes}::text[], ${codes.map(squash)}::text[])
            as n (id4, position, barcode, squashed) order by n.barcode
          on conflict on constraint part_barcodes_barcode_key do nothing`).pipe(
          Effect.andThen(
            holders(sql`
              select b.barcode, b.part_id4 as id4 from unnest(${owners}::text[], ${codes}::text[]) as n (id4, barcode)
              join part_barcodes b on b.barcode = n.barcode where b.part_id4 <> n.id4 limit 1`)
          ),
          Effect.flatMap(([other]) =>
            other === undefined
              ? Effect.void
              : Effect.fail(new BarcodeTaken({ detail: `The barcode ${other.barcode} belongs to ${other.id4}.`, ...other }))
          )
        )
      }
    ),

    removeBarcodes: Effect.fn("PartsRepo.removeBarcodes")(
      (of: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        of.length === 0 ? Effect.void : run(sql`delete from part_barcodes where part_id4 = any(${of}::text[])`)
    ),

    /** Which parts have the barcodes. */
    barcodeHolders: Effect.fn("PartsRepo.barcodeHolders")((barcodes: ReadonlyArray<string>) =>
      holders(sql`select barcode, part_id4 as id4 from part_barcodes where barcode = any(${barcodes}::text[])`)
    ),

    /** Takes the part's id out of use for ever. Links, tags and barcodes go with it. */
    retire: Effect.fn("PartsRepo.retire")(
      (id4: Id4, description: string, principal: string): Effect.Effect<void, never, Transaction> =>
        Effect.andThen(
          run(sql`insert into retired_parts ${sql.insert({ id4, description, principal })}`),
          run(sql`delete from parts where id4 = ${id4}`)
        )
    )
  }
})

export class PartsRepo extends Context.Service<PartsRepo, Effect.Success<typeof make>>()("inventory/PartsRepo") {
  static readonly layer = Layer.effect(PartsRepo, make)
}
