import { squash, upper } from "../search/fold.ts"

/** From here on a part number is told by its letters and digits alone, wherever words begin and end around it. */
const distinctive = 8

/**
 * Whether a text is about the part with this number: both are compared squashed, because texts of PDFs break numbers at line ends,
 * hyphens and blanks. Null when nothing can be told: no legible text, no part number, or one of fewer than three letters and digits.
 *
 * Squashed, any text holds any short number somewhere: "film 358" has LM358, a table of figures has 12345. So one of fewer than eight
 * letters and digits must begin where a word begins; and one of fewer than five, or without both letters and digits, must be a word of its
 * own, in which at most hyphens stand.
 */
export const isVerifiedDatasheet = (text: string | null, manufacturerCode: string | null): boolean | null => {
  if (text === null || manufacturerCode === null) return null
  const number = Array.from(squash(manufacturerCode))
  const raised = upper(text)
  if (number.length < 3 || !/[\p{L}\p{N}]/u.test(raised)) return null
  if (number.length >= distinctive) return squash(text).includes(number.join(""))
  const isMixed = number.some((letter) => /\p{L}/u.test(letter)) && number.some((letter) => /\p{N}/u.test(letter))
  return number.length >= 5 && isMixed
    ? new RegExp(String.raw`(?<![\p{L}\p{N}])${number.join(String.raw`[^\p{L}\p{N}]*`)}`, "u").test(raised)
    : new RegExp(String.raw`(?<![\p{L}\p{N}])${number.join(String.raw`(?:\p{Pd}\s*)?`)}(?![\p{L}\p{N}])`, "u").test(raised)
}
