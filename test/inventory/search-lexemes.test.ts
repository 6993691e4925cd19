import { assert, describe, it } from "@effect/vitest"
import { type Field, fieldNames, fieldOfPosition, fields, weightOf } from "#inventory/search/fields.ts"
import { type Lexemes, lexemesOf, type PartTexts, toTsquery, toTsvector, vocabularyOf } from "#inventory/search/lexemes.ts"
import { mostTerms, ownExpansions, parseQuery } from "#inventory/search/query.ts"
import { rank } from "#inventory/search/ranking.ts"
import { randomTexts } from "./search-texts.ts"

const fieldsOf = (lexemes: Lexemes, lexeme: string) => Array.from(lexemes.get(lexeme) ?? [])

/** What the index would answer without prefixes and typos of the vocabulary. */
const rankOf = (q: string, part: PartTexts) => {
  const positions = new Map(
    Array.from(lexemesOf(part), ([lexeme, standsIn]) => [lexeme, Array.from(standsIn, (field) => fields[field].position)])
  )
  return rank(
    parseQuery(q).terms.map((term) => ({ text: term.text, expansions: ownExpansions(term) })),
    positions
  )
}
const finds = (q: string, description: string, field: Field = "description") => rankOf(q, { [field]: [description] }).tier === 3

describe("index", () => {
  it("positions name fields, and no two fields share one", () => {
    for (const field of fieldNames) assert.strictEqual(fieldOfPosition(fields[field].position), field)
    assert.isUndefined(fieldOfPosition(0))
    assert.deepStrictEqual(
      ["id4", "barcode", "tags", "dimensions"].map((field) => weightOf(field as Field)),
      [1, 0.9, 0.8, 0.3]
    )
  })

  it("a lexeme knows every field it stands in, and values come only from fields that hold values", () => {
    const lexemes = lexemesOf({
      id4: ["ABCD"],
      manufacturerCode: ["LM317-T 5V"],
      tags: ["100-nf", "regulator"],
      description: ["Regulator 1,5 A 5V"],
      series: ["10k"],
      pinPitch: ["2,54 mm"]
    })
    assert.deepStrictEqual(fieldsOf(lexemes, "=abcd"), ["id4"])
    assert.deepStrictEqual(fieldsOf(lexemes, "abcd"), [])
    assert.deepStrictEqual(
      ["lm317-t", "lm317t", "lm317", "t"].map((lexeme) => fieldsOf(lexemes, lexeme)),
      Array(4).fill(["manufacturerCode"])
    )
    assert.deepStrictEqual(fieldsOf(lexemes, "regulator"), ["tags", "description"])
    assert.deepStrictEqual(fieldsOf(lexemes, "~5v"), ["description"])
    assert.deepStrictEqual(fieldsOf(lexemes, "5v"), ["manufacturerCode", "description"])
    assert.deepStrictEqual(fieldsOf(lexemes, "~0.0000001f"), ["tags"])
    assert.deepStrictEqual(fieldsOf(lexemes, "~1.5a"), ["description"])
    assert.deepStrictEqual(fieldsOf(lexemes, "~10000ohm"), [])
    assert.deepStrictEqual(fieldsOf(lexemes, "10k"), ["series"])
    assert.deepStrictEqual(fieldsOf(lexemes, "~2.54mm"), ["pinPitch"])
  })

  it("a value is also the words it is written with, but never a shorter number", () => {
    assert.sameMembers(Array.from(lexemesOf({ description: ["4.7 kΩ"] }).keys()), ["~4700ohm", "4.7kohm", "4.7", "kohm"])
    assert.sameMembers(Array.from(lexemesOf({ description: ["1MΩ"] }).keys()), ["~1000000ohm", "^1Mohm"])
    assert.sameMembers(Array.from(lexemesOf({ description: ["1M"] }).keys()), ["~1000000ohm", "^1M", "1m"])
  })

  it("the vocabulary holds neither values nor ids nor literals in which the case counts", () => {
    assert.sameMembers(Array.from(vocabularyOf(lexemesOf({ id4: ["ABCD"], description: ["MOSFET 1 MΩ 100n"] }))), [
      "mosfet",
      "1",
      "mohm",
      "100n"
    ])
  })

  it("of a word with joints the vocabulary holds the joined form and the pieces, and decimals as they are", () => {
    assert.sameMembers(Array.from(vocabularyOf(lexemesOf({ description: ["bc-547.b_2 3.3 4.7 kΩ Low-Power"] }))), [
      "bc547b2",
      "bc",
      "547",
      "b",
      "2",
      "3.3",
      "33",
      "3",
      "4.7kohm",
      "4.7",
      "kohm",
      "lowpower",
      "low",
      "power"
    ])
  })

  it("a text that was seen before gives the same lexemes, and values only where they are read", () => {
    const seen = new Map()
    const first = lexemesOf({ description: ["5 V"], series: ["5 V"] }, seen)
    assert.deepStrictEqual(lexemesOf({ description: ["5 V"], series: ["5 V"] }, seen), first)
    assert.deepStrictEqual(fieldsOf(first, "~5v"), ["description"])
    assert.deepStrictEqual(fieldsOf(first, "5v"), ["description", "series"])
  })

  it("a tsvector literal doubles quotes and backslashes and lists the positions with their weights", () => {
    const lexemes = new Map<string, ReadonlyArray<Field>>([
      ["a'b\\c", ["tags", "description"]],
      ["~5v", ["dimensions"]]
    ])
    assert.strictEqual(toTsvector(lexemes), "'a''b\\\\c':5B,6C '~5v':18")
    assert.strictEqual(toTsvector(new Map()), "")
  })

  it("every lexeme of any text is one that PostgreSQL stores", () => {
    for (const text of randomTexts(2_000, 5)) {
      for (const lexeme of lexemesOf({ description: [text], manufacturerCode: [text] }).keys()) {
        assert.isAbove(lexeme.length, 0)
        assert.isBelow(Buffer.byteLength(lexeme), 2_046)
        assert.notMatch(lexeme, /[\p{Cs}\p{Cc}]/u)
      }
    }
  })
})

