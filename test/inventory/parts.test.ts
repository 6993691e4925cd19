import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Random, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { freeId4s, Id4, id4Count, id4Number, isDrawable, NewPart, nthId4 } from "#inventory/parts/part.ts"
import { Parts } from "#inventory/parts/parts.service.ts"
import { Db } from "#platform/db/db.ts"
import { get, inParallel, newBox, newPart, post, tally } from "../support/inventory.ts"
import { openAllConnections, untilBlocked } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const patch = (id4: string, body: unknown, headers: Record<string, string> = {}) =>
  Effect.flatMap(Http, ({ send }) => send("PATCH", `/api/parts/${id4}`, body, { headers }))
const remove = (id4: string, headers: Record<string, string> = {}) =>
  Effect.flatMap(Http, ({ send }) => send("DELETE", `/api/parts/${id4}`, undefined, { headers }))
const put = (id4: string, boxNo: number, locNo: number, quantity: number) =>
  post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo }, quantity })

const partCount = Effect.map(get("/api/parts?limit=1&includeTotal=true"), ({ body }) => body.total as number)
const pointers = (body: { readonly errors: ReadonlyArray<{ readonly pointer: string }> }) => body.errors.map(({ pointer }) => pointer)

const nothing = {
  coverDocumentId: null,
  imageUrl: null,
  thumbnailUrl: null,
  manufacturerCode: null,
  manufacturer: null,
  productPage: null,
  typeId: null,
  type: null,
  package: null,
  pinCount: null,
  pinPitch: null,
  voltageRating: null,
  inputVoltage: null,
  outputVoltage: null,
  mountingType: null,
  series: null,
  dimensions: null,
  minQuantity: null,
  kicad: null,
  tags: [],
  barcodes: [],
  totalQuantity: 0,
  seller: null,
  sellerLink: null,
  locations: [],
  sellerLinks: [],
  version: 1
}

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

