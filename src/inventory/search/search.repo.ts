import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { rows } from "#platform/db/db.ts"
import { StockInSlot } from "../parts/part.ts"
import { MatchedOn, type SearchFilter } from "./search.ts"

const Whole = Schema.Struct({
  id4: Schema.String,
  tier: Schema.Literals([0, 1, 2]),
  fields: Schema.Array(MatchedOn.fields.field),
  totalQuantity: Schema.Int
})
/** A lexeme of a candidate. */
const Occurrence = Schema.Struct({
  id4: Schema.String,
  totalQuantity: Schema.Int,
  /** Of how many its part is one of the best. */
  sorted: Schema.Int,
  /** Empty when its words have none of those asked for. */
  lexeme: Schema.String,
  positions: Schema.Array(Schema.Int),
  /** The places of the terms that stand in the texts of its documents, as far as that was asked. */
  inTexts: Schema.Array(Schema.Int)
})
export type Occurrence = typeof Occurrence.Type

const whole = rows(Whole)
const known = rows(Schema.Struct({ stem: Schema.String, word: Schema.String, parts: Schema.Int, similarity: Schema.NullOr(Schema.Number) }))
const occurrences = rows(Occurrence)
const numbers = rows(Schema.Struct({ n: Schema.Int }))
const locations = rows(Schema.Struct({ id4: Schema.String, locations: Schema.Array(StockInSlot) }))

/** What candidates are chosen by. */
interface Choice {
  readonly sieve: ReadonlyArray<Sieve>
  readonly lexemes: ReadonlyArray<string>
  readonly withLabels: boolean
  readonly filter: SearchFilter
  readonly look: number
  readonly sort: number
  readonly keep: number
}

/** A term as a query in part numbers, barcodes and tags; in part numbers and barcodes alone; in descriptions; in any field. */
export interface Sieve {
  readonly strong: string | null
  readonly codes: string | null
  readonly description: string | null
  readonly any: string | null
}

