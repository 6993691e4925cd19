import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { rows } from "#platform/db/db.ts"
import { StockInSlot } from "../parts/part.ts"
import type { WeightClass } from "./fields.ts"
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
  /** How many parts were looked at. */
  looked: Schema.Int,
  lexeme: Schema.String,
  positions: Schema.Array(Schema.Int)
})
export type Occurrence = typeof Occurrence.Type

const whole = rows(Whole)
const known = rows(Schema.Struct({ stem: Schema.String, word: Schema.String, parts: Schema.Int, similarity: Schema.NullOr(Schema.Number) }))
const occurrences = rows(Occurrence)
const numbers = rows(Schema.Struct({ n: Schema.Int }))
const locations = rows(Schema.Struct({ id4: Schema.String, locations: Schema.Array(StockInSlot) }))

/** A term in the fields of each class, as a query; in D it is any field. */
export type TermByClass = { readonly [C in WeightClass]: string | null }

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

  return {
    /** Tiers 0 to 2, best first: the query as a whole is a label, a slot, or a number or its beginning. */
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
        const { id4, location, squashed } = query
        const found = [
          ...(id4 === null ? [] : [sql`select id4, 0 as tier, 'id4' as field from parts where id4 = ${id4}`]),
          ...(location === null
            ? []
            : [sql`select part_id4, 0, 'location' from part_locations where box_no = ${location.boxNo} and loc_no = ${location.locNo}`]),
          ...(squashed === ""
            ? []
            : [
                sql`select id4, 1, 'manufacturerCode' from parts where manufacturer_code_squashed = ${squashed}`,
                sql`select k.part_id4, 1, 'sellerPartNumber' from seller_part_numbers n join seller_links k on k.id = n.link_id
                  where n.squashed = ${squashed}`,
                sql`select part_id4, 1, 'barcode' from part_barcodes where squashed = ${squashed}`
              ]),
          ...(Array.from(squashed).length < 3
            ? []
            : [
                sql`select id4, 2, 'manufacturerCode' from parts
                  where manufacturer_code_squashed > ${squashed} and manufacturer_code_squashed < ${squashed} || ${after}`
              ])
        ]
        const [first, ...others] = found
        if (first === undefined) return Effect.succeed([])
        const union = others.reduce((united, one) => sql`${united} union all ${one}`, first)
        return whole(sql`
          select d.id4, min(d.tier)::int as tier, array_agg(distinct d.field) as fields, s.total::float8 as "totalQuantity"
          from (${union}) as d (id4, tier, field) join part_stock s on s.part_id4 = d.id4
          where ${passes(filter, sql`d.id4`)}
          group by d.id4, s.total order by min(d.tier), s.total > 0 desc, d.id4 limit ${limit}`)
      }
    ),

    /**
     * What the index has for these stems: the word itself and up to 20 that begin with it, those of most parts first; where there is
     * none and a typo is allowed, up to 100 that look alike. `ignored` are words that the vocabulary still has and no part any more.
     */
    vocabulary: Effect.fn("SearchRepo.vocabulary")(
      (stems: ReadonlyArray<string>, tolerant: ReadonlyArray<string>, ignored: ReadonlyArray<string>) =>
        known(sql`
          with stems as materialized (select s.stem collate "C" as stem from unnest(${stems}::text[]) as s (stem)),
          beginning as materialized (
            select s.stem, w.word, w.parts from stems s cross join lateral (
              (select word, parts from search_words where word = s.stem)
              union all
              (select b.word, b.parts from (
                (select word, parts from search_words
                  where word > s.stem and word < s.stem || ${after} and parts > 1 and word <> all(${ignored}::text[])
                  order by parts desc, word limit 20)
                union all
                (select word, parts from search_words
                  where word > s.stem and word < s.stem || ${after} and parts = 1 and word <> all(${ignored}::text[])
                  order by word limit 20)) b
                order by b.parts desc, b.word limit 20)) w
            where w.word <> all(${ignored}::text[]))
          select stem, word, parts, null::float8 as similarity from beginning
          union all
          select s.stem, w.word, w.parts, w.similarity::float8 from stems s cross join lateral (
            select word, parts, similarity(word, s.stem) as similarity from search_words
            where word % s.stem and word <> all(${ignored}::text[])
            order by similarity(word, s.stem) desc, word limit 100) w
          where s.stem = any(${tolerant}::text[]) and not exists (select from beginning b where b.stem = s.stem)`)
    ),

    /**
     * The lexemes asked for of parts that match the query: of the first `look` parts that the index finds, the `keep` best by the
     * fields in which the terms of the sieve stand, in stock before empty, by label.
     */
    candidates: Effect.fn("SearchRepo.candidates")(
      (options: {
        readonly query: string
        readonly sieve: ReadonlyArray<TermByClass>
        readonly lexemes: ReadonlyArray<string>
        readonly withLabels: boolean
        readonly filter: SearchFilter
        readonly look: number
        readonly keep: number
      }) => {
        const joined = (fragments: ReadonlyArray<Statement.Fragment>) => fragments.reduce((before, next) => sql`${before} ${next}`, sql``)
        // Read once as queries: a cast at the place of use would be done again for every part.
        const columns = options.sieve.map(
          ({ A, B, C, D }, n) =>
            sql`, ${A}::tsquery as ${sql(`a${n}`)}, ${B}::tsquery as ${sql(`b${n}`)}, ${C}::tsquery as ${sql(`c${n}`)}, ${D}::tsquery as ${sql(`d${n}`)}`
        )
        const weights = options.sieve.map(
          (
            _,
            n
          ) => sql`+ case when d.words @@ (select ${sql(`a${n}`)} from q) then 10 when d.words @@ (select ${sql(`b${n}`)} from q) then 8
            when d.words @@ (select ${sql(`c${n}`)} from q) then 7 when d.words @@ (select ${sql(`d${n}`)} from q) then 5 else 0 end`
        )
        return occurrences(sql`
          with q as materialized (select ${options.query}::tsquery as query ${joined(columns)})
          select b.id4, b."totalQuantity", b.looked, u.lexeme, u.positions
          from (
            select l.*, count(*) over ()::int as looked
            from (
              select d.part_id4 as id4, (select s.total::float8 from part_stock s where s.part_id4 = d.part_id4) as "totalQuantity",
                0 ${joined(weights)} as weight
              from search_documents d where d.words @@ (select query from q) and ${passes(options.filter, sql`d.part_id4`)}
              limit ${options.look}) l
            order by l.weight desc, l."totalQuantity" > 0 desc, l.id4 limit ${options.keep}) b
          join search_documents d on d.part_id4 = b.id4
          cross join lateral unnest(d.words) u
          where u.lexeme = any(${options.lexemes}::text[]) ${options.withLabels ? sql`or starts_with(u.lexeme, '=')` : sql``}`)
      }
    ),

    /** The places of those queries that any part matches. */
    occurring: Effect.fn("SearchRepo.occurring")((queries: ReadonlyArray<string>) =>
      Effect.map(
        numbers(sql`
          select (q.n - 1)::int as n from unnest(${queries}::text[]) with ordinality as q (query, n)
          where exists (select from search_documents d where d.words @@ q.query::tsquery)`),
        (found) => new Set(found.map(({ n }) => n))
      )
    ),

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
