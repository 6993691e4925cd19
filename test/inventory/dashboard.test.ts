import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("dashboard", (it) => {
  const part = Effect.fnUntraced(function* (fields: Record<string, unknown>) {
    const { send } = yield* Http
    const { body } = yield* send("POST", "/api/parts", { description: "A part", ...fields })
    return String(body.id4)
  })
  const put = Effect.fnUntraced(function* (id4: string, locNo: number, quantity: number) {
    const { send } = yield* Http
    const { status, text } = yield* send("POST", `/api/parts/${id4}/put`, { slot: { boxNo: 1, locNo }, quantity })
    assert.strictEqual(status, 200, text)
  })

  it.effect("figures are those of the moment of the request", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const empty = (yield* send("GET", "/api/inventory/stats")).body
      assert.deepStrictEqual(empty, {
        parts: 0,
        totalQuantity: 0,
        boxes: 0,
        slots: 0,
        occupiedSlots: 0,
        types: 104,
        operations7d: 0,
        operations30d: 0,
        lowStock: 0
      })
      yield* send("POST", "/api/boxes", { description: "Drawer", capacity: 10 })
      const resistor = yield* part({ typeId: 1, minQuantity: 100 })
      const relay = yield* part({ typeId: 1 })
      const fuse = yield* part({ minQuantity: 0 })
      yield* put(resistor, 1, 100)
      yield* put(relay, 1, 6)
      yield* put(fuse, 2, 1)
      const { body } = yield* send("GET", "/api/inventory/stats")
      assert.deepStrictEqual(body, {
        ...empty,
        parts: 3,
        totalQuantity: 107,
        boxes: 1,
        slots: 10,
        occupiedSlots: 2,
        operations7d: 3,
        operations30d: 3,
        lowStock: 1
      })

      const low = yield* send("GET", "/api/inventory/low-stock?threshold=6")
      assert.deepStrictEqual(
        low.body.items.map((item: { id4: string; totalQuantity: number }) => [item.id4, item.totalQuantity]),
        [
          [relay, 6],
          [resistor, 100]
        ]
      )
      const types = yield* send("GET", "/api/inventory/types?limit=2")
      assert.deepStrictEqual(types.body.items[0], { typeId: 1, name: "Resistor", parts: 2, quantity: 106 })
      assert.strictEqual(types.body.items[1].parts, 0)
      const storage = yield* send("GET", "/api/inventory/storage")
      assert.deepStrictEqual(storage.body.items, [
        { boxNo: 1, description: "Drawer", totalSlots: 10, occupiedSlots: 2, freeSlots: 8, usagePercent: 20 }
      ])
      const activity = yield* send("GET", "/api/inventory/activity?limit=2")
      assert.deepStrictEqual(
        activity.body.items.map((item: { movements: ReadonlyArray<{ partId4: string }> }) => item.movements[0]?.partId4),
        [fuse, relay]
      )
    })
  )

  it.effect("low stock pages through parts at 0, least first, then by label, and nothing comes twice", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* Effect.forEach(Array.from({ length: 25 }), () => part({}), { concurrency: 8 })
      const seen: Array<string> = []
      let cursor = ""
      do {
        const { body } = yield* send("GET", `/api/inventory/low-stock?threshold=0&limit=7${cursor}`)
        seen.push(...body.items.map((item: { id4: string }) => item.id4))
        cursor = body.nextCursor === null ? "" : `&cursor=${body.nextCursor}`
      } while (cursor !== "")
      const empty = seen.slice(0, 25)
      assert.strictEqual(new Set(seen).size, seen.length)
      assert.deepStrictEqual(empty, empty.toSorted())
      const other = yield* send("GET", "/api/inventory/low-stock?threshold=1&limit=7")
      const foreign = yield* send("GET", `/api/inventory/low-stock?threshold=2&cursor=${other.body.nextCursor}`)
      assert.strictEqual(foreign.body.code, "invalid-cursor")
    })
  )

  it.effect("thresholds and limits outside their bounds are refused", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const path of [
        "low-stock?threshold=1001",
        "low-stock?threshold=-1",
        "low-stock?threshold=x",
        "activity?limit=101",
        "activity?limit=0",
        "stats?x=1"
      ]) {
        const { body, status } = yield* send("GET", `/api/inventory/${path}`)
        assert.strictEqual(status, 400, path)
        assert.strictEqual(body.code, "invalid-request")
      }
    })
  )
})
