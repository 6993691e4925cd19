import { Clock, Context, Effect, Layer, Metric } from "effect"
import type { PartRow } from "../parts/part.ts"
import { Parts } from "../parts/parts.service.ts"
import { expandTerm, type FullTerm, queryInTexts, tolerantStem } from "./expansion.ts"
import { weightOf } from "./fields.ts"
import { toTsquery } from "./lexemes.ts"
import { parseQuery, type Term } from "./query.ts"
import { byRank, type Expansion, type Ranked, rank } from "./ranking.ts"
import { type Occurrence, SearchRepo } from "./search.repo.ts"
import type { MatchedOn, SearchFilter, SearchResult } from "./search.ts"

const durations = Metric.histogram("inventory_search_duration_seconds", {
  description: "Time a search took, by the tier of its best hit",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
})

/**
 * Of parts that have all words exactly, `look` divided by the words are looked at, and the best of them are found: by the fields in which the
 * words stand, in PostgreSQL's four classes of weight; then in stock before empty, which is seen of the best `sort`; twice as many as are
 * asked for are ranked to the last digit. When more parts have the words, which of them are looked at is up to the database, and as then
 * nobody gets to the end of them, fewer are enough.
 */
const look = 2000
/** Of parts that match otherwise: by the beginning of a word, with a typo, by some of the terms. */
const lookWide = 400
const sort = 400

const tiers = ["0", "1", "2", "3", "4", "5", "none"]

interface Limits {
  readonly look: number
  readonly keep: number
}

interface Hit extends Ranked {
  readonly matchedOn: ReadonlyArray<MatchedOn>
}

export class Search extends Context.Service<
  Search,
  {
    /** The best parts for what a person typed, best first. Neither `%` nor `_` nor any operator has a meaning in it. */
    readonly find: (q: string, filter: SearchFilter, limit: number) => Effect.Effect<SearchResult>
  }
