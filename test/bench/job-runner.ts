import { performance } from "node:perf_hooks"
import { NodeServices } from "@effect/platform-node"
import { Deferred, Duration, Effect, Layer, Logger, Random, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { type Connection, Db } from "#platform/db/db.ts"
import { Events } from "#platform/events/events.service.ts"
import { JobHandlers, jobHandler } from "#platform/jobs/handlers.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { JobsRepo } from "#platform/jobs/jobs.repo.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { Runner } from "#platform/jobs/runner.ts"
import { Application } from "../../src/server.ts"
import { median } from "./figures.ts"

/** Empty jobs, by the engine that the environment names. Prints what it measured as one line of JSON. */
const [connection = "", concurrencyText = "", countText = "", ...extra] = process.argv.slice(2)
const concurrency = Number(concurrencyText)
const count = Number(countText)

const empty = jobKind({ name: "bench.empty", payload: Schema.Struct({ n: Schema.Int }), result: Schema.Null })
/** Never run: what lies in the queue. */
const idle = jobKind({ name: "bench.idle", payload: Schema.Struct({ n: Schema.Int }), result: Schema.Null })

let done = 0
let target = count
const finished = Deferred.makeUnsafe<void>()
const startedAt: Array<number> = []
let onStart: (() => void) | undefined

const Handlers = jobHandler(empty, () =>
  Effect.sync(() => {
    startedAt.push(performance.now())
    onStart?.()
    if (++done === target) Deferred.doneUnsafe(finished, Effect.void)
    return null
  })
)

const Process = Application(JSON.parse(connection) as Connection).pipe(
  Layer.provideMerge(AppConfig.fromEnv({ LOG_LEVEL: "none", JOB_CONCURRENCY: concurrencyText, AMQP_URL: process.env.AMQP_URL ?? "" })),
  Layer.provideMerge(NodeServices.layer),
  Layer.provideMerge(Logger.layer([]))
)
const Worker = Runner.layerNoDeps({ concurrency, lease: Duration.seconds(20) }).pipe(
  Layer.provideMerge(Handlers),
  Layer.provide([QueueLayer, Events.layer, JobHandlers.layer])
)

const ask = (kind: typeof empty, many: number) =>
  Effect.gen(function* () {
    const jobs = yield* Jobs
    const db = yield* Db
    for (let at = 0; at < many; at += 1000) {
      yield* db.transaction(
        jobs.enqueueAll(
          kind,
          Array.from({ length: Math.min(1000, many - at) }, (_, n) => ({ n }))
        )
      )
    }
  })

const untilEmpty = Effect.fnUntraced(function* (every: Duration.Duration) {
  const sql = yield* SqlClient.SqlClient
  const left = sql<{ readonly left: number }>`
    select count(*)::int as left from (select from jobs where kind = 'bench.empty' and state in ('queued', 'running') limit 1) open`
  yield* Effect.repeat(Effect.orDie(left), { schedule: Schedule.spaced(every), until: ([found]) => found?.left === 0 })
})

const throughput = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  if (extra.includes("deep")) {
    yield* ask(idle, 100_000)
    yield* ask(empty, 100_000 - count)
    target = 100_000
  }
  yield* ask(empty, count)
  yield* Effect.orDie(sql`analyze jobs`)
  const since = performance.now()
  yield* Effect.gen(function* () {
    yield* Deferred.await(finished)
    yield* untilEmpty(Duration.zero)
  }).pipe(Effect.provide(Worker), Effect.scoped)
  const seconds = (performance.now() - since) / 1000
  const rateOf = (from: number, to: number) => ((to - from) / ((startedAt[to - 1] ?? 0) - (startedAt[from] ?? 0))) * 1000
  return { perSecond: target / seconds, first: rateOf(0, target / 10), last: rateOf(target - target / 10, target) }
})

/** Does what others have asked for, together with others, until nothing is left. */
const share = Effect.asVoid(untilEmpty(Duration.millis(50))).pipe(Effect.provide(Worker), Effect.scoped, Effect.as({}))

/** From the call that asks for a job to the first line of its handler; in the same process, or asked for by another. */
const latency = Effect.gen(function* () {
  const asking = extra.includes("apart") ? yield* Layer.build(Layer.fresh(Process)) : yield* Effect.context<Jobs | Db>()
  const times: Array<number> = []
  yield* Effect.gen(function* () {
    yield* Effect.sleep("500 millis")
    for (let n = 0; n < count; n++) {
      const started = Deferred.makeUnsafe<number>()
      onStart = () => Deferred.doneUnsafe(started, Effect.succeed(performance.now()))
      const since = performance.now()
      yield* Effect.provide(ask(empty, 1), asking)
      times.push((yield* Deferred.await(started)) - since)
      yield* Effect.sleep(Duration.millis(yield* Random.nextBetween(1, 30)))
    }
  }).pipe(Effect.provide(Worker))
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}).pipe(Effect.scoped)

/** A claim of one job among so many that are queued, half of them due. */
const claims = Effect.gen(function* () {
  const repo = yield* JobsRepo
  const sql = yield* SqlClient.SqlClient
  const figures: Record<string, number> = {}
  for (const depth of [100, 100_000]) {
    yield* ask(empty, depth / 2)
    yield* ask(idle, depth / 2)
    yield* Effect.orDie(sql`analyze jobs`)
    const times: Array<number> = []
    for (let n = 0; n < 200; n++) {
      const since = performance.now()
      yield* repo.claim({
        kinds: [
          { kind: empty.name, most: 1 },
          { kind: "bench.other", most: 1 }
        ],
        limit: 1,
        worker: "bench",
        leaseMs: 60_000
      })
      times.push(performance.now() - since)
    }
    figures[depth] = median(times)
  }
  return figures
})

const asked = Effect.as(ask(empty, count), {})

const measures = { asked, claims, latency, share, throughput }
const measure = measures[(Object.keys(measures) as Array<keyof typeof measures>).find((name) => extra.includes(name)) ?? "throughput"]
const figures = await Effect.runPromise(
  (measure as Effect.Effect<unknown, unknown, Effect.Services<typeof claims>>).pipe(
    Effect.withTracerEnabled(false),
    Effect.provide(Process),
    Effect.scoped
  )
)
console.log(JSON.stringify(figures))
process.exit()
