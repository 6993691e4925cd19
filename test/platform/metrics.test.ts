import { assert, layer } from "@effect/vitest"
import { Clock, Effect, Metric } from "effect"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { read } from "../support/exposition.ts"
import { get, inParallel, newBox, newPart, post } from "../support/inventory.ts"
import { insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

/** The effect so many seconds after the tests began, for whom no time passes. */
const at = <A, E, R>(seconds: number, effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const now = began + BigInt(seconds) * 1_000_000_000n
    const stopped: Clock.Clock = Object.create(clock, {
      monotonicTimeNanosUnsafe: { value: () => now },
      monotonicTimeNanos: { value: Effect.succeed(now) }
    })
    return Effect.provideService(effect, Clock.Clock, stopped)
  })
// Beyond what the tests themselves take: pages that are asked for without it are of before.
const began = process.hrtime.bigint() + 3_600_000_000_000n

let elapsed = 0
/** A time at which the gauges of any page so far are too old. */
const next = () => {
  elapsed += 15
  return elapsed
}
const freshPage = Effect.gen(function* () {
  const { page } = yield* Metrics
  return read(yield* at(next(), page)).series
})

const valuesOf = (series: ReturnType<typeof read>["series"], name: string, label: string) =>
  Object.fromEntries(series.filter((one) => one.name === `partwright_${name}`).map(({ labels, value }) => [labels[label], value]))
