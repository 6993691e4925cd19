import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { NewPart, type Part, textFields } from "#inventory/parts/part.ts"
import { changedSince, choose, offerOf } from "#inventory/proposals/acceptance.ts"
import { type Analysis, analysisTexts, outputs, type Proposed } from "#inventory/proposals/output.ts"
import { type Acceptance, type WritableField, writableFields } from "#inventory/proposals/proposal.ts"
import { analysisOf, changesOf, citedIn, mountingTypeOf, type Seen, saysNothing, typeNameOf } from "#inventory/suggestions/analysis.ts"
import { answers, type RawAnalysis } from "#inventory/suggestions/answer.ts"
import { address, cut, distinct, legible, whole } from "#inventory/suggestions/legible.ts"
import { webAddress } from "#platform/http/text.ts"
import { blank } from "../support/suggestions.ts"
import { randomNumbers, randomTexts } from "./search-texts.ts"

const nobody: Seen = { input: "", hasPhoto: false, texts: new Map() }
const trouble = [...randomTexts(4000, 7)]
const lengthOf = (text: string) => Array.from(text).length

describe("R43: a text that somebody else wrote", () => {
  it.each([
    "",
    "  ",
    "null",
    "NULL",
    "None",
    "unknown",
    "undefined",
    "n/a",
    "N/A",
    "na",
    "-",
    "–",
    "—",
    "---",
    "?",
    "???",
    "...",
    " . ",
    "\u0000"
  ])("%j says nothing", (text) => {
    assert.strictEqual(legible(text), null)
    assert.strictEqual(cut(text, 5), null)
    assert.strictEqual(whole(text, 5), null)
  })

  it.each(["none of these", "NAND", "n/a 5 V", "-5 V", "?x", "0", "unknown maker", "N", "5 – 15 V"])("%j says something", (text) =>
    assert.strictEqual(legible(text), text)
  )

  it("is one line, or lines without blanks around them", () => {
    const text = " \tLM358\r\n  QTY\u0007:  25\r\u0000\u0085x\ud800 "
    assert.strictEqual(legible(text), "LM358 QTY : 25 x\ufffd")
    assert.strictEqual(legible(text, { lines: true }), "LM358\nQTY : 25\nx\ufffd")
    assert.strictEqual(legible("a\n\n\nb", { lines: true }), "a\n\n\nb")
  })

  it("is cut between characters, or left out", () => {
    assert.strictEqual(cut("😀😀😀", 3), "😀😀😀")
    assert.strictEqual(cut("😀😀😀😀", 3), "😀😀…")
    assert.strictEqual(whole("😀😀😀", 3), "😀😀😀")
    assert.strictEqual(whole("😀😀😀😀", 3), null)
  })

  const holds = (text: string, most: number) => {
    for (const lines of [false, true]) {
      const kept = legible(text, { lines })
      if (kept !== null) {
        assert.isTrue(kept.isWellFormed() && kept !== "" && kept === kept.trim())
        assert.notMatch(kept, lines ? /[^\P{Cc}\n]/u : /\p{Cc}/u)
        assert.strictEqual(legible(kept, { lines }), kept)
      }
      const short = cut(text, most, { lines })
      assert.strictEqual(short === null, kept === null)
      if (short !== null && kept !== null) {
        assert.isAtMost(lengthOf(short), most)
        assert.isTrue(kept.startsWith(short.replace(/…$/u, "")))
        if (lengthOf(kept) <= most) assert.strictEqual(short, kept)
      }
    }
    const all = whole(text, most)
    const kept = legible(text)
    assert.strictEqual(all, kept !== null && lengthOf(kept) <= most ? kept : null)
  }
  it.prop("is never longer than it may be, never unreadable, and the same when it is read twice", [Schema.String], ([text]) => {
    for (const most of [1, 2, 5, 100]) holds(text, most)
  })
  it("is so, whatever has ever been trouble", () => {
    for (const [n, text] of trouble.entries()) holds(text, 1 + (n % 30))
  })
})

