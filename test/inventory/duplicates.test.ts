import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { type KnownFields, numbersIn, queryOf, valuesOf } from "#inventory/duplicates/duplicate.ts"
import { Duplicates } from "#inventory/duplicates/duplicates.service.ts"
import { fields as searchFields } from "#inventory/search/fields.ts"
import { fold, normalise, squash } from "#inventory/search/fold.ts"
import { SearchIndex } from "#inventory/search/search-index.service.ts"
import { recogniseValues, valueLexeme } from "#inventory/search/values.ts"
import { Db } from "#platform/db/db.ts"
import similarDescriptions from "../../migrations/0020_similar_descriptions.ts"
import { drawsOf } from "../support/draws.ts"
import { get, inParallel, newPart, post } from "../support/inventory.ts"
import { Http, world } from "../support/world.ts"
import { randomTexts } from "./search-texts.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

interface Found {
  readonly id4: string
  readonly confidence: string
  readonly reason: string
  readonly part: { readonly id4: string; readonly description: string; readonly type: { readonly name: string } | null }
}

const check = Effect.fnUntraced(function* (draft: object) {
  const answer = yield* post("/api/parts/check-duplicates", draft)
  assert.strictEqual(answer.status, 200, answer.text)
  assert.deepStrictEqual(Object.keys(answer.body), ["items"])
  return answer.body.items as ReadonlyArray<Found>
})
const named = (draft: object) =>
  Effect.map(check(draft), (items) => items.map(({ confidence, part }) => `${confidence} ${part.description}`))
const newType = (name: string) => Effect.map(post("/api/types", { name }), ({ body }) => body.id as number)
const edit = Effect.fnUntraced(function* (id4: string, fields: object) {
  const { send } = yield* Http
  const answer = yield* send("PATCH", `/api/parts/${id4}`, fields)
  assert.strictEqual(answer.status, 200, answer.text)
})

layer(world(), options)("R42: equal part numbers", (it) => {
  it.effect("mean the same part however they are written, unless both manufacturers are known and differ", () =>
    Effect.gen(function* () {
      const maker = (manufacturer: string | null, manufacturerCode = "BC-547 B", description = manufacturer ?? "nobody's") =>
        newPart({ description, manufacturerCode, manufacturer })
      yield* maker("Würth Elektronik")
      yield* maker("ON Semi")
      yield* maker(null)
      yield* maker("Würth Elektronik", "BC547C", "another one")
      const byAll = ["high nobody's", "high ON Semi", "high Würth Elektronik"]
      assert.sameMembers(yield* named({ manufacturerCode: "bc547b" }), byAll)
      assert.sameMembers(yield* named({ manufacturerCode: "BC_547.b", manufacturer: null }), byAll)
      for (const manufacturer of ["WURTH  ELEKTRONIK".replace("  ", " "), "würth elektronik", "Würth Elektronik".normalize("NFD")]) {
        assert.sameMembers(yield* named({ manufacturerCode: "BC547B", manufacturer }), ["high nobody's", "high Würth Elektronik"])
      }
      assert.deepStrictEqual(yield* named({ manufacturerCode: "BC547B", manufacturer: "Nexperia" }), ["high nobody's"])
      assert.deepStrictEqual(yield* named({ manufacturerCode: "BC547" }), [])
      assert.deepStrictEqual(yield* named({ manufacturerCode: "--" }), [])
    })
  )

  it.effect("come with a row that a person knows the part by, and a reason", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "Timer", manufacturerCode: "NE555P", manufacturer: "Texas Instruments", tags: ["timer"] })
      const [found, ...others] = yield* check({ manufacturerCode: "ne 555 p", manufacturer: "TEXAS INSTRUMENTS" })
      assert.deepStrictEqual(others, [])
      const { locations: _, sellerLinks: _links, ...row } = (yield* get(`/api/parts/${id4}`)).body
      assert.deepStrictEqual(found, {
        id4,
        confidence: "high",
        reason: "It has the same part number, NE555P, of the same manufacturer.",
        part: row
      })
    })
  )

  it.effect("are the 30 with the nearest descriptions, then in the order of the labels", () =>
    Effect.gen(function* () {
      const far = yield* inParallel(20, () => newPart({ description: "Something else entirely", manufacturerCode: "MANY-1" }))
      const near = yield* inParallel(15, () => newPart({ description: "Voltage regulators", manufacturerCode: "MANY1" }))
      const best = yield* newPart({ description: "VOLTAGE regulator", manufacturerCode: "many 1" })
      const items = yield* check({ manufacturerCode: "MANY1", description: "Voltage regulator" })
      assert.deepStrictEqual(
        items.map(({ id4 }) => id4),
        [best, ...near.toSorted(), ...far.toSorted()].slice(0, 30)
      )
      const plain = yield* check({ manufacturerCode: "MANY1" })
      assert.deepStrictEqual(
        plain.map(({ id4 }) => id4),
        [best, ...near, ...far].toSorted().slice(0, 30)
      )
    })
  )
})