const valueOf = (series: ReturnType<typeof read>["series"], name: string) => series.find((one) => one.name === `partwright_${name}`)?.value

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("the metrics page", (it) => {
  it.effect("has counters and histograms at 0 before anything has happened", () =>
    Effect.gen(function* () {
      const { series } = read((yield* get("/metrics")).text)
      const kinds = ["put", "take", "move", "count", "receive", "pick", "reorg", "import", "undo"]
      const zeros = Object.fromEntries(kinds.map((kind) => [kind, 0]))
      assert.deepStrictEqual(valuesOf(series, "inventory_operations_total", "kind"), zeros)
      assert.deepStrictEqual(valuesOf(series, "inventory_quantity_changed_total", "kind"), zeros)
      const refusals = valuesOf(series, "inventory_stock_refusals_total", "code")
      assert.strictEqual(refusals["insufficient-stock"], 0)
      assert.deepStrictEqual([...new Set(Object.values(refusals))], [0])
      const errors = valuesOf(series, "db_errors_total", "reason")
      assert.strictEqual(errors.ConnectionError, 0)
      assert.deepStrictEqual([...new Set(Object.values(errors))], [0])
      for (const name of ["db_transaction_retries_total", "metrics_collect_failures_total"])
        assert.strictEqual(valueOf(series, name), 0, name)
      for (const name of ["db_pool_wait_seconds", "db_statement_duration_seconds"]) assert.isDefined(valueOf(series, `${name}_count`), name)
    })
  )

  it.effect("keeps the rules of Prometheus, whatever was asked", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart()
      const boxNo = yield* newBox()
      yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 }, quantity: 5 })
      yield* post(`/api/parts/${id4}/take`, { slot: { boxNo, locNo: 1 }, quantity: 6 })
      yield* post("/api/types", { name: 'Odd "name" with \\ and a brace }' })
      yield* newPart({
        typeId: (yield* get("/api/types?limit=200")).body.items.find(({ name }: { name: string }) => name.startsWith("Odd")).id
      })
      for (const path of ["/api/search?q=part", "/api/nothing", "/api/parts?limit=0", "/healthz", "/api/inventory/stats"]) yield* get(path)
      yield* send("BREW", "/api/parts")
      const { page } = yield* Metrics
      const { faults, series } = read(yield* at(next(), page))
      assert.deepStrictEqual(faults, [])
      assert.isAbove(new Set(series.map(({ name }) => name)).size, 30)
      assert.deepStrictEqual(
        series.filter(({ name }) => !name.startsWith("partwright_")),
        []
      )
      assert.strictEqual(valuesOf(series, "inventory_parts_by_type", "type")['Odd "name" with \\ and a brace }'], 1)
      assert.strictEqual(valuesOf(series, "inventory_operations_total", "kind").put, 1)
      assert.strictEqual(valuesOf(series, "inventory_stock_refusals_total", "code")["insufficient-stock"], 1)
    })
  )

  it.effect("shows what there is, and nothing of what is gone", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const before = yield* freshPage
      const typeId = (yield* post("/api/types", { name: "Short-lived" })).body.id
      const [full, low] = [yield* newPart({ typeId }), yield* newPart({ minQuantity: 3 })]
      const [boxNo, emptyBox] = [yield* newBox(4), yield* newBox(1)]
      for (const [id4, locNo, quantity] of [
        [full, 1, 70],
        [full, 2, 1],
        [low, 2, 3]
      ] as const)
        yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo }, quantity })

      const there = yield* freshPage
      const change = (name: string) => valueOf(there, name)! - valueOf(before, name)!
      assert.strictEqual(change("inventory_parts"), 2)
      assert.strictEqual(change("inventory_quantity"), 74)
      assert.strictEqual(change("inventory_low_stock_parts"), 1)
      assert.strictEqual(change("inventory_boxes"), 2)
      assert.strictEqual(valuesOf(there, "inventory_parts_by_type", "type")["Short-lived"], 1)
      const boxes = valuesOf(there, "inventory_box_utilization_ratio", "box")
      assert.deepStrictEqual([boxes[boxNo], boxes[emptyBox]], [0.5, 0])
      const [ofWeek, ofWeekBefore] = [there, before].map((series) => valuesOf(series, "inventory_operations_recent", "window"))
      assert.strictEqual(ofWeek!["7d"]! - ofWeekBefore!["7d"]!, 3)
      assert.strictEqual(ofWeek!["30d"], ofWeek!["7d"])

      yield* send("PATCH", `/api/parts/${full}`, { typeId: null })
      assert.strictEqual((yield* send("DELETE", `/api/types/${typeId}`)).status, 204)
      assert.strictEqual((yield* send("DELETE", `/api/boxes/${emptyBox}`)).status, 204)
      const after = yield* freshPage
      assert.notProperty(valuesOf(after, "inventory_parts_by_type", "type"), "Short-lived")
      assert.notProperty(valuesOf(after, "inventory_box_utilization_ratio", "box"), String(emptyBox))
      assert.strictEqual(valuesOf(after, "inventory_box_utilization_ratio", "box")[boxNo], 0.5)
    })
  )

  it.effect("names the fifty most common types; all other parts are together", () =>
    Effect.gen(function* () {
      const typeIds = (yield* get("/api/types?limit=60")).body.items.map(({ id }: { readonly id: number }) => id)
      yield* insertParts(typeIds.map((typeId: number, n: number) => ({ id4: nthId4(100_000 + n), typeId })))
      const series = yield* freshPage
      const perType = valuesOf(series, "inventory_parts_by_type", "type")
      assert.strictEqual(Object.keys(perType).length, 51)
      assert.isAtLeast(perType.other!, 10)
      assert.strictEqual(
        Object.values<number>(perType).reduce((sum, count) => sum + count, 0),
        valueOf(series, "inventory_parts")
      )
    })
  )

  it.effect("computes gauges once in fifteen seconds, for any number of readers", () =>
    Effect.gen(function* () {
      const { page, register } = yield* Metrics
      const calls = Metric.gauge("test_calls", { description: "How often it was computed" })
      let count = 0
      yield* register({ name: "calls", collect: Effect.suspend(() => Metric.update(calls, ++count)) })
      const all = (seconds: number) =>
        Effect.map(
          inParallel(32, () => at(seconds, page)),
          (pages) => pages.map((text) => valueOf(read(text).series, "test_calls"))
        )
      const ones = Array.from({ length: 32 }, () => 1)
      assert.deepStrictEqual(yield* all(next()), ones)
      assert.deepStrictEqual(yield* all(elapsed + 14), ones)
      assert.deepStrictEqual(
        yield* all(next()),
        ones.map(() => 2)
      )
    })
  )

  it.effect("has the other figures when some cannot be computed, and counts that", () =>
    Effect.gen(function* () {
      const { register } = yield* Metrics
      const parts = valueOf(yield* freshPage, "inventory_parts")
      yield* register({ name: "broken", collect: Effect.die(new Error("broken on purpose")) })
      yield* newPart()
      const series = yield* freshPage
      assert.strictEqual(valueOf(series, "inventory_parts"), parts! + 1)
      assert.strictEqual(valueOf(series, "metrics_collect_failures_total"), 1)
    })
  )

  it.effect("watches the process: a blocked event loop, processor and memory", () =>
    Effect.gen(function* () {
      const { page } = yield* Metrics
      const scrape = Effect.map(page, (text) => read(text).series)
      const cpu = valueOf(yield* scrape, "process_cpu_seconds_total")!
      const before = process.cpuUsage()
      while (process.cpuUsage(before).user < 120_000);
      // The monitor looks when the loop turns.
      const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
      const delay = Effect.map(Effect.andThen(turn, scrape), (series) => valueOf(series, "event_loop_delay_seconds")!)
      yield* Effect.repeat(delay, { until: (seconds) => seconds >= 0.1 })
      // A reader does not take it away from another one.
      assert.isAtLeast(yield* delay, 0.1)
      assert.isAtLeast(valueOf(yield* scrape, "process_cpu_seconds_total")!, cpu + 0.12)
      assert.isAbove(valueOf(yield* scrape, "process_resident_memory_bytes")!, 20_000_000)
    })
  )
})

