import { toTsquery } from "./lexemes.ts"
import { ownExpansions, type Term } from "./query.ts"
import { type ExpandedTerm, type Expansion, typoQuality } from "./ranking.ts"
import { allowedTypos, prefixDistance } from "./typo.ts"

/** A word of the vocabulary that begins with a stem or, with a similarity, only looks like it. */
export interface KnownWord {
  readonly stem: string
  readonly word: string
  readonly parts: number
  readonly similarity: number | null
}

/** A term with every way in which it may match. */
export interface FullTerm extends ExpandedTerm {
  readonly term: Term
  /** Those that come from the term alone; none when no part can have it, because the vocabulary does not know it. */
  readonly own: ReadonlyArray<Expansion>
  /** Words of the vocabulary that the others come from. */
  readonly words: ReadonlyArray<string>
  /** The term as a query in texts of documents. */
  readonly inTexts: string | null
  /** Whether the vocabulary has the term itself, and in how many parts it stood when they were counted. */
  readonly known: boolean
  readonly parts: number
}

const mostTypos = 8

/** The stem if a word may match it with a typo. A value with a typo is another value. */
export const tolerantStem = (term: Term): string | null => (term._tag === "Word" && allowedTypos(term.stem) > 0 ? term.stem : null)

export const expandTerm = (term: Term, known: ReadonlyArray<KnownWord>): FullTerm => {
  const { stem } = term
  const words = known.filter((word) => word.stem === stem)
  const itself = words.find(({ word }) => word === stem)
  const own = ownExpansions(term).filter((expansion) => itself !== undefined || !isForm(term, expansion))
  const beginning = words.flatMap(
    ({ similarity, word }): ReadonlyArray<Expansion> =>
      similarity === null && word !== stem ? [{ lexemes: [word], kind: "prefix", quality: 0.8 }] : []
  )
  return {
    term,
    text: term.text,
    own,
    words: words.map(({ word }) => word),
    known: itself !== undefined,
    parts: itself?.parts ?? 0,
    inTexts: queryInTexts(term),
    expansions: stem === null ? own : [...own, ...beginning, ...typosOf(stem, words)]
  }
}

/** Texts are searched for words as they are: no values, no beginnings, no typos. */
export const queryInTexts = (term: Term): string | null => toTsquery([ownExpansions(term).filter(({ kind }) => kind === "exact")], "any")

/** A word is indexed in all its forms, and its stem is one of them. */
const isForm = (term: Term, { lexemes, prefix }: Expansion): boolean =>
  term._tag === "Word" && prefix !== true && lexemes.length === 1 && lexemes.every((lexeme) => term.forms.includes(lexeme))

const typosOf = (stem: string, words: ReadonlyArray<KnownWord>): ReadonlyArray<Expansion> => {
  const limit = allowedTypos(stem)
  return words
    .flatMap(({ parts, similarity, word }) => {
      const distance = similarity === null ? Infinity : prefixDistance(stem, word, limit)
      return distance <= limit ? [{ word, distance, parts, similarity: similarity ?? 0 }] : []
    })
    .sort((a, b) => a.distance - b.distance || b.similarity - a.similarity || b.parts - a.parts || (a.word < b.word ? -1 : 1))
    .slice(0, mostTypos)
    .map(({ distance, word }) => ({ lexemes: [word], kind: "typo", quality: typoQuality(distance) }))
}
