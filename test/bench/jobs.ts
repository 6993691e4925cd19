import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { type Connection, layerClient } from "#platform/db/db.ts"
import { median } from "./figures.ts"
import { finished } from "./processes.ts"

interface Print {
  readonly note: (what: string, figure: string, target: string) => void
  readonly rounds: number
}

type Program = "job-runner" | "graphile-runner"
type Figures = Readonly<Record<string, number>>

const ms = (n = 0) => `${n.toFixed(1)} ms`
const perSecond = (n = 0) => `${Math.round(n)}/s`

const jobsByBroker = 20_000

/** Jobs that ended in a second, as the database knows it: the start of the processes does not count. */
const rateIn = (connection: Connection) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [found] = yield* sql<{ readonly rate: number }>`
      select (count(*) / extract(epoch from max(finished_at) - min(started_at)))::float8 as rate from jobs where state = 'succeeded'`
    return found?.rate ?? 0
  }).pipe(Effect.provide(layerClient(connection, { maxConnections: 2 })), Effect.orDie)

/**
 * Both engines beside graphile-worker: empty jobs, by turns, each in processes and a database of their own on the same server. The second
 * one is measured when AMQP_URL names a RabbitMQ.
 */
export const jobs = async ({ note, rounds }: Print, env: Record<string, string>) => {
  const { AMQP_URL = "" } = process.env
  const measured = (connection: object) => {
    let databases = 0
    const onDatabase = <A>(use: (database: object) => Effect.Effect<A>) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const database = `bench_jobs_${process.pid}_${++databases}`
        yield* sql`create database ${sql(database)}`
        const measured = yield* use({ ...connection, database })
        yield* sql`drop database ${sql(database)} with (force)`
        return measured
      })
    const ran = (program: Program, database: object, env: Record<string, string>, ...args: ReadonlyArray<string | number>) =>
      Effect.promise(async () => {
        const { output } = await finished(`test/bench/${program}.ts`, [JSON.stringify(database), ...args.map(String)], env)
        return JSON.parse(output.trim().split("\n").at(-1) ?? "") as Figures
      })
    const alone = (program: Program, ...args: ReadonlyArray<string | number>) =>
      onDatabase((database) => ran(program, database, { AMQP_URL: "" }, ...args))
    return { alone, onDatabase, ran }
  }
  const work = Effect.gen(function* () {
    const { connection } = yield* connect("command")
    const { alone: measure, onDatabase, ran } = measured(connection)
    const medians = (key: string, all: ReadonlyArray<Figures>) => median(all.map((figures) => figures[key] ?? 0))
    yield* Effect.gen(function* () {
      for (const concurrency of [10, 50]) {
        const ours: Array<Figures> = []
        const theirs: Array<Figures> = []
        const batched: Array<Figures> = []
        for (let round = 0; round < rounds; round++) {
          ours.push(yield* measure("job-runner", concurrency, 10_000))
          theirs.push(yield* measure("graphile-runner", concurrency, 10_000))
          batched.push(yield* measure("graphile-runner", concurrency, 10_000, "batched"))
        }
        const [mine, plain] = [medians("perSecond", ours), medians("perSecond", theirs)]
        note(`jobs, ${concurrency} at once`, `${perSecond(mine)}, ${(mine / plain).toFixed(2)} × graphile-worker`, "≥ 1 × graphile-worker")
        note("the same, graphile-worker", perSecond(plain), "")
        note("the same, graphile-worker batched", perSecond(medians("perSecond", batched)), "")
      }
      const deep = yield* measure("job-runner", 50, 10_000, "deep")
      note(
        "100,000 jobs beside 100,000 of another kind",
        `${perSecond(deep.perSecond)}; first tenth ${perSecond(deep.first)}, last ${perSecond(deep.last)}`,
        ""
      )
      const claims = yield* measure("job-runner", 1, 1, "claims")
      note("claim of one job", `${ms(claims["100"])} of 100 queued, ${ms(claims["100000"])} of 100,000`, "flat")
      for (const [what, program, ...args] of [
        ["job asked for to its start", "job-runner", "latency"],
        ["the same, asked for by another process", "job-runner", "latency", "apart"],
        ["the same, graphile-worker", "graphile-runner", "latency"]
      ] as const) {
        const { p50, p95, p99 } = yield* measure(program, 10, 500, ...args)
        note(what, `p50 ${ms(p50)}, p95 ${ms(p95)}, p99 ${ms(p99)}`, program === "job-runner" ? "p50 ≤ 5 ms, p95 ≤ 15 ms" : "")
      }
      if (AMQP_URL === "") return note("jobs by way of RabbitMQ", "not measured without AMQP_URL", "≥ 3000/s")
      const rates: Array<number> = []
      for (let round = 0; round < rounds; round++) {
        rates.push(
          yield* onDatabase((database) =>
            Effect.gen(function* () {
              yield* ran("job-runner", database, { AMQP_URL: "" }, 1, jobsByBroker, "asked")
              const worker = ran("job-runner", database, { AMQP_URL }, 50, jobsByBroker, "share")
              yield* Effect.all([worker, worker], { concurrency: 2 })
              return yield* rateIn(database as typeof connection)
            })
          )
        )
      }
      note("jobs by way of RabbitMQ, 2 workers of 50", `${perSecond(median(rates))} from the first start to the last end`, "≥ 3000/s")
      const { p50, p95, p99 } = yield* onDatabase((database) => ran("job-runner", database, { AMQP_URL }, 10, 500, "latency", "apart"))
      note("job asked for to its start by way of RabbitMQ", `p50 ${ms(p50)}, p95 ${ms(p95)}, p99 ${ms(p99)}`, "p50 ≤ 10 ms")
    }).pipe(Effect.provide(layerClient(connection, { maxConnections: 2, statementTimeout: "5 minutes" })))
  })
  await Effect.runPromise(work.pipe(Effect.scoped, Effect.provide(AppConfig.fromEnv(env))))
}
