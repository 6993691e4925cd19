import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { ask, type Call, client, outcomes } from "../support/clients.ts"
import { connected } from "../support/postgres.ts"
import { exchange, nextAnswer, rawConnection } from "../support/raw-http.ts"
import { eventually, nothingRuns, processesAt, startServer, temporaryDirectory } from "../support/server-process.ts"
import { untilBlocked } from "../support/stock-rows.ts"
import { databaseIn, furnish, quantityNow } from "../support/workshop.ts"

const healthz: Call = { method: "GET", path: "/healthz" }
const inOrder = { code: 0, signal: null }

/** A server on data of its own, in a directory with a space in its name. */
const fresh = (env: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const DATA_DIR = join(yield* temporaryDirectory, "data")
    const server = yield* startServer({ env: { DATA_DIR, ...env } })
    return { ...server, DATA_DIR }
  })

describe("a server that is told to stop", () => {
  it.live("fails no request under load: what was sent is answered, afterwards connections are refused", () =>
    Effect.gen(function* () {
      const server = yield* fresh()
      const { put, read } = yield* furnish(server.port)
      const seen = outcomes()
      const stopAfter = (answers: number) => () => {
        if (seen.answers.length === answers) server.kill("SIGTERM")
      }
      const stop = Effect.sync(stopAfter(1000))
      const clients = [
        // 32 on kept connections, every fourth with time to think; and many that wait to be let in, because nothing else comes
        // as fast as their answers.
        ...Array.from({ length: 32 }, (_, n) =>
          client(server.port, () => (n % 2 === 0 ? put : read), seen, n % 4 < 2 ? stop : Effect.delay(stop, 20))
        ),
        ...Array.from({ length: 96 }, () => client(server.port, () => healthz, seen, stop))
      ]
      yield* Effect.all(clients, { concurrency: "unbounded", discard: true })

      assert.deepStrictEqual(yield* server.ended, inOrder)
      assert.deepStrictEqual(seen.lost, [])
      const others = seen.answers.filter(({ answer }) => answer.status !== 200)
      assert.deepStrictEqual(
        others.map(({ answer }) => answer.text),
        []
      )
      assert.deepStrictEqual(processesAt(server.DATA_DIR), [])

      const again = yield* startServer({ env: { DATA_DIR: server.DATA_DIR } })
      const answered = seen.answers.filter(({ call }) => call === put).length
      assert.strictEqual(yield* quantityNow(again.port, read), answered)
    }).pipe(Effect.scoped)
  )

  it.live("says each step of it in the log", () =>
    Effect.gen(function* () {
      const server = yield* fresh()
      server.kill("SIGINT")
      assert.deepStrictEqual(yield* server.ended, inOrder)
      const messages = server.log().map(({ message }) => message)
      // Jobs end beside the requests.
      const beside = "every job has ended or waits again"
      assert.isBelow(messages.indexOf(beside), messages.indexOf("the application has ended"))
      assert.include(messages, beside)
      assert.deepStrictEqual(
        messages.filter((message) => message !== beside),
        [
          "stopping after SIGINT",
          "every request is answered",
          "the application has ended",
          "the database is released",
          "telemetry is sent",
          "stopped"
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("is not ready at once, but serves for SHUTDOWN_DELAY; a second signal ends it with 130, and PostgreSQL with it", () =>
    Effect.gen(function* () {
      const server = yield* fresh({ SHUTDOWN_DELAY: "20s" })
      const kept = yield* rawConnection(server.port)
      const ready = "GET /readyz HTTP/1.1\r\nhost: test\r\n\r\n"
      kept.write(ready)
      assert.strictEqual((yield* nextAnswer(kept))?.status, 200)

      server.kill("SIGTERM")
      yield* eventually("the signal has come", Effect.sync(server.log), (lines) => lines.length > 0)

      kept.write(ready)
      const last = yield* nextAnswer(kept)
      assert.deepStrictEqual([last?.status, last?.body.checks.process, last?.headers.get("connection")], [503, "stopping", "close"])
      assert.isUndefined(yield* nextAnswer(kept))
      const anew = yield* exchange(server.port, "GET /api/types/1 HTTP/1.1\r\nhost: test\r\n\r\n")
      assert.deepStrictEqual([anew?.status, anew?.headers.get("connection")], [200, "close"])

      server.kill("SIGINT")
      assert.deepStrictEqual(yield* server.ended, { code: 130, signal: null })
      yield* nothingRuns(server.DATA_DIR)
    }).pipe(Effect.scoped)
  )

  it.live("interrupts a request that hangs when most of SHUTDOWN_GRACE has passed; nothing of it is kept", () =>
    Effect.gen(function* () {
      const server = yield* fresh({ SHUTDOWN_GRACE: "3s" })
      const { put, read } = yield* furnish(server.port)
      const held = yield* Deferred.make<void>()
      // Holds all stock until PostgreSQL stops.
      const holder = Effect.flatMap(SqlClient.SqlClient, (sql) =>
        sql.withTransaction(
          sql`select 1 from part_stock for update`.pipe(Effect.andThen(Deferred.succeed(held, undefined)), Effect.andThen(Effect.never))
        )
      )
      yield* Effect.forkScoped(Effect.ignore(connected(databaseIn(server.DATA_DIR), holder)))
      yield* Deferred.await(held)
      const hanging = yield* Effect.forkScoped(ask(server.port, put))
      yield* connected(databaseIn(server.DATA_DIR), untilBlocked(1))

      const since = performance.now()
      server.kill("SIGTERM")
      const answer = yield* Fiber.join(hanging)
      assert.deepStrictEqual([answer.status, answer.body.code, answer.headers.get("connection")], [503, "server-stopping", "close"])
      assert.deepStrictEqual(yield* server.ended, inOrder)
      assert.isBelow(performance.now() - since, 3000)
      assert.include(
        server.log().map(({ message }) => message),
        "1 requests took too long and are interrupted"
      )

      const again = yield* startServer({ env: { DATA_DIR: server.DATA_DIR } })
      assert.strictEqual(yield* quantityNow(again.port, read), 0)
    }).pipe(Effect.scoped)
  )

  it.live("does not wait for connections on which nobody asks, nor for the end of a request that never comes", () =>
    Effect.gen(function* () {
      const server = yield* fresh()
      const silent = yield* rawConnection(server.port)
      const half = yield* rawConnection(server.port)
      half.write("GET /api/types/1 HTTP/1.1\r\nhost: te")
      const idle = yield* rawConnection(server.port)
      idle.write("GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n")
      assert.strictEqual((yield* nextAnswer(idle))?.status, 200)

      server.kill("SIGTERM")
      const ends = yield* Effect.forEach([silent, half, idle], nextAnswer, { concurrency: "unbounded" })
      assert.deepStrictEqual(ends, [undefined, undefined, undefined])
      assert.deepStrictEqual(yield* server.ended, inOrder)
      assert.notInclude(
        server.log().map(({ level }) => level),
        "warn"
      )
    }).pipe(Effect.scoped)
  )

  it.live("stops in order also when the terminal that showed its log has gone", () =>
    Effect.gen(function* () {
      const server = yield* fresh()
      const { put, read } = yield* furnish(server.port)
      assert.strictEqual((yield* ask(server.port, put)).status, 200)
      server.hangUp()
      server.kill("SIGHUP")
      assert.deepStrictEqual(yield* server.ended, inOrder)
      assert.deepStrictEqual(processesAt(server.DATA_DIR), [])
      const again = yield* startServer({ env: { DATA_DIR: server.DATA_DIR } })
      assert.strictEqual(yield* quantityNow(again.port, read), 1)
    }).pipe(Effect.scoped)
  )
})