>()("inventory/Search") {
  static readonly layerNoDeps = Layer.effect(
    Search,
    Effect.gen(function* () {
      const repo = yield* SearchRepo
      const parts = yield* Parts
      // Read once, so that every series is there from the start.
      yield* Effect.forEach(tiers, (tier) => Metric.value(Metric.withAttributes(durations, { tier })), { discard: true })

      const expand = Effect.fnUntraced(function* (terms: ReadonlyArray<Term>, ignored: ReadonlyArray<string>) {
        const stems = new Set(terms.flatMap(({ stem }) => stem ?? []))
        const tolerant = terms.flatMap((term) => {
          const stem = tolerantStem(term)
          return stem === null ? [] : [{ stem, inTexts: queryInTexts(term) }]
        })
        const known = stems.size === 0 ? [] : yield* repo.vocabulary([...stems], tolerant, ignored, mostPrefixes(terms.length))
        return terms.map((term) => expandTerm(term, known))
      })

      /** The terms decide what is told of a candidate, the sieve which candidates are the best when there are many. */
      const choice = (
        sieve: ReadonlyArray<ReadonlyArray<Expansion>>,
        terms: ReadonlyArray<FullTerm>,
        filter: SearchFilter,
        { keep, look }: Limits
      ) => {
        const expansions = terms.flatMap((term) => term.expansions)
        return {
          sieve: sieve.map((term) => ({
            strong: toTsquery([term], "any", ["A", "B"]),
            codes: toTsquery([term], "any", ["A"]),
            description: toTsquery([term], "any", ["C"]),
            any: toTsquery([term], "any")
          })),
          lexemes: [...new Set(expansions.flatMap(({ lexemes, prefix }) => (prefix === true ? [] : lexemes)))],
          withLabels: expansions.some(({ prefix }) => prefix === true),
          filter,
          look,
          sort,
          keep
        }
      }

      const candidates = (
        query: string | null,
        sieve: ReadonlyArray<ReadonlyArray<Expansion>>,
        terms: ReadonlyArray<FullTerm>,
        filter: SearchFilter,
        limits: Limits
      ): Effect.Effect<ReadonlyArray<Occurrence>> =>
        query === null ? Effect.succeed([]) : repo.candidates(query, choice(sieve, terms, filter, limits))

      const withTexts = (mode: "every" | "any", terms: ReadonlyArray<FullTerm>, filter: SearchFilter, limit: number) => {
        const sieve = terms.map((term) => term.expansions)
        return Effect.map(
          repo.withTexts(
            mode,
            terms,
            choice(sieve, terms, filter, { look: mode === "any" || terms.length === 1 ? lookWide : look / 2, keep: keepFor(limit) })
          ),
          (found) => rankAll(terms, found)
        )
      }

      const inFields = Effect.fnUntraced(function* (terms: ReadonlyArray<FullTerm>, filter: SearchFilter, limit: number) {
        const own = terms.map((term) => term.own)
        const exactly = toTsquery(own, "every")
        const keep = keepFor(limit)
        const common = terms.every(({ parts }) => parts > look)
        const exact = yield* candidates(exactly, own, terms, filter, {
          look: common ? lookWide : Math.max(lookWide, Math.ceil(look / terms.length)),
          keep
        })
        const hits = rankAll(terms, exact)
        if ((exact[0]?.sorted ?? 0) >= sort) return hits

        // With enough parts that have the words exactly, prefixes are for what is still being typed and for part numbers.
        const wide = terms.map((term, n) =>
          hits.length >= limit && term.known && n < terms.length - 1 && !looksLikePartNumber(term) ? term.own : term.expansions
        )
        if (wide.every((expansions, n) => expansions.length === own[n]?.length)) return hits
        const widely = toTsquery(wide, "every")
        const query = widely === null || exactly === null ? widely : `(${widely}) & !(${exactly})`
        return distinct([...hits, ...rankAll(terms, yield* candidates(query, wide, terms, filter, { look: lookWide, keep }))])
      })

      /** What is written in documents is looked into when it can say more than the fields did: at best it has one of the terms. */
      const withEveryTerm = Effect.fnUntraced(function* (terms: ReadonlyArray<FullTerm>, filter: SearchFilter, limit: number) {
        const hits = [...(yield* inFields(terms, filter, limit))].sort(byRank)
        const last = hits[limit - 1]
        const best = (terms.length - 1 + weightOf("documentText")) / terms.length
        if (terms.length === 0 || (last?.tier === 3 && last.score >= best)) return hits
        return distinct([...hits, ...(yield* withTexts("every", terms, filter, limit))].sort(byRank))
      })

      /** All terms that any part has; all of them but one; each alone, the rarest first. */
      const withSomeTerms = Effect.fnUntraced(function* (
        terms: ReadonlyArray<FullTerm>,
        present: ReadonlyArray<FullTerm>,
        filter: SearchFilter,
        limit: number
      ) {
        const all = present.map((term) => term.expansions)
        const stages = [
          present.length < terms.length ? toTsquery(all, "every") : null,
          present.length > 2 && present.length < 6 ? all.map((_, n) => `(${toTsquery(all.toSpliced(n, 1), "every")})`).join(" | ") : null,
          // One query for any of them would read every part that has one of the commonest words.
          ...(present.length > 1 ? present.toSorted((a, b) => a.parts - b.parts).map((term) => toTsquery([term.expansions], "any")) : [])
        ]
        let hits: ReadonlyArray<Hit> = []
        for (const query of stages) {
          if (hits.length >= limit) break
          const more = yield* candidates(query, all, terms, filter, { look: lookWide, keep: keepFor(limit) })
          hits = distinct([...hits, ...rankAll(terms, more)])
        }
        return hits
      })

      const byTerms = Effect.fnUntraced(function* (
        expanded: ReadonlyArray<FullTerm>,
        filter: SearchFilter,
        limit: number,
        mayRelax: boolean
      ) {
        let terms = expanded
        let hits: ReadonlyArray<Hit> = yield* withEveryTerm(terms, filter, limit)
        if (hits.length > 0 || !mayRelax) return hits
        // From the last to the first: the words of fewest parts are found quickest.
        const occurring = (terms: ReadonlyArray<FullTerm>) =>
          repo.occurring(
            terms.map(({ expansions }) => expansions.toReversed().flatMap((expansion) => toTsquery([[expansion]], "any") ?? []))
          )
        let present = yield* occurring(terms)
        // The vocabulary keeps a word for a while after its last part, and it must not hide what it is a typo of.
        const stale = terms.flatMap(({ words }, n) => (present.has(n) ? [] : words))
        if (stale.length > 0) {
          terms = yield* expand(
            terms.map(({ term }) => term),
            stale
          )
          hits = yield* withEveryTerm(terms, filter, limit)
          if (hits.length > 0) return hits
          present = yield* occurring(terms)
        }
        hits = yield* withSomeTerms(
          terms,
          terms.filter((_, n) => present.has(n)),
          filter,
          limit
        )
        if ((yield* repo.standing(terms.map(({ inTexts }) => inTexts))).size === 0) return hits
        return distinct([...hits, ...(yield* withTexts("any", terms, filter, limit))].sort(byRank))
      })

      const toItems = Effect.fnUntraced(function* (hits: ReadonlyArray<Hit>) {
        const ids = hits.map(({ id4 }) => id4)
        if (ids.length === 0) return []
        const [rows, locations] = yield* Effect.all([parts.rows(ids), repo.locations(ids)], { concurrency: 2 })
        const rowOf = new Map<string, PartRow>(rows.map((row) => [row.id4, row]))
        return hits.flatMap(({ id4, matchedOn, score, tier }) => {
          const row = rowOf.get(id4)
          return row === undefined ? [] : [{ kind: "part" as const, tier, score, matchedOn, ...row, locations: locations.get(id4) ?? [] }]
        })
      })

      const find = Effect.fnUntraced(function* (q: string, filter: SearchFilter, limit: number) {
        const query = parseQuery(q)
        const [whole, terms] = yield* Effect.all([repo.whole(query, filter, limit), expand(query.terms, [])], { concurrency: 2 })
        const direct = distinct(
          whole.map(({ fields, id4, tier, totalQuantity }) => ({
            id4,
            tier,
            score: 1,
            totalQuantity,
            matchedOn: fields.map((field) => ({ field, term: q }))
          }))
        )
        const others = direct.length >= limit ? [] : yield* byTerms(terms, filter, limit, direct.length === 0)
        const hits = distinct([...direct, ...others])
          .sort(byRank)
          .slice(0, limit)
        return { items: yield* toItems(hits), relaxed: hits[0]?.tier === 5 }
      })

      return Search.of({
        find: Effect.fn("Search.find")(function* (q, filter, limit) {
          const since = yield* Clock.monotonicTimeNanos
          const result = yield* find(q, filter, limit)
          const seconds = Number((yield* Clock.monotonicTimeNanos) - since) / 1e9
          yield* Metric.update(Metric.withAttributes(durations, { tier: String(result.items[0]?.tier ?? "none") }), seconds)
          return result
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([SearchRepo.layer, Parts.layer]))
}

/** The more terms, the less each beginning is worth; forty letters would otherwise be eight hundred words. */
const mostPrefixes = (terms: number) => Math.max(2, Math.min(20, Math.floor(60 / terms)))

const keepFor = (limit: number) => Math.max(40, 2 * limit)

const looksLikePartNumber = ({ text }: FullTerm) => /\d/u.test(text) && /\p{L}/u.test(text)

const rankAll = (terms: ReadonlyArray<FullTerm>, occurrences: ReadonlyArray<Occurrence>): ReadonlyArray<Hit> =>
  Array.from(
    Map.groupBy(occurrences, ({ id4 }) => id4),
    ([id4, of]) => ({
      id4,
      totalQuantity: of[0]?.totalQuantity ?? 0,
      ...rank(terms, new Map(of.map(({ lexeme, positions }) => [lexeme, positions])), new Set(of[0]?.inTexts))
    })
  ).flatMap(({ tier, ...hit }) => (tier === null ? [] : [{ tier, ...hit }]))

/** The first of each part. */
const distinct = (hits: ReadonlyArray<Hit>): Array<Hit> => [...new Map(hits.toReversed().map((hit) => [hit.id4, hit])).values()]
