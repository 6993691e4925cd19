import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Effect, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { InstanceNotEmpty, Samples, TooFewLabels } from "#inventory/sample/sample.service.ts"
import { SampleLedger, sampleBoxes, sampleParts } from "#inventory/sample/sample.ts"
import { LedgerCheck } from "#inventory/stock/ledger-check.service.ts"
import { get, newPart } from "../support/inventory.ts"
import { freshDatabase } from "../support/postgres.ts"
import { world, worldOn } from "../support/world.ts"

const size = { parts: 400, boxes: 8, operations: 1500, seed: 7 }
const noon = Date.parse("2026-03-01T12:00:00Z")

/** A day on which it is always noon. */
const at = <A, E, R>(time: number, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.Clock, (clock) =>
    Effect.provideService(
      effect,
      Clock.Clock,
      Object.create(clock, { currentTimeMillis: { value: Effect.succeed(time) }, currentTimeMillisUnsafe: { value: () => time } })
    )
  )

const create = (options: Partial<typeof size> & { readonly beside?: boolean; readonly time?: number } = {}) =>
  Effect.flatMap(Samples, (samples) => {
    const { beside = false, time = noon, ...other } = options
    return at(time, samples.create({ ...size, ...other }, { beside, report: () => Effect.void }))
  })

/** Every row that the sample made, table by table; without the times at which it wrote them. */
const rows = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const written = ["created_at", "updated_at"]
  const tables = [
    "parts",
    "part_tags",
    "part_stock",
    "part_locations",
    "boxes",
    "locations",
    "box_designated_types",
    "sellers",
    "seller_links",
    "seller_part_numbers",
    "stock_operations",
    "stock_movements",
    "search_documents"
  ]
  return yield* Effect.forEach(tables, (table) => {
    const made = table === "parts" || table === "stock_operations" ? [] : written
    return sql<{ readonly rows: ReadonlyArray<string> }>`
      select array(select (to_jsonb(t) - ${made}::text[])::text from ${sql(table)} t order by 1) as rows`.pipe(
      Effect.map(([found]) => [table, found?.rows ?? []] as const)
    )
  })
}).pipe(Effect.orDie)

const inWorld = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, Samples.layer.pipe(Layer.provideMerge(world())), { local: true })

describe("a sample", () => {
  it.live("is the same for the same seed, ids and times included, and another one for another seed", () =>
    Effect.gen(function* () {
      const made = inWorld(Effect.andThen(create(), rows))
      const [one, two, other] = yield* Effect.all([made, made, inWorld(Effect.andThen(create({ seed: 8 }), rows))], { concurrency: 2 })
      assert.deepStrictEqual(two, one)
      for (const [table, found] of one) assert.isNotEmpty(found, table)
      const changed = one.flatMap(([table, found], n) => (JSON.stringify(found) === JSON.stringify(other[n]?.[1]) ? [] : [table]))
      assert.includeMembers(changed, ["parts", "part_tags", "part_locations", "boxes", "stock_operations", "stock_movements"])
    })
  )

  it("is shifted by whole days on another day", () => {
    const day = 86_400_000
    const drawn = (until: number) => {
      const boxes = sampleBoxes(size).map((box, at) => ({ ...box, boxNo: at + 1 }))
      const parts = [...sampleParts(size, until, () => false)]
      const ledger = new SampleLedger(size, until, boxes)
      for (const { catalogue } of parts) ledger.addPart(catalogue)
      return { parts, operations: [...ledger.operations()], stock: [...ledger.stock()] }
    }
    const [today, tomorrow] = [drawn(noon), drawn(noon + day)]
    assert.deepStrictEqual(
      tomorrow.parts.map(({ createdAt, ...part }) => ({ ...part, createdAt: createdAt - day })),
      today.parts
    )
    assert.deepStrictEqual(
      tomorrow.operations.map(({ at, lines }) => ({ at: at - day, lines })),
      today.operations.map(({ at, lines }) => ({ at, lines }))
    )
    const ids = today.operations.map(({ id }) => id)
    assert.strictEqual(new Set([...ids, ...tomorrow.operations.map(({ id }) => id)]).size, 2 * size.operations)
    assert.deepStrictEqual(ids, ids.toSorted())
  })
})