layer(world(), options)("parts", (it) => {
  it.effect("a new part gets a four-letter label and is found by it, in any case", () =>
    Effect.gen(function* () {
      const created = yield* post("/api/parts", { description: "  Relay 5 V " })
      assert.strictEqual(created.status, 201, created.text)
      const { createdAt, id4, updatedAt, ...rest } = created.body
      assert.match(id4, /^[A-HJ-KM-NP-Z]{4}$/)
      assert.strictEqual(createdAt, updatedAt)
      assert.deepStrictEqual(rest, { description: "Relay 5 V", ...nothing })
      assert.strictEqual(created.headers.get("etag"), '"1"')
      assert.strictEqual(created.headers.get("location"), `/api/parts/${id4}`)
      for (const label of [id4, id4.toLowerCase()]) {
        const found = yield* get(`/api/parts/${label}`)
        assert.deepStrictEqual(found.body, created.body)
        assert.strictEqual(found.headers.get("etag"), '"1"')
      }
    })
  )

  it.effect("tells all that is wrong at once, however deep it is", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const kicad = { symbol: "x", footprint: "y".repeat(300), excludeFromBom: "a", bar: 1 }
      const { body, status } = yield* send("POST", "/api/parts", { description: " ", pinCount: 0, kicad, foo: 1 })
      assert.strictEqual(status, 400)
      const pointers = new Set(body.errors.map(({ pointer }: { readonly pointer: string }) => pointer))
      assert.deepStrictEqual([...pointers].toSorted(), [
        "/description",
        "/foo",
        "/kicad/bar",
        "/kicad/excludeFromBom",
        "/kicad/footprint",
        "/kicad/symbol",
        "/pinCount"
      ])
    })
  )

  it.effect("an edit that changes nothing leaves the version as it was, and is no change", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body } = yield* send("POST", "/api/parts", { description: "Relay", tags: ["smd"], kicad: { value: "5 V" } })
      const same = yield* send("PATCH", `/api/parts/${body.id4}`, { description: "Relay", tags: ["SMD"], kicad: { value: "5 V" } })
      assert.deepStrictEqual([same.status, same.headers.get("etag"), same.body], [200, '"1"', body])
      const { body: changes } = yield* send("GET", `/api/changes?entity=part&entityId=${body.id4}`)
      assert.strictEqual(changes.items.length, 1)
    })
  )

  it.effect("every field comes back as it was given, tags and barcodes tidied", () =>
    Effect.gen(function* () {
      const [type] = (yield* get("/api/types?limit=1")).body.items
      const fields = {
        description: "Kondensator Ω µ 漢字 🧰",
        manufacturerCode: "GRM-188 R71",
        manufacturer: "Murata",
        productPage: "https://example.org/p?q=1#x",
        typeId: type.id,
        package: "0603",
        pinCount: 2,
        pinPitch: "0.5 mm",
        voltageRating: "50 V",
        inputVoltage: "3–5 V",
        outputVoltage: "1.2 V",
        mountingType: "Surface-Mount",
        series: "GRM",
        dimensions: "1.6 × 0.8 × 0.8 mm",
        minQuantity: 0,
        kicad: {
          symbol: "Device:C",
          footprint: "Capacitor_SMD:C_0603",
          reference: "C",
          value: "100n",
          excludeFromBom: true,
          excludeFromBoard: false,
          excludeFromSim: false
        }
      }
      const { body, status, text } = yield* post("/api/parts", {
        ...fields,
        tags: ["  Power \t Supply ", "SMD", "smd", "power-supply", "Ä"],
        barcodes: ["4006381333931", " x ", "4006381333931"]
      })
      assert.strictEqual(status, 201, text)
      const { createdAt: _, id4: __, updatedAt: ___, ...rest } = body
      assert.deepStrictEqual(rest, {
        ...nothing,
        ...fields,
        type: { id: type.id, name: type.name },
        tags: ["power-supply", "smd", "ä"],
        barcodes: ["4006381333931", "x"]
      })
    })
  )

  it.effect("null and absent are the same in a new part", () =>
    Effect.gen(function* () {
      const { createdAt: _, id4: __, updatedAt: ___, ...empty } = (yield* post("/api/parts", { description: "x" })).body
      const {
        createdAt: _c,
        id4: _i,
        updatedAt: _u,
        ...nulls
      } = (yield* post("/api/parts", {
        description: "x",
        manufacturerCode: null,
        productPage: null,
        typeId: null,
        pinCount: null,
        minQuantity: null,
        tags: null,
        barcodes: null,
        kicad: null,
        series: null
      })).body
      assert.deepStrictEqual(nulls, empty)
      assert.deepStrictEqual((yield* post("/api/parts", { description: "x", kicad: { symbol: "Device:R" } })).body.kicad, {
        symbol: "Device:R",
        footprint: null,
        reference: null,
        value: null,
        excludeFromBom: false,
        excludeFromBoard: false,
        excludeFromSim: false
      })
    })
  )

  for (const [name, fields, pointer] of [
    ["no description", { description: undefined }, "/description"],
    ["an empty description", { description: "" }, "/description"],
    ["a blank description", { description: " \n\t\u00a0" }, "/description"],
    ["a null description", { description: null }, "/description"],
    ["a description of 2001 characters", { description: "x".repeat(2001) }, "/description"],
    ["a NUL in a text", { description: "a\0" }, "/description"],
    ["a lone surrogate in a text", { manufacturer: "a\udc00" }, "/manufacturer"],
    ["an empty manufacturer", { manufacturer: "" }, "/manufacturer"],
    ["a manufacturer of 256 characters", { manufacturer: "x".repeat(256) }, "/manufacturer"],
    ["a part number of 256 characters", { manufacturerCode: "x".repeat(256) }, "/manufacturerCode"],
    ["a package of 101 characters", { package: "x".repeat(101) }, "/package"],
    ["a mounting type of 51 characters", { mountingType: "x".repeat(51) }, "/mountingType"],
    ["a page that is none", { productPage: "example.org" }, "/productPage"],
    ["a page with javascript", { productPage: "javascript:alert(1)" }, "/productPage"],
    ["a page with a password", { productPage: "https://a:b@example.org" }, "/productPage"],
    ["0 pins", { pinCount: 0 }, "/pinCount"],
    ["10001 pins", { pinCount: 10_001 }, "/pinCount"],
    ["half a pin", { pinCount: 1.5 }, "/pinCount"],
    ["pins as text", { pinCount: "8" }, "/pinCount"],
    ["a minimum of -1", { minQuantity: -1 }, "/minQuantity"],
    ["a minimum of 1 000 000 001", { minQuantity: 1_000_000_001 }, "/minQuantity"],
    ["an unknown type", { typeId: 999_999 }, "/typeId"],
    ["a type above all integers", { typeId: 2 ** 31 }, "/typeId"],
    ["a tag that is blank", { tags: ["a", " "] }, "/tags/1"],
    ["a tag of 51 characters", { tags: ["x".repeat(51)] }, "/tags/0"],
    ["31 tags", { tags: Array.from({ length: 31 }, (_, n) => `t${n}`) }, "/tags"],
    ["tags that are no list", { tags: "a,b" }, "/tags"],
    ["a NUL in a tag", { tags: ["\0"] }, "/tags/0"],
    ["21 barcodes", { barcodes: Array.from({ length: 21 }, (_, n) => `b${n}`) }, "/barcodes"],
    ["a barcode of 201 characters", { barcodes: ["x".repeat(201)] }, "/barcodes/0"],
    ["a blank barcode", { barcodes: [""] }, "/barcodes/0"],
    ["a symbol without library", { kicad: { symbol: "R" } }, "/kicad/symbol"],
    ["a symbol with a NUL", { kicad: { symbol: "a:\0" } }, "/kicad/symbol"],
    ["a symbol of 201 characters", { kicad: { symbol: `a:${"x".repeat(199)}` } }, "/kicad/symbol"],
    ["a footprint with two colons", { kicad: { footprint: "a:b:c" } }, "/kicad/footprint"],
    ["a lone surrogate in the value", { kicad: { value: "\ud800" } }, "/kicad/value"],
    ["an unknown field of kicad", { kicad: { colour: "red" } }, "/kicad/colour"],
    ["an exclusion that is no truth", { kicad: { excludeFromBom: "no" } }, "/kicad/excludeFromBom"],
    ["a label", { id4: "ABCD" }, "/id4"],
    ["a derived total", { totalQuantity: 5 }, "/totalQuantity"],
    ["a version", { version: 5 }, "/version"],
    ["an unknown field", { colour: "red" }, "/colour"]
  ] as const) {
    it.effect(`${name} is refused, in a new part and in an edit, and nothing is written`, () =>
      Effect.gen(function* () {
        const before = yield* partCount
        const created = yield* post("/api/parts", { description: "Part", ...fields })
        assert.strictEqual(created.status, 400, created.text)
        assert.strictEqual(created.body.code, "invalid-request")
        assert.deepStrictEqual([...new Set(pointers(created.body))], [pointer])
        assert.strictEqual(yield* partCount, before)
        if (name === "no description") return
        const id4 = yield* newPart({ tags: ["kept"] })
        const made = (yield* get(`/api/parts/${id4}`)).body
        const edited = yield* patch(id4, { manufacturerCode: "X", ...fields })
        assert.strictEqual(edited.status, 400, edited.text)
        assert.deepStrictEqual([...new Set(pointers(edited.body))], [pointer])
        assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body, made)
      })
    )
  }

  it.effect("the longest texts fit, counted in characters", () =>
    Effect.gen(function* () {
      const { body, status } = yield* post("/api/parts", {
        description: "🧰".repeat(2000),
        manufacturerCode: "Ω".repeat(255),
        series: "漢".repeat(100),
        tags: Array.from({ length: 30 }, (_, n) => `${"ß".repeat(48)}${n + 10}`),
        barcodes: Array.from({ length: 20 }, (_, n) => `${"x".repeat(198)}${n + 10}`)
      })
      assert.strictEqual(status, 201)
      assert.strictEqual(body.description.length, 4000)
      assert.strictEqual((yield* get(`/api/parts/${body.id4}`)).body.tags.length, 30)
    })
  )

  it.effect("all faults of a part are named at once", () =>
    Effect.gen(function* () {
      const { body } = yield* post("/api/parts", { pinCount: 0, tags: ["", "a"], kicad: { symbol: "x" }, colour: 1 })
      assert.deepStrictEqual(pointers(body).toSorted(), ["/colour", "/description", "/kicad/symbol", "/pinCount", "/tags/0"])
    })
  )

  for (const impossible of ["12", "ABC", "ABCDE", "AB1D", "abc%20", "%00%00%00%00", "ÄÖÜA", "OOOO"]) {
    it.effect(`there is no part ${impossible}`, () =>
      Effect.gen(function* () {
        const path = encodeURI(impossible).replaceAll("%25", "%")
        for (const answer of [yield* get(`/api/parts/${path}`), yield* patch(path, { description: "x" }), yield* remove(path)]) {
          assert.deepStrictEqual([answer.status, answer.body.code], [404, "part-not-found"])
        }
      })
    )
  }
})

