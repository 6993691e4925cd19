import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { get, newBox, newPart, post } from "../support/inventory.ts"
import { Statements } from "../support/statements.ts"
import { Http, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

/** Every item of a list, page by page; `limit` items at most on each. */
const pages = Effect.fnUntraced(function* (path: string, limit: number) {
  const found: Array<Record<string, unknown>> = []
  let cursor = ""
  do {
    const { body, status, text } = yield* get(`${path}${path.includes("?") ? "&" : "?"}limit=${limit}${cursor}`)
    assert.strictEqual(status, 200, text)
    assert.isAtMost(body.items.length, limit)
    found.push(...body.items)
    cursor = body.nextCursor === null ? "" : `&cursor=${encodeURIComponent(body.nextCursor)}`
  } while (cursor !== "")
  return found
})

const put = (id4: string, boxNo: number, locNo: number, quantity: number) =>
  post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo }, quantity })

layer(world(), options)("the list of parts", (it) => {
  /** Five parts by the letters they are called in this file. */
  const ids: Record<string, string> = {}
  let boxNo = 0
  let types: ReadonlyArray<number> = []
  let seller = 0

  const named = (found: ReadonlyArray<Record<string, unknown>>) =>
    found.map(({ id4 }) => Object.entries(ids).find(([, label]) => label === id4)![0]).join("")
  const list = (query: string) =>
    Effect.map(get(`/api/parts?${query}`), ({ body, status, text }) => (status === 200 ? named(body.items) : text))

  it.effect("of five parts", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      types = (yield* get("/api/types?limit=2")).body.items.map(({ id }: { id: number }) => id)
      seller = (yield* post("/api/sellers", { name: "Würth" })).body.id
      boxNo = yield* newBox()
      const other = yield* newBox()
      const parts = {
        a: { description: "äpfel", manufacturerCode: "ne555", manufacturer: "Würth", typeId: types[0], tags: ["x", "y"], minQuantity: 5 },
        b: { description: "Banane", manufacturer: "WÜRTH", package: "DIP-8", typeId: types[1], tags: ["y"], minQuantity: 5 },
        c: { description: "apfel", manufacturerCode: "AD1", mountingType: "THT", tags: ["y", "x", "z"] },
        d: { description: "banane", manufacturerCode: "ad1", sellerLinks: [{ sellerId: seller, link: "https://example.org/1" }] },
        e: { description: "Zoll", package: "dip-8" }
      }
      for (const [name, fields] of Object.entries(parts)) ids[name] = yield* newPart(fields)
      yield* put(ids.a!, boxNo, 1, 6)
      yield* put(ids.b!, boxNo, 2, 2)
      yield* put(ids.b!, other, 1, 3)
      yield* put(ids.c!, other, 1, 1)
      // Labels are drawn, and two parts may be made in one moment: the order must not depend on it.
      for (const [at, name] of ["a", "b", "c", "d", "e"].entries()) {
        yield* sql`update parts set created_at = ${`2026-01-0${at + 1}T00:00:00Z`}::timestamptz, updated_at = ${`2026-02-0${9 - at}T00:00:00Z`}::timestamptz where id4 = ${ids[name]!}`
      }
    })
  )

  it.effect("sorts by each field both ways, nulls last, on any page", () =>
    Effect.gen(function* () {
      const byId = Object.keys(ids).toSorted((one, other) => (ids[one]! < ids[other]! ? -1 : 1))
      const tied = (one: string, other: string) => byId.filter((name) => name === one || name === other).join("")
      const reversed = (names: string) => [...names].toReversed().join("")
      const expected: Record<string, string> = {
        id4: byId.join(""),
        "-id4": reversed(byId.join("")),
        createdAt: "abcde",
        "-createdAt": "edcba",
        updatedAt: "edcba",
        "-updatedAt": "abcde",
        description: `c${tied("b", "d")}ea`,
        "-description": `ae${reversed(tied("b", "d"))}c`,
        manufacturerCode: `${tied("c", "d")}a${tied("b", "e")}`,
        "-manufacturerCode": `a${reversed(tied("c", "d"))}${reversed(tied("b", "e"))}`,
        totalQuantity: `${tied("d", "e")}cba`,
        "-totalQuantity": `abc${reversed(tied("d", "e"))}`
      }
      for (const [sort, order] of Object.entries(expected)) {
        for (const limit of [1, 2, 5, 200])
          assert.strictEqual(named(yield* pages(`/api/parts?sort=${sort}`, limit)), order, `${sort} ${limit}`)
      }
      assert.strictEqual(yield* list(""), "edcba")
    })
  )

  it.effect("filters by everything, and by all of it together", () =>
    Effect.gen(function* () {
      for (const [query, expected] of [
        [`typeId=${types[0]}`, "a"],
        [`typeId=${types[0]}&typeId=${types[1]}`, "ba"],
        ["typeId=999999", ""],
        ["tag=y", "cba"],
        ["tag=y&tag=X", "ca"],
        ["tag=x&tag=y&tag=z", "c"],
        ["tag=x&tag=nobody", ""],
        ["tag=%25", ""],
        [`sellerId=${seller}`, "d"],
        [`boxNo=${boxNo}`, "ba"],
        [`boxNo=${boxNo + 1}`, "cb"],
        ["boxNo=99999", ""],
        ["manufacturer=w%C3%BCrth", "ba"],
        ["manufacturer=w", ""],
        ["package=DIP-8", "b"],
        ["mountingType=THT", "c"],
        ["inStock=true", "cba"],
        ["inStock=false", "ed"],
        ["belowMinimum=true", "b"],
        ["belowMinimum=false", "edca"],
        ["updatedSince=2026-02-07T00:00:00Z", "cba"],
        ["updatedSince=2026-02-07T01:00:00%2B01:00", "cba"],
        ["updatedSince=2026-02-07T00:00:00.001Z", "ba"],
        [`typeId=${types[1]}&tag=y&boxNo=${boxNo}&manufacturer=W%C3%BCrth&package=DIP-8&inStock=true&belowMinimum=true`, "b"],
        [`typeId=${types[1]}&tag=x`, ""]
      ] as const) {
        assert.strictEqual(yield* list(query), expected, query)
        const { body } = yield* get(`/api/parts?${query}&includeTotal=true&limit=1`)
        assert.strictEqual(body.total, expected.length, query)
      }
    })
  )

  it.effect("includes the slots when asked, never null, and carries the true total always", () =>
    Effect.gen(function* () {
      const bare = (yield* get("/api/parts")).body.items
      assert.isTrue(bare.every((part: object) => !("locations" in part)))
      for (const query of ["include=locations", "include=locations,locations", "include=locations&include=locations"]) {
        const { items } = (yield* get(`/api/parts?${query}`)).body
        for (const [at, part] of items.entries()) {
          const { locations, ...rest } = part
          assert.deepStrictEqual(rest, bare[at])
          const { body } = yield* get(`/api/parts/${part.id4}`)
          assert.deepStrictEqual(locations, body.locations)
          const { locations: _, sellerLinks: __, ...fields } = body
          assert.deepStrictEqual(rest, fields)
        }
      }
      assert.deepInclude(bare[1], { seller: "Würth", sellerLink: "https://example.org/1", totalQuantity: 0 })
    })
  )

  it.effect("refuses what it does not know, with the name of the parameter", () =>
    Effect.gen(function* () {
      const cursor = (yield* get("/api/parts?limit=1")).body.nextCursor
      const tags = Array.from({ length: 31 }, (_, n) => `tag=t${n}`).join("&")
      for (const [query, code, pointer] of [
        ["limit=0", "invalid-request", "/limit"],
        ["limit=201", "invalid-request", "/limit"],
        ["limit=ten", "invalid-request", "/limit"],
        ["sort=price", "invalid-request", "/sort"],
        ["sort=--id4", "invalid-request", "/sort"],
        ["include=projects", "invalid-request", "/include"],
        ["include=", "invalid-request", "/include"],
        ["inStock=maybe", "invalid-request", "/inStock"],
        ["typeId=x", "invalid-request", "/typeId"],
        ["typeId=0", "invalid-request", "/typeId"],
        ["boxNo=0", "invalid-request", "/boxNo"],
        ["tag=", "invalid-request", "/tag"],
        ["manufacturer=%00", "invalid-request", "/manufacturer"],
        ["updatedSince=yesterday", "invalid-request", "/updatedSince"],
        ["updatedSince=2026-02-30T00:00:00Z", "invalid-request", "/updatedSince"],
        ["colour=red", "invalid-request", "/colour"],
        [tags, "invalid-request", "/tag"],
        ["cursor=x", "invalid-cursor", ""],
        [`sort=id4&cursor=${cursor}`, "invalid-cursor", ""]
      ] as const) {
        const { body, status, text } = yield* get(`/api/parts?${query}`)
        assert.strictEqual(status, 400, text)
        assert.strictEqual(body.code, code, text)
        if (pointer !== "") assert.isTrue(body.errors[0].in === "query" && body.errors[0].pointer.startsWith(pointer), text)
      }
      assert.strictEqual((yield* get(`/api/types?cursor=${cursor}`)).body.code, "invalid-cursor")
    })
  )
})