describe("tsquery", () => {
  const one = (lexeme: string) => [{ lexemes: [lexeme] }]
  it("has one alternative of every term, or of any when relaxed", () => {
    const terms = [
      [{ lexemes: ["bc547"] }, { lexemes: ["bc", "547"] }, { lexemes: ["=bc"], prefix: true }, { lexemes: ["bc547"] }],
      one("o'n\\e")
    ]
    assert.strictEqual(toTsquery(terms, "every"), "('bc547' | ('bc' & '547') | '=bc':*) & ('o''n\\\\e')")
    assert.strictEqual(toTsquery(terms, "any"), "('bc547' | ('bc' & '547') | '=bc':*) | ('o''n\\\\e')")
  })

  it("asks only for fields of some weights", () => {
    const terms = [[{ lexemes: ["bc547"] }, { lexemes: ["bc", "547"] }, { lexemes: ["=bc"], prefix: true }]]
    assert.strictEqual(toTsquery(terms, "any", ["A"]), "('bc547':A | ('bc':A & '547':A) | '=bc':*A)")
    assert.strictEqual(toTsquery(terms, "any", ["A", "B"]), "('bc547':AB | ('bc':AB & '547':AB) | '=bc':*AB)")
  })

  it("is null when nothing can match", () => {
    assert.isNull(toTsquery([], "every"))
    assert.isNull(toTsquery([one("a"), []], "every"))
    assert.strictEqual(toTsquery([one("a"), []], "any"), "('a')")
    assert.isNull(toTsquery([[], []], "any"))
  })
})