layer(world(), options)("an edit of a part", (it) => {
  it.effect("leaves what it does not name, empties what is null, and raises the version", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "a", manufacturer: "m", tags: ["x", "y"], barcodes: [`e${1}`], pinCount: 3 })
      const made = (yield* get(`/api/parts/${id4}`)).body
      const edited = yield* patch(id4.toLowerCase(), { manufacturer: null, tags: ["Z z", "x"], series: "S" })
      assert.strictEqual(edited.status, 200)
      assert.strictEqual(edited.headers.get("etag"), '"2"')
      const { updatedAt, ...rest } = edited.body
      const { updatedAt: before, ...expected } = made
      assert.deepStrictEqual(rest, { ...expected, manufacturer: null, tags: ["z-z", "x"], series: "S", version: 2 })
      assert.isAbove(Date.parse(updatedAt), Date.parse(before) - 1)
      assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body, edited.body)
      const emptied = (yield* patch(id4, { tags: null, barcodes: null })).body
      assert.deepStrictEqual([emptied.tags, emptied.barcodes], [[], []])
    })
  )

  it.effect("merges kicad key by key", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const kicad = (edit: unknown) => Effect.map(patch(id4, { kicad: edit }), ({ body }) => body.kicad)
      const empty = { symbol: null, footprint: null, reference: null, value: null }
      const included = { excludeFromBom: false, excludeFromBoard: false, excludeFromSim: false }
      assert.deepStrictEqual(yield* kicad({ value: "1k", excludeFromSim: true }), {
        ...empty,
        ...included,
        value: "1k",
        excludeFromSim: true
      })
      assert.deepStrictEqual(yield* kicad({ symbol: "Device:R", excludeFromSim: null }), {
        ...empty,
        ...included,
        value: "1k",
        symbol: "Device:R"
      })
      assert.deepStrictEqual(yield* kicad({ value: null }), { ...empty, ...included, symbol: "Device:R" })
      assert.strictEqual(yield* kicad(null), null)
      assert.deepStrictEqual(yield* kicad({}), { ...empty, ...included })
    })
  )

  it.effect("is taken as application/merge-patch+json too, and as nothing else", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart()
      const sent = (type: string) =>
        send("PATCH", `/api/parts/${id4}`, undefined, { raw: '{"series":"A"}', headers: { "content-type": type } })
      assert.strictEqual((yield* sent("application/merge-patch+json")).body.series, "A")
      assert.strictEqual((yield* sent("text/plain")).status, 415)
    })
  )

  it.effect("is made only on the version that was read, when that is given", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const stale = yield* patch(id4, { series: "A" }, { "if-match": '"2"' })
      assert.deepInclude(stale.body, { status: 412, code: "precondition-failed", current: '"1"' })
      assert.strictEqual((yield* patch(id4, { series: "A" }, { "if-match": '"7", "1"' })).status, 200)
      assert.strictEqual((yield* patch(id4, { series: "B" }, { "if-match": "*" })).status, 200)
      assert.strictEqual((yield* patch(id4, { series: "C" }, { "if-match": "3" })).status, 400)
      assert.strictEqual((yield* remove(id4, { "if-match": '"1"' })).status, 412)
      assert.strictEqual((yield* remove(id4, { "if-match": '"3"' })).status, 204)
    })
  )

  it.effect("of 64 with the same If-Match one is made; the others change nothing", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const answers = yield* inParallel(64, (n) => patch(id4, { series: `S${n}`, tags: [`t${n}`] }, { "if-match": '"1"' }))
      assert.deepStrictEqual(tally(answers), { 200: 1, "412 precondition-failed": 63 })
      assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body, answers.find(({ status }) => status === 200)!.body)
    })
  )

  it.effect("of 64 at once without If-Match all are made, one after the other", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const answers = yield* inParallel(64, (n) => patch(id4, { tags: [`t${n}`, "all"], barcodes: [`w${n}`] }))
      assert.deepStrictEqual(tally(answers), { 200: 64 })
      const { body } = yield* get(`/api/parts/${id4}`)
      assert.strictEqual(body.version, 65)
      assert.deepStrictEqual(body, answers.find((answer) => answer.body.version === 65)!.body)
    })
  )

  it.effect("is recorded with what was before and after, as are the making and the end", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ tags: ["a"] })
      const made = (yield* get(`/api/parts/${id4}`)).body
      const edited = (yield* patch(id4, { tags: ["b"] })).body
      yield* remove(id4)
      const { items } = (yield* get(`/api/changes?topic=part&entity=part&entityId=${id4}`)).body
      assert.deepStrictEqual(
        items.map(({ action, after, before }: Record<string, unknown>) => ({ action, before, after })),
        [
          { action: "deleted", before: edited, after: null },
          { action: "updated", before: made, after: edited },
          { action: "created", before: null, after: made }
        ]
      )
    })
  )
})

