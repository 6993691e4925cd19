import { type Field, fieldOfPosition, fields } from "./fields.ts"
import type { Alternative } from "./lexemes.ts"

/** A way in which a term may match, and what the match is worth (R26). */
export interface Expansion extends Alternative {
  readonly kind: "exact" | "value" | "prefix" | "typo"
  readonly quality: 1 | 0.8 | 0.6 | 0.5 | 0.4
}

export const typoQuality = (distance: number): 0.6 | 0.5 | 0.4 => (distance <= 1 ? 0.6 : distance === 2 ? 0.5 : 0.4)

export interface ExpandedTerm {
  readonly text: string
  readonly expansions: ReadonlyArray<Expansion>
}

/** The lexemes of a candidate with their positions; those that are no part of any expansion may be left out. */
export type Positions = ReadonlyMap<string, ReadonlyArray<number>>

export interface MatchedOn {
  readonly field: Field
  readonly term: string
}

export interface Rank {
  /** Null: no term matches. 0 to 2 are no matter of terms and are found elsewhere. */
  readonly tier: 3 | 4 | 5 | null
  /** Rounded to four decimals. */
  readonly score: number
  /** Terms in their order, fields by weight. */
  readonly matchedOn: ReadonlyArray<MatchedOn>
}

/** `inTexts` are the places of the terms that stand in what is written in the candidate's documents. */
export const rank = (terms: ReadonlyArray<ExpandedTerm>, candidate: Positions, inTexts: ReadonlySet<number> = new Set()): Rank => {
  const matches = terms.map((term, n) => {
    const match = matchOf(term.expansions, candidate)
    return { text: term.text, ...(inTexts.has(n) ? orInText(match) : match) }
  })
  const matched = matches.filter(({ hundredths }) => hundredths > 0)
  const sum = matched.reduce((total, { hundredths }) => total + hundredths, 0)
  const matchedOn = matched.flatMap(({ standsIn, text }) => standsIn.map((field): MatchedOn => ({ field, term: text })))
  return {
    tier: matched.length === 0 ? null : matched.length < terms.length ? 5 : matched.some(({ onlyTypo }) => onlyTypo) ? 4 : 3,
    score: terms.length === 0 ? 0 : Math.round((sum * 100) / terms.length) / 10_000,
    // The two ends of a range are two terms with one text.
    matchedOn: Array.from(new Map(matchedOn.map((match) => [`${match.field} ${match.term}`, match])).values())
  }
}

/** There words match exactly or not at all. */
const orInText = (match: ReturnType<typeof matchOf>): ReturnType<typeof matchOf> => ({
  hundredths: Math.max(match.hundredths, 10 * fields.documentText.tenths),
  onlyTypo: false,
  standsIn: match.standsIn.length > 0 ? match.standsIn : ["documentText"]
})

const matchOf = (expansions: ReadonlyArray<Expansion>, candidate: Positions) => {
  const standsIn = new Set<Field>()
  let hundredths = 0
  let onlyTypo = true
  for (const expansion of expansions) {
    const found = expansion.lexemes.map((lexeme) => fieldsOf(lexeme, expansion.prefix ?? false, candidate))
    if (found.length === 0 || found.some((of) => of.length === 0)) continue
    // Pieces that match together are worth what the least of them is.
    const tenths = Math.min(...found.map((of) => Math.max(...of.map((field) => fields[field].tenths))))
    hundredths = Math.max(hundredths, tenths * Math.round(expansion.quality * 10))
    onlyTypo = onlyTypo && expansion.kind === "typo"
    for (const field of found.flat()) standsIn.add(field)
  }
  return { hundredths, onlyTypo, standsIn: Array.from(standsIn).sort((a, b) => fields[a].position - fields[b].position) }
}

const fieldsOf = (lexeme: string, prefix: boolean, candidate: Positions): ReadonlyArray<Field> => {
  const positions = prefix
    ? Array.from(candidate).flatMap(([found, at]) => (found.startsWith(lexeme) ? at : []))
    : (candidate.get(lexeme) ?? [])
  return positions.map(fieldOfPosition).filter((field) => field !== undefined)
}

export interface Ranked {
  readonly tier: number
  readonly score: number
  readonly totalQuantity: number
  readonly id4: string
}

/** R26: a total order, since no id4 occurs twice. */
export const byRank = (a: Ranked, b: Ranked): number =>
  a.tier - b.tier ||
  b.score - a.score ||
  Number(b.totalQuantity > 0) - Number(a.totalQuantity > 0) ||
  (a.id4 < b.id4 ? -1 : a.id4 > b.id4 ? 1 : 0)
