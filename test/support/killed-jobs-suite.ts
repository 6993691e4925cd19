import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { ask, type Call } from "./clients.ts"
import { drawsOf } from "./draws.ts"
import { connected, freshDatabase, urlOf } from "./postgres.ts"
import type { RawAnswer } from "./raw-http.ts"
import { eventually, root, type Server, startProcess, startServer, temporaryDirectory } from "./server-process.ts"
import type { Engine } from "./workers.ts"
import { databaseIn } from "./workshop.ts"

const inOrder = { code: 0, signal: null }
const get = (port: number, path: string) => Effect.map(ask(port, { method: "GET", path }), ({ body }) => body)

const probes = (port: number, body: Call["body"]) =>
  Effect.map(ask(port, { method: "POST", path: "/api/jobs/probe", body }), (answer) => {
    assert.strictEqual(answer.status, 202, answer.text)
    return answer.body.ids as ReadonlyArray<string>
  })

const count = (port: number, state: string) =>
  Effect.map(get(port, `/api/jobs?kind=platform.probe&state=${state}&limit=1&includeTotal=true`), ({ total }) => total as number)

const untilState = (port: number, id: string, ...states: ReadonlyArray<string>) =>
  eventually(`the job is ${states.join(" or ")}`, get(port, `/api/jobs/${id}`), ({ state }) => states.includes(state), "40 seconds")

const untilDone = (port: number, jobs: number) =>
  eventually(`${jobs} are done`, Effect.delay(count(port, "succeeded"), 50), (done) => done >= jobs, "40 seconds")

/** Everything that a list holds, page by page. */
const all = Effect.fnUntraced(function* (port: number, path: string) {
  const items: Array<Record<string, unknown>> = []
  for (let cursor: string | null = ""; cursor !== null; ) {
    const { body }: RawAnswer = yield* ask(port, { method: "GET", path: `${path}&limit=200${cursor === "" ? "" : `&cursor=${cursor}`}` })
    items.push(...body.items)
    cursor = body.nextCursor
  }
  return items
})

/** What was told of each job, oldest first. */
const told = (port: number) =>
  Effect.map(all(port, "/api/changes?topic=job"), (changes) => {
    const byJob = new Map<string, Array<string>>()
    for (const { action, entityId } of changes.toReversed()) {
      byJob.set(String(entityId), [...(byJob.get(String(entityId)) ?? []), String(action)])
    }
    return byJob
  })

/** Each is done, and was done once. */
const assertEachOnce = Effect.fnUntraced(function* (port: number, ids: ReadonlyArray<string>) {
  const jobs = new Map((yield* all(port, "/api/jobs?kind=platform.probe")).map((job) => [job.id, job]))
  const changes = yield* told(port)
  assert.strictEqual(jobs.size, ids.length)
  for (const id of ids) {
    assert.strictEqual(jobs.get(id)?.state, "succeeded", id)
    const events = changes.get(id) ?? []
    assert.strictEqual(events.filter((event) => event === "succeeded").length, 1, `${id}: ${events.join(" ")}`)
    assert.strictEqual(events.at(-1), "succeeded", `${id}: ${events.join(" ")}`)
  }
  return { jobs: [...jobs.values()], changes }
})

const seed = Date.now() % 1_000_000_007

export interface Misfortune {
  readonly engine: Engine
  /** Befalls what brings the jobs to the workers, besides what befalls them. */
  readonly alsoKilled?: Effect.Effect<void>
}

