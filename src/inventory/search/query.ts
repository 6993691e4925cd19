import { normalise, squash } from "./fold.ts"
import { idLexeme } from "./lexemes.ts"
import type { Expansion } from "./ranking.ts"
import { type Value, valueLexeme } from "./values.ts"
import { tokenise, type Word } from "./words.ts"

export type Term = WordTerm | ValueTerm

export interface WordTerm {
  readonly _tag: "Word"
  /** As it was typed. */
  readonly text: string
  /** What prefixes and typos are looked for with. */
  readonly stem: string
  /** Lexemes that match exactly, any of them. */
  readonly forms: ReadonlyArray<string>
  /** Lexemes that match exactly together; empty when that says too little. */
  readonly pieces: ReadonlyArray<string>
}

export interface ValueTerm {
  readonly _tag: "Value"
  readonly text: string
  /** For prefixes only: `64k` finds "64kB", but a value with a typo is another value. Null where the case of the literal counts. */
  readonly stem: string | null
  /** Lexemes of the value, any of them: a bare `100n` is a capacitance or an inductance. */
  readonly values: ReadonlyArray<string>
  /** The lexeme of the text itself, for fields that hold no values. */
  readonly literal: string
}

export interface Query {
  readonly terms: ReadonlyArray<Term>
  /** Whether terms after the first 24 were left out. */
  readonly shortened: boolean
  readonly squashed: string
  /** The whole query, if it could be one; whether it exists is another question. */
  readonly id4: string | null
  readonly location: { readonly boxNo: number; readonly locNo: number } | null
}

/** 200 characters could be a hundred terms, each with its own look-ups; nobody types so many on purpose. */
export const mostTerms = 24

export const parseQuery = (q: string): Query => {
  const text = normalise(q).trim()
  const distinct = new Map<string, Term>()
  for (const token of tokenise(text)) {
    for (const term of token._tag === "Word" ? [wordTerm(token.word)] : valueTerms(token.text, token.values)) {
      const key = term._tag === "Word" ? term.stem : term.values.join(" ")
      if (!distinct.has(key)) distinct.set(key, term)
    }
  }
  const [, boxNo, locNo] = /^([1-9]\d{0,4})-([1-9]\d{0,3})$/u.exec(text) ?? []
  return {
    terms: Array.from(distinct.values()).slice(0, mostTerms),
    shortened: distinct.size > mostTerms,
    squashed: squash(text),
    id4: /^[A-Za-z]{4}$/u.test(text) ? text.toUpperCase() : null,
    location: boxNo === undefined || locNo === undefined ? null : { boxNo: Number(boxNo), locNo: Number(locNo) }
  }
}

const wordTerm = ({ joined, pieces, text, whole }: Word): WordTerm => {
  // The joined form is indexed for every way to write a part number, so `bc-547`, `bc.547` and `BC547` meet in it. But 3.3 is not 33.
  const isDecimal = /^[\d.]+$/u.test(whole) && whole !== joined
  return {
    _tag: "Word",
    text,
    stem: isDecimal ? whole : joined,
    forms: isDecimal || whole === joined ? [whole] : [joined, whole],
    // `low-power` finds "low power", `BC-547` finds "BC 547". The 3 and 5 of `3-5` stand in half of all parts.
    pieces: pieces.length > 1 && pieces.some((piece) => /\p{L}{2}/u.test(piece)) && !/\d\.\d/u.test(whole) ? pieces : []
  }
}

/** A range asks for both of its ends: two terms. */
const valueTerms = (text: string, values: ReadonlyArray<Value>): ReadonlyArray<ValueTerm> =>
  Array.from(
    Map.groupBy(values, ({ literal }) => literal),
    ([literal, same]): ValueTerm => ({
      _tag: "Value",
      text,
      stem: literal.startsWith("^") ? null : literal,
      values: Array.from(new Set(same.map(valueLexeme))),
      literal
    })
  )

/** How a term matches without a look at the vocabulary; those of its `stem` come on top. */
export const ownExpansions = (term: Term): ReadonlyArray<Expansion> => {
  if (term._tag === "Value") {
    return [
      ...term.values.map((lexeme): Expansion => ({ lexemes: [lexeme], kind: "value", quality: 1 })),
      { lexemes: [term.literal], kind: "exact", quality: 1 }
    ]
  }
  const exact = term.forms.map((lexeme): Expansion => ({ lexemes: [lexeme], kind: "exact", quality: 1 }))
  if (term.pieces.length > 0) exact.push({ lexemes: term.pieces, kind: "exact", quality: 1 })
  if (/^[a-z]{4}$/u.test(term.stem)) exact.push({ lexemes: [idLexeme(term.stem)], kind: "exact", quality: 1 })
  if (/^[a-z]{1,3}$/u.test(term.stem)) exact.push({ lexemes: [idLexeme(term.stem)], prefix: true, kind: "prefix", quality: 0.8 })
  return exact
}
