import { type Field, fieldNames, fields } from "./fields.ts"
import { fold } from "./fold.ts"
import { valueLexeme } from "./values.ts"
import { tokenise } from "./words.ts"

/** The texts of a part that can be searched; a field with several names, codes or titles has several texts. */
export type PartTexts = { readonly [F in Field]?: ReadonlyArray<string> }

/** Every lexeme of a part with the fields it stands in. */
export type Lexemes = ReadonlyMap<string, ReadonlySet<Field>>

/** An id is no word: with a typo it would name another bag. Exact and prefix matching ask for this lexeme. */
export const idLexeme = (id4: string): string => `=${id4.toLowerCase()}`

export const lexemesOf = (part: PartTexts): Lexemes => {
  const lexemes = new Map<string, Set<Field>>()
  const add = (lexeme: string, field: Field) => {
    const known = lexemes.get(lexeme)
    if (known === undefined) lexemes.set(lexeme, new Set([field]))
    else known.add(field)
  }
  for (const field of fieldNames) {
    for (const text of part[field] ?? []) {
      if (field === "id4") add(idLexeme(text), field)
      else for (const lexeme of lexemesOfText(text, fields[field].values)) add(lexeme, field)
    }
  }
  return lexemes
}

function* lexemesOfText(text: string, withValues: boolean): Generator<string> {
  for (const token of tokenise(text)) {
    if (token._tag === "Word") {
      yield token.word.whole
      yield token.word.joined
      yield* token.word.pieces
      continue
    }
    for (const value of token.values) {
      if (withValues) yield valueLexeme(value)
      yield value.literal
    }
    // `4.7 kΩ` is also the words 4.7 and kohm. In one piece `1MΩ` is no word at all, or 1 mΩ would find it by text; pieces or the joined
    // form of `4.7k` would make it 47k.
    const caseCounts = token.values.some(({ hasUnit, literal }) => hasUnit && literal.startsWith("^"))
    const parts = token.text.split(" ")
    if (caseCounts && parts.length === 1) continue
    for (const part of parts) {
      if (!/[,/]/u.test(part)) yield fold(part)
    }
  }
}

const quoted = (lexeme: string): string => `'${lexeme.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`

/** As PostgreSQL reads a `tsvector`; the positions are the fields. */
export const toTsvector = (lexemes: Lexemes): string =>
  Array.from(
    lexemes,
    ([lexeme, standsIn]) => `${quoted(lexeme)}:${Array.from(standsIn, (field) => fields[field].position).join(",")}`
  ).join(" ")

/** What prefixes and typos are looked for in: no values, no ids, no literals in which the case counts. */
export const vocabularyOf = (lexemes: Lexemes): ReadonlyArray<string> =>
  Array.from(lexemes.keys()).filter((lexeme) => !/^[~=^]/u.test(lexeme))

/** One way to match a term: the part has all these lexemes; with `prefix`, one that starts with the only one given. */
export interface Alternative {
  readonly lexemes: ReadonlyArray<string>
  readonly prefix?: boolean
}

/**
 * As PostgreSQL reads a `tsquery`: one alternative of every term, or of any. Null when nothing can match, because a term (or each of them)
 * has no alternative.
 */
export const toTsquery = (terms: ReadonlyArray<ReadonlyArray<Alternative>>, mode: "every" | "any"): string | null => {
  const possible = terms.filter((alternatives) => alternatives.length > 0)
  if (possible.length === 0 || (mode === "every" && possible.length < terms.length)) return null
  return possible.map(termText).join(mode === "every" ? " & " : " | ")
}

const termText = (alternatives: ReadonlyArray<Alternative>): string =>
  `(${Array.from(new Set(alternatives.map(alternativeText))).join(" | ")})`

const alternativeText = ({ lexemes, prefix = false }: Alternative): string =>
  lexemes.length === 1 ? lexemes.map(quoted).join() + (prefix ? ":*" : "") : `(${lexemes.map(quoted).join(" & ")})`