layer(world(), options)("a deleted part", (it) => {
  it.effect("is gone with its tags and barcodes, says so, keeps its history, and its label is never given out again", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox()
      const seller = (yield* post("/api/sellers", { name: "Seller" })).body.id
      const fields = { description: "Old fuse", tags: ["fuse"], barcodes: ["gone-1"] }
      const id4 = yield* newPart({ ...fields, sellerLinks: [{ sellerId: seller, sellerPartNumbers: ["1"] }] })
      yield* put(id4, boxNo, 1, 5)
      const blocked = yield* remove(id4)
      assert.strictEqual(blocked.status, 409)
      assert.deepInclude(blocked.body, { code: "part-in-use", blockedBy: [{ kind: "stock", id: id4, name: `5 pieces in ${boxNo}-1` }] })
      yield* post(`/api/parts/${id4}/take`, { quantity: 5 })
      assert.strictEqual((yield* remove(id4)).status, 204)
      for (const answer of [yield* get(`/api/parts/${id4}`), yield* patch(id4, {}), yield* remove(id4), yield* put(id4, boxNo, 1, 1)]) {
        assert.strictEqual(answer.status, 404)
        assert.deepInclude(answer.body, { code: "part-retired", id4, description: "Old fuse" })
        assert.match(answer.body.retiredAt, /Z$/)
      }
      assert.deepStrictEqual((yield* get("/api/part-tags?prefix=fuse")).body.items, [])
      const { items } = (yield* get(`/api/stock/operations?id4=${id4}`)).body
      assert.deepStrictEqual(
        items.map(({ kind }: { kind: string }) => kind),
        ["take", "put"]
      )
      const heir = yield* newPart({ ...fields, sellerLinks: [{ sellerId: seller, sellerPartNumbers: ["1"] }] })
      assert.notStrictEqual(heir, id4)
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`select description, principal from retired_parts where id4 = ${id4}`, [
        { description: "Old fuse", principal: "owner" }
      ])
      assert.strictEqual((yield* send("DELETE", `/api/boxes/${boxNo}`)).status, 204)
    })
  )

  it.effect("is deleted by one of 32 who try at once", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      assert.deepStrictEqual(tally(yield* inParallel(32, () => remove(id4))), { 204: 1, "404 part-retired": 31 })
    })
  )

  it.effect("edited by 32 while it is deleted is gone for all that come later", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const [removed, edits] = yield* Effect.all([remove(id4), inParallel(32, (n) => patch(id4, { series: `${n}` }))], {
        concurrency: "unbounded"
      })
      assert.strictEqual(removed.status, 204)
      const { 200: made = 0, "404 part-retired": late = 0 } = tally(edits)
      assert.strictEqual(made + late, 32)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.code, "part-retired")
    })
  )
})