describe("R41: an address that a model names", () => {
  it.each([
    "",
    "null",
    "example.com/a.pdf",
    "//example.com",
    "ftp://example.com/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/html,x"
  ])("%j is none", (text) => assert.strictEqual(address(text), null))
  it.each([
    "http://user:pass@example.com/",
    "https://exa mple.com/",
    "https:/\\example.com",
    "http://a/\u0000",
    `http://a/${"x".repeat(2000)}`
  ])("%j is none either", (text) => assert.strictEqual(address(text), null))
  it("is kept as it is written", () => {
    assert.strictEqual(address(" https://TI.com/lit/lm358.pdf?x=1#p2 "), "https://TI.com/lit/lm358.pdf?x=1#p2")
    assert.strictEqual(address(null), null)
  })
  it("is cited when the model says that it has read there, at most five, none twice, and none that is known", () => {
    const evidence = (source: "input" | "photo" | "datasheet" | "web", url: string | null) => ({
      field: "description",
      source,
      url,
      page: null,
      quote: "x"
    })
    const cited = (...all: ReadonlyArray<ReturnType<typeof evidence>>) =>
      citedIn({ ...blank, evidence: all }, { texts: new Map([["http://known/", "x"]]) })
    assert.deepStrictEqual(
      cited(
        evidence("web", "http://a/"),
        evidence("datasheet", " http://a/ "),
        evidence("input", "http://b/"),
        evidence("photo", "http://c/"),
        evidence("web", null),
        evidence("web", "file:///d"),
        evidence("web", "http://known/"),
        ...[1, 2, 3, 4, 5, 6].map((n) => evidence("datasheet", `http://${n}/`))
      ),
      ["http://a/", "http://1/", "http://2/", "http://3/", "http://4/"]
    )
  })
})

describe("R43: what is distinct", () => {
  it.prop("is each once, in order, and no more than so many", [Schema.Array(Schema.Int)], ([all]) => {
    const key = (n: number) => n % 7
    const kept = distinct(all, key, 4)
    assert.isAtMost(kept.length, 4)
    assert.strictEqual(new Set(kept.map(key)).size, kept.length)
    const firsts = all.filter((n, at) => all.findIndex((other) => key(other) === key(n)) === at)
    assert.deepStrictEqual(kept, firsts.slice(0, 4))
  })
})