describe("query", () => {
  const terms = (q: string) => parseQuery(q).terms.map(({ text }) => text)

  it("words, values and ranges are terms; a range is one for each end", () => {
    assert.deepStrictEqual(terms("relay 12 V, bistable"), ["relay", "12 V", "bistable"])
    assert.deepStrictEqual(
      parseQuery("4.5-16.5V").terms.map((term) => (term._tag === "Value" ? term.literal : null)),
      ["4.5v", "16.5v"]
    )
    assert.deepStrictEqual(parseQuery("100n").terms, [
      { _tag: "Value", text: "100n", stem: "100n", literal: "100n", values: ["~0.0000001f", "~0.0000001h"] }
    ])
    assert.deepStrictEqual(parseQuery("1 MΩ").terms, [
      { _tag: "Value", text: "1 MΩ", stem: null, literal: "^1Mohm", values: ["~1000000ohm"] }
    ])
  })

  it("terms that ask for the same thing count once", () => {
    assert.deepStrictEqual(terms("BC547 bc-547 bc547 4k7 4.7kΩ 4700R Relais relais"), ["BC547", "4k7", "Relais"])
  })

  it("four letters may be an id, and box-slot a location", () => {
    assert.strictEqual(parseQuery(" abcD ").id4, "ABCD")
    assert.isNull(parseQuery("abcde").id4)
    assert.isNull(parseQuery("ab-d").id4)
    assert.deepStrictEqual(parseQuery("7-3").location, { boxNo: 7, locNo: 3 })
    assert.deepStrictEqual(
      ["0-3", "7-0", "7-3-1", "123456-1", "7 3", "x7-3"].map((q) => parseQuery(q).location),
      Array(6).fill(null)
    )
    assert.strictEqual(parseQuery("bc-547 b").squashed, "BC547B")
  })

  it("a hundred words are cut to the first terms", () => {
    const query = parseQuery(Array.from({ length: 100 }, (_, i) => String.fromCharCode(0x4e00 + i)).join(" "))
    assert.lengthOf(query.terms, mostTerms)
    assert.isTrue(query.shortened)
    assert.strictEqual(query.terms[0]?.text, "一")
    assert.isFalse(parseQuery("one two").shortened)
  })

  it("nothing but punctuation, emoji or broken characters is no term", () => {
    for (const q of ["", "   ", "!?", "😀", "\ud800", "% _", "~", "="]) assert.deepStrictEqual(parseQuery(q).terms, [], q)
  })

  it("any text is a query", () => {
    for (const text of randomTexts(2_000, 9)) {
      const query = parseQuery(text)
      assert.isAtMost(query.terms.length, mostTerms)
      for (const term of query.terms) assert.isAbove(ownExpansions(term).length, 0)
    }
  })

  it("every part is found by its own text", () => {
    for (const text of randomTexts(2_000, 13)) {
      if (parseQuery(text).terms.length > 0) assert.isTrue(finds(text, text), JSON.stringify(text))
    }
  })

  it.each([
    ["bc-547", "BC547"],
    ["BC547", "bc-547"],
    ["bc.547", "BC_547"],
    ["BC-547", "BC 547"],
    ["low-power", "low power"],
    ["low power", "Low-Power"],
    ["547", "bc-547"],
    ["0.1uF", "100 nF"],
    ["100n", "0,1 µF"],
    ["100n", "100nH"],
    ["100000 pF", "100n"],
    ["4k7", "4.7 kΩ"],
    ["4700R", "4k7"],
    ["4.5V", "4.5-16.5V"],
    ["4.5-16.5V", "4.5 V … 16.5 V"],
    ["36V", "36-V converter"],
    ["1M", "1 MΩ"],
    ["1 MΩ", "1M"],
    ["1m", "1M"],
    ["kΩ", "4.7 kΩ"],
    ["resistance", "Résistance"],
    ["ohm", "50 Ω"],
    ["0.25W", "1/4W"],
    ["3.14", "v 3.14"],
    ["транзистор", "ТРАНЗИСТОР"]
  ])("%s finds %s", (q, description) => assert.isTrue(finds(q, description)))

  it.each([
    ["1 mΩ", "1 MΩ"],
    ["1mohm", "1MΩ"],
    ["1 MΩ", "1 mΩ"],
    ["1mΩ", "1M"],
    ["1m", "1 mΩ"],
    ["47kΩ", "4.7kΩ"],
    ["33V", "3.3-V"],
    ["3.14", "3 14"],
    ["314", "3 14"],
    ["100nF", "100nH"],
    ["4W", "1/4W"],
    ["abcd", "abcde"]
  ])("%s does not find %s", (q, description) => assert.isFalse(finds(q, description)))

  it("the text of a value is found where no values are kept, but only with the case that it means", () => {
    assert.isTrue(finds("5 V", "Relay 5V", "type"))
    assert.isTrue(finds("1 MΩ", "1MOhm", "series"))
    assert.isFalse(finds("1 mΩ", "1MOhm", "series"))
    assert.isFalse(finds("4.7k", "4700R", "manufacturerCode"))
  })

  it("an id is found as a term among others and by its beginning", () => {
    const part: PartTexts = { id4: ["ABCD"], description: ["Relay"] }
    assert.deepStrictEqual(rankOf("relay abcd", part), {
      tier: 3,
      score: 0.85,
      matchedOn: [
        { field: "description", term: "relay" },
        { field: "id4", term: "abcd" }
      ]
    })
    assert.strictEqual(rankOf("abc", part).score, 0.8)
  })
})