/** Of the texts with a term: what stands in more tells nothing, and costs a millisecond for each two thousand. */
const mostTexts = 5000

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const all = (conditions: ReadonlyArray<Statement.Fragment>) => (conditions.length === 0 ? sql`true` : sql.and(conditions))

  const passes = (filter: SearchFilter, id4: Statement.Fragment) =>
    all([
      ...(filter.typeId === undefined
        ? []
        : [sql`exists (select from parts f where f.id4 = ${id4} and f.type_id = any(${[...filter.typeId]}::integer[]))`]),
      ...(filter.boxNo === undefined
        ? []
        : [sql`exists (select from part_locations f where f.part_id4 = ${id4} and f.box_no = ${filter.boxNo})`]),
      ...(filter.inStock === undefined
        ? []
        : [sql`exists (select from part_stock f where f.part_id4 = ${id4} and f.total ${sql.literal(filter.inStock ? ">" : "=")} 0)`])
    ])

  // Text sorts by code points here, and no word contains the last one.
  const after = sql.literal(`U&'\\+10FFFF'`)

  const joined = (fragments: ReadonlyArray<Statement.Fragment>) => fragments.reduce((before, next) => sql`${before} ${next}`, sql``)

  // Read once as queries: a cast at the place of use would be done again for every part.
  const columnsOf = ({ sieve }: Choice) =>
    joined(
      sieve.map(
        ({ any, codes, description, strong }, n) =>
          sql`, ${strong}::tsquery as ${sql(`strong${n}`)}, ${codes}::tsquery as ${sql(`codes${n}`)},
            ${description}::tsquery as ${sql(`description${n}`)}, ${any}::tsquery as ${sql(`any${n}`)}`
      )
    )

  const weightsOf = ({ sieve }: Choice, inTexts?: Statement.Fragment) => {
    const stands = (where: string) => sql`d.words @@ (select ${sql(where)} from q)`
    return joined(
      sieve.map(
        (_, n) => sql`+ case when ${stands(`strong${n}`)} then case when ${stands(`codes${n}`)} then 10 else 8 end
          when ${stands(`description${n}`)} then 7 when ${stands(`any${n}`)} then 5
          ${inTexts === undefined ? sql`` : sql`when ${n}::integer = any(${inTexts}) then 2`} else 0 end`
      )
    )
  }

  const bestOf = ({ keep, lexemes, withLabels }: Choice) => sql`
    stocked as materialized (
      select b.*, s.total from best b cross join lateral (select total from part_stock where part_id4 = b.id4 and total > 0 offset 0) s
      order by b.weight desc, b.id4 limit ${keep}),
    emptied as (
      select b.*, s.total from best b cross join lateral (select total from part_stock where part_id4 = b.id4 and total = 0 offset 0) s
      where (select count(*) from stocked where weight = (select max(weight) from best)) < ${keep}
      order by b.weight desc, b.id4 limit ${keep}),
    kept as (
      select * from (select * from stocked union all select * from emptied) b
      order by b.weight desc, b.total > 0 desc, b.id4 limit ${keep})
    select k.id4, k.total::float8 as "totalQuantity", (select count(*)::int from best) as sorted, coalesce(u.lexeme, '') as lexeme,
      coalesce(u.positions, '{}') as positions, k.in_texts as "inTexts"
    from kept k
    join search_documents d on d.part_id4 = k.id4
    left join lateral unnest(d.words) u
      on u.lexeme = any(${lexemes}::text[]) ${withLabels ? sql`or starts_with(u.lexeme, '=')` : sql``}`

  return {
    /** Tiers 0 to 2: the query as a whole is a label, a slot, or a number or its beginning. At most `limit` of 0 and 1, and of 2. */
    whole: Effect.fn("SearchRepo.whole")(
      (
        query: {
          readonly id4: string | null
          readonly location: { readonly boxNo: number; readonly locNo: number } | null
          readonly squashed: string
        },
        filter: SearchFilter,
        limit: number
      ) => {
        const beginning = Array.from(query.squashed).length < 3 ? null : query.squashed
        // Thousands of part numbers may begin like this: their stock is looked up in the order of the labels until there are enough.
        const longer = (stock: Statement.Fragment) => sql`
          (select l.id4, s.total from longer l cross join lateral
            (select total from part_stock where part_id4 = l.id4 and ${stock} offset 0) s
            where ${passes(filter, sql`l.id4`)} order by l.id4 limit ${limit})`
        return whole(sql`
          with q as materialized (
            select ${query.id4}::text collate "C" as id4, ${query.location?.boxNo ?? null}::integer as box_no,
              ${query.location?.locNo ?? null}::integer as loc_no, nullif(${query.squashed}, '') collate "C" as code,
              ${beginning}::text collate "C" as beginning),
          equal as (
            select id4, 0 as tier, 'id4' as field from parts where id4 = (select id4 from q)
            union all
            select part_id4, 0, 'location' from part_locations where box_no = (select box_no from q) and loc_no = (select loc_no from q)
            union all
            select id4, 1, 'manufacturerCode' from parts where manufacturer_code_squashed = (select code from q)
            union all
            select k.part_id4, 1, 'sellerPartNumber' from seller_part_numbers n join seller_links k on k.id = n.link_id
              where n.squashed = (select code from q)
            union all
            select part_id4, 1, 'barcode' from part_barcodes where squashed = (select code from q)),
          longer as materialized (
            select id4 from parts where manufacturer_code_squashed > (select beginning from q)
              and manufacturer_code_squashed < (select beginning from q) || ${after} order by id4)
          (select e.id4, min(e.tier)::integer as tier, array_agg(distinct e.field) as fields, s.total::float8 as "totalQuantity"
            from equal e join part_stock s on s.part_id4 = e.id4 where ${passes(filter, sql`e.id4`)}
            group by e.id4, s.total order by min(e.tier), s.total > 0 desc, e.id4 limit ${limit})
          union all
          select b.id4, 2, array['manufacturerCode'], b.total::float8
          from (${longer(sql`total > 0`)} union all ${longer(sql`total = 0`)} limit ${limit}) b`)
      }
    ),

    /**
     * What the index has for these stems: the word itself and the `most` of those that begin with it, those of most parts first; where
     * there is none and a typo is allowed, up to 100 that look alike, unless the term stands in a text, where the word is looked for by the
     * query beside it. `ignored` are words that the vocabulary still has and no part any more.
     */
    vocabulary: Effect.fn("SearchRepo.vocabulary")(
      (
        stems: ReadonlyArray<string>,
        tolerant: ReadonlyArray<{ readonly stem: string; readonly inTexts: string | null }>,
        ignored: ReadonlyArray<string>,
        most: number
      ) =>
        known(sql`
          with q as materialized (select ${stems}::text[] as stems, ${tolerant.map(({ stem }) => stem)}::text[] as tolerant,
            ${tolerant.map(({ inTexts }) => inTexts ?? "")}::text[] as in_texts, ${ignored}::text[] as ignored),
          stems as materialized (select s.stem collate "C" as stem from unnest((select stems from q)) as s (stem)),
          beginning as materialized (
            select s.stem, w.word, w.parts from stems s cross join lateral (
              (select word, parts from search_words where word = s.stem and word <> all((select ignored from q)::text[]))
              union all
              (select b.word, b.parts from (
                (select word, parts from search_words
                  where word > s.stem and word < s.stem || ${after} and parts > 1 and word <> all((select ignored from q)::text[])
                  order by parts desc, word limit ${most})
                union all
                (select word, parts from search_words
                  where word > s.stem and word < s.stem || ${after} and parts = 1 and word <> all((select ignored from q)::text[])
                  order by word limit ${most})) b
                order by b.parts desc, b.word limit ${most})) w)
          select stem, word, parts, null::float8 as similarity from beginning
          union all
          select s.stem, w.word, w.parts, w.similarity::float8
          from unnest((select tolerant from q), (select in_texts from q)) as s (stem, in_texts) cross join lateral (
            select word, parts, similarity(word, s.stem) as similarity from search_words
            where word % s.stem and word <> all((select ignored from q)::text[])
            order by similarity(word, s.stem) desc, word limit 100) w
          where not exists (select from beginning b where b.stem = s.stem)
            and not exists (select from search_texts_with(s.in_texts::tsquery, 1))`)
    ),

    /**
     * The lexemes asked for of parts that match the query. Of the first `look` parts that the index finds, the `sort` best by the fields
     * in which the terms of the sieve stand; of those the `keep` best, in stock before empty. As long as enough of the very best are in
     * stock, none is looked up for the others: that costs twice what the look at a document does.
     */
    candidates: Effect.fn("SearchRepo.candidates")((query: string, choice: Choice) =>
      occurrences(sql`
        with q as materialized (select ${query}::tsquery as query ${columnsOf(choice)}),
        best as materialized (
          select l.* from (
            select d.part_id4 as id4, 0 ${weightsOf(choice)} as weight, '{}'::integer[] as in_texts
            from search_documents d where d.words @@ (select query from q) and ${passes(choice.filter, sql`d.part_id4`)}
            limit ${choice.look}) l
          order by l.weight desc, l.id4 limit ${choice.sort}),
        ${bestOf(choice)}`)
    ),

    /**
     * The same of parts that have terms in what is written in their documents: every term there or in a field but not all of them in
     * fields, or with `any` some term there. `parts` tells in how many parts a term stands: they are looked for by the rarest one.
     */
    withTexts: Effect.fn("SearchRepo.withTexts")(
      (mode: "every" | "any", terms: ReadonlyArray<{ readonly inTexts: string | null; readonly parts: number }>, choice: Choice) => {
        const has = (n: number) => sql`d.words @@ (select ${sql(`any${n}`)} from q)`
        const each = choice.sieve.map((_, n) => sql`(coalesce(${has(n)}, false) or ${n}::integer = any(x.in_texts))`)
        const inFields = choice.sieve.map((_, n) => sql`coalesce(${has(n)}, false)`)
        return occurrences(sql`
          with q as materialized (select 0 as nothing ${columnsOf(choice)}),
          t as materialized (
            select n - 1 as n, in_texts::tsquery as in_texts, words::tsquery as words, parts
            from unnest(${terms.map(({ inTexts }) => inTexts ?? "")}::text[], ${choice.sieve.map(({ any }) => any ?? "")}::text[],
              ${terms.map(({ parts }) => parts)}::integer[]) with ordinality as t (in_texts, words, parts, n)),
          hits as materialized (
            select t.n, h.object_id
            from t cross join lateral search_texts_with(t.in_texts, ${mostTexts}) as h (object_id)),
          rarest as materialized (
            select t.* from t left join (select n, count(*) as texts from hits group by n) h on h.n = t.n
            order by t.parts + coalesce(h.texts, 0), t.n limit 1),
          pool as materialized (${
            mode === "any"
              ? sql`
                select d.part_id4 as id4 from hits h join documents d on d.object_id = h.object_id
                group by d.part_id4 order by count(distinct h.n) desc, d.part_id4 limit ${choice.look}`
              : sql`
                (select d.part_id4 as id4 from hits h join documents d on d.object_id = h.object_id
                  where h.n = (select n from rarest) limit ${choice.look})
                union (select part_id4 from search_documents where words @@ (select words from rarest) limit ${choice.look})`
          }),
          texts as materialized (
            select p.id4, array_agg(distinct h.n::integer) as in_texts
            from pool p join documents d on d.part_id4 = p.id4 join hits h on h.object_id = d.object_id group by p.id4),
          best as materialized (
            select x.id4, 0 ${weightsOf(choice, sql`x.in_texts`)} as weight, x.in_texts
            from texts x join search_documents d on d.part_id4 = x.id4
            where ${passes(choice.filter, sql`x.id4`)}
              ${mode === "any" ? sql`` : sql`and ${sql.and(each)} and not ${sql.and(inFields)}`}
            order by weight desc, x.id4 limit ${choice.sort}),
          ${bestOf(choice)}`)
      }
    ),

    /** The places of those queries that find a text. */
    standing: Effect.fn("SearchRepo.standing")((queries: ReadonlyArray<string | null>) =>
      Effect.map(
        numbers(sql`
          select (q.n - 1)::integer as n from unnest(${queries.map((query) => query ?? "")}::text[]) with ordinality as q (query, n)
          where exists (select from search_texts_with(q.query::tsquery, 1))`),
        (found) => new Set(found.map(({ n }) => n))
      )
    ),

    /** The places of those terms that any part has. The queries of a term are tried in their order until one finds a part. */
    occurring: Effect.fn("SearchRepo.occurring")((terms: ReadonlyArray<ReadonlyArray<string>>) => {
      const queries = terms.flatMap((term, n) => term.map((query) => ({ n, query })))
      return Effect.map(
        numbers(sql`
          with q as materialized (select * from unnest(${queries.map(({ n }) => n)}::integer[], ${queries.map(({ query }) => query)}::text[]) as q (n, query))
          select t.n from generate_series(0, ${terms.length - 1}) as t (n)
          where (select true from q where q.n = t.n and (select true from search_documents where words @@ q.query::tsquery limit 1) limit 1)`),
        (found) => new Set(found.map(({ n }) => n))
      )
    }),

    /** The first 20 slots of each. */
    locations: Effect.fn("SearchRepo.locations")((ids: ReadonlyArray<string>) =>
      Effect.map(
        locations(sql`
          select w.id4, json_agg(json_build_object('boxNo', x.box_no, 'locNo', x.loc_no, 'location', x.box_no || '-' || x.loc_no,
            'quantity', x.quantity, 'lastCountedAt', iso(x.last_counted_at)) order by x.box_no, x.loc_no) as locations
          from unnest(${ids}::text[]) as w (id4) cross join lateral
            (select * from part_locations l where l.part_id4 = w.id4 order by l.box_no, l.loc_no limit 20) x
          group by w.id4`),
        (found) => new Map(found.map(({ id4, locations }) => [id4, locations]))
      )
    )
  }
})

export class SearchRepo extends Context.Service<SearchRepo, Effect.Success<typeof make>>()("inventory/SearchRepo") {
  static readonly layer = Layer.effect(SearchRepo, make)
}