layer(Layer.mergeAll(Samples.layer, LedgerCheck.layer).pipe(Layer.provideMerge(world())), {
  excludeTestServices: true,
  timeout: "60 seconds"
})("the inventory after a sample", (it) => {
  const ledger = Effect.flatMap(LedgerCheck, ({ run }) => run(10))

  it.effect("has a ledger without fault, and everything that was asked for", () =>
    Effect.gen(function* () {
      yield* create({ time: yield* Clock.currentTimeMillis })
      const report = yield* ledger
      assert.deepStrictEqual(report.shown, [])
      assert.strictEqual(report.violations, 0)
      const { body: stats } = yield* get("/api/inventory/stats")
      assert.deepStrictEqual([stats.parts, stats.boxes], [size.parts, size.boxes])
      const { body: all } = yield* get("/api/stock/operations?includeTotal=true&limit=200")
      assert.strictEqual(all.total, size.operations)
      // Sixty days, evenly; the last one may just have begun.
      assert.closeTo(stats.operations7d, (size.operations * 6.5) / 60, size.operations / 60)
      assert.closeTo(stats.operations30d, (size.operations * 29.5) / 60, size.operations / 60)
      assert.isAbove(stats.lowStock, 0)
      const { body: parts } = yield* get("/api/parts?limit=200&includeTotal=true")
      assert.strictEqual(parts.total, size.parts)
      assert.isAbove(new Set(parts.items.map((part: { readonly createdAt: string }) => part.createdAt)).size, 190)
    })
  )

  it.effect("is found by search, by the shelf and by the seller", () =>
    Effect.gen(function* () {
      const { body } = yield* get("/api/parts?limit=200&inStock=true&sort=-totalQuantity")
      const part = body.items.find(
        (item: { readonly manufacturerCode: string | null; readonly seller: string | null }) => item.manufacturerCode && item.seller
      )
      const found = yield* get(`/api/search?q=${encodeURIComponent(part.manufacturerCode)}`)
      assert.include(
        found.body.items.map(({ id4 }: { readonly id4: string }) => id4),
        part.id4
      )
      const whole = (yield* get(`/api/parts/${part.id4}`)).body
      const [{ boxNo, locNo }] = whole.locations
      const shelf = yield* get(`/api/locations/${boxNo}/${locNo}`)
      assert.include(shelf.text, part.id4)
      assert.strictEqual(whole.sellerLinks.filter(({ primary }: { readonly primary: boolean }) => primary).length, 1)
    })
  )

  it.effect("does not come to one that holds something, unless told so; then beside it", () =>
    Effect.gen(function* () {
      const before = yield* rows
      assert.instanceOf(yield* Effect.flip(create()), InstanceNotEmpty)
      assert.deepStrictEqual(yield* rows, before)
      yield* create({ beside: true })
      const { body: stats } = yield* get("/api/inventory/stats")
      assert.deepStrictEqual([stats.parts, stats.boxes], [2 * size.parts, 2 * size.boxes])
      assert.strictEqual((yield* ledger).violations, 0)
      const after = new Map(yield* rows)
      for (const [table, found] of before) assert.includeMembers([...(after.get(table) ?? [])], [...found], table)
    })
  )
})

layer(Samples.layer.pipe(Layer.provideMerge(world())), { excludeTestServices: true, timeout: "60 seconds" })("samples at once", (it) => {
  it.effect("are one sample on an empty instance", () =>
    Effect.gen(function* () {
      const small = { parts: 20, boxes: 2, operations: 40 }
      const exits = yield* Effect.forEach(Array.from({ length: 32 }), () => Effect.exit(create(small)), { concurrency: "unbounded" })
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
      assert.strictEqual(exits.filter((exit) => Exit.isFailure(exit) && String(exit.cause).includes("InstanceNotEmpty")).length, 31)
      assert.strictEqual((yield* get("/api/inventory/stats")).body.parts, 20)
    })
  )

  it.effect("need labels that are free, and leave nothing behind without them", () =>
    Effect.gen(function* () {
      const before = yield* rows
      assert.instanceOf(yield* Effect.flip(create({ parts: 280_000, beside: true })), TooFewLabels)
      assert.deepStrictEqual(yield* rows, before)
      yield* newPart()
    })
  )
})

describe("the reports of a sample", () => {
  it.live("go up to all parts, bookings and stock", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase("sample")
      const seen: Array<string> = []
      const report = (what: string, done: number, total: number) => Effect.sync(() => void seen.push(`${what} ${done}/${total}`))
      const creating = Effect.flatMap(Samples, (samples) =>
        samples.create({ ...size, parts: 1500, operations: 6000 }, { beside: false, report })
      )
      yield* Effect.provide(creating, Samples.layer.pipe(Layer.provideMerge(worldOn(database))), { local: true })
      assert.deepStrictEqual(seen.slice(0, 4), ["parts 1000/1500", "parts 1500/1500", "bookings 5000/6000", "bookings 6000/6000"])
      assert.strictEqual(seen.at(-1), "stock 1500/1500")
    }).pipe(Effect.scoped)
  )
})