layer(world(), options)("R42: parts of one type with the same values", (it) => {
  it.effect("are likely the same when their descriptions are nearly alike, however values are written and wherever they stand", () =>
    Effect.gen(function* () {
      const resistor = yield* newType("Widerstand X")
      const other = yield* newType("Anderes")
      const same = "Metal film resistor, axial, low noise, 4k7 1/4W"
      yield* newPart({ description: same, typeId: resistor })
      const asked = { description: "Métal film resistor, axial, low noise, 4.7 kΩ 0.25 W", typeId: resistor }
      const alone = [`medium ${same}`]
      assert.deepStrictEqual(yield* named(asked), [])
      assert.deepStrictEqual(yield* named({ ...asked, description: "MÉTAL film resistors, axial, low noise, 4k7 1/4 W" }), alone)
      assert.deepStrictEqual(
        yield* named({ ...asked, description: "Metal film resistor axial, low noise, 1/4W", tags: ["4700 ohm"] }),
        alone
      )
      assert.deepStrictEqual(yield* named({ ...asked, description: same }), alone)
      assert.deepStrictEqual(yield* named({ ...asked, description: same.replace("4k7", "4k8") }), [])
      assert.deepStrictEqual(yield* named({ ...asked, description: same, voltageRating: "200 V" }), [])
      assert.deepStrictEqual(yield* named({ ...asked, description: same, voltageRating: "high" }), alone)
      assert.deepStrictEqual(yield* named({ description: same, typeId: other }), [])
      assert.deepStrictEqual(yield* named({ description: same, typeId: null }), [])
      assert.deepStrictEqual(yield* named({ description: same }), [])
      assert.deepStrictEqual(yield* named({ manufacturerCode: "X", typeId: resistor }), [])
      const [found] = yield* check({ description: same.toUpperCase(), typeId: resistor })
      assert.strictEqual(found?.reason, "It has the same type, the same values and the same words in its description.")
    })
  )

  it.effect("are not so without a type of their own", () =>
    Effect.gen(function* () {
      yield* newPart({ description: "Heat shrink tubing assortment" })
      const typeId = yield* newType("Schlauch")
      assert.deepStrictEqual(yield* named({ description: "Heat shrink tubing assortment", typeId }), [])
      assert.deepStrictEqual(yield* named({ description: "Heat shrink tubing assortment" }), [])
    })
  )

  it.effect("come after those with the part number, each once, the nearest first", () =>
    Effect.gen(function* () {
      const typeId = yield* newType("Zeitgeber")
      const description = "Precision timer with bipolar output stage"
      yield* newPart({ description: `${description}s`, typeId })
      yield* newPart({ description, typeId })
      yield* newPart({ description: "Unlike", typeId, manufacturerCode: "NE555" })
      yield* newPart({ description, typeId, manufacturerCode: "NE 555", manufacturer: "ST" })
      const both = ["high Precision timer with bipolar output stage", "high Unlike"]
      const likely = [`medium ${description}`, `medium ${description}s`]
      assert.deepStrictEqual(yield* named({ description, typeId, manufacturerCode: "ne555" }), [...both, ...likely])
      const elsewhere = yield* named({ description, typeId, manufacturerCode: "ne555", manufacturer: "TI" })
      assert.deepStrictEqual(elsewhere, ["high Unlike", `medium ${description}`, ...likely])
    })
  )

  it.effect("are found as they are after every change, and after the index is made anew", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [one, two] = [yield* newType("Eins"), yield* newType("Zwei")]
      const description = "Rotary encoder with push switch"
      const id4 = yield* newPart({ description, typeId: one })
      const asked = check({ description, typeId: one })
      const isFound = Effect.map(asked, (items) => items.some((item) => item.id4 === id4))
      assert.isTrue(yield* isFound)
      for (const [away, back] of [
        [{ typeId: two }, { typeId: one }],
        [{ tags: ["24 v"] }, { tags: [] }],
        [{ dimensions: "12 mm" }, { dimensions: null }],
        [{ description: "Slide potentiometer" }, { description: description.toUpperCase() }]
      ] as const) {
        yield* edit(id4, away)
        assert.isFalse(yield* isFound, JSON.stringify(away))
        yield* edit(id4, back)
        assert.isTrue(yield* isFound, JSON.stringify(back))
      }
      const index = yield* Effect.provide(SearchIndex, SearchIndex.layer)
      const sql = yield* SqlClient.SqlClient
      yield* sql`update search_documents set description = ''`
      assert.isFalse(yield* isFound)
      yield* index.rebuild()
      assert.isTrue(yield* isFound)
      assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}`)).status, 204)
      assert.isFalse(yield* isFound)
    })
  )

  it.effect("of instances from before are found as well", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      const described = sql<{ readonly id4: string }>`select part_id4 as id4, description from search_documents order by 1`
      const typeId = yield* newType("Früher")
      for (let n = 0; n < 3; n++) yield* newPart({ description: `ÀLTER µ-${n} Kontakt`, typeId })
      const before = yield* described
      yield* db.transaction(
        Effect.gen(function* () {
          yield* sql`drop function parts_described_like`
          yield* sql`alter table search_documents drop column description`
          yield* similarDescriptions
        })
      )
      assert.deepStrictEqual(yield* described, before)
      assert.strictEqual((yield* check({ description: "Alter u-1 Kontakt", typeId })).length, 3)
    })
  )
})

layer(world(), options)("R42: among many parts", (it) => {
  it.effect("exactly those are named that a look at every part finds", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const types = [yield* newType("A-Typ"), yield* newType("B-Typ"), null]
      const { chance, pick } = drawsOf(42)
      const words = [
        "Ceramic capacitor",
        "ceramic capacitors",
        "Céramic kapacitor",
        "MLCC capacitor, ceramic",
        "抵抗器 ceramic capacitor",
        "x"
      ]
      const drawn = () => ({
        description: [
          pick(words),
          pick(["X7R", "x7r,", ""]),
          pick(["100 nF", "0.1uF", "100n", ""]),
          pick(["50V", "50 V", "", ""]),
          pick(["0805", ""])
        ]
          .filter((word) => word !== "")
          .join(" "),
        manufacturerCode: chance(0.3) ? pick(["AB-1", "ab 1", "AB/1", "ÄB1", "AB2", "--"]) : null,
        manufacturer: chance(0.5) ? pick(["Yageo", "YAGÉO", "TDK", "tdk "]) : null,
        typeId: pick(types),
        tags: chance(0.2) ? [pick(["50v", "smd"])] : [],
        voltageRating: chance(0.2) ? pick(["50 V", "any"]) : null
      })
      const parts: Array<ReturnType<typeof drawn> & { readonly id4: string }> = []
      for (let n = 0; n < 250; n++) {
        const part = drawn()
        parts.push({ ...part, id4: yield* newPart(part) })
      }
      const valuesIn = ({ description, tags, voltageRating }: ReturnType<typeof drawn>) =>
        [
          ...new Set(
            [description, ...tags, voltageRating ?? ""].flatMap((text) =>
              recogniseValues(normalise(text)).flatMap(({ values }) => values.map(valueLexeme))
            )
          )
        ]
          .sort()
          .join()
      const number = (code: string | null) => squash(code ?? "")
      const maker = (name: string | null) => fold(name ?? "").trim()
      let mediums = 0
      for (let n = 0; n < 80; n++) {
        const asked = drawn()
        const similarities = yield* sql<{ readonly id4: string; readonly similarity: number }>`
          select n.id4, similarity(n.description, ${fold(asked.description)})::float8 as similarity
          from unnest(${parts.map(({ id4 }) => id4)}::text[], ${parts.map(({ description }) => fold(description))}::text[]) n (id4, description)`
        const similarity = new Map(similarities.map((one) => [one.id4, one.similarity]))
        const expected = parts
          .flatMap((part) => {
            const sameNumber = number(asked.manufacturerCode) !== "" && number(part.manufacturerCode) === number(asked.manufacturerCode)
            const makers = new Set([maker(part.manufacturer), maker(asked.manufacturer), ""])
            const like = similarity.get(part.id4) ?? 0
            const isLike = like >= 0.8 && part.typeId !== null && part.typeId === asked.typeId && valuesIn(part) === valuesIn(asked)
            const confidence = sameNumber && makers.size < 3 ? "high" : isLike ? "medium" : null
            return confidence === null ? [] : [{ id4: part.id4, confidence, like }]
          })
          .sort((a, b) => a.confidence.localeCompare(b.confidence) || b.like - a.like || (a.id4 < b.id4 ? -1 : 1))
          .map(({ confidence, id4 }) => `${confidence} ${id4}`)
        const found = (yield* check(asked)).map(({ confidence, id4 }) => `${confidence} ${id4}`)
        assert.deepStrictEqual(found, expected.slice(0, 30), JSON.stringify(asked))
        mediums += found.filter((one) => one.startsWith("medium")).length
      }
      assert.isAbove(mediums, 20)
    })
  )
})

layer(world(), options)("R42: a check for duplicates", (it) => {
  it.effect("takes what would be sent to add the part, and writes nothing", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { body: seller } = yield* post("/api/sellers", { name: "Shop" })
      const draft = {
        description: "Relay 12 V",
        manufacturerCode: "SRD-12",
        tags: ["Relay"],
        barcodes: ["4006381333931"],
        kicad: { reference: "K" },
        minQuantity: 3,
        productPage: "https://shop.example/srd",
        sellerLinks: [{ sellerId: seller.id, sellerPartNumbers: ["S-1"] }]
      }
      const rows = sql`select (select count(*) from parts) as parts, (select count(*) from changes) as changes,
        (select count(*) from idempotency_keys) as keys, (select max(version) from parts) as version`
      const before = yield* rows
      const key = { headers: { "idempotency-key": "twice" } }
      assert.deepStrictEqual((yield* post("/api/parts/check-duplicates", draft, key)).body, { items: [] })
      assert.deepStrictEqual(yield* rows, before)
      assert.strictEqual((yield* post("/api/parts", draft, key)).status, 201)
      assert.strictEqual((yield* post("/api/parts/check-duplicates", draft, key)).body.items.length, 1)
    })
  )

  it.effect("is refused without a part number or a description, and with what no part has", () =>
    Effect.gen(function* () {
      const refused: ReadonlyArray<readonly [draft: unknown, pointer: string]> = [
        [{}, ""],
        [{ manufacturer: "TI", typeId: 1 }, ""],
        [{ description: null, manufacturerCode: null }, ""],
        [{ description: " ", manufacturerCode: "A" }, "/description"],
        [{ description: "a\u0000b" }, "/description"],
        [{ description: "a\ud800" }, "/description"],
        [{ description: "x".repeat(2001) }, "/description"],
        [{ manufacturerCode: "x".repeat(256) }, "/manufacturerCode"],
        [{ description: "Relay", typeId: 2_000_000_000 }, "/typeId"],
        [{ description: "Relay", typeId: "1" }, "/typeId"],
        [{ description: "Relay", tags: [""] }, "/tags/0"],
        [{ description: "Relay", id4: "ABCD" }, "/id4"],
        [[], ""]
      ]
      for (const [draft, pointer] of refused) {
        const { body, status, text } = yield* post("/api/parts/check-duplicates", draft)
        assert.deepStrictEqual([status, body.code, body.errors?.[0]?.pointer], [400, "invalid-request", pointer], text)
      }
    })
  )

  it.effect("reads any text that a part may have", () =>
    Effect.gen(function* () {
      const typeId = yield* newType("Alles")
      const texts = [...randomTexts(100, 42)].filter((text) => text.isWellFormed() && !text.includes("\0") && text.trim() !== "")
      assert.isAbove(texts.length, 30)
      const asked = texts.map((text) => ({
        description: text,
        manufacturerCode: text.slice(0, 200),
        manufacturer: text.slice(0, 200),
        typeId
      }))
      for (const draft of asked) if ((yield* post("/api/parts", draft)).status !== 201) assert.fail(JSON.stringify(draft))
      for (const draft of asked) {
        const items = yield* check(draft)
        assert.isAtMost(items.length, 30)
        if (squash(draft.manufacturerCode) !== "") assert.strictEqual(items[0]?.confidence, "high", JSON.stringify(draft))
      }
      yield* check({ description: `${"100 nF 4k7 ".repeat(180)}`, typeId })
      yield* check({ description: "x".repeat(2000), typeId })
      yield* check({ description: "' & | ! :* \\ % _ ~", typeId })
    })
  )

  it.effect("sees everything that was added before it, by any number at once", () =>
    Effect.gen(function* () {
      const typeId = yield* newType("Gleichzeitig")
      const found = yield* inParallel(40, (n) =>
        Effect.gen(function* () {
          const letters = Array.from(`${n + 10}`, (digit) => "abcdefghij"[Number(digit)]).join("")
          const description = `${letters.repeat(8)} switch`
          const id4 = yield* newPart({ description, manufacturerCode: `SW-${letters}`, typeId })
          const [byNumber, byDescription] = [yield* check({ manufacturerCode: `sw${letters}` }), yield* check({ description, typeId })]
          return [byNumber, byDescription].map((items) => items.map((item) => `${item.confidence} ${item.id4 === id4}`))
        })
      )
      assert.deepStrictEqual(
        found,
        found.map(() => [["high true"], ["medium true"]])
      )
    })
  )
})

layer(Duplicates.layer.pipe(Layer.provideMerge(world())), options)("R42: what a model is offered", (it) => {
  it.effect("is every part with an equal number, then what search finds, each once and at most 30", () =>
    Effect.gen(function* () {
      const duplicates = yield* Duplicates
      const typeId = yield* newType("Regler")
      const two = yield* newPart({ description: "Positive regulator", manufacturerCode: "L 7805-CV", manufacturer: "ST" })
      const one = yield* newPart({
        description: "Linear regulator 5 V",
        manufacturerCode: "L7805CV",
        manufacturer: "TI",
        typeId,
        package: "TO-220",
        tags: ["ldo"]
      })
      const longer = yield* newPart({ description: "Something", manufacturerCode: "L7805CV-DG" })
      const described = yield* newPart({ description: "Linear regulator 5 V, adjustable" })
      yield* newPart({ description: "Relay" })
      const ids = (of: KnownFields | string, limit?: number) =>
        Effect.map(duplicates.candidates(of, limit), (found) => found.map(({ id4 }): string => id4))

      const equal = [one, two].toSorted()
      assert.deepStrictEqual(yield* ids({ manufacturerCode: "l7805cv" }), [...equal, longer])
      const all = yield* ids({ manufacturerCode: "l7805cv", description: "linear regulator", manufacturer: "other" })
      assert.deepStrictEqual(all, [...equal, longer, described])
      const told = yield* ids("I have a linear regulator here. It says L7805CV on it.")
      assert.deepStrictEqual(told.slice(0, 2), equal)
      // Words as short as "a" are the beginnings of labels as well.
      assert.includeMembers(told, [described, longer])
      assert.deepStrictEqual((yield* ids("a bag of L7805-CV")).slice(0, 2), equal)
      assert.deepStrictEqual((yield* ids("L 7805CV")).slice(0, 2), equal)
      assert.deepStrictEqual(yield* ids({ manufacturerCode: "l7805cv", description: "linear regulator" }, 1), equal.slice(0, 1))
      assert.deepStrictEqual(
        yield* ids({ manufacturerCode: "ZZ-9 5 V", description: "Relay" }).pipe(Effect.map((found) => found.length)),
        1
      )
      assert.deepStrictEqual(
        (yield* duplicates.candidates({ manufacturerCode: "L7805CV" })).find(({ id4 }) => id4 === one),
        {
          id4: one as never,
          description: "Linear regulator 5 V",
          manufacturer: "TI",
          manufacturerCode: "L7805CV",
          typeName: "Regler",
          package: "TO-220",
          tags: ["ldo"]
        }
      )
    })
  )

  it.effect("is bounded and never fails, whatever it is asked for and by how many", () =>
    Effect.gen(function* () {
      const duplicates = yield* Duplicates
      yield* inParallel(40, (n) => newPart({ description: `Blue widget ${n}`, manufacturerCode: n % 2 === 0 ? "WID-1" : null }))
      assert.strictEqual((yield* duplicates.candidates("blue widget")).length, 30)
      assert.strictEqual((yield* duplicates.candidates("blue widget", 500)).length, 30)
      const numbered = yield* duplicates.candidates({ manufacturerCode: "wid1", description: "blue widget" })
      assert.deepStrictEqual([numbered.length, numbered.filter(({ manufacturerCode }) => manufacturerCode === "WID-1").length], [30, 20])
      assert.deepStrictEqual(
        numbered.slice(0, 20).map(({ manufacturerCode }) => manufacturerCode),
        Array.from({ length: 20 }, () => "WID-1")
      )
      for (const nothing of [
        "",
        " \n",
        "\u0000\ud800",
        "-",
        {},
        { manufacturerCode: null, description: null },
        { manufacturerCode: "//" }
      ]) {
        assert.deepStrictEqual(yield* duplicates.candidates(nothing), [])
      }
      assert.deepStrictEqual(yield* duplicates.candidates("blue widget", 0), [])
      const texts = [...randomTexts(36, 4)]
      yield* inParallel(36, (n) => duplicates.candidates((texts[n] ?? "").repeat(300).slice(0, 8000)))
      yield* duplicates.check({ description: texts.join(" ").replaceAll(/\0|\p{Cs}/gu, " "), typeId: null })
    })
  )
})

describe("R42: the parts of a draft", () => {
  it("are read for values wherever the index of parts is", () => {
    for (const [field, { values }] of Object.entries(searchFields)) {
      const found = valuesOf({ [field]: field === "tags" ? ["4.7 kΩ"] : "4.7 kΩ" })
      assert.deepStrictEqual(found, values ? ["~4700ohm"] : [], field)
    }
    assert.deepStrictEqual(valuesOf({ description: "4k7 50V", tags: ["4700R", "50-v"], voltageRating: "50 V" }), ["~4700ohm", "~50v"])
  })

  it.prop("are searched for with whole words, as many as a search takes", [Schema.Array(Schema.String)], ([texts]) => {
    for (const text of [texts.join(" "), texts.join(" lorem ipsum ").repeat(20)]) {
      const query = queryOf(text)
      const words = normalise(text).trim().split(/\s+/u)
      assert.isAtMost(Array.from(query).length, 200)
      if (query.includes(" ")) assert.deepStrictEqual(query.split(" "), words.slice(0, query.split(" ").length))
    }
  })

  it("may have a part number in every word and every two words", () => {
    assert.deepStrictEqual(numbersIn("An NE-555 P, or (LM358)"), ["ANNE555", "NE555", "NE555P", "POR", "ORLM358", "LM358"])
    for (const text of randomTexts(500, 8)) for (const number of numbersIn(text)) assert.strictEqual(squash(number), number)
    assert.isAtMost(numbersIn(Array.from({ length: 4000 }, (_, n) => `X${n}`).join(" ")).length, 1001)
  })
})