describe("R43: an analysis", () => {
  it.each([
    ["Through-Hole", "Through-Hole"],
    ["through hole", "Through-Hole"],
    ["SURFACE MOUNT", "Surface-Mount"],
    ["Surface-mount", "Surface-Mount"],
    ["panelmount", "Panel Mount"],
    ["DIN-rail mount", "DIN Rail Mount"],
    ["SMD", null],
    ["glued", null],
    ["", null],
    [null, null]
  ] as const)("takes the mounting type %j as %j", (said, is) => assert.strictEqual(mountingTypeOf(said), is))

  it.each([
    ["proposed: Relay", "Relay"],
    ["PROPOSED:  proposed :Relay  12 V", "Relay 12 V"],
    ["Relay", "Relay"],
    ["Proposed relay", "Proposed relay"],
    ["proposed:", null],
    ["null", null],
    ["x".repeat(101), null],
    [null, null]
  ] as const)("takes the type name %j as %j", (said, is) => assert.strictEqual(typeNameOf(said), is))

  it.each(["Generic", "generic", " GENERIC\n", "Génèric"])("of what is made by %j has no part number", (manufacturer) => {
    const { manufacturer: kept, manufacturerCode } = analysisOf({ ...blank, manufacturer, manufacturerCode: "ABC123" }, nobody)
    assert.deepStrictEqual([kept, manufacturerCode], ["Generic", null])
  })

  it("keeps the part number of everybody else", () => {
    for (const manufacturer of ["General Electric", "Generics Inc", null, "unknown"]) {
      assert.strictEqual(analysisOf({ ...blank, manufacturer, manufacturerCode: "ABC123" }, nobody).manufacturerCode, "ABC123")
    }
  })

  it.each(analysisTexts.map((field) => [field, textFields[field]] as const))("has a %s that fits, or none", (field, most) => {
    // Only some words are mounting types.
    const [fits, long] = field === "mountingType" ? ["Panel Mount", "x".repeat(most + 1)] : ["x".repeat(most), "x".repeat(most + 1)]
    assert.strictEqual(analysisOf({ ...blank, [field]: fits }, nobody)[field], fits)
    for (const said of [long, "N/A", " ", null]) assert.strictEqual(analysisOf({ ...blank, [field]: said }, nobody)[field], null)
  })

  it.each([
    [0, null],
    [-1, null],
    [1, 1],
    [10_000, 10_000],
    [10_001, null]
  ])("of %d pins has %s", (said, is) => assert.strictEqual(analysisOf({ ...blank, pinCount: said }, nobody).pinCount, is))

  const evidence = (more: Partial<RawAnalysis["evidence"][number]>): RawAnalysis["evidence"][number] => ({
    field: "package",
    source: "input",
    url: null,
    page: null,
    quote: "DIP-8",
    ...more
  })
  const seen: Seen = {
    input: "ten LM358P\nin dip 8, from the drawer",
    hasPhoto: false,
    texts: new Map([
      ["http://maker/sheet.pdf", "LM358P dual operational am- plifier, PDIP(8)"],
      ["http://shop/", "Price 1.20"]
    ])
  }
  const kept = (more: Partial<RawAnalysis["evidence"][number]>, of: Seen = seen) =>
    analysisOf({ ...blank, evidence: [evidence(more)] }, of).evidence.length === 1

  it.each([
    ["in the input, however it is written", {}, true],
    ["not in the input", { quote: "DIP-14" }, false],
    ["of a photo, when there is one", { source: "photo", quote: "anything" }, false],
    ["in the data sheet that is named", { source: "datasheet", url: "http://maker/sheet.pdf", quote: "dual operational amplifier" }, true],
    ["in another text than the one that is named", { source: "web", url: "http://shop/", quote: "dual operational amplifier" }, false],
    ["at an address that nobody has read", { source: "web", url: "http://elsewhere/", quote: "Price 1.20" }, false],
    ["in any text, when none is named", { source: "web", quote: "price 1.20" }, true],
    ["in no text", { source: "datasheet", quote: "price 1.30" }, false],
    ["nothing", { quote: "  " }, false],
    ["only signs", { quote: "--- ***" }, false],
    ["for a field that parts do not have", { field: "price" }, false],
    ["for a field that the model may not write", { field: "barcodes" }, false],
    ["for the type", { field: "typeName" }, true],
    ["of the input, of which only the beginning is quoted", { quote: `${"ten LM358P in dip 8, from the drawer"} ` }, true]
  ] as const)("has evidence that stands %s: %j", (_, more, is) => assert.strictEqual(kept(more), is))

  it("takes what it is said to have read in a photo as it is", () => {
    assert.isTrue(kept({ source: "photo", quote: "QTY 10" }, { ...seen, hasPhoto: true }))
  })

  it("has quotes of at most 200 characters, which are compared without their end", () => {
    const long = Array.from({ length: 100 }, (_, n) => `word${n}`).join(" ")
    const { evidence: all } = analysisOf({ ...blank, evidence: [evidence({ quote: long })] }, { ...seen, input: long })
    assert.deepStrictEqual(
      all.map(({ quote }) => [lengthOf(quote), quote.endsWith("…")]),
      [[200, true]]
    )
  })

  it("numbers the pages of what has some from 1", () => {
    const pages = (source: "input" | "datasheet") =>
      [0, -1, 1, 7, null].map(
        (page) => analysisOf({ ...blank, evidence: [evidence({ source, page, quote: "LM358P" })] }, seen).evidence[0]?.page
      )
    assert.deepStrictEqual(pages("datasheet"), [null, null, 1, 7, null])
    assert.deepStrictEqual(pages("input"), [null, null, null, null, null])
  })

  const RawSchema = answers.part.fields.analysis
  const Whole = Schema.Struct({ ...outputs.cleanup.fields.analysis.fields })

  /** Whatever a model may say, with what has been trouble in it. */
  const anything = (seed: number): RawAnalysis => {
    const draw = randomNumbers(seed)
    const text = () => trouble[draw(trouble.length)] ?? ""
    const orNull = () => (draw(5) === 0 ? null : draw(6) === 0 ? text().repeat(200) : text())
    const url = () => [text(), "http://maker/sheet.pdf", `http://shop/${text()}`, "http://shop/"][draw(4)] ?? ""
    const several = <A>(make: () => A, most: number) => Array.from({ length: draw(most) }, make)
    return {
      ...blank,
      ...Object.fromEntries(analysisTexts.map((field) => [field, orNull()])),
      description: orNull(),
      manufacturer: draw(4) === 0 ? "Generic" : orNull(),
      typeName: draw(2) === 0 ? orNull() : `proposed: ${text()}`,
      productPage: draw(3) === 0 ? url() : null,
      mountingType: draw(2) === 0 ? "surface mount" : orNull(),
      pinCount: draw(3) === 0 ? null : draw(20_000) - 5000,
      tags: several(text, 20),
      documents: several(() => ({ url: url(), documentType: "datasheet" as const, title: text() }), 9),
      evidence: several(
        () => ({
          field: ["description", "tags", "package", text()][draw(4)] ?? "",
          source: (["input", "photo", "datasheet", "web"] as const)[draw(4)] ?? "web",
          url: draw(2) === 0 ? null : url(),
          page: draw(2) === 0 ? null : draw(9) - 3,
          quote: draw(2) === 0 ? "dual" : text()
        }),
        90
      )
    }
  }

  it("fits a part, whatever a model says", () => {
    const isAddress = Schema.is(webAddress(2000))
    const read = Schema.decodeUnknownSync(NewPart)
    for (let seed = 0; seed < 600; seed++) {
      const raw = Schema.decodeUnknownSync(RawSchema)(anything(seed))
      assert.isNotNull(raw)
      const made = analysisOf(raw as RawAnalysis, { ...seen, hasPhoto: seed % 2 === 0 })
      const analysis: Analysis = Schema.decodeUnknownSync(Whole)({ ...made, existingTypeId: null })
      const stored = JSON.stringify(analysis)
      assert.isTrue(stored.isWellFormed() && !stored.includes("\\u0000"))
      const { values } = offerOf({ kind: "part", output: { analysis, duplicates: [], failureReason: null } })
      const part = read({ description: "x", ...values })
      for (const [field, value] of Object.entries(values)) assert.deepStrictEqual(part[field as keyof NewPart], value, field)
      assert.isAtMost(analysis.tags.length, 8)
      assert.isAtMost(analysis.documents.length, 5)
      assert.isTrue(analysis.documents.every(({ title, url }) => isAddress(url) && lengthOf(title) <= 200 && title !== ""))
      assert.strictEqual(new Set(analysis.documents.map(({ url }) => url)).size, analysis.documents.length)
      assert.isTrue(analysis.evidence.every(({ quote }) => lengthOf(quote) <= 200))
      assert.isAtMost(analysis.evidence.length, 60)
      if (seed % 2 !== 0) assert.isFalse(analysis.evidence.some(({ source }) => source === "photo"))
      if (analysis.manufacturer === "Generic") assert.isNull(analysis.manufacturerCode)
      assert.strictEqual(
        saysNothing(analysis),
        Object.keys(values).length === 0 && analysis.typeName === null && analysis.documents.length === 0
      )
    }
  })

  it("says nothing when nothing of it could be written", () => {
    const nothing = { ...analysisOf(blank, nobody), existingTypeId: null }
    assert.isTrue(saysNothing(nothing))
    for (const some of [{ package: "0805" }, { tags: ["x"] }, { typeName: "Relay" }, { pinCount: 3 }, { productPage: "http://a/" }]) {
      assert.isFalse(saysNothing({ ...nothing, ...some }))
    }
    assert.isFalse(saysNothing({ ...nothing, documents: [{ url: "http://a/", documentType: "pinout", title: "x" }] }))
  })

  it("changes of a part what differs, and empties nothing", () => {
    const part = {
      description: "relay",
      manufacturer: "TE",
      package: null,
      tags: ["a"],
      pinCount: 5,
      typeId: 3,
      type: { id: 3, name: "Relay" }
    } as unknown as Part
    const changes = (said: Partial<RawAnalysis>, existingTypeId: number | null = null) =>
      changesOf({ ...analysisOf({ ...blank, ...said }, nobody), existingTypeId } as Analysis, part)
    assert.deepStrictEqual(changes({}), [])
    assert.deepStrictEqual(changes({ description: "relay", manufacturer: "TE", tags: ["a"], pinCount: 5, typeName: "RELAY" }), [])
    assert.deepStrictEqual(changes({ typeName: "Switch" }, 3), [])
    assert.deepStrictEqual(changes({ description: "Relay", tags: ["a", "b"], package: "SIL-5", typeName: "Reed relay" }), [
      { field: "description", before: "relay", after: "Relay" },
      { field: "tags", before: ["a"], after: ["a", "b"] },
      { field: "package", before: null, after: "SIL-5" },
      { field: "typeId", before: "Relay", after: "Reed relay" }
    ])
  })
})

