import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Clock, Context, Effect, Layer, Queue as Mailbox, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { layerClient } from "#platform/db/db.ts"
import { layerAmqp } from "#platform/jobs/queue.amqp.ts"
import { Queue } from "#platform/jobs/queue.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { Application } from "../../src/server.ts"
import startRabbitMq, { rabbitmq } from "../services/rabbitmq.ts"
import { addJobs, claim, states } from "../support/job-rows.ts"

/** What the way over RabbitMQ costs, with a real one and an empty database. `node test/bench/relay.ts [jobs]` */
const jobs = Number(process.argv[2] ?? 10_000)
const kind = "bench.relay"

const dataDir = mkdtempSync(join(tmpdir(), "partwright-bench-relay-"))
let home = ""
const removeRabbitMq = await startRabbitMq({
  provide: (_: string, where: string) => {
    home = where
  }
} as never)

const elapsed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const since = yield* Clock.monotonicTimeNanos
    yield* effect
    return Number((yield* Clock.monotonicTimeNanos) - since) / 1e6
  })
const report = (what: string, ms: number) => console.log(`${what}: ${Math.round(ms)} ms, ${Math.round((jobs / ms) * 1000)}/s`)

const bench = Effect.gen(function* () {
  const { url } = yield* Effect.promise(() => rabbitmq(home))
  const sql = yield* SqlClient.SqlClient
  const wakeUps = yield* Mailbox.unbounded<void>()
  yield* elapsed(addJobs(kind, jobs))
  yield* sql`analyze jobs`
  const untilPublished = sql<{ readonly left: number }>`
    select count(*)::int as left from jobs where state = 'queued' and published_at is null`.pipe(
    Effect.repeat({ until: ([row]) => row?.left === 0 })
  )
  const [services, ms] = yield* Effect.gen(function* () {
    const since = yield* Clock.monotonicTimeNanos
    const services = yield* Layer.build(
      layerAmqp({ url: Redacted.make(url), wakeUps: Stream.fromQueue(wakeUps), prefetch: () => 100 }).pipe(
        Layer.provideMerge(Metrics.layer)
      )
    )
    yield* untilPublished
    return [services, Number((yield* Clock.monotonicTimeNanos) - since) / 1e6] as const
  })
  report("marked, published and confirmed, connecting included", ms)

  const queue = Context.get(services, Queue)
  const { next } = yield* queue.consume([kind])
  const work = Effect.gen(function* () {
    let done = 0
    while (done < jobs) {
      const offer = yield* next({ kinds: [kind], limit: 50 })
      const claimed = yield* claim([kind], offer.limit)
      yield* offer.settle(claimed.length)
      done += claimed.length
    }
  })
  report("offered, claimed and settled, 50 at most at once", yield* elapsed(work))

  const waits: Array<number> = []
  for (let n = 0; n < 300; n++) {
    const since = yield* Clock.monotonicTimeNanos
    yield* addJobs(kind, 1)
    yield* Mailbox.offer(wakeUps, undefined)
    const offer = yield* next({ kinds: [kind], limit: 50 })
    const claimed = yield* claim([kind], offer.limit)
    waits.push(Number((yield* Clock.monotonicTimeNanos) - since) / 1e6)
    yield* offer.settle(claimed.length)
  }
  waits.sort((a, b) => a - b)
  const at = (part: number) => waits[Math.floor(waits.length * part)]?.toFixed(1)
  console.log(`insert to claim of a single job: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms`)
  console.log(yield* states)
  const page = yield* Context.get(services, Metrics).page
  console.log(
    page
      .split("\n")
      .filter((line) => /^partwright_queue_(published|publish_duration_seconds_(sum|count))/u.test(line))
      .join("\n")
  )
})

await connect("command").pipe(
  Effect.flatMap(({ connection }) =>
    Effect.andThen(
      Effect.scoped(Layer.build(Application(connection))),
      Effect.provide(Effect.scoped(bench), layerClient(connection, { maxConnections: 6 }))
    )
  ),
  Effect.scoped,
  Effect.withTracerEnabled(false),
  Effect.provide(AppConfig.fromEnv({ DATA_DIR: dataDir, DATABASE_URL: "" })),
  Effect.ensuring(Effect.promise(removeRabbitMq)),
  Effect.ensuring(Effect.sync(() => rmSync(dataDir, { recursive: true, force: true }))),
  Effect.runPromise
)
