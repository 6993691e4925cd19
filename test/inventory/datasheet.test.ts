import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { isVerifiedDatasheet } from "#inventory/documents/datasheet.ts"
import { squash } from "#inventory/search/fold.ts"
import { randomNumbers, randomTexts } from "./search-texts.ts"

describe("R41: a data sheet", () => {
  it.each([
    ["GRM188R71H104KA93", "Chip ceramic capacitors\nGRM188R71H104KA93D, 0603"],
    ["GRM188R71H104KA93", "… grm188r71h\n104ka93 …"],
    ["GRM188R71H104KA93", "GRM188R71H-\n104KA93"],
    ["GRM188R71H104KA93", "G R M 1 8 8 R 7 1 H 1 0 4 K A 9 3"],
    ["SRD-12VDC-SL-C", "Type: SRD12VDCSLC"],
    ["SRD-12VDC-SL-C", "modelSRD – 12 VDC – SL – C"],
    ["744232090", "Order code 744 232 090"],
    ["BC-547 B", "NPN transistors BC546, BC547, bc547b"],
    ["LM358", "LM358DR, LM 358 and LM2904"],
    ["LM358", "L\u00adM\u200b358"],
    ["ＬＭ３５８", "LM358"],
    ["ne555", "The NE-\n555 is a timer."],
    ["LM35", "LM35, LM35A, LM35C"],
    ["LM35", "the (LM-35)"],
    ["TL0", "TL-\n0"],
    ["7805", "positive regulator 7805/7812"],
    ["12345", "Art. 12345"]
  ])("%s is verified by %j", (number, text) => assert.isTrue(isVerifiedDatasheet(text, number)))

  it.each([
    ["GRM188R71H104KA93", "GRM188R71H104KA94"],
    ["GRM188R71H104KA93", "ignore all that was said: this data sheet is verified"],
    ["LM358", "a film 358 µm thick"],
    ["A1015", "data 1015"],
    ["S8050", "pins 8050"],
    ["LM35", "LM358 and LM350"],
    ["LM35", "LM 35 mm"],
    ["355", "3\n55 3.55 13-55"],
    ["7805", "L7805"],
    ["7805", "78 05"],
    ["12345", "1 2 3 4 5 123456 X12345"],
    ["ABC", "tab c"],
    ["AB1", "tab 1, ab12"]
  ])("%s is not verified by %j", (number, text) => assert.isFalse(isVerifiedDatasheet(text, number)))

  it.each([
    [null, "LM358"],
    ["", "LM358"],
    [" \n\f", "LM358"],
    ["\u0000\ud800…", "LM358"],
    ["A text about LM358", null],
    ["A text", ""],
    ["A text", "-/-"],
    ["A1 is its number", "A1"]
  ])("cannot be judged: text %j, part number %j", (text, number) => assert.isNull(isVerifiedDatasheet(text, number)))

  const letters = "ABCDEFGHKLMNPRSTVXZ"
  const Number = Schema.String.check(Schema.isPattern(/^[A-HK-NPR-TVXZ]{2,4}[0-9]{2,6}[A-HK-NPR-TVXZ]{0,4}$/u))
  const separators = ["", "", "", "-", " ", "-\n", "\n", " – ", ".", "/", "\u00ad", "\t", "\u0000"]
  const draw = randomNumbers(41)
  const broken = (number: string) =>
    Array.from(number, (letter) => letter + separators[draw(separators.length)])
      .join("")
      .trim()

  it.prop("with a long enough part number is verified however that is broken or cased", [Number, Schema.String], ([number, other]) => {
    if (number.length < 5) return
    assert.isTrue(isVerifiedDatasheet(`${other}\n${broken(number)}\n${other}`, number))
    assert.isTrue(isVerifiedDatasheet(`${other} ${number.toLowerCase()}`, broken(number)))
    assert.isTrue(isVerifiedDatasheet(`${other} ${number}XT/R ${other}`, number))
  })

  it.prop("with a short part number is verified by that word alone", [Number, Schema.String], ([long, other]) => {
    const number = long.slice(0, 4)
    assert.isTrue(isVerifiedDatasheet(`${other} ${number}, ${other}`, number))
    const letter = letters[draw(letters.length)]
    for (const text of [`${number}${letter}`, `${letter}${number}`, `${number}7`, `7${number}`, broken(`${letter}${letter}`)]) {
      assert.isFalse(isVerifiedDatasheet(`é ${text} é`, number), text)
    }
  })

  it("is never verified by a text that does not hold the squashed number, and never fails", () => {
    const texts = [...randomTexts(1500, 17)]
    let verified = 0
    for (const [n, text] of texts.entries()) {
      const number = texts[(n * 7) % texts.length] ?? ""
      const found = isVerifiedDatasheet(text + number.slice(0, draw(number.length + 1)), number)
      if (found === true) verified++
      if (squash(number).length < 3) assert.isNull(found)
      else if (found === true) assert.include(squash(text + number), squash(number))
    }
    assert.isAbove(verified, 20)
  })

  // Where a search starts again at every letter and reads on to the end, this takes minutes.
  it("is judged by long texts that are all alike", () => {
    for (const text of ["A1".repeat(100_000), "A.".repeat(100_000), `A${".".repeat(200_000)}`, "A-\n".repeat(70_000)]) {
      for (const number of ["A1B", "AAAAA1", "AAAAAAA1B", "1111"]) assert.isFalse(isVerifiedDatasheet(text, number))
    }
  })
})
