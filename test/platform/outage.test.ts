import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Db } from "#platform/db/db.ts"
import { connected, freshDatabase } from "../support/postgres.ts"
import { severableWorld, Wire } from "../support/severable.ts"
import { untilBlocked } from "../support/stock-rows.ts"
import { type Answer, Http, worldOn } from "../support/world.ts"

const assertUnavailable = ({ body, headers, status, text }: Answer, what: string) => {
  assert.deepStrictEqual([status, body.code], [503, "database-unavailable"], `${what}: ${text}`)
  assert.strictEqual(headers.get("content-type"), "application/problem+json", what)
  assert.match(headers.get("retry-after") ?? "", /^[1-9]\d*$/u, what)
  assert.strictEqual(body.requestId, headers.get("x-request-id"), what)
  assert.isNotEmpty(body.detail, what)
}

layer(severableWorld("outage"), { excludeTestServices: true, timeout: "60 seconds" })("while the database is away", (it) => {
  const reads = ["/api/types/1", "/api/types?includeTotal=true", "/api/changes", "/api/parts"]

  it.effect("reads and writes are 503 with Retry-After; afterwards all is well again without a restart", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { cut, mend } = yield* Wire
      const write = (key: string) => send("POST", "/api/types", { name: "Written" }, { headers: { "idempotency-key": key } })
      for (const round of ["first", "second"]) {
        for (const path of reads) assert.strictEqual((yield* send("GET", path)).status, 200, `${path} before the ${round} outage`)
        yield* cut
        for (const path of reads) assertUnavailable(yield* send("GET", path), path)
        assertUnavailable(yield* write(round), "POST")
        assertUnavailable(yield* send("PATCH", "/api/types/1", { group: "Away" }), "PATCH")
        assertUnavailable(yield* send("DELETE", "/api/types/1"), "DELETE")
        const ready = yield* send("GET", "/readyz")
        assert.deepStrictEqual([ready.status, ready.body.code, ready.body.checks.process], [503, "not-ready", "ok"])
        assert.notStrictEqual(ready.body.checks.database, "ok")
        assert.strictEqual((yield* send("GET", "/healthz")).status, 200)
        yield* mend
      }
      assert.strictEqual((yield* write("first")).status, 201)
      assert.strictEqual((yield* write("first")).headers.get("idempotency-replayed"), "true")
      assert.strictEqual((yield* send("GET", "/readyz")).status, 200)
      assert.strictEqual((yield* send("GET", "/api/types/1")).body.group, "Passive")
    })
  )

  it.effect("refusals that need no database are answered as ever", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { cut, mend } = yield* Wire
      yield* cut
      assert.strictEqual((yield* send("GET", "/nowhere")).status, 404)
      assert.strictEqual((yield* send("PUT", "/api/types/1")).status, 405)
      assert.strictEqual((yield* send("POST", "/api/types", { name: 1 })).status, 400)
      assert.strictEqual((yield* send("GET", "/api/types?limit=0")).status, 400)
      yield* mend
    })
  )

  /** Holds the table of types, on a connection that is no part of the server, while the effect runs. */
  const withTypesLocked = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const { straight } = yield* Wire
      const held = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const lock = Effect.flatMap(SqlClient.SqlClient, (sql) =>
        sql.withTransaction(
          sql`lock table part_types in access exclusive mode`.pipe(
            Effect.andThen(Deferred.succeed(held, undefined)),
            Effect.andThen(Deferred.await(release))
          )
        )
      )
      const holder = yield* Effect.forkChild(connected(straight, lock))
      yield* Deferred.await(held)
      const result = yield* effect
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      return result
    })

  /** On yet another connection: ends what waits for the lock. */
  const toTheOneThatWaits = (end: "pg_terminate_backend" | "pg_cancel_backend") =>
    Effect.gen(function* () {
      const { straight } = yield* Wire
      const act = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* untilBlocked(1)
        yield* sql`
          select ${sql.literal(end)}(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      })
      yield* connected(straight, act)
    })

  for (const [what, end] of [
    ["whose connection is killed", "pg_terminate_backend"],
    ["whose statement the server ends because it takes too long", "pg_cancel_backend"]
  ] as const) {
    it.effect(`a request ${what} is 503 and changes nothing, the next one is answered`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        for (const [method, body] of [["GET"], ["PATCH", { group: "Changed" }], ["DELETE"]] as const) {
          yield* withTypesLocked(
            Effect.gen(function* () {
              const asked = yield* Effect.forkChild(send(method, "/api/types/1", body))
              yield* toTheOneThatWaits(end)
              assertUnavailable(yield* Fiber.join(asked), method)
            })
          )
          assert.strictEqual((yield* send("GET", "/api/types/1")).body.group, "Passive")
        }
      })
    )
  }

  it.effect("and every connection ends a statement by itself", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const found = yield* sql<{ readonly name: string; readonly setting: string }>`
        select name, setting from pg_settings where name in ('statement_timeout', 'idle_in_transaction_session_timeout') order by name`
      assert.deepStrictEqual(
        found.map(({ name, setting }) => [name, setting]),
        [
          ["idle_in_transaction_session_timeout", "60000"],
          ["statement_timeout", "30000"]
        ]
      )
    })
  )
})

layer(Layer.unwrap(Effect.map(freshDatabase("pool"), (database) => worldOn(database, { DATABASE_POOL_MAX: "3" }))), {
  excludeTestServices: true,
  timeout: "60 seconds"
})("while all connections are taken", (it) => {
  it.effect("a transaction waits five seconds and is then 503; reads are answered meanwhile; afterwards all is well again", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const db = yield* Db
      const release = yield* Deferred.make<void>()
      const begun = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const holders = yield* Effect.forEach(begun, (started) =>
        Effect.forkChild(db.transaction(Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(release))))
      )
      yield* Effect.forEach(begun, Deferred.await)
      const since = performance.now()
      const waiting = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.forkChild(send("POST", "/api/types", { name })))
      assert.strictEqual((yield* send("GET", "/api/types/1")).status, 200)
      for (const fiber of waiting) {
        const answer = yield* Fiber.join(fiber)
        assertUnavailable(answer, "POST")
        assert.include(answer.body.detail, "5 seconds")
      }
      assert.isAtLeast(performance.now() - since, 4900)
      yield* Deferred.succeed(release, undefined)
      yield* Effect.forEach(holders, Fiber.join)
      // All permits are back: as many transactions as before run at once.
      const both = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      yield* Effect.all(
        both.map((mine, n) => db.transaction(Effect.andThen(Deferred.succeed(mine, undefined), Deferred.await(both[1 - n] ?? mine)))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual((yield* send("POST", "/api/types", { name: "a" })).status, 201)
    })
  )
})
