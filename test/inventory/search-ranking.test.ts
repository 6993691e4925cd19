import { assert, describe, it } from "@effect/vitest"
import { fields } from "#inventory/search/fields.ts"
import { byRank, type ExpandedTerm, type Expansion, type Ranked, rank, typoQuality } from "#inventory/search/ranking.ts"
import { allowedTypos, prefixDistance } from "#inventory/search/typo.ts"
import { randomNumbers } from "./search-texts.ts"

/** Straight from the definition, over the whole table. */
const nearestPrefixByDefinition = (term: string, word: string): number => {
  const [a, b] = [Array.from(term), Array.from(word)]
  const memo = new Map<string, number>()
  const distance = (i: number, j: number): number => {
    if (i === 0 || j === 0) return i + j
    const key = `${i} ${j}`
    const known = memo.get(key)
    if (known !== undefined) return known
    const same = a[i - 1] === b[j - 1]
    const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
    const result = Math.min(
      distance(i - 1, j) + 1,
      distance(i, j - 1) + 1,
      distance(i - 1, j - 1) + (same ? 0 : 1),
      swapped ? distance(i - 2, j - 2) + 1 : Infinity
    )
    memo.set(key, result)
    return result
  }
  return Math.min(...Array.from({ length: b.length + 1 }, (_, j) => distance(a.length, j)))
}

describe("typos", () => {
  it("short terms must be right, long ones may have three", () => {
    assert.deepStrictEqual(
      ["", "abc", "abcd", "abcdefg", "abcdefgh", "abcdefghijk", "abcdefghijkl", "𠀀𠀀𠀀"].map(allowedTypos),
      [0, 0, 1, 1, 2, 2, 3, 0]
    )
  })

  it.each([
    ["mosfte", "mosfet", 1],
    ["voltge", "voltage", 1],
    ["mosfet", "mosfets", 0],
    ["mosft", "mosfet", 1],
    ["resitsor", "resistor", 1],
    ["rsitsor", "resistors", 2],
    ["ca", "abc", 1],
    ["abc", "", 3],
    ["", "abc", 0],
    ["😀b", "b😀x", 1]
  ])("%s is away from a beginning of %s by %i", (term, word, distance) => assert.strictEqual(prefixDistance(term, word, 3), distance))

  it("agrees with the definition up to the limit and is infinite beyond", () => {
    const draw = randomNumbers(21)
    const letters = ["a", "b", "c", "😀"]
    const draws = (most: number) => Array.from({ length: draw(most) }, () => letters[draw(letters.length)] ?? "").join("")
    for (let i = 0; i < 20_000; i++) {
      const [term, word, limit] = [draws(10), draws(14), draw(4)]
      const distance = nearestPrefixByDefinition(term, word)
      assert.strictEqual(prefixDistance(term, word, limit), distance <= limit ? distance : Infinity, `${term} ${word} ${limit}`)
    }
  })
})

