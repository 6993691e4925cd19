import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, rows, run, type Transaction } from "#platform/db/db.ts"

const nullable = Schema.NullOr(Schema.String)
const texts = Schema.Array(Schema.String)

/** The texts of a part as they lie in the tables. */
const Sources = Schema.Struct({
  id4: Schema.String,
  manufacturerCode: nullable,
  sellerPartNumbers: texts,
  barcodes: texts,
  tags: texts,
  description: Schema.String,
  type: nullable,
  aliases: Schema.NullOr(texts),
  manufacturer: nullable,
  series: nullable,
  package: nullable,
  sellers: texts,
  voltageRating: nullable,
  inputVoltage: nullable,
  outputVoltage: nullable,
  pinPitch: nullable,
  dimensions: nullable,
  mountingType: nullable,
  pinCount: nullable
})
export type Sources = typeof Sources.Type

const sources = rows(Sources)
const ids = rows(Schema.Struct({ id4: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const idsOf = (statement: Parameters<typeof ids>[0]) => Effect.map(ids(statement), (found) => found.map(({ id4 }) => id4))

  return {
    /**
     * Afterwards nobody else changes what these documents are made from without waiting for this transaction: a name that is being
     * changed is waited for, a part that is written by two gets the texts of both. Sources come before documents, as in a
     * transaction that renames a type and then refreshes its parts.
     */
    lock: Effect.fn("SearchIndexRepo.lock")(
      (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          with wanted as materialized (select unnest(${wanted}::text[]) as id4),
            types as materialized (
              select t.id from part_types t where t.id in (select p.type_id from parts p join wanted w on w.id4 = p.id4) order by t.id for share),
            sellers as materialized (
              select v.id from sellers v where v.id in (select k.seller_id from seller_links k join wanted w on w.id4 = k.part_id4)
                and (select count(*) from types) >= 0 order by v.id for share)
          select from search_documents d where d.part_id4 in (select id4 from wanted) and (select count(*) from sellers) >= 0
            order by d.part_id4 for update`)
    ),

    /** In no particular order; parts that do not exist are left out. */
    sources: Effect.fn("SearchIndexRepo.sources")((wanted: ReadonlyArray<string>) =>
      sources(sql`
        select p.id4, p.manufacturer_code as "manufacturerCode",
          array(select n.number from seller_links k join seller_part_numbers n on n.link_id = k.id where k.part_id4 = p.id4) as "sellerPartNumbers",
          array(select b.barcode from part_barcodes b where b.part_id4 = p.id4) as barcodes,
          array(select g.tag from part_tags g where g.part_id4 = p.id4) as tags,
          p.description, t.name as type, t.aliases, p.manufacturer, p.series, p.package,
          array(select v.name from seller_links k join sellers v on v.id = k.seller_id where k.part_id4 = p.id4) as sellers,
          p.voltage_rating as "voltageRating", p.input_voltage as "inputVoltage", p.output_voltage as "outputVoltage",
          p.pin_pitch as "pinPitch", p.dimensions, p.mounting_type as "mountingType", p.pin_count::text as "pinCount"
        from parts p left join part_types t on t.id = p.type_id
        where p.id4 = any(${wanted}::text[])`)
    ),

    /** Documents that stay the same are not written again. */
    write: Effect.fn("SearchIndexRepo.write")(
      (documents: ReadonlyArray<{ readonly id4: string; readonly words: string }>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into search_documents (part_id4, words)
          select n.id4, n.words::tsvector from unnest(${documents.map(({ id4 }) => id4)}::text[], ${documents.map(({ words }) => words)}::text[])
            as n (id4, words)
          order by n.id4
          on conflict (part_id4) do update set words = excluded.words where search_documents.words <> excluded.words`)
    ),

    /** Sorted, or two writers with the same new words could wait for each other. */
    addWords: Effect.fn("SearchIndexRepo.addWords")(
      (words: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`insert into search_words (word) select unnest(${words}::text[]) on conflict do nothing`)
    ),

    ofType: Effect.fn("SearchIndexRepo.ofType")((typeId: number, after: string, limit: number) =>
      idsOf(sql`select id4 from parts where type_id = ${typeId} and id4 > ${after} order by id4 limit ${limit}`)
    ),

    ofSeller: Effect.fn("SearchIndexRepo.ofSeller")((sellerId: number, after: string, limit: number) =>
      idsOf(
        sql`select part_id4 as id4 from seller_links where seller_id = ${sellerId} and part_id4 > ${after} order by part_id4 limit ${limit}`
      )
    ),

    all: Effect.fn("SearchIndexRepo.all")((after: string, limit: number) =>
      idsOf(sql`select id4 from parts where id4 > ${after} order by id4 limit ${limit}`)
    ),

    partCount: count(sql`select count(*)::int as count from parts`),

    /** A document that is missing cannot be locked; an empty one can. */
    addMissing: Effect.fn("SearchIndexRepo.addMissing")(
      (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into search_documents (part_id4, words) select id4, '' from parts where id4 = any(${wanted}::text[]) order by id4
          on conflict do nothing`)
    )
  }
})

export class SearchIndexRepo extends Context.Service<SearchIndexRepo, Effect.Success<typeof make>>()("inventory/SearchIndexRepo") {
  static readonly layer = Layer.effect(SearchIndexRepo, make)
}