layer(world(), options)("barcodes", (it) => {
  it.effect("belong to one part only", () =>
    Effect.gen(function* () {
      const owner = yield* newPart({ barcodes: ["b1", "b2"] })
      const before = yield* partCount
      const taken = yield* post("/api/parts", { description: "x", barcodes: ["b0", "b2", "b1"] })
      assert.strictEqual(taken.status, 409)
      assert.deepInclude(taken.body, { code: "barcode-taken", id4: owner })
      assert.include(["b1", "b2"], taken.body.barcode)
      assert.strictEqual(yield* partCount, before)
      const other = yield* newPart({ barcodes: ["b0", "B1"] })
      const refused = yield* patch(other, { barcodes: ["b0", "b1"], series: "x" })
      assert.deepInclude(refused.body, { status: 409, code: "barcode-taken", barcode: "b1", id4: owner })
      assert.deepInclude((yield* get(`/api/parts/${other}`)).body, { barcodes: ["b0", "B1"], series: null, version: 1 })
      assert.deepStrictEqual((yield* patch(owner, { barcodes: ["b2", "b3", "b1"] })).body.barcodes, ["b2", "b3", "b1"])
      yield* patch(owner, { barcodes: ["b3"] })
      assert.deepStrictEqual((yield* patch(other, { barcodes: ["b1"] })).body.barcodes, ["b1"])
    })
  )

  it.effect("of 64 parts made with one barcode at once one is made", () =>
    Effect.gen(function* () {
      const before = yield* partCount
      const answers = yield* inParallel(64, () => post("/api/parts", { description: "x", barcodes: ["wanted"] }))
      assert.deepStrictEqual(tally(answers), { 201: 1, "409 barcode-taken": 63 })
      assert.strictEqual(yield* partCount, before + 1)
      const owner = answers.find(({ status }) => status === 201)!.body.id4
      assert.isTrue(answers.filter(({ status }) => status === 409).every(({ body }) => body.id4 === owner && body.barcode === "wanted"))
    })
  )

  it.effect("swapped between parts in opposite orders by 32 at once end with one owner each", () =>
    Effect.gen(function* () {
      const codes = ["s1", "s2", "s3"]
      const ids = yield* inParallel(32, () => newPart())
      const answers = yield* inParallel(32, (n) => patch(ids[n]!, { barcodes: n % 2 === 0 ? codes : codes.toReversed() }))
      assert.deepStrictEqual(tally(answers), { 200: 1, "409 barcode-taken": 31 })
    })
  )
})