describe("rank", () => {
  const exact = (...lexemes: ReadonlyArray<string>): Expansion => ({ lexemes, kind: "exact", quality: 1 })
  const prefix = (lexeme: string): Expansion => ({ lexemes: [lexeme], kind: "prefix", quality: 0.8 })
  const typo = (lexeme: string, distance: number): Expansion => ({ lexemes: [lexeme], kind: "typo", quality: typoQuality(distance) })
  const term = (text: string, ...expansions: ReadonlyArray<Expansion>): ExpandedTerm => ({ text, expansions })
  const at = (...names: ReadonlyArray<keyof typeof fields>) => names.map((field) => fields[field].position)

  it("is the mean over the terms of the best weight and quality", () => {
    const terms = [term("mosfet", exact("mosfet"), prefix("mosfets")), term("irlz", prefix("irlz44n")), term("5v", exact("~5v"))]
    const found = new Map([
      ["mosfet", at("tags", "description")],
      ["irlz44n", at("manufacturerCode")],
      ["~5v", at("voltageRating")]
    ])
    assert.deepStrictEqual(rank(terms, found), {
      tier: 3,
      score: 0.6333,
      matchedOn: [
        { field: "tags", term: "mosfet" },
        { field: "description", term: "mosfet" },
        { field: "manufacturerCode", term: "irlz" },
        { field: "voltageRating", term: "5v" }
      ]
    })
  })

  it("the better of an exact match in a poor field and a prefix in a good one counts", () => {
    const terms = [term("relay", exact("relay"), prefix("relay5"))]
    assert.strictEqual(
      rank(
        terms,
        new Map([
          ["relay", at("dimensions")],
          ["relay5", at("manufacturerCode")]
        ])
      ).score,
      0.8
    )
  })

  it("one typo among the terms is tier 4, a missing term tier 5, no term nothing", () => {
    const terms = [term("relay", exact("relay")), term("voltge", typo("voltage", 1))]
    assert.deepInclude(
      rank(
        terms,
        new Map([
          ["relay", at("type")],
          ["voltage", at("description")]
        ])
      ),
      { tier: 4, score: 0.51 }
    )
    assert.deepInclude(rank(terms, new Map([["voltage", at("description")]])), { tier: 5, score: 0.21 })
    assert.deepInclude(rank(terms, new Map([["other", at("description")]])), { tier: null, score: 0, matchedOn: [] })
    assert.deepInclude(rank([], new Map()), { tier: null, score: 0 })
  })

  it("more typos are worth less", () => assert.deepStrictEqual([1, 2, 3].map(typoQuality), [0.6, 0.5, 0.4]))

  it("pieces match only together and are worth the least of them", () => {
    const terms = [term("bc-547", exact("bc547"), exact("bc", "547"))]
    assert.strictEqual(rank(terms, new Map([["bc", at("tags")]])).tier, null)
    assert.strictEqual(
      rank(
        terms,
        new Map([
          ["bc", at("tags")],
          ["547", at("series", "description")]
        ])
      ).score,
      0.7
    )
  })

  it("the beginning of an id is looked for among the lexemes", () => {
    const terms = [term("ab", { lexemes: ["=ab"], prefix: true, kind: "prefix", quality: 0.8 })]
    assert.deepInclude(rank(terms, new Map([["=abcd", at("id4")]])), { tier: 3, score: 0.8 })
    assert.strictEqual(rank(terms, new Map([["=bacd", at("id4")]])).tier, null)
  })

  it("scores have four decimals, without the dust of floating point", () => {
    const draw = randomNumbers(5)
    for (let i = 0; i < 1_000; i++) {
      const terms = Array.from({ length: 1 + draw(24) }, (_, n) =>
        term(String(n), exact(`a${n}`), prefix(`b${n}`), typo(`c${n}`, 1 + draw(3)))
      )
      const found = new Map(terms.map((_, n) => [`${"abc"[draw(3)]}${n}`, [1 + draw(20)]]))
      const { score } = rank(terms, found)
      assert.match(String(score), /^(?:1|0(?:\.\d{1,4})?)$/u)
    }
  })

  it("order is tier, score, stock, id", () => {
    const part = (tier: number, score: number, totalQuantity: number, id4: string): Ranked => ({ tier, score, totalQuantity, id4 })
    const inOrder = [
      part(0, 1, 0, "ZZZZ"),
      part(3, 0.7, 1, "BBBB"),
      part(3, 0.7, 900, "CCCC"),
      part(3, 0.7, 0, "AAAA"),
      part(3, 0.6, 5, "AAAB"),
      part(4, 0.9, 5, "AAAC")
    ]
    const draw = randomNumbers(2)
    for (let i = 0; i < 50; i++) {
      const shuffled = inOrder
        .map((p) => [draw(1_000_000), p] as const)
        .sort(([a], [b]) => a - b)
        .map(([, p]) => p)
      assert.deepStrictEqual(shuffled.sort(byRank), inOrder)
    }
  })
})
