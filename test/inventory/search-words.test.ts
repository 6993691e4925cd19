import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { fold, squash } from "#inventory/search/fold.ts"
import { tokenise } from "#inventory/search/words.ts"
import { randomTexts } from "./search-texts.ts"

const wordsOf = (text: string) => tokenise(text).flatMap((token) => (token._tag === "Word" ? [token.word] : []))
const wholeWords = (text: string) => wordsOf(text).map(({ whole }) => whole)

describe("fold", () => {
  it.each([
    ["RÉSISTANCE à couche", "resistance a couche"],
    ["10 µF", "10 uf"], // micro sign
    ["10 μF", "10 uf"], // Greek mu
    ["4.7 kΩ", "4.7 kohm"], // omega
    ["4.7 kΩ", "4.7 kohm"], // ohm sign
    ["ＢＣ５４７", "bc547"],
    ["ﬁlter", "filter"],
    ["İstanbul", "istanbul"],
    ["Łódź Brontë Ångström", "łodz bronte angstrom"],
    ["a\tb\nc\u0000d\u0085e", "a b c d e"],
    ["ЁЛКА и Йод", "елка и иод"],
    ["ΟΔΟΣ", "οδοσ"],
    ["抵抗器 ガス", "抵抗器 ガス"],
    ["प्रतिरोधक", "प्रतिरोधक"],
    ["soft\u00adhyphen", "softhyphen"],
    ["a\ud800b", "a b"],
    ["😀 LED", "😀 led"]
  ])("%s becomes %s", (text, folded) => assert.strictEqual(fold(text), folded))

  it("composed and decomposed accents fold alike", () => assert.strictEqual(fold("Überspannung".normalize("NFD")), fold("Überspannung")))

  it("folding twice changes nothing, whatever the text", () => {
    for (const text of randomTexts(3_000)) assert.strictEqual(fold(fold(text)), fold(text))
  })

  it.prop("folding ignores the case of Latin letters", [Schema.String.check(Schema.isPattern(/^[A-Za-z0-9 .-]*$/u))], ([text]) => {
    assert.strictEqual(fold(text.toUpperCase()), fold(text.toLowerCase()))
  })
})

describe("squash", () => {
  it.each([
    ["bc-547 b", "BC547B"],
    ["  lm_317-t/nopb ", "LM317TNOPB"],
    ["Æ-ñ.ß", "ÆNSS"],
    ["１２３", "123"],
    ["резистор-1", "РЕЗИСТОР1"],
    ["😀\ud800", ""]
  ])("%s becomes %s", (text, squashed) => assert.strictEqual(squash(text), squashed))

  it("squashing twice changes nothing, whatever the text", () => {
    for (const text of randomTexts(3_000)) assert.strictEqual(squash(squash(text)), squash(text))
  })
})

describe("words", () => {
  it("text is split at white space and the separators, and outer punctuation goes", () => {
    assert.deepStrictEqual(wholeWords("Relay, (sealed); “bistable” SPDT/DPDT|x 'y' \"z\" *starred* Q: [a] C++ — end."), [
      "relay",
      "sealed",
      "bistable",
      "spdt",
      "dpdt",
      "x",
      "y",
      "z",
      "starred",
      "q",
      "a",
      "c",
      "end"
    ])
  })

  it.each([
    ["bc-547", "bc547", ["bc", "547"]],
    ["ATmega328P-PU", "atmega328ppu", ["atmega328p", "pu"]],
    ["a_b.c+d", "abcd", ["a", "b", "c", "d"]],
    ["SOT‑23", "sot23", ["sot", "23"]], // non-breaking hyphen
    ["IRLZ44N", "irlz44n", []],
    ["2:1", "2:1", []]
  ])("%s is joined to %s and falls into pieces", (text, joined, pieces) => {
    const [word] = wordsOf(text)
    assert.deepStrictEqual({ joined: word?.joined, pieces: word?.pieces }, { joined, pieces })
    assert.strictEqual(word?.whole, fold(text))
  })

  it("a comma between digits tears apart what is no value", () => {
    assert.deepStrictEqual(wholeWords("1,2,3 SOT23,LQFP 12,34"), ["1", "2", "3", "sot23", "lqfp", "12", "34"])
  })

  it("words are found in any script", () => {
    assert.deepStrictEqual(wholeWords("транзистор, 抵抗器、 مقاومة; प्रतिरोधक"), ["транзистор", "抵抗器", "مقاومة", "प्रतिरोधक"])
  })

  it("no word starts with a marker, is empty, holds white space or half a surrogate pair", () => {
    for (const text of randomTexts(3_000)) {
      for (const { joined, pieces, whole } of wordsOf(text)) {
        for (const word of [whole, joined, ...pieces]) {
          assert.notMatch(word, /^[~=^]|\s|^$|\p{Cs}/u)
          assert.isAtMost(Array.from(word).length, 200)
        }
      }
    }
  })

  it("a very long word is cut at a character", () => {
    assert.deepStrictEqual(wholeWords("𝔘".repeat(300)), ["u".repeat(200)])
    assert.deepStrictEqual(wholeWords("𠀀".repeat(300)), ["𠀀".repeat(200)])
  })
})