layer(world(), options)("labels", (it) => {
  it("that can be drawn are alphabetical, easy to read and inoffensive", () => {
    const all = Array.from({ length: id4Count }, (_, n) => nthId4(n))
    assert.strictEqual(all.length, 23 ** 4)
    assert.deepStrictEqual(all, all.toSorted())
    assert.isTrue(all.every((id4) => /^[A-HJKMNP-Z]{4}$/.test(id4)))
    const skipped = all.filter((id4) => !isDrawable(id4))
    assert.include<string>(skipped, "FUCK")
    assert.deepStrictEqual(
      [0, 1, 22, 23, id4Count - 1].map((n) => id4Number(nthId4(n))),
      [0, 1, 22, 23, id4Count - 1]
    )
    assert.strictEqual(id4Number("ILOA"), -1)
    assert.strictEqual(freeId4s(0, [1, 1, 0, 1], () => false).next().value, nthId4(2))
    assert.strictEqual([...freeId4s(5, [], () => false)].length, id4Count - skipped.length)
    assert.strictEqual(freeId4s(all.indexOf(Id4.make("FUCK")), [], () => false).next().value, "FUCM")
    assert.strictEqual(freeId4s(id4Count - 1, [], (id4) => id4 === "ZZZZ").next().value, "AAAA")
  })

  it.effect("64 parts made at once get 64 labels", () =>
    Effect.gen(function* () {
      const answers = yield* inParallel(64, () => post("/api/parts", { description: "x" }))
      assert.deepStrictEqual(tally(answers), { 201: 64 })
      assert.strictEqual(new Set(answers.map(({ body }) => body.id4)).size, 64)
    })
  )

  const create = Effect.flatMap(Parts, (parts) => parts.create(Schema.decodeSync(NewPart)({ description: "x" })))

  it.effect("a label that is in use or was used is drawn again", () =>
    Effect.gen(function* () {
      const sameDraws = Random.withSeed("collision")
      const first = yield* sameDraws(create)
      const second = yield* sameDraws(create)
      assert.notStrictEqual(second.id4, first.id4)
      yield* remove(first.id4)
      const third = yield* sameDraws(create)
      assert.strictEqual(new Set([first.id4, second.id4, third.id4]).size, 3)
      assert.strictEqual((yield* get(`/api/parts/${first.id4}`)).body.code, "part-retired")
    }).pipe(Effect.provide(Parts.layer))
  )

  it.effect("32 parts that draw the same labels at once get different ones", () =>
    Effect.gen(function* () {
      const made = yield* inParallel(32, () => Random.withSeed(create, "thirty-two"))
      assert.strictEqual(new Set(made.map(({ id4 }) => id4)).size, 32)
    }).pipe(Effect.provide(Parts.layer))
  )

  it.effect("a label whose part is deleted while a new part draws it is not given out", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const parts = yield* Parts
      yield* openAllConnections
      const sameDraws = Random.withSeed("deleted meanwhile")
      const { id4 } = yield* sameDraws(create)
      const deleted = yield* Deferred.make<void>()
      const mayCommit = yield* Deferred.make<void>()
      const deleting = yield* Effect.forkChild(
        db.transaction(
          parts
            .remove(Id4.make(id4), undefined)
            .pipe(Effect.andThen(Deferred.succeed(deleted, undefined)), Effect.andThen(Deferred.await(mayCommit)))
        )
      )
      yield* Deferred.await(deleted)
      const creating = yield* Effect.forkChild(sameDraws(create))
      yield* untilBlocked(1)
      yield* Deferred.succeed(mayCommit, undefined)
      yield* Fiber.join(deleting)
      assert.notStrictEqual((yield* Fiber.join(creating)).id4, id4)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.code, "part-retired")
    }).pipe(Effect.provide(Parts.layer))
  )
})

