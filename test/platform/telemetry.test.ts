import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { listening, type Running } from "../bench/processes.ts"
import { read } from "../support/exposition.ts"
import { collector, type Span, silent } from "../support/otlp.ts"
import { connected, type Database, freshDatabase, urlOf } from "../support/postgres.ts"
import { severable } from "../support/severable.ts"

/** A server of its own process until the scope closes, with the lines that it has logged since it listens. */
const serving = (database: Database, env: Record<string, string>) =>
  Effect.gen(function* () {
    const running = yield* Effect.acquireRelease(
      Effect.promise(() =>
        listening("src/main.ts", ["serve"], { PORT: "0", DATABASE_URL: urlOf(database), LOG_FORMAT: "json", LOG_LEVEL: "info", ...env })
      ),
      ({ process }) => Effect.sync(() => process.kill("SIGKILL"))
    )
    let output = ""
    running.process.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()))
    return { running, lines: () => output.split("\n").filter((line) => line !== "") }
  })

const call = (
  { port }: Running,
  method: string,
  path: string,
  options: { readonly body?: unknown; readonly headers?: Record<string, string> } = {}
) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { "content-type": "application/json", ...options.headers },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) })
    })
    const text = await answer.text()
    return {
      status: answer.status,
      text,
      body: answer.headers.get("content-type")?.includes("json") === true ? JSON.parse(text) : undefined
    }
  })

const parent = "00f067aa0ba902b7"
/** The headers of a request that belongs to a trace of its own. */
const traced = (traceId: string) => ({ traceparent: `00-${traceId}-${parent}-01`, "x-request-id": `request-${traceId.slice(0, 4)}` })
const traces = {
  put: "1111aaaabbbbccccddddeeeeffff0000",
  refused: "2222aaaabbbbccccddddeeeeffff0000",
  slow: "3333aaaabbbbccccddddeeeeffff0000",
  failed: "4444aaaabbbbccccddddeeeeffff0000",
  probe: "5555aaaabbbbccccddddeeeeffff0000",
  search: "6666aaaabbbbccccddddeeeeffff0000",
  job: "7777aaaabbbbccccddddeeeeffff0000"
}
const secrets = { authorization: "Bearer hidden-token", "x-api-key": "hidden-key", cookie: "session=hidden-cookie" }

/** What a server has told a collector, its log and its metrics page after a few requests, good and bad, until it was stopped. */
class Told extends Context.Service<
  Told,
  {
    readonly spans: ReadonlyArray<Span>
    readonly collector: Effect.Success<typeof collector>
    readonly lines: ReadonlyArray<Record<string, unknown>>
    readonly job: { readonly traceId: string; readonly id: string }
    readonly page: string
    readonly statuses: Readonly<Record<string, number>>
  }
>()("test/Told") {
  static readonly layer = Layer.effect(
    Told,
    Effect.gen(function* () {
      const straight = yield* freshDatabase("telemetry")
      const { cut, database, mend } = yield* severable(straight)
      const receiver = yield* collector
      const { lines, running } = yield* serving(database, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
      const statuses: Record<string, number> = {}
      const noted = Effect.fnUntraced(function* (name: string, ...request: Parameters<typeof call>) {
        const { status } = yield* call(...request)
        statuses[name] = status
      })

      yield* call(running, "POST", "/api/boxes", { body: { description: "Drawer", capacity: 3 } })
      const part = yield* call(running, "POST", "/api/parts", { body: { description: "hidden-description" } })
      const path = `/api/parts/${part.body.id4}`
      const slot = { boxNo: 1, locNo: 1 }
      yield* noted("put", running, "POST", `${path}/put`, {
        body: { slot, quantity: 5, note: "hidden-note" },
        headers: { ...traced(traces.put), ...secrets }
      })
      yield* noted("refused", running, "POST", `${path}/take`, { body: { slot, quantity: 6 }, headers: traced(traces.refused) })
      yield* noted("search", running, "GET", "/api/parts?api_key=hidden-key", { headers: traced(traces.search) })
      const held = yield* Effect.forkChild(holdPart(straight, String(part.body.id4), 2))
      yield* untilHeld(straight)
      yield* noted("slow", running, "POST", `${path}/put`, { body: { slot, quantity: 1 }, headers: traced(traces.slow) })
      yield* Fiber.join(held)
      for (const probe of ["/healthz", "/readyz", "/metrics"]) {
        yield* noted(probe, running, "GET", probe, { headers: traced(traces.probe) })
      }
      const probes = yield* call(running, "POST", "/api/jobs/probe", { body: { steps: 1 }, headers: traced(traces.job) })
      const job = yield* call(running, "GET", `/api/jobs/${probes.body.ids[0]}`).pipe(
        Effect.repeat({ until: ({ body }) => body.state === "succeeded" })
      )
      const { text: page } = yield* call(running, "GET", "/metrics")
      yield* cut
      yield* noted("failed", running, "GET", path, { headers: traced(traces.failed) })
      yield* mend
      yield* Effect.promise(running.stop)
      return Told.of({
        spans: receiver.spans(),
        collector: receiver,
        lines: lines().map((line) => JSON.parse(line)),
        job: job.body,
        page,
        statuses
      })
    })
  )
}

/** Holds the part's stock for so many seconds, from a connection of its own. */
const holdPart = (database: Database, id4: string, seconds: number) =>
  connected(
    database,
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) =>
        sql`with held as materialized (select 1 from part_stock where part_id4 = ${id4} for update) select pg_sleep(${seconds}) from held`
    )
  )

