import { Context, Data, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, rows, run, type Transaction } from "#platform/db/db.ts"
import { toTsquery } from "./lexemes.ts"

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
  pinCount: nullable,
  documentTitles: texts,
  documentFiles: texts
})
export type Sources = typeof Sources.Type

const sources = rows(Sources)
const ids = rows(Schema.Struct({ id4: Schema.String }))
const contents = rows(Schema.Struct({ objectId: Schema.Int, content: Schema.String }))

const WordCount = Schema.Struct({ word: Schema.String, parts: Schema.Int })
type WordCount = typeof WordCount.Type
const miscounted = rows(WordCount)

/** Internal: a transaction that writes words takes longer than anyone should wait for it. */
export class WordsBusy extends Data.TaggedError("WordsBusy") {}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const idsOf = (statement: Parameters<typeof ids>[0]) => Effect.map(ids(statement), (found) => found.map(({ id4 }) => id4))

  return {
    /** A document that two transactions refresh gets the texts of both: the second one waits, and reads when the first has committed. */
    lock: Effect.fn("SearchIndexRepo.lock")(
      (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`select from search_documents where part_id4 = any(${wanted}::text[]) order by part_id4 for update`)
    ),

    /**
     * Whoever gives a part this type holds a reference to its row until the commit: this waits for them, so that `ofType` sees their
     * parts, and those who come later wait for us and read the new name.
     */
    lockType: Effect.fn("SearchIndexRepo.lockType")(
      (typeId: number): Effect.Effect<void, never, Transaction> => run(sql`select from part_types where id = ${typeId} for update`)
    ),

    /** As `lockType`, for links to a seller. */
    lockSeller: Effect.fn("SearchIndexRepo.lockSeller")(
      (sellerId: number): Effect.Effect<void, never, Transaction> => run(sql`select from sellers where id = ${sellerId} for update`)
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
          p.pin_pitch as "pinPitch", p.dimensions, p.mounting_type as "mountingType", p.pin_count::text as "pinCount",
          array(select d.title from documents d where d.part_id4 = p.id4) as "documentTitles",
          array(select d.original_filename from documents d where d.part_id4 = p.id4 and d.original_filename is not null) as "documentFiles"
        from parts p left join part_types t on t.id = p.type_id
        where p.id4 = any(${wanted}::text[])`)
    ),

    /** Documents that stay the same are not written again. */
    write: Effect.fn("SearchIndexRepo.write")(
      (
        documents: ReadonlyArray<{ readonly id4: string; readonly words: string; readonly description: string }>
      ): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into search_documents (part_id4, words, description)
          select n.id4, n.words::tsvector, n.description
          from unnest(${documents.map(({ id4 }) => id4)}::text[], ${documents.map(({ words }) => words)}::text[],
            ${documents.map(({ description }) => description)}::text[]) as n (id4, words, description)
          order by n.id4
          on conflict (part_id4) do update set words = excluded.words, description = excluded.description
          where search_documents.words <> excluded.words or search_documents.description <> excluded.description`)
    ),

    /** Given in their order, or two writers with the same new words could wait for each other. Known words keep their counts. */
    addWords: Effect.fn("SearchIndexRepo.addWords")(
      (counts: ReadonlyArray<WordCount>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into search_words (word, parts)
          select * from unnest(${counts.map(({ word }) => word)}::text[], ${counts.map(({ parts }) => parts)}::integer[]) on conflict do nothing`)
    ),

    /** Nothing when the text has gone; written again only when it has changed. */
    writeText: Effect.fn("SearchIndexRepo.writeText")(
      (objectId: number, words: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into search_texts (object_id, words)
          select object_id, array_to_tsvector(${words}::text[]) from document_texts where object_id = ${objectId} for key share
          on conflict (object_id) do update set words = excluded.words where search_texts.words <> excluded.words`)
    ),

    /** What is written in files, in the order of their objects. */
    texts: Effect.fn("SearchIndexRepo.texts")((after: number, limit: number) =>
      contents(sql`
        select object_id::float8 as "objectId", content from document_texts
        where object_id > ${after} and content is not null order by object_id limit ${limit}`)
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

    /** Words whose count is wrong, with the right one; 0 when no document has them, or none that is committed. */
    // ts_stat would do it too, but its tree is never balanced: words that come in alphabetical order take it minutes.
    miscounted: miscounted(sql`
      select w.word, coalesce(n.parts, 0) as parts
      from search_words w left join
        (select u.lexeme, count(*)::int as parts from search_documents d cross join unnest(d.words) u group by u.lexeme) n on n.lexeme = w.word
      where w.parts <> coalesce(n.parts, 0) order by w.word`).pipe(Effect.withSpan("SearchIndexRepo.miscounted")) as Effect.Effect<
      ReadonlyArray<WordCount>,
      never,
      Transaction
    >,

    setCounts: Effect.fn("SearchIndexRepo.setCounts")(
      (counts: ReadonlyArray<WordCount>): Effect.Effect<void, never, Transaction> =>
        run(sql`
          update search_words w set parts = n.parts
          from unnest(${counts.map(({ word }) => word)}::text[], ${counts.map(({ parts }) => parts)}::integer[]) as n (word, parts)
          where w.word = n.word`)
    ),

    /**
     * Answers how many were removed. A writer who finds a word does not write it again, so nobody may be about to commit a document
     * while the words of all documents are looked for: the lock waits for those who have, and makes the others wait.
     */
    removeUnused: Effect.fn("SearchIndexRepo.removeUnused")(
      (words: ReadonlyArray<string>): Effect.Effect<number, WordsBusy, Transaction> =>
        run(sql`set local lock_timeout = '1s'`).pipe(
          Effect.andThen(sql`lock table search_words in share row exclusive mode`),
          Effect.catchReason(
            "SqlError",
            "LockTimeoutError",
            () => Effect.fail(new WordsBusy()),
            (_, error) => Effect.die(error)
          ),
          Effect.andThen(
            count(sql`
              with unused as (
                delete from search_words w using unnest(${[...words]}::text[], ${words.map((word) => toTsquery([[{ lexemes: [word] }]], "every"))}::text[]) as n (word, query)
                where w.word = n.word and not exists (select from search_documents d where d.words @@ n.query::tsquery)
                returning 1)
              select count(*)::int as count from unused`)
          )
        )
    ),

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