layer(world(), options)("when labels run out", (it) => {
  it.effect("the last free ones are found in their order, then there are none, and deleting gives none back", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const letters = [3, 2, 1, 0].map((place) => `substr('ABCDEFGHJKMNPQRSTUVWXYZ', (n / ${23 ** place}) % 23 + 1, 1)`).join(" || ")
      const free = ["BAAA", "MMMM", "ZZZY"]
      // FUCK is free as well, but never given out.
      yield* sql`insert into retired_parts (id4, description, principal)
        select id4, 'x', 'test' from (select ${sql.literal(letters)} as id4 from generate_series(0, ${id4Count - 1}) n) all_labels
        where id4 <> all(${[...free, "FUCK"]}::text[])`
      const first = yield* newPart()
      assert.include(free, first)
      const answers = yield* inParallel(32, () => post("/api/parts", { description: "x" }))
      assert.deepStrictEqual(tally(answers), { 201: 2, "409 id4-space-exhausted": 30 })
      const made = [first, ...answers.flatMap(({ body, status }) => (status === 201 ? [body.id4] : []))]
      assert.deepStrictEqual(made.toSorted(), free)
      yield* remove("MMMM")
      assert.strictEqual((yield* post("/api/parts", { description: "x" })).body.code, "id4-space-exhausted")
    })
  )
})