layer(world(), options)("the lists of the ledger", (it) => {
  let boxNo = 0
  let other = 0
  let [a, b] = ["", ""]
  const kinds = (query: string) =>
    Effect.map(get(`/api/stock/operations?${query}`), ({ body, text }) =>
      body.items === undefined ? text : body.items.map(({ kind }: { kind: string }) => kind).join(" ")
    )

  it.effect("of two parts in two boxes", () =>
    Effect.gen(function* () {
      boxNo = yield* newBox()
      other = yield* newBox()
      a = yield* newPart()
      b = yield* newPart()
      const verb = (id4: string, name: string, body: object) => post(`/api/parts/${id4}/${name}`, body)
      yield* verb(a, "put", { slot: { boxNo, locNo: 1 }, quantity: 9 })
      yield* verb(b, "put", { slot: { boxNo: other, locNo: 1 }, quantity: 9 })
      yield* verb(a, "take", { slot: { boxNo, locNo: 1 }, quantity: 2, note: "prototype" })
      yield* verb(a, "move", { from: { boxNo, locNo: 1 }, to: { boxNo: other, locNo: 1 }, quantity: 3 })
      yield* verb(a, "count", { slot: { boxNo, locNo: 1 }, counted: 5 })
      const { body } = yield* verb(b, "count", { slot: { boxNo: other, locNo: 1 }, counted: 8 })
      yield* post(`/api/stock/operations/${body.operation.id}/undo`, {})
    })
  )

  it.effect("bookings, newest first, by kind, part, box, person and time", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* kinds(""), "undo count count move take put put")
      for (const [query, expected] of [
        ["kind=put", "put put"],
        [`id4=${a.toLowerCase()}`, "count move take put"],
        [`boxNo=${other}`, "undo count move put"],
        [`boxNo=${boxNo}&id4=${b}`, ""],
        [`id4=${a}&kind=move`, "move"],
        ["principal=owner&kind=undo", "undo"],
        ["principal=nobody", ""],
        ["id4=OOOO", ""],
        ["to=2020-01-01T00:00:00Z", ""],
        ["from=2020-01-01T00:00:00Z", "undo count count move take put put"]
      ] as const) {
        assert.strictEqual(yield* kinds(query), expected, query)
        const { body } = yield* get(`/api/stock/operations?${query}&limit=1&includeTotal=true`)
        assert.strictEqual(body.total, expected === "" ? 0 : expected.split(" ").length)
      }
      const sql = yield* SqlClient.SqlClient
      const times = yield* sql<{ readonly at: string }>`
        select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at from stock_operations order by at`
      const at = (n: number) => encodeURIComponent(times[n]!.at)
      assert.strictEqual(yield* kinds(`from=${at(2)}&to=${at(4)}`), "move take")
      const all = (yield* get("/api/stock/operations")).body.items
      for (const limit of [1, 2, 3]) assert.deepStrictEqual(yield* pages("/api/stock/operations", limit), all)
      for (const operation of all) assert.deepStrictEqual((yield* get(`/api/stock/operations/${operation.id}`)).body, operation)
    })
  )

  it.effect("the history of a part, newest first, with its running balance in each slot", () =>
    Effect.gen(function* () {
      const history = (yield* get(`/api/parts/${a.toLowerCase()}/history?includeTotal=true`)).body
      assert.strictEqual(history.total, 5)
      assert.deepStrictEqual(
        history.items.map(({ balanceAfter, deltaQty, kind, location, note }: Record<string, unknown>) => [
          kind,
          location,
          deltaQty,
          balanceAfter,
          note
        ]),
        [
          ["count", `${boxNo}-1`, 1, 5, null],
          ["move", `${other}-1`, 3, 3, null],
          ["move", `${boxNo}-1`, -3, 4, null],
          ["take", `${boxNo}-1`, -2, 7, "prototype"],
          ["put", `${boxNo}-1`, 9, 9, null]
        ]
      )
      const [first] = history.items
      assert.deepInclude((yield* get(`/api/stock/operations/${first.operationId}`)).body, {
        at: first.at,
        kind: "count",
        principal: "owner"
      })
      for (const limit of [1, 2]) assert.deepStrictEqual(yield* pages(`/api/parts/${a}/history`, limit), history.items)
      for (const [query, expected] of [
        ["kind=move", 2],
        ["kind=import", 0],
        ["from=2020-01-01T00:00:00Z&kind=take", 1],
        ["to=2020-01-01T00:00:00Z", 0]
      ] as const) {
        const { body } = yield* get(`/api/parts/${a}/history?${query}&includeTotal=true`)
        assert.deepStrictEqual([body.items.length, body.total], [expected, expected], query)
      }
    })
  )

  it.effect("the slots of a part, in their order", () =>
    Effect.gen(function* () {
      const { locations } = (yield* get(`/api/parts/${a}`)).body
      assert.strictEqual(locations.length, 2)
      for (const limit of [1, 200]) assert.deepStrictEqual(yield* pages(`/api/parts/${a}/locations`, limit), locations)
      assert.strictEqual((yield* get(`/api/parts/${a}/locations?includeTotal=true`)).body.total, 2)
    })
  )

  it.effect("refuse what they do not know", () =>
    Effect.gen(function* () {
      for (const [query, pointer] of [
        ["kind=burn", "/kind"],
        ["from=now", "/from"],
        ["to=0000-01-01T00:00:00Z", "/to"],
        ["limit=0", "/limit"],
        ["colour=red", "/colour"]
      ] as const) {
        for (const path of ["/api/stock/operations", `/api/parts/${a}/history`]) {
          const { body, status } = yield* get(`${path}?${query}`)
          assert.deepStrictEqual([status, body.errors[0].in, body.errors[0].pointer], [400, "query", pointer])
        }
      }
      for (const query of ["id4=12", "boxNo=0", "boxNo=x", "principal=", "projectId=x"]) {
        assert.strictEqual((yield* get(`/api/stock/operations?${query}`)).status, 400, query)
      }
      const cursor = (yield* get("/api/stock/operations?limit=1")).body.nextCursor
      assert.strictEqual((yield* get(`/api/parts/${a}/history?cursor=${cursor}`)).body.code, "invalid-cursor")
    })
  )
})

