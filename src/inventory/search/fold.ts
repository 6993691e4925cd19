// Nearly every text of a part is plain, and the general way costs ten times as much.
const isPlain = (text: string): boolean => !/[^ -~]/u.test(text)

/** NFKC without invisible format characters; control characters and halves of surrogate pairs are spaces. Values are read on this text. */
export const normalise = (text: string): string =>
  isPlain(text)
    ? text
    : text
        .replace(/\p{Cf}/gu, "")
        .normalize("NFKC")
        .replace(/[\p{Cc}\p{Cs}]/gu, " ")

// Marks that belong to no script of their own. The vowel signs of Devanagari or Thai are marks as well, and words without them are
// other words; so are the two Japanese voicing marks.
const accents = /(?![\u3099\u309a])(?=\p{Script=Inherited})\p{Mn}/gu

const withoutAccents = (text: string): string => (isPlain(text) ? text : text.normalize("NFD").replace(accents, "").normalize("NFC"))

/** The form in which words are compared: "Ωmeter À" and "ohmmeter a" are equal. Folding twice changes nothing. */
export const fold = (text: string): string =>
  isPlain(text)
    ? text.toLowerCase()
    : withoutAccents(withoutAccents(normalise(text)).toLowerCase())
        .replaceAll("μ", "u")
        .replaceAll("ω", "ohm")
        // Which sigma a capital becomes depends on where the word ends, and the beginning of a word ends elsewhere.
        .replaceAll("ς", "σ")

/** What `squash` makes of a text, with everything still between the letters and digits: for rules about where words end. */
export const upper = (text: string): string => withoutAccents(withoutAccents(normalise(text)).toUpperCase())

/** The form in which part numbers and codes are compared: `bc-547 b` is `BC547B`. */
export const squash = (text: string): string => upper(text).replace(/[^\p{L}\p{N}]/gu, "")