describe("R38: what of a proposal is accepted", () => {
  const analysis: Analysis = {
    ...blank,
    description: "Relay",
    package: "SIL-5",
    tags: ["a"],
    typeName: "Relay",
    existingTypeId: null,
    pinCount: 5
  }
  const proposed: Proposed = { kind: "part", output: { analysis, duplicates: [], failureReason: null } }
  const chosen = (acceptance: Acceptance, of: Proposed = proposed) => Result.getOrThrow(choose(offerOf(of), acceptance))
  const refusal = (acceptance: Acceptance, of: Proposed = proposed) => {
    const result = choose(offerOf(of), acceptance)
    return Result.isFailure(result) ? result.failure.errors[0]?.pointer : undefined
  }

  it("is everything, when nothing is said", () => {
    assert.deepStrictEqual(chosen({}), {
      fields: ["description", "package", "typeId", "pinCount", "tags"],
      values: { description: "Relay", package: "SIL-5", pinCount: 5, tags: ["a"] },
      type: { name: "Relay" }
    })
  })

  it("is what is chosen, and what is given instead", () => {
    assert.deepStrictEqual(chosen({ fields: ["package"], overrides: { series: "G5" } }), {
      fields: ["package", "series"],
      values: { package: "SIL-5", series: "G5" },
      type: undefined
    })
    assert.deepStrictEqual(chosen({ fields: ["typeName"] }), {
      fields: ["typeId"],
      values: {},
      type: { name: "Relay" }
    })
    assert.deepStrictEqual(chosen({ fields: [], overrides: { typeId: null, package: null } }), {
      fields: ["package", "typeId"],
      values: { package: null },
      type: { id: null }
    })
    assert.deepStrictEqual(chosen({ fields: [], overrides: { name: "Switch" } }).type, { name: "Switch" })
    assert.deepStrictEqual(chosen({ fields: [] }), { fields: [], values: {}, type: undefined })
  })

  it("is nothing that was not proposed", () => {
    assert.strictEqual(refusal({ fields: ["package", "series"] }), "/fields/1")
    assert.strictEqual(refusal({ fields: ["typeId"] }, { kind: "tags", output: { tags: ["a"] } }), "/fields/0")
    assert.strictEqual(refusal({ overrides: { name: "x", typeId: null } }), "/overrides/name")
    assert.deepStrictEqual(chosen({}, { kind: "datasheet", output: { candidates: [] } }).fields, [])
    assert.deepStrictEqual(chosen({}, { kind: "part", output: { analysis: null, duplicates: [], failureReason: "x" } }).fields, [])
  })

  it("of a cleanup is what changes", () => {
    const cleanup: Proposed = {
      kind: "cleanup",
      output: { analysis, changes: [{ field: "package", before: null, after: "SIL-5" }] }
    }
    assert.deepStrictEqual(chosen({}, cleanup), { fields: ["package"], values: { package: "SIL-5" }, type: undefined })
    assert.strictEqual(refusal({ fields: ["description"] }, cleanup), "/fields/0")
  })

  const Fields = Schema.Array(Schema.Literals([...writableFields, "typeName"]))
  const Overrides = Schema.Struct({
    description: Schema.optionalKey(Schema.Literals(["Other"])),
    series: Schema.optionalKey(Schema.NullOr(Schema.Literals(["S"]))),
    name: Schema.optionalKey(Schema.Literals(["Switch"]))
  })
  it.prop(
    "is what is chosen of what is proposed, with what is given instead, in any combination",
    [Fields, Overrides],
    ([fields, overrides]) => {
      const offer = offerOf(proposed)
      const offered = new Set<string>([...Object.keys(offer.values), "typeId"])
      const given = new Set(Object.keys(overrides).map((field) => (field === "name" ? "typeId" : field)))
      const wanted = fields.map((field) => (field === "typeName" ? "typeId" : field))
      const result = choose(offer, { fields, overrides })
      const wrong = wanted.findIndex((field) => !offered.has(field) && !given.has(field))
      if (Result.isFailure(result)) {
        assert.strictEqual(result.failure.errors[0]?.pointer, `/fields/${wrong}`)
        return
      }
      assert.strictEqual(wrong, -1)
      const { fields: kept, type, values } = result.success
      assert.deepStrictEqual(new Set<string>(kept), new Set([...wanted, ...given]))
      assert.strictEqual(new Set(kept).size, kept.length)
      assert.deepStrictEqual(new Set(Object.keys(values)), new Set(kept.filter((field) => field !== "typeId")))
      assert.strictEqual(type !== undefined, kept.includes("typeId"))
      for (const [field, value] of Object.entries(values)) {
        const own = overrides as Readonly<Record<string, unknown>>
        assert.deepStrictEqual(value, field in own ? own[field] : offer.values[field as keyof typeof offer.values])
      }
    }
  )

  const Record = Schema.Record(Schema.Literals(["description", "package", "tags"]), Schema.NullOr(Schema.Array(Schema.String)))
  it.prop("is stale exactly in the chosen fields that differ", [Record, Record], ([before, now]) => {
    const all: ReadonlyArray<WritableField> = ["description", "package", "tags"]
    assert.deepStrictEqual(changedSince(before, before, all), [])
    for (const fields of [all, all.slice(1), []]) {
      assert.deepStrictEqual(
        changedSince(before, now, fields),
        fields.filter((field) => JSON.stringify(before[field as "tags"]) !== JSON.stringify(now[field as "tags"]))
      )
    }
  })
})