const untilHeld = (database: Database) =>
  connected(
    database,
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql<{ readonly held: boolean }>`
        select exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep') as held`
    ).pipe(Effect.repeat({ until: ([row]) => row?.held === true }))
  )

layer(Told.layer, { excludeTestServices: true, timeout: "60 seconds" })("a server with a collector", (it) => {
  it.effect("traces a job's work under the request that asked for it", () =>
    Effect.gen(function* () {
      const { job } = yield* Told
      const spans = yield* ofTrace(traces.job)
      const request = server(spans)
      const work = spans.find(({ name }) => name === "job platform.probe")
      assert.strictEqual(job.traceId, traces.job)
      assert.strictEqual(work?.attributes["job.id"], job.id)
      assert.include(below(spans, request), work)
      assert.isNotEmpty(below(spans, work).filter(({ attributes }) => "db.query.text" in attributes))
    })
  )

  const ofTrace = (traceId: string) => Effect.map(Told, ({ spans }) => spans.filter((span) => span.traceId === traceId))
  const server = (spans: ReadonlyArray<Span>) => spans.find(({ kind }) => kind === 2)
  const below = (spans: ReadonlyArray<Span>, span: Span | undefined): ReadonlyArray<Span> => {
    const children = spans.filter(({ parentSpanId }) => parentSpanId === span?.spanId)
    return children.flatMap((child) => [child, ...below(spans, child)])
  }

  it.effect("tells one trace per request: the request, the service, its statements", () =>
    Effect.gen(function* () {
      const { collector, statuses } = yield* Told
      assert.strictEqual(statuses.put, 200)
      const spans = yield* ofTrace(traces.put)
      const root = server(spans)
      assert.strictEqual(root?.parentSpanId, parent)
      assert.strictEqual(root?.name, "POST")
      assert.strictEqual(root?.attributes["http.route"], "/api/parts/:id4/put")
      assert.strictEqual(Number(root?.attributes["http.response.status_code"]), 200)
      assert.notStrictEqual(root?.status, 2)
      assert.strictEqual(below(spans, root).length, spans.length - 1)

      const put = spans.find(({ name }) => name === "Stock.put")
      assert.strictEqual(put?.parentSpanId, root?.spanId)
      const statements = spans.filter(({ attributes }) => "db.query.text" in attributes)
      assert.isAbove(statements.length, 2)
      assert.includeMembers([...below(spans, put)], statements)
      assert.deepStrictEqual(collector.services(), ["partwright"])
    })
  )

  it.effect("marks what failed: a refusal where it was refused, an outage on the request itself", () =>
    Effect.gen(function* () {
      const { statuses } = yield* Told
      assert.strictEqual(statuses.refused, 409)
      const refused = yield* ofTrace(traces.refused)
      assert.strictEqual(refused.find(({ name }) => name === "Stock.take")?.status, 2)
      assert.notStrictEqual(server(refused)?.status, 2)
      assert.strictEqual(Number(server(refused)?.attributes["http.response.status_code"]), 409)

      assert.strictEqual(statuses.failed, 503)
      const failed = yield* ofTrace(traces.failed)
      assert.strictEqual(server(failed)?.status, 2)
      assert.strictEqual(failed.find(({ name }) => name === "Parts.get")?.status, 2)
    })
  )

  it.effect("tells nothing of bodies, credentials and keys", () =>
    Effect.gen(function* () {
      const { collector, lines, statuses } = yield* Told
      assert.strictEqual(statuses.search, 400)
      assert.strictEqual(server(yield* ofTrace(traces.search))?.attributes["url.query"], "api_key=REDACTED")
      assert.notMatch(collector.text(), /hidden-/u)
      assert.notMatch(JSON.stringify(lines), /hidden-/u)
    })
  )

  it.effect("traces neither probes nor scrapes, nor what they ask the database", () =>
    Effect.gen(function* () {
      const { spans, statuses } = yield* Told
      assert.deepStrictEqual([statuses["/healthz"], statuses["/readyz"], statuses["/metrics"]], [200, 200, 200])
      assert.deepStrictEqual(yield* ofTrace(traces.probe), [])
      const roots = spans.filter(({ kind, parentSpanId }) => kind !== 2 && !spans.some(({ spanId }) => spanId === parentSpanId))
      assert.deepStrictEqual([...new Set(roots.map(({ name }) => name))].toSorted(), ["Database.connect", "Migrator.migrate", "Types.sync"])
    })
  )

  it.effect("sends metrics under the names of its metrics page, the computed ones too", () =>
    Effect.gen(function* () {
      const { collector, page } = yield* Told
      const { faults, series } = read(page)
      assert.deepStrictEqual(faults, [])
      const shown = new Set(series.map(({ name }) => name.replace(/_(bucket|sum|count)$/u, "")))
      const sent = collector.metricNames()
      assert.include([...sent], "partwright_inventory_parts")
      // Read from the process itself: gone with the application, before the last export.
      const ofProcess = /^partwright_(event_loop|process)_/u
      assert.deepStrictEqual(
        [...shown].filter((name) => !sent.has(name) && !ofProcess.test(name)),
        []
      )
    })
  )

  it.effect("logs one JSON object a line with the ids that find it again", () =>
    Effect.gen(function* () {
      const { lines } = yield* Told
      for (const line of lines) {
        assert.match(String(line.time), /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/u)
        assert.include(["info", "warn", "error"], line.level)
        assert.isString(line.message)
      }
      assert.includeMembers(
        lines.map(({ message }) => message),
        ["stopping after SIGTERM", "stopped"]
      )
    })
  )

  it.effect("writes access lines for slow and failed requests only", () =>
    Effect.gen(function* () {
      const { lines, spans, statuses } = yield* Told
      assert.strictEqual(statuses.slow, 200)
      const access = lines.filter(({ route }) => route !== undefined)
      assert.deepStrictEqual(
        access.map(({ durationMs, spanId, time: _, ...line }) => {
          assert.isTrue(spans.some((span) => span.spanId === spanId))
          assert.strictEqual(Number(durationMs) >= 500, line.status === 200)
          return line
        }),
        [
          {
            level: "info",
            message: "slow request",
            traceId: traces.slow,
            requestId: "request-3333",
            principal: "owner",
            method: "POST",
            route: "/api/parts/:id4/put",
            status: 200
          },
          {
            level: "error",
            message: "request failed",
            traceId: traces.failed,
            requestId: "request-4444",
            principal: "owner",
            method: "GET",
            route: "/api/parts/:id4",
            status: 503
          }
        ]
      )
      const cause = lines.find(({ message }) => message === "database unavailable")
      assert.deepStrictEqual([cause?.level, cause?.traceId, cause?.requestId], ["warn", traces.failed, "request-4444"])
    })
  )

  it.effect("sends its log too, with the trace", () =>
    Effect.gen(function* () {
      const { collector } = yield* Told
      const failed = collector.logs().filter(({ traceId }) => traceId === traces.failed)
      assert.match(failed.map(({ text }) => text).join(), /request failed/u)
    })
  )
})

