import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { normaliseTag } from "#inventory/parts/part-tag.ts"
import { mostProposedTags, normaliseProposedTags, type TaggedPart } from "#inventory/parts/proposed-tags.ts"
import { randomNumbers, randomTexts } from "./search-texts.ts"

const part: TaggedPart = {
  typeName: "Ceramic Capacitor",
  description: "100 nF 50 V X7R 0805",
  manufacturerCode: "GRM21BR71H104KA01L",
  manufacturer: "Würth Elektronik",
  package: "SOT-23",
  mountingType: "Surface-Mount",
  series: "GRM",
  voltageRating: "50 V",
  pinPitch: null,
  pinCount: 8,
  tags: ["decoupling", "op-amp"]
}

describe("R39: proposed tags", () => {
  it("are written as the tags of parts are", () => {
    assert.deepStrictEqual(normaliseProposedTags(["  Low  ESR\t", "X7R", "AUDIO\u00a0grade"], {}), ["low-esr", "x7r", "audio-grade"])
  })

  it.each([
    "ceramic-capacitor",
    "Ceramic Capacitor",
    "grm21br71h104ka01l",
    "GRM21-BR71 H104KA01L",
    "wurth elektronik",
    "Würth-Elektronik",
    "sot23",
    "SOT 23",
    "surface mount",
    "SurfaceMount",
    "grm",
    "50v",
    "8",
    "Decoupling",
    "opamp",
    "100 nF 50 V X7R 0805"
  ])("%j repeats a field of the part", (tag) => assert.deepStrictEqual(normaliseProposedTags([tag, "low-esr"], part), ["low-esr"]))

  it("may say more than a field, or a part of one", () => {
    const said = ["capacitor", "x7r", "grm21", "50v-rated", "sot", "8-pin"]
    assert.deepStrictEqual(normaliseProposedTags(said, part), said)
  })

  it("are at most eight, the first of those that are left, each once", () => {
    const many = ["sot23", "a", "A ", "", "b", "  ", "c", "x".repeat(51), "d", "e", "\u0000", "f", "f-", "g", "\ud800", "h", "i", "j"]
    assert.deepStrictEqual(normaliseProposedTags(many, part), ["a", "b", "c", "d", "e", "f", "g", "h"])
    assert.deepStrictEqual(normaliseProposedTags(["±", "±", "±±"], {}), ["±", "±±"])
  })

  const Words = Schema.Array(Schema.String)
  const Fields = Schema.Record(Schema.Literals(["typeName", "manufacturer", "package", "series"]), Schema.NullOr(Schema.String))

  it.prop("keep their order and say nothing twice, whatever is proposed", [Words, Fields, Words], ([proposed, fields, tags]) => {
    check(proposed, { ...fields, tags })
  })

  it("keep their order and say nothing twice, of everything that has ever been trouble", () => {
    const draw = randomNumbers(5)
    const texts = [...randomTexts(2000, 11)]
    const some = (most: number) => Array.from({ length: draw(most) }, () => texts[draw(texts.length)] ?? "")
    for (let n = 0; n < 500; n++) {
      const tags = some(4)
      check([...some(20), ...tags], { tags, series: some(2)[0] ?? null, description: some(2)[0] })
    }
  })

  const check = (proposed: ReadonlyArray<string>, of: TaggedPart) => {
    const kept = normaliseProposedTags(proposed, of)
    assert.isAtMost(kept.length, mostProposedTags)
    const places = kept.map((tag) => proposed.findIndex((text) => normaliseTag(text) === tag))
    assert.notInclude(places, -1)
    assert.deepStrictEqual(
      places,
      places.toSorted((a, b) => a - b)
    )
    assert.deepStrictEqual(normaliseProposedTags(kept, of), kept)
    assert.deepStrictEqual(normaliseProposedTags(kept, { ...of, tags: [...(of.tags ?? []), ...kept] }), [])
    for (const tag of kept) assert.deepStrictEqual(normaliseProposedTags([tag], { ...of, series: ` ${tag.toUpperCase()} ` }), [], tag)
  }
})