layer(world().pipe(Layer.provideMerge(Statements.layer)), options)("lists", (it) => {
  it.effect("ask the database as often for 200 items as for one", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { during } = yield* Statements
      const boxNo = yield* newBox(50)
      const seller = (yield* post("/api/sellers", { name: "Seller" })).body.id
      const made: Array<string> = []
      for (let n = 0; n < 30; n++) {
        const id4 = yield* newPart({
          typeId: 1 + (n % 3),
          tags: [`t${n}`, "all"],
          barcodes: [`b${n}`],
          sellerLinks: [{ sellerId: seller, sellerPartNumbers: [`n${n}`] }]
        })
        made.push(id4)
        yield* put(id4, boxNo, 1 + n, 2)
        yield* put(made[0]!, boxNo, 1 + n, 1)
      }
      for (const [path, statements] of [
        ["/api/parts?", 1],
        ["/api/parts?include=locations&sort=-totalQuantity&", 1],
        ["/api/parts?tag=all&inStock=true&include=locations&includeTotal=true&", 2],
        ["/api/part-tags?", 1],
        ["/api/part-tags?prefix=t&includeTotal=true&", 2],
        ["/api/types?includeTotal=true&", 2],
        ["/api/stock/operations?", 1],
        [`/api/stock/operations?boxNo=${boxNo}&id4=${made[0]}&kind=put&includeTotal=true&`, 2],
        // One more says whether there is such a part.
        [`/api/parts/${made[0]}/history?`, 2],
        [`/api/parts/${made[0]}/locations?includeTotal=true&`, 3]
      ] as const) {
        for (const limit of [1, 200]) assert.strictEqual(yield* during(send("GET", `${path}limit=${limit}`)), statements, path)
      }
      assert.strictEqual(yield* during(send("GET", `/api/parts/${made[0]}`)), 1)
    })
  )
})