describe("a server whose collector", () => {
  const put = Effect.fnUntraced(function* (running: Running) {
    yield* call(running, "POST", "/api/boxes", { body: { description: "Drawer", capacity: 1 } })
    const { body } = yield* call(running, "POST", "/api/parts", { body: { description: "Relay" } })
    const answers = yield* Effect.forEach(
      Array.from({ length: 64 }),
      () => call(running, "POST", `/api/parts/${body.id4}/put`, { body: { slot: { boxNo: 1, locNo: 1 }, quantity: 1 } }),
      { concurrency: 32 }
    )
    return answers.map(({ status }) => status)
  })
  const stopped = (running: Running) =>
    Effect.promise(async () => {
      const since = performance.now()
      await running.stop()
      return { code: running.process.exitCode, seconds: (performance.now() - since) / 1000 }
    })
  const allWell = Array.from({ length: 64 }, () => 200)

  it.live(
    "is not there answers and stops as ever",
    () =>
      Effect.gen(function* () {
        const { running } = yield* serving(yield* freshDatabase("telemetry"), { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" })
        assert.deepStrictEqual(yield* put(running), allWell)
        const { code, seconds } = yield* stopped(running)
        assert.strictEqual(code, 0)
        assert.isBelow(seconds, 15)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "never answers answers as ever and waits three seconds for it at its end",
    () =>
      Effect.gen(function* () {
        const { running } = yield* serving(yield* freshDatabase("telemetry"), { OTEL_EXPORTER_OTLP_ENDPOINT: yield* silent })
        assert.deepStrictEqual(yield* put(running), allWell)
        const { code, seconds } = yield* stopped(running)
        assert.strictEqual(code, 0)
        assert.isBelow(seconds, 15)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "is not configured makes no spans: no line has the id of one",
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase("telemetry")
        const { cut, database: severed } = yield* severable(database)
        const { lines, running } = yield* serving(severed, { OTEL_EXPORTER_OTLP_ENDPOINT: "" })
        yield* cut
        const { status } = yield* call(running, "GET", "/api/types", { headers: traced(traces.failed) })
        assert.strictEqual(status, 503)
        yield* stopped(running)
        const failed = lines()
          .map((line) => JSON.parse(line))
          .find(({ message }) => message === "request failed")
        assert.strictEqual(failed?.requestId, "request-4444")
        assert.notProperty(failed, "traceId")
      }).pipe(Effect.scoped),
    60_000
  )
})
