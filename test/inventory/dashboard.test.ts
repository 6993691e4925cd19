import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { shared } from "#inventory/dashboard/shared.ts"
import { get, inParallel, ledgerFaults, newBox, newPart, post } from "../support/inventory.ts"
import { Statements } from "../support/statements.ts"
import { insertParts, nthId4 } from "../support/stock-rows.ts"
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
        lowStock: 0,
        partsWithoutDocuments: 0
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
        lowStock: 1,
        partsWithoutDocuments: 3
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

const levels = (path: string) =>
  Effect.map(get(path), ({ body }) =>
    body.items.map(({ id4, totalQuantity }: { readonly id4: string; readonly totalQuantity: number }) => [id4, totalQuantity])
  )

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("low stock", (it) => {
  it.effect("is a matter of the part's own level, whoever sets it, else of the threshold", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox(9)
      const own = yield* newPart({ minQuantity: 10 })
      const none = yield* newPart()
      const never = yield* newPart({ minQuantity: 0 })
      for (const [id4, quantity] of [
        [own, 10],
        [none, 5],
        [never, 1]
      ] as const)
        yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 }, quantity })
      const low = levels("/api/inventory/low-stock")
      assert.deepStrictEqual(yield* low, [
        [none, 5],
        [own, 10]
      ])
      assert.deepStrictEqual(yield* levels("/api/inventory/low-stock?threshold=4"), [[own, 10]])

      yield* send("PATCH", `/api/parts/${own}`, { minQuantity: 9 })
      yield* post("/api/parts/bulk-edit", { ids: [never], set: { minQuantity: 1 } })
      assert.deepStrictEqual(yield* low, [
        [never, 1],
        [none, 5]
      ])
      yield* send("PATCH", `/api/parts/${never}`, { minQuantity: null })
      yield* post(`/api/parts/${own}/take`, { quantity: 10 })
      assert.deepStrictEqual(yield* low, [
        [own, 0],
        [never, 1],
        [none, 5]
      ])
      assert.strictEqual((yield* get("/api/inventory/stats")).body.lowStock, 3)
      assert.deepStrictEqual((yield* get("/api/inventory/low-stock?includeTotal=true&limit=1")).body.total, 3)
      const [item] = (yield* get("/api/inventory/low-stock")).body.items
      const row = (yield* get("/api/parts?sort=id4&limit=200")).body.items.find(({ id4 }: { readonly id4: string }) => id4 === own)
      assert.deepStrictEqual(item, row)
    })
  )

  it.effect("is right when 32 edits of levels meet 32 bookings of the same parts", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox(32)
      const ids = yield* inParallel(4, () => newPart())
      const of = (n: number) => ids[n % ids.length]!
      const [edits, bookings] = yield* Effect.all(
        [
          inParallel(32, (n) => send("PATCH", `/api/parts/${of(n)}`, { minQuantity: 8 })),
          inParallel(32, (n) => post(`/api/parts/${of(n)}/put`, { slot: { boxNo, locNo: n + 1 }, quantity: 1 }))
        ],
        { concurrency: 2 }
      )
      for (const { status, text } of [...edits, ...bookings]) assert.strictEqual(status, 200, text)
      const low = yield* levels("/api/inventory/low-stock?limit=200")
      assert.includeDeepMembers(
        low,
        ids.map((id4) => [id4, 8])
      )
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("low stock of many parts", (it) => {
  it.effect("pages through parts of both kinds in one order", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const count = 60
      yield* insertParts(Array.from({ length: count }, (_, n) => ({ id4: nthId4(1000 + n) })))
      yield* sql`update parts set min_quantity = 100 where id4 >= 'ABMM' and left(id4, 2) = 'AB' and ascii(right(id4, 1)) % 2 = 0`
      yield* sql`update part_stock set total = ascii(right(part_id4, 1)) % 7 where left(part_id4, 2) = 'AB'`
      const whole = yield* levels("/api/inventory/low-stock?limit=200")
      const paged: Array<unknown> = []
      for (let path: string | undefined = "/api/inventory/low-stock?limit=7"; path !== undefined; ) {
        const page: {
          readonly body: { readonly items: ReadonlyArray<{ id4: string; totalQuantity: number }>; readonly nextCursor: string | null }
        } = yield* get(path)
        paged.push(...page.body.items.map(({ id4, totalQuantity }) => [id4, totalQuantity]))
        path = page.body.nextCursor === null ? undefined : `/api/inventory/low-stock?limit=7&cursor=${page.body.nextCursor}`
      }
      assert.deepStrictEqual(paged, whole)
      assert.isAbove(whole.length, 50)
      assert.deepStrictEqual(
        whole,
        whole.toSorted(([a, m]: [string, number], [b, n]: [string, number]) => m - n || (a < b ? -1 : 1))
      )
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("the figures of the dashboard", (it) => {
  it.effect("count bookings of the last 7 and 30 times 24 hours", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const ages = ["1 hour", "167 hours 59 minutes", "168 hours 1 minute", "719 hours 59 minutes", "720 hours 1 minute"]
      for (const [n, age] of ages.entries()) {
        yield* sql`insert into stock_operations (id, kind, at, principal)
          values (${`00000000-0000-7000-8000-00000000000${n}`}::uuid, 'count', now() - ${age}::interval, 'test')`
      }
      const { body } = yield* get("/api/inventory/stats")
      assert.deepStrictEqual([body.operations7d, body.operations30d], [2, 4])
    })
  )

  it.effect("are never older than the question, however many ask", () =>
    Effect.gen(function* () {
      const [id4, boxNo] = [yield* newPart(), yield* newBox(1)]
      let booked = 0
      const seen = yield* inParallel(64, () =>
        Effect.gen(function* () {
          yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 }, quantity: 1 })
          const least = ++booked
          const { body } = yield* get("/api/inventory/stats")
          return { least, total: body.totalQuantity as number }
        })
      )
      for (const { least, total } of seen) assert.isAtLeast(total, least)
      assert.strictEqual((yield* get("/api/inventory/stats")).body.totalQuantity, 64)
    })
  )

  it.effect("of storage and of the totals agree", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox(5)
      const ids = yield* inParallel(3, () => newPart())
      for (const [n, id4] of ids.entries()) yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 + (n % 2) }, quantity: 1 })
      const { body: stats } = yield* get("/api/inventory/stats")
      const { body: storage } = yield* get("/api/inventory/storage?limit=200")
      const sum = (field: string) => storage.items.reduce((all: number, item: Record<string, number>) => all + (item[field] ?? 0), 0)
      assert.deepStrictEqual(
        [stats.boxes, stats.slots, stats.occupiedSlots],
        [storage.items.length, sum("totalSlots"), sum("occupiedSlots")]
      )
      const { body: types } = yield* get("/api/inventory/types?limit=200&includeTotal=true")
      assert.deepStrictEqual([types.total, types.items.length], [stats.types, stats.types])
    })
  )
})