export const killedJobsSuite = ({ alsoKilled = Effect.void, engine }: Misfortune) => {
  describe("1,000 jobs", () => {
    it.live(
      `are each done exactly once by a server that is killed -9 again and again, seed ${seed}`,
      () =>
        Effect.gen(function* () {
          const draws = drawsOf(seed)
          const env = { DATA_DIR: join(yield* temporaryDirectory, "data"), JOB_CONCURRENCY: "6", ...(yield* engine) }
          let server = yield* startServer({ env })
          const ids = yield* probes(server.port, { count: 1000, steps: 2, stepMs: 3 })
          let done = 0
          for (let kill = 0; kill < 4; kill++) {
            done += 60 + draws.below(160)
            yield* untilDone(server.port, done)
            server.kill("SIGKILL")
            yield* server.ended
            server = yield* startServer({ env })
          }
          yield* untilDone(server.port, 1000)
          yield* assertEachOnce(server.port, ids)
        }).pipe(Effect.scoped),
      120_000
    )

    /** An api and workers on a database of their own. */
    const apart = Effect.gen(function* () {
      const DATABASE_URL = urlOf(yield* freshDatabase("workers"))
      const DATA_DIR = yield* temporaryDirectory
      const broker = yield* engine
      const start = (role: "api" | "worker", name: string) =>
        startServer({
          command: [process.execPath, `${root}/src/main.ts`, role],
          env: { DATABASE_URL, DATA_DIR: join(DATA_DIR, name), JOB_CONCURRENCY: "5", SHUTDOWN_GRACE: "10s", ...broker }
        })
      const api = yield* start("api", "api")
      return { api, worker: (n: number) => start("worker", `worker ${n}`) }
    })

    it.live(
      `are each done exactly once by two workers that are killed -9 by turns, seed ${seed}`,
      () =>
        Effect.gen(function* () {
          const draws = drawsOf(seed)
          const { api, worker } = yield* apart
          const workers = [yield* worker(0), yield* worker(1)]
          const ids = yield* probes(api.port, { count: 1000, steps: 2, stepMs: 3 })
          let done = 0
          for (let kill = 0; kill < 4; kill++) {
            done += 60 + draws.below(160)
            yield* untilDone(api.port, done)
            workers[kill % 2]?.kill("SIGKILL")
            yield* alsoKilled
            workers[kill % 2] = yield* worker(kill % 2)
          }
          yield* untilDone(api.port, 1000)
          yield* assertEachOnce(api.port, ids)
        }).pipe(Effect.scoped),
      120_000
    )

    it.live(
      "are each done at the first attempt while two workers are restarted by turns",
      () =>
        Effect.gen(function* () {
          const { api, worker } = yield* apart
          const workers = [yield* worker(0), yield* worker(1)]
          // Some of them too long for the time that a stop gives them.
          const ids = [
            ...(yield* probes(api.port, { count: 990, steps: 2, stepMs: 10 })),
            ...(yield* probes(api.port, { count: 10, steps: 1, stepMs: 6000 }))
          ]
          let done = 0
          for (let restart = 0; restart < 4; restart++) {
            done += 150
            yield* untilDone(api.port, done)
            const old = workers[restart % 2] as Server
            old.kill("SIGTERM")
            workers[restart % 2] = yield* worker(restart % 2)
            assert.deepStrictEqual(yield* old.ended, inOrder)
          }
          yield* untilDone(api.port, 1000)
          const { changes, jobs } = yield* assertEachOnce(api.port, ids)
          assert.deepStrictEqual([...new Set(jobs.map(({ attempt, error }) => `${attempt} ${error}`))], ["1 null"])
          assert.strictEqual([...changes.values()].flat().filter((event) => event === "failed" || event === "cancelled").length, 0)
        }).pipe(Effect.scoped),
      120_000
    )
  })

  describe("a server with running jobs", () => {
    it.live(
      "that is told to stop lets those end that can, puts the others back without an attempt, and does them after the next start",
      () =>
        Effect.gen(function* () {
          const env = { DATA_DIR: join(yield* temporaryDirectory, "data"), JOB_CONCURRENCY: "2", SHUTDOWN_GRACE: "5s", ...(yield* engine) }
          const server = yield* startServer({ env })
          const [short = ""] = yield* probes(server.port, { steps: 1, stepMs: 1000 })
          const [long = ""] = yield* probes(server.port, { steps: 1, stepMs: 8000 })
          const [waiting = ""] = yield* probes(server.port, { steps: 1, stepMs: 1 })
          for (const id of [short, long]) yield* untilState(server.port, id, "running")
          const since = performance.now()
          server.kill("SIGTERM")
          assert.deepStrictEqual(yield* server.ended, inOrder)
          assert.isBelow(performance.now() - since, 5000)
          assert.include(
            server.log().map(({ message }) => message),
            "1 running jobs go back into the queue"
          )
          const again = yield* startServer({ env })
          assert.strictEqual((yield* get(again.port, `/api/jobs/${short}`)).state, "succeeded")
          for (const id of [waiting, long]) {
            const job = yield* untilState(again.port, id, "succeeded")
            assert.deepStrictEqual([job.attempt, job.error], [1, null])
          }
          const changes = yield* told(again.port)
          assert.deepStrictEqual(changes.get(short), ["queued", "started", "succeeded"])
          assert.deepStrictEqual(changes.get(long), ["queued", "started", "queued", "started", "succeeded"])
          assert.deepStrictEqual(changes.get(waiting), ["queued", "started", "succeeded"])
        }).pipe(Effect.scoped),
      60_000
    )

    it.live(
      "that gets a second signal ends at once; its jobs are done after the end of their lease, by another attempt",
      () =>
        Effect.gen(function* () {
          const env = { DATA_DIR: join(yield* temporaryDirectory, "data"), ...(yield* engine) }
          const server = yield* startServer({ env })
          const [id = ""] = yield* probes(server.port, { steps: 2, stepMs: 2000 })
          yield* untilState(server.port, id, "running")
          server.kill("SIGTERM")
          yield* eventually("the signal has come", Effect.sync(server.log), (lines) => lines.length > 0)
          server.kill("SIGTERM")
          assert.deepStrictEqual(yield* server.ended, { code: 130, signal: null })
          const again = yield* startServer({ env })
          const job = yield* untilState(again.port, id, "succeeded")
          assert.deepStrictEqual([job.attempt, job.error], [2, null])
          assert.deepStrictEqual((yield* told(again.port)).get(id), ["queued", "started", "queued", "started", "succeeded"])
        }).pipe(Effect.scoped),
      60_000
    )

    it.live(
      "and a command that does what is due are both told to stop: the jobs wait again, at no attempt",
      () =>
        Effect.gen(function* () {
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const env = { DATA_DIR, JOB_CONCURRENCY: "2", SHUTDOWN_GRACE: "2s", ...(yield* engine) }
          const server = yield* startServer({ env })
          const ids = yield* probes(server.port, { count: 2, steps: 1, stepMs: 6000 })
          for (const id of ids) yield* untilState(server.port, id, "running")
          server.kill("SIGTERM")
          assert.deepStrictEqual(yield* server.ended, inOrder)
          const once = yield* startProcess({ command: [process.execPath, "src/main.ts", "jobs", "run-once"], env })
          const running = Effect.suspend(() =>
            connected(
              databaseIn(DATA_DIR),
              Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.orDie(sql`select from jobs where state = 'running'`))
            )
          ).pipe(Effect.catchCause(() => Effect.succeed([])))
          yield* eventually("both run", Effect.delay(running, 100), ({ length }) => length === 2, "40 seconds")
          once.kill("SIGTERM")
          assert.deepStrictEqual(yield* once.ended, inOrder)
          const again = yield* startServer({ env })
          for (const id of ids) {
            const job = yield* untilState(again.port, id, "succeeded")
            assert.deepStrictEqual([job.attempt, job.error], [1, null])
          }
        }).pipe(Effect.scoped),
      60_000
    )

    it.live(
      "ends its commands and roles in order: what is due is done by `jobs run-once` beside nobody",
      () =>
        Effect.gen(function* () {
          const env = { DATA_DIR: join(yield* temporaryDirectory, "data"), JOB_CONCURRENCY: "4", ...(yield* engine) }
          const server = yield* startServer({ env })
          const ids = yield* probes(server.port, { count: 50, steps: 1, stepMs: 200 })
          server.kill("SIGTERM")
          assert.deepStrictEqual(yield* server.ended, inOrder)
          const once = yield* startProcess({ command: [process.execPath, "src/main.ts", "jobs", "run-once"], env })
          assert.deepStrictEqual(yield* once.ended, inOrder)
          const again = yield* startServer({ env })
          yield* assertEachOnce(again.port, ids)
        }).pipe(Effect.scoped),
      60_000
    )
  })
}
