import { type Field, fieldNames, fields, type WeightClass, weightClassOf } from "./fields.ts"
import { fold } from "./fold.ts"
import { valueLexeme } from "./values.ts"
import { tokenise } from "./words.ts"

/** The texts of a part that can be searched; a field with several names, codes or titles has several texts. */
export type PartTexts = { readonly [F in Field]?: ReadonlyArray<string> }

/** Every lexeme of a part with the fields it stands in. */
export type Lexemes = ReadonlyMap<string, ReadonlyArray<Field>>

/** An id is no word: with a typo it would name another bag. Exact and prefix matching ask for this lexeme. */
export const idLexeme = (id4: string): string => `=${id4.toLowerCase()}`

/** What texts were read as; types, tags, packages and manufacturers are the same ones in part after part. */
export type Seen = Map<string, ReadonlySet<string>>

export const lexemesOf = (part: PartTexts, seen: Seen = new Map()): Lexemes => {
  const lexemes = new Map<string, ReadonlyArray<Field>>()
  for (const field of fieldNames) {
    const only = [field]
    for (const text of part[field] ?? []) {
      for (const lexeme of field === "id4" ? [idLexeme(text)] : lexemesOfField(field, text, seen)) {
        const known = lexemes.get(lexeme)
        if (known === undefined) lexemes.set(lexeme, only)
        else if (known.at(-1) !== field) lexemes.set(lexeme, [...known, field])
      }
    }
  }
  return lexemes
}

/** The set of values that a part has, as lexemes in their order: equal for parts that mean the same values, however they write them. */
export const valueLexemesOf = (part: PartTexts): ReadonlyArray<string> =>
  Array.from(lexemesOf(part).keys())
    .filter((lexeme) => lexeme.startsWith("~"))
    .sort()

const lexemesOfField = (field: Field, text: string, seen: Seen): ReadonlySet<string> => {
  const { values } = fields[field]
  const key = (values ? "v" : "w") + text
  const known = seen.get(key)
  if (known !== undefined) return known
  const found = lexemesOfText(text, values)
  seen.set(key, found)
  return found
}

/** The words of a long text, a piece at a time: hundreds of kilobytes at once would hold up everything else. */
export function* wordsOfPieces(text: string): Generator<ReadonlySet<string>> {
  for (let from = 0; from < text.length; ) {
    const end = text.length - from <= pieceLength ? text.length : endOfPiece(text, from)
    yield lexemesOfText(text.slice(from, end), false)
    from = end
  }
}

const pieceLength = 1000

/** After the last line that fits, else after the last word; a word without an end is cut. */
const endOfPiece = (text: string, from: number) => {
  const piece = text.slice(from, from + pieceLength)
  const line = piece.lastIndexOf("\n")
  return from + ((line === -1 ? piece.lastIndexOf(" ") : line) + 1 || pieceLength)
}

const lexemesOfText = (text: string, withValues: boolean): ReadonlySet<string> => {
  const lexemes = new Set<string>()
  for (const token of tokenise(text)) {
    if (token._tag === "Word") {
      lexemes.add(token.word.whole)
      lexemes.add(token.word.joined)
      for (const piece of token.word.pieces) lexemes.add(piece)
      continue
    }
    for (const value of token.values) {
      if (withValues) lexemes.add(valueLexeme(value))
      lexemes.add(value.literal)
    }
    // `4.7 kΩ` is also the words 4.7 and kohm. In one piece `1MΩ` is no word at all, or 1 mΩ would find it by text; pieces or the joined
    // form of `4.7k` would make it 47k.
    const caseCounts = token.values.some(({ hasUnit, literal }) => hasUnit && literal.startsWith("^"))
    const parts = token.text.split(" ")
    if (caseCounts && parts.length === 1) continue
    for (const part of parts) {
      if (!/[,/]/u.test(part)) lexemes.add(fold(part))
    }
  }
  return lexemes
}

const quoted = (lexeme: string): string =>
  /['\\]/u.test(lexeme) ? `'${lexeme.replaceAll("\\", "\\\\").replaceAll("'", "''")}'` : `'${lexeme}'`

// D is what PostgreSQL assumes.
const positionText = (field: Field): string => fields[field].position + weightClassOf(field).replace("D", "")

const positionTexts = new Map(fieldNames.map((field) => [field, positionText(field)]))

/** As PostgreSQL reads a `tsvector`; the positions are the fields, with their weights. */
export const toTsvector = (lexemes: Lexemes): string => {
  let text = ""
  for (const [lexeme, standsIn] of lexemes) {
    text += text === "" ? quoted(lexeme) : ` ${quoted(lexeme)}`
    for (const [index, field] of standsIn.entries()) text += (index === 0 ? ":" : ",") + positionTexts.get(field)
  }
  return text
}

/**
 * What prefixes and typos are looked for in: no values, no ids, no literals in which the case counts, and of `bc-547` only the joined form
 * and the pieces, as nothing else is ever looked for. Numbers with a decimal point are looked for as they are.
 */
export const vocabularyOf = (lexemes: Lexemes): ReadonlyArray<string> =>
  Array.from(lexemes.keys()).filter((lexeme) => !"~=^".includes(lexeme.charAt(0)) && !/[-_+\p{Pd}]|^\D.*\./u.test(lexeme))

/** One way to match a term: the part has all these lexemes; with `prefix`, one that starts with the only one given. */
export interface Alternative {
  readonly lexemes: ReadonlyArray<string>
  readonly prefix?: boolean
}

/**
 * As PostgreSQL reads a `tsquery`: one alternative of every term, or of any; with `classes`, only in fields of these weights. Null when
 * nothing can match, because a term (or each of them) has no alternative.
 */
export const toTsquery = (
  terms: ReadonlyArray<ReadonlyArray<Alternative>>,
  mode: "every" | "any",
  classes: ReadonlyArray<WeightClass> = []
): string | null => {
  const possible = terms.filter((alternatives) => alternatives.length > 0)
  if (possible.length === 0 || (mode === "every" && possible.length < terms.length)) return null
  return possible.map((alternatives) => termText(alternatives, classes.join(""))).join(mode === "every" ? " & " : " | ")
}

const termText = (alternatives: ReadonlyArray<Alternative>, classes: string): string =>
  `(${Array.from(new Set(alternatives.map((alternative) => alternativeText(alternative, classes)))).join(" | ")})`

const alternativeText = ({ lexemes, prefix = false }: Alternative, classes: string): string => {
  const [only] = lexemes
  const marks = (prefix ? "*" : "") + classes
  const text = (lexeme: string) => quoted(lexeme) + (marks === "" ? "" : `:${marks}`)
  return lexemes.length === 1 && only !== undefined ? text(only) : `(${lexemes.map(text).join(" & ")})`
}