layer(world().pipe(Layer.provideMerge(Statements.layer)), { excludeTestServices: true, timeout: "60 seconds" })(
  "a page of the dashboard",
  (it) => {
    it.effect("takes as many statements with many items as with one", () =>
      Effect.gen(function* () {
        const { during } = yield* Statements
        yield* insertParts(Array.from({ length: 40 }, (_, n) => ({ id4: nthId4(2000 + n), typeId: (n % 20) + 1 })))
        yield* inParallel(20, () => newBox(2))
        for (const list of ["low-stock", "types", "storage", "activity"]) {
          const asked = (limit: number) => during(get(`/api/inventory/${list}?limit=${limit}`))
          assert.strictEqual(yield* asked(40), yield* asked(1), list)
        }
      })
    )
  }
)

describe("work that is shared", () => {
  it.live("runs once for all who ask while it runs, after that run, and goes on when one of them leaves", () =>
    Effect.gen(function* () {
      const begun: Array<Deferred.Deferred<void>> = []
      const gates: Array<Deferred.Deferred<void>> = []
      for (let n = 0; n < 3; n++) {
        begun.push(yield* Deferred.make<void>())
        gates.push(yield* Deferred.make<void>())
      }
      let runs = 0
      const ask = yield* shared(
        Effect.suspend(() => {
          const run = runs++
          return Effect.andThen(Deferred.succeed(begun[run]!, undefined), Effect.as(Deferred.await(gates[run]!), run))
        })
      )
      const first = yield* Effect.forkChild(ask)
      yield* Deferred.await(begun[0]!)
      const others = yield* Effect.forEach(Array.from({ length: 32 }), () => Effect.forkChild(ask, { startImmediately: true }))
      const leaver = yield* Effect.forkChild(ask, { startImmediately: true })
      yield* Fiber.interrupt(first)
      yield* Deferred.succeed(gates[0]!, undefined)
      yield* Deferred.await(begun[1]!)
      yield* Fiber.interrupt(leaver)
      yield* Deferred.succeed(gates[1]!, undefined)
      const answers = yield* Effect.forEach(others, Fiber.join)
      assert.deepStrictEqual(
        answers,
        others.map(() => 1)
      )
      yield* Deferred.succeed(gates[2]!, undefined)
      assert.strictEqual(yield* ask, 2)
      assert.strictEqual(runs, 3)
    }).pipe(Effect.scoped)
  )

  it.live("fails for all who wait for it, and then runs anew", () =>
    Effect.gen(function* () {
      let runs = 0
      const ask = yield* shared(Effect.suspend(() => (runs++ === 0 ? Effect.fail("no") : Effect.succeed("yes"))))
      assert.strictEqual(yield* Effect.flip(ask), "no")
      assert.strictEqual(yield* ask, "yes")
    }).pipe(Effect.scoped)
  )
})
