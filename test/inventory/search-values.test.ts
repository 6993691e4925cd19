import { assert, describe, it } from "@effect/vitest"
import { normalise } from "#inventory/search/fold.ts"
import { recogniseValues, valueLexeme } from "#inventory/search/values.ts"
import { randomNumbers, randomTexts } from "./search-texts.ts"

const valuesIn = (text: string) => recogniseValues(normalise(text)).flatMap(({ values }) => values)
const lexemes = (text: string) => valuesIn(text).map(valueLexeme)
const literals = (text: string) => Array.from(new Set(valuesIn(text).map(({ literal }) => literal)))

describe("values", () => {
  it.each([
    // infix
    ["4k7", ["~4700ohm"]],
    ["4K7", ["~4700ohm"]],
    ["2R2", ["~2.2ohm"]],
    ["2r2", ["~2.2ohm"]],
    ["1M2", ["~1200000ohm"]],
    ["3V3", ["~3.3v"]],
    ["2u2", ["~0.0000022f", "~0.0000022h"]],
    ["2µ2", ["~0.0000022f", "~0.0000022h"]],
    ["4n7", ["~0.0000000047f", "~0.0000000047h"]],
    ["6p8", ["~0.0000000000068f", "~0.0000000000068h"]],
    ["4u7H", ["~0.0000047h"]],
    ["4k7Ω", ["~4700ohm"]],
    ["1m5A", ["~0.0015a"]],
    ["1R005", ["~1.005ohm"]],
    ["2N2F", ["~0.0000000022f"]],
    ["R47", ["~0.47ohm"]],
    ["R005", ["~0.005ohm"]],
    ["R0005", ["~0.0005ohm"]],
    ["0R", ["~0ohm"]],
    // bare prefixes
    ["10k", ["~10000ohm"]],
    ["10K", ["~10000ohm"]],
    ["1M", ["~1000000ohm"]],
    ["4700R", ["~4700ohm"]],
    ["100n", ["~0.0000001f", "~0.0000001h"]],
    ["22p", ["~0.000000000022f", "~0.000000000022h"]],
    ["10µ", ["~0.00001f", "~0.00001h"]],
    // units in any case
    ["50 Ω", ["~50ohm"]],
    ["50Ω", ["~50ohm"]],
    ["50 OHM", ["~50ohm"]],
    ["50ohms", ["~50ohm"]],
    ["4.7 kohm", ["~4700ohm"]],
    ["10k ohm", ["~10000ohm"]],
    ["4.7 kR", ["~4700ohm"]],
    ["1 farad", ["~1f"]],
    ["5 henry", ["~5h"]],
    ["10 mhenry", ["~0.01h"]],
    ["12V", ["~12v"]],
    ["12 VDC", ["~12v"]],
    ["230vac", ["~230v"]],
    ["5 volt", ["~5v"]],
    ["3 Amp", ["~3a"]],
    ["250mW", ["~0.25w"]],
    ["2 Watt", ["~2w"]],
    ["2200mAh", ["~2.2ah"]],
    ["16MHz", ["~16000000hz"]],
    ["2.4ghz", ["~2400000000hz"]],
    // case of prefixes
    ["1 mΩ", ["~0.001ohm"]],
    ["1 MΩ", ["~1000000ohm"]],
    ["1 GΩ", ["~1000000000ohm"]],
    ["100NF", ["~0.0000001f"]],
    ["10UF", ["~0.00001f"]],
    ["22PF", ["~0.000000000022f"]],
    ["1MF", ["~0.001f"]],
    ["1MH", ["~0.001h"]],
    ["5MV", ["~0.005v"]],
    ["20MA", ["~0.02a"]],
    ["1KV", ["~1000v"]],
    ["8 mhz", ["~8000000hz"]],
    ["32.768 Khz", ["~32768hz"]],
    // lengths
    ["2.54 mm", ["~2.54mm"]],
    ["1cm", ["~10mm"]],
    ["100 mil", ["~2.54mm"]],
    ["0.1 inch", ["~2.54mm"]],
    ["1/2 inch", ["~12.7mm"]],
    // numbers
    ["0,1 µF", ["~0.0000001f"]],
    ["2,2µ", ["~0.0000022f", "~0.0000022h"]],
    ["1,5A", ["~1.5a"]],
    ["1,5000 A", ["~1.5a"]],
    ["100,000 pF", ["~0.0000001f"]],
    ["1,000,000 Hz", ["~1000000hz"]],
    ["1,000.5 V", ["~1000.5v"]],
    ["0,100 µF", ["~0.0000001f"]],
    [".1uF", ["~0.0000001f"]],
    ["-5V", ["~5v"]],
    ["+5V", ["~5v"]],
    ["±15V", ["~15v"]],
    ["10k±5%", ["~10000ohm"]],
    ["1/4W", ["~0.25w"]],
    // ranges
    ["4.5-16.5V", ["~4.5v", "~16.5v"]],
    ["4.5…16.5 V", ["~4.5v", "~16.5v"]],
    ["1.6V-6.5V", ["~1.6v", "~6.5v"]],
    ["500kHz-100MHz", ["~500000hz", "~100000000hz"]],
    ["4.5–18V", ["~4.5v", "~18v"]],
    ["-5…+5 V", ["~5v", "~5v"]],
    ["4.5 V-5 V", ["~4.5v", "~5v"]],
    ["4-20mA", ["~0.004a", "~0.02a"]],
    ["10-100k", ["~10000ohm", "~100000ohm"]],
    // whole tokens among separators
    ["5V/3.3V", ["~5v", "~3.3v"]],
    ["(20Ω, SOT-23,5V)", ["~20ohm", "~5v"]],
    ["50/60Hz", ["~60hz"]],
    ["3.3-V", ["~3.3v"]],
    ["5V.", ["~5v"]],
    ["5\tV", ["~5v"]]
  ])("%s is read as %s", (text, expected) => assert.deepStrictEqual(lexemes(text), expected))

  it.each([
    "SOIC-8",
    "DIP-16",
    "SOT-23-5",
    "1N4148",
    "1n4148",
    "2N3904",
    "2n3904",
    "6n137",
    "6N137",
    "4N35",
    "BC547",
    "ESP32",
    "M3x10",
    "24-bit",
    "0805",
    "R0805",
    "I2C",
    "USB2",
    "2x5V",
    "5Vin",
    "SO-20W",
    "1-Form-A",
    "10 k",
    "100  V",
    "10 n",
    "5 R",
    "1m",
    "1m2",
    "1,2,3",
    "10kF",
    "1pHz",
    "5kmm",
    "TSSOP-16",
    "3D",
    "7-3",
    "-40…+85°C",
    "8051",
    "2048x8",
    "1G",
    "100G",
    "12345678901234567890V",
    "",
    "µF",
    "V"
  ])("%s holds no value", (text) => assert.deepStrictEqual(lexemes(text), []))

  it("ways to write the same value are one lexeme", () => {
    for (const text of ["0.1uF", "0,1 µF", "100000 pF", "100,000 pF", "100 NF", "0.0001 mF"]) {
      assert.deepStrictEqual(lexemes(text), lexemes("100nF"), text)
      assert.include(lexemes("100n"), lexemes(text)[0])
    }
    for (const text of ["4.7 kΩ", "4700R", "4,7k", "4.70 kOhm", "4700 Ω", "0.0047 MΩ"]) {
      assert.deepStrictEqual(lexemes(text), lexemes("4k7"), text)
    }
  })

  it("the literal keeps m and M of a resistance apart and folds everything else", () => {
    assert.deepStrictEqual(
      ["1 mΩ", "1MΩ", "1 MOhm", "1M", "1M2", "4.7 KΩ", "100 NF", "1 MHz", "5 MV", "0,1 µF", "100,000 pF", "3.3-V", "4.5-5 V", "100n"].map(
        literals
      ),
      [
        ["^1mohm"],
        ["^1Mohm"],
        ["^1Mohm"],
        ["^1M"],
        ["^1M2"],
        ["4.7kohm"],
        ["100nf"],
        ["1mhz"],
        ["5mv"],
        ["0.1uf"],
        ["100000pf"],
        ["3.3v"],
        ["4.5v", "5v"],
        ["100n"]
      ]
    )
  })

  it("a span points at the token in the normalised text", () => {
    const text = normalise("Cap. (0,1 µF), ±50 V/X7R.")
    assert.deepStrictEqual(
      recogniseValues(text).map(({ end, start }) => text.slice(start, end)),
      ["0,1 μF", "50 V"]
    )
  })

  it("values are equal exactly when their decimals are", () => {
    const draw = randomNumbers(7)
    const prefixes = [
      ["p", 12],
      ["n", 9],
      ["u", 6],
      ["m", 3],
      ["", 0]
    ] as const
    const drawn = Array.from({ length: 400 }, () => {
      const digits = String(draw(10) === 0 ? 0 : draw(3_000)) + "0".repeat(draw(6))
      const places = draw(digits.length)
      const [prefix, exponent] = prefixes[draw(prefixes.length)] ?? ["", 0]
      const number = places === 0 ? digits : `${digits.slice(0, -places)}.${digits.slice(-places)}`
      // At a scale at which every one of them is a whole number.
      return { text: `${number} ${prefix}F`, exact: BigInt(digits) * 10n ** BigInt(30 - places - exponent) }
    })
    const found = drawn.map(({ text }) => lexemes(text))
    for (const [i, a] of drawn.entries()) {
      assert.lengthOf(found[i] ?? [], 1, a.text)
      for (const [j, b] of drawn.entries()) assert.strictEqual(found[i]?.[0] === found[j]?.[0], a.exact === b.exact, `${a.text} ${b.text}`)
    }
  })

  it("infix and decimal notation agree for random digits", () => {
    const draw = randomNumbers(11)
    for (let i = 0; i < 500; i++) {
      const [integer, digits] = [String(draw(1_000)), String(draw(100))]
      assert.deepStrictEqual(lexemes(`${integer}k${digits}`), lexemes(`${integer}.${digits} kΩ`))
      assert.deepStrictEqual(lexemes(`${integer}µ${digits}H`), lexemes(`${integer},${digits}0000 uH`))
      assert.deepStrictEqual(lexemes(`${integer}V${digits}`), lexemes(`${integer}.${digits}V`))
    }
  })

  it("any text can be read; spans are in order and do not overlap", () => {
    for (const text of randomTexts(3_000, 3)) {
      let last = 0
      for (const { end, start, values } of recogniseValues(normalise(text))) {
        assert.isAtLeast(start, last)
        assert.isAbove(end, start)
        for (const value of values) assert.match(valueLexeme(value), /^~(?:0|[1-9]\d*)(?:\.\d*[1-9])?[a-z]+$/u)
        last = end
      }
    }
  })
})