layer(world(), { excludeTestServices: true })("the reader of metrics pages", (it) => {
  const family = (name: string, type: string, ...lines: ReadonlyArray<string>) =>
    [`# HELP ${name} Text`, `# TYPE ${name} ${type}`, ...lines, ""].join("\n")

  for (const [what, page, fault] of [
    ["a series without HELP and TYPE", "a_total 1\n", "a_total has neither HELP nor TYPE"],
    ["a family without HELP", "# TYPE a_total counter\na_total 1\n", "a_total has no HELP"],
    ["a family in two places", family("a", "gauge", "a 1") + family("b", "gauge") + family("a", "gauge"), "a comes in two places"],
    ["a counter without _total", family("a", "counter", "a 1"), "a is a counter without _total"],
    ["a gauge with _total", family("a_total", "gauge"), "a_total ends in _total and is no counter"],
    ["camel case", family("aB", "gauge", "aB 1"), "aB is not in snake case"],
    ["milliseconds", family("a_ms", "gauge", "a_ms 1"), "a_ms is not in a base unit"],
    ["a series that comes twice", family("a", "gauge", 'a{x="1",y="2"} 1', 'a{y="2",x="1"} 1'), 'a has a[["x","1"],["y","2"]] twice'],
    ["an open quote", family("a", "gauge", 'a{x="1} 1'), 'cannot be read: a{x="1} 1'],
    ["a value that is no number", family("a", "gauge", "a one"), "cannot be read: a one"],
    ["no line end", "# HELP a Text\n# TYPE a gauge\na 1", "the last line has no end"],
    [
      "buckets that fall",
      family(
        "a_seconds",
        "histogram",
        'a_seconds_bucket{le="1"} 2',
        'a_seconds_bucket{le="+Inf"} 1',
        "a_seconds_sum 1",
        "a_seconds_count 1"
      ),
      "a_seconds has buckets that are not cumulative at []"
    ],
    [
      "a histogram that counts two ways",
      family("a_seconds", "histogram", 'a_seconds_bucket{le="+Inf"} 1', "a_seconds_sum 1", "a_seconds_count 2"),
      "a_seconds counts otherwise than its last bucket at []"
    ]
  ] as const) {
    it.effect(`sees ${what}`, () => Effect.sync(() => assert.include(read(page).faults, fault)))
  }
})
