import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { layerClient } from "#platform/db/db.ts"
import { median } from "./figures.ts"
import { finished } from "./processes.ts"

interface Print {
  readonly note: (what: string, figure: string, target: string) => void
  readonly rounds: number
}

type Figures = Readonly<Record<string, number>>

const ms = (n = 0) => `${n.toFixed(1)} ms`
const perSecond = (n = 0) => `${Math.round(n)}/s`

/** The embedded queue beside graphile-worker: empty jobs, by turns, each in a process and a database of its own on the same server. */
export const jobs = async ({ note, rounds }: Print, env: Record<string, string>) => {
  const measured = (connection: object) => {
    let databases = 0
    return (program: "job-runner" | "graphile-runner", ...args: ReadonlyArray<string | number>) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const database = `bench_jobs_${process.pid}_${++databases}`
        yield* sql`create database ${sql(database)}`
        const { output } = yield* Effect.promise(() =>
          finished(`test/bench/${program}.ts`, [JSON.stringify({ ...connection, database }), ...args.map(String)], {})
        )
        yield* sql`drop database ${sql(database)} with (force)`
        return JSON.parse(output.trim().split("\n").at(-1) ?? "") as Figures
      })
  }
  const work = Effect.gen(function* () {
    const { connection } = yield* connect("command")
    const measure = measured(connection)
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
    }).pipe(Effect.provide(layerClient(connection, { maxConnections: 2, statementTimeout: "5 minutes" })))
  })
  await Effect.runPromise(work.pipe(Effect.scoped, Effect.provide(AppConfig.fromEnv(env))))
}