layer(world(), options)("bulk edits", (it) => {
  const bulk = (body: unknown) => post("/api/parts/bulk-edit", body)

  it.effect("change what differs, leave the rest untouched, and count both", () =>
    Effect.gen(function* () {
      const a = yield* newPart({ manufacturer: "M", tags: ["x", "y"] })
      const b = yield* newPart({ manufacturer: "N", tags: ["y"] })
      const c = yield* newPart({ manufacturer: "M", package: "DIP", tags: ["z", "y"] })
      const { body, status } = yield* bulk({
        ids: [a, b.toLowerCase(), c, a],
        set: { manufacturer: "M", minQuantity: null },
        addTags: ["Y", "new tag"],
        removeTags: ["X"]
      })
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(body, { changed: 3, unchanged: 0 })
      const read = (id4: string) =>
        Effect.map(get(`/api/parts/${id4}`), ({ body: { manufacturer, tags, version } }) => ({ manufacturer, tags, version }))
      assert.deepStrictEqual(yield* read(a), { manufacturer: "M", tags: ["y", "new-tag"], version: 2 })
      assert.deepStrictEqual(yield* read(b), { manufacturer: "M", tags: ["y", "new-tag"], version: 2 })
      assert.deepStrictEqual(yield* read(c), { manufacturer: "M", tags: ["z", "y", "new-tag"], version: 2 })
      assert.deepStrictEqual((yield* bulk({ ids: [a, b, c], set: { package: "DIP" } })).body, { changed: 2, unchanged: 1 })
      assert.deepStrictEqual((yield* bulk({ ids: [a, b, c], removeTags: ["nobody"] })).body, { changed: 0, unchanged: 3 })
      assert.deepStrictEqual((yield* bulk({ ids: [a] })).body, { changed: 0, unchanged: 1 })
      assert.strictEqual((yield* read(c)).version, 2)
      assert.strictEqual((yield* bulk({ ids: [a, b], set: { package: null } })).body.changed, 2)
      const { items } = (yield* get(`/api/changes?entity=part&entityId=${a}&limit=1`)).body
      assert.deepInclude(items[0].before, { package: "DIP", version: 3 })
      assert.deepInclude(items[0].after, { package: null, version: 4 })
    })
  )

  it.effect("are all or nothing", () =>
    Effect.gen(function* () {
      const a = yield* newPart({ tags: Array.from({ length: 30 }, (_, n) => `t${n}`) })
      const b = yield* newPart()
      const gone = yield* newPart()
      yield* remove(gone)
      const before = [(yield* get(`/api/parts/${a}`)).body, (yield* get(`/api/parts/${b}`)).body]
      for (const [body, status, code] of [
        [{ ids: [b, "OOOO"], set: { package: "X" } }, 404, "part-not-found"],
        [{ ids: [b, gone], set: { package: "X" } }, 404, "part-retired"],
        [{ ids: [a, b], addTags: ["one-more"] }, 400, "/addTags"],
        [{ ids: [a, b], set: { typeId: 999_999 } }, 400, "/set/typeId"],
        [{ ids: [], set: { package: "X" } }, 400, "/ids"],
        [{ ids: [b, "12"] }, 400, "/ids/1"],
        [{ ids: Array.from({ length: 501 }, () => b) }, 400, "/ids"],
        [{ ids: [b], set: { description: "X" } }, 400, "/set/description"],
        [{ ids: [b], set: { minQuantity: -1, package: "" } }, 400, "/set/minQuantity"],
        [{ ids: [b], addTags: [" "] }, 400, "/addTags/0"]
      ] as const) {
        const answer = yield* bulk(body)
        assert.strictEqual(answer.status, status, answer.text)
        if (status === 404) assert.strictEqual(answer.body.code, code)
        else assert.include(pointers(answer.body), code)
      }
      assert.deepStrictEqual([(yield* get(`/api/parts/${a}`)).body, (yield* get(`/api/parts/${b}`)).body], before)
      assert.strictEqual((yield* bulk({ ids: [a], addTags: ["one-more"], removeTags: ["t0"] })).status, 200)
    })
  )

  it.effect("of the same parts in any order by 32 at once all count", () =>
    Effect.gen(function* () {
      const ids = yield* inParallel(20, () => newPart())
      const answers = yield* inParallel(32, (n) => bulk({ ids: n % 2 === 0 ? ids : ids.toReversed(), addTags: [`b${n % 16}`] }))
      assert.deepStrictEqual(tally(answers), { 200: 32 })
      assert.strictEqual(
        answers.reduce((sum, { body }) => sum + body.changed, 0),
        16 * 20
      )
      for (const id4 of ids) assert.deepInclude((yield* get(`/api/parts/${id4}`)).body, { version: 17 })
    })
  )
})
