import { performance } from "node:perf_hooks"
import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker"
import { Pool } from "pg"

/** The same work on graphile-worker. Prints what it measured as one line of JSON. */
const [connection = "", concurrencyText = "", countText = "", ...extra] = process.argv.slice(2)
const concurrency = Number(concurrencyText)
const count = Number(countText)
const { database, host, port, username } = JSON.parse(connection)
const pgPool = new Pool({ host, port, user: username, database, password: "", max: 10 })
pgPool.on("error", () => {})
pgPool.on("connect", (client) => void client.on("error", () => {}))
const logger = new Logger(() => () => {})

const batched = {
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0
}
const options = {
  pgPool,
  concurrency,
  logger,
  noHandleSignals: true,
  preset: { worker: extra.includes("batched") ? batched : {} }
}

let done = 0
let finish: () => void = () => {}
const finished = new Promise<void>((resolve) => (finish = resolve))
let onStart: (() => void) | undefined
const taskList = {
  empty: () => {
    onStart?.()
    if (++done === count) finish()
  }
}

await runMigrations(options)
const utils = await makeWorkerUtils({ pgPool, logger })

if (extra.includes("latency")) {
  const runner = await run({ ...options, taskList })
  await new Promise((resolve) => setTimeout(resolve, 500))
  const times: Array<number> = []
  for (let n = 0; n < count; n++) {
    const started = new Promise<number>((resolve) => (onStart = () => resolve(performance.now())))
    const since = performance.now()
    await utils.addJob("empty", { n })
    times.push((await started) - since)
    await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 29))
  }
  await runner.stop()
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.floor(times.length * share)]
  console.log(JSON.stringify({ p50: at(0.5), p95: at(0.95), p99: at(0.99) }))
} else {
  await pgPool.query("select count(graphile_worker.add_job('empty', json_build_object('n', n))) from generate_series(1, $1::int) as n", [
    count
  ])
  await pgPool.query("analyze")
  const since = performance.now()
  const runner = await run({ ...options, taskList })
  await finished
  for (;;) {
    const { rows } = await pgPool.query("select exists (select from graphile_worker._private_jobs) as open")
    if (!rows[0].open) break
  }
  const seconds = (performance.now() - since) / 1000
  await runner.stop()
  console.log(JSON.stringify({ perSecond: count / seconds }))
}
process.exit()
