import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Statements } from "../support/statements.ts"
import { book, insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("slots", (it) => {
  it.effect("boxes 2, 3 and 10 with some stock", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const sql = yield* SqlClient.SqlClient
      for (const [boxNo, capacity] of [
        [10, 3],
        [2, 12],
        [3, 1]
      ]) {
        assert.strictEqual((yield* send("POST", "/api/boxes", { boxNo, capacity, description: "Box" })).status, 201)
      }
      yield* insertParts([
        { id4: "BBBB", description: "Relay 5 V", manufacturerCode: "G5V-1", typeId: 1 },
        { id4: "AAAA", description: "Fuse 1 A" }
      ])
      yield* book("BBBB", { boxNo: 2, locNo: 11 }, 5)
      yield* book("AAAA", { boxNo: 2, locNo: 11 }, 1_000_000_000)
      yield* book("BBBB", { boxNo: 10, locNo: 2 }, 7)
      yield* book("AAAA", { boxNo: 3, locNo: 1 }, 1)
      yield* book("AAAA", { boxNo: 3, locNo: 1 }, -1)
      yield* sql`update part_locations set last_counted_at = '2026-01-02T03:04:05.678Z' where part_id4 = 'BBBB' and box_no = 10`
    })
  )

  it.effect("a slot shows its parts by label, with quantity, type and the last count", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [type] = (yield* send("GET", "/api/types?limit=200")).body.items.filter(({ id }: { id: number }) => id === 1)
      const relay = { id4: "BBBB", description: "Relay 5 V", manufacturerCode: "G5V-1", type: { id: 1, name: type.name } }
      assert.deepStrictEqual((yield* send("GET", "/api/locations/2/11")).body, {
        boxNo: 2,
        locNo: 11,
        location: "2-11",
        parts: [
          { id4: "AAAA", description: "Fuse 1 A", manufacturerCode: null, type: null, quantity: 1_000_000_000, lastCountedAt: null },
          { ...relay, quantity: 5, lastCountedAt: null }
        ]
      })
      assert.deepStrictEqual((yield* send("GET", "/api/locations/10/2")).body.parts, [
        { ...relay, quantity: 7, lastCountedAt: "2026-01-02T03:04:05.678Z" }
      ])
      assert.deepStrictEqual((yield* send("GET", "/api/locations/3/1")).body, { boxNo: 3, locNo: 1, location: "3-1", parts: [] })
    })
  )

  const page = (path: string) =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const found: Array<string> = []
      let cursor = ""
      do {
        const { body, status, text } = yield* send("GET", `${path}${cursor}`)
        assert.strictEqual(status, 200, text)
        found.push(...body.items.map((slot: { location: string }) => slot.location))
        cursor = body.nextCursor === null ? "" : `&cursor=${encodeURIComponent(body.nextCursor)}`
      } while (cursor !== "")
      return found
    })
  const box2 = Array.from({ length: 12 }, (_, n) => `2-${n + 1}`)
  const all = [...box2, "3-1", "10-1", "10-2", "10-3"]

  for (const [path, expected] of [
    ["/api/locations?", all],
    ["/api/locations?free=true", all.filter((location) => location !== "2-11" && location !== "10-2")],
    ["/api/locations?free=false", ["2-11", "10-2"]],
    ["/api/locations?boxNo=10&free=true", ["10-1", "10-3"]],
    ["/api/locations?boxNo=77", []],
    ["/api/boxes/2/locations?", box2],
    ["/api/boxes/3/locations?", ["3-1"]]
  ] as const) {
    it.effect(`${path} lists in slot order, on any page`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        for (const limit of [1, 2, 5, 200]) assert.deepStrictEqual(yield* page(`${path}&limit=${limit}`), [...expected])
        assert.strictEqual((yield* send("GET", `${path}&includeTotal=true&limit=1`)).body.total, expected.length)
      })
    )
  }

  it.effect("a list shows the same slots as they are read one by one", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { items } = (yield* send("GET", "/api/locations?limit=200")).body
      for (const slot of items) assert.deepStrictEqual((yield* send("GET", `/api/locations/${slot.boxNo}/${slot.locNo}`)).body, slot)
    })
  )

  for (const path of [
    "2/13",
    "2/0",
    "2/x",
    "x/1",
    "0/1",
    "4/1",
    "2/1001",
    "100000/1",
    "2/1.5",
    "2/-1",
    "99999999999999999999/1",
    "%00/1"
  ]) {
    it.effect(`there is no slot ${path}`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const { body, status, text } = yield* send("GET", `/api/locations/${path}`)
        assert.strictEqual(status, 404, text)
        assert.strictEqual(body.code, "location-not-found")
      })
    )
  }

  it.effect("a list refuses what it does not know", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const ofBox2 = (yield* send("GET", "/api/boxes/2/locations?limit=1")).body.nextCursor
      const ofAll = (yield* send("GET", "/api/locations?limit=1")).body.nextCursor
      for (const [path, code] of [
        ["/api/locations?limit=0", "invalid-request"],
        ["/api/locations?boxNo=0", "invalid-request"],
        ["/api/locations?boxNo=100000", "invalid-request"],
        ["/api/locations?boxNo=two", "invalid-request"],
        ["/api/locations?free=perhaps", "invalid-request"],
        ["/api/locations?sort=boxNo", "invalid-request"],
        ["/api/boxes/2/locations?free=true", "invalid-request"],
        ["/api/locations/2/1?x=1", "invalid-request"],
        [`/api/locations?cursor=${ofBox2}`, "invalid-cursor"],
        [`/api/boxes/2/locations?cursor=${ofAll}`, "invalid-cursor"],
        [`/api/boxes/10/locations?cursor=${ofBox2}`, "invalid-cursor"]
      ]) {
        const { body, status } = yield* send("GET", path!)
        assert.strictEqual(status, 400, path)
        assert.strictEqual(body.code, code, path)
      }
    })
  )
})

layer(world().pipe(Layer.provideMerge(Statements.layer)), { excludeTestServices: true, timeout: "60 seconds" })("lists", (it) => {
  it.effect("ask the database as often for 200 items as for one", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { during } = yield* Statements
      yield* insertParts(Array.from({ length: 20 }, (_, n) => ({ id4: nthId4(n), typeId: 1 + (n % 3) })))
      for (let boxNo = 1; boxNo <= 20; boxNo++) {
        yield* send("POST", "/api/boxes", { boxNo, capacity: 20, description: "Box", designatedTypeIds: [1, 2] })
        yield* book(nthId4(boxNo - 1), { boxNo, locNo: boxNo }, 1)
      }
      for (const [path, statements] of [
        ["/api/boxes?", 1],
        ["/api/boxes?sort=-description&", 1],
        ["/api/boxes?includeTotal=true&", 2],
        ["/api/boxes/7/locations?", 1],
        ["/api/locations?", 1],
        ["/api/locations?free=true&includeTotal=true&", 2]
      ] as const) {
        for (const limit of [1, 200]) assert.strictEqual(yield* during(send("GET", `${path}limit=${limit}`)), statements, path)
      }
      for (const limit of [1, 50]) {
        assert.strictEqual(yield* during(send("GET", `/api/locations/suggest?limit=${limit}`)), 1)
        assert.strictEqual(yield* during(send("GET", `/api/locations/suggest?limit=${limit}&typeId=1`)), 2)
        assert.strictEqual(yield* during(send("GET", `/api/locations/suggest?limit=${limit}&id4=AAAA`)), 2)
      }
    })
  )
})
