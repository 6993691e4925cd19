import { fold, normalise } from "./fold.ts"
import { recogniseValues, type ValueSpan } from "./values.ts"

export interface Word {
  readonly text: string
  /** Folded, without outer punctuation: `bc-547`. */
  readonly whole: string
  /** Of a word with inner `- _ . +`: `bc547`; otherwise the same as `whole`. */
  readonly joined: string
  /** Of a word with inner `- _ . +`: `bc`, `547`; otherwise empty. */
  readonly pieces: ReadonlyArray<string>
}

/** A tsvector refuses a lexeme of 2 kB. Cut on both sides of the search, long words still meet. */
const longest = 200
const cut = (word: string): string => (word.length <= longest ? word : Array.from(word).slice(0, longest).join(""))

const outer = /^[^\p{L}\p{N}\p{M}]+|[^\p{L}\p{N}\p{M}]+$/gu

const words = (normalised: string): ReadonlyArray<Word> =>
  normalised.split(/[\s,;()/|"'±]+/u).flatMap((raw): ReadonlyArray<Word> => {
    const whole = cut(fold(raw).replace(outer, ""))
    if (whole === "") return []
    if (!/[-_.+\p{Pd}]/u.test(whole)) return [{ text: raw, whole, joined: whole, pieces: [] }]
    const pieces = whole
      .split(/[-_.+\p{Pd}]+/u)
      .map((piece) => piece.replace(outer, ""))
      .filter((piece) => piece !== "")
    return [{ text: raw, whole, joined: whole.replace(/[^\p{L}\p{N}\p{M}]/gu, ""), pieces }]
  })

export type Token =
  | { readonly _tag: "Word"; readonly word: Word }
  | { readonly _tag: "Value"; readonly text: string; readonly values: ValueSpan["values"] }

/** Words and values in the order of the text. What is read as a value is no word. */
export const tokenise = (text: string): ReadonlyArray<Token> => {
  const normalised = normalise(text)
  const found: Array<Token> = []
  let position = 0
  const wordsUntil = (end: number) => {
    for (const word of words(normalised.slice(position, end))) found.push({ _tag: "Word", word })
  }
  for (const { start, end, values } of recogniseValues(normalised)) {
    wordsUntil(start)
    found.push({ _tag: "Value", text: normalised.slice(start, end), values })
    position = end
  }
  wordsUntil(normalised.length)
  return found
}
