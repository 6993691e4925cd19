import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer } from "effect"
import { HttpServer } from "effect/http"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { layer as Listening } from "#platform/http/listen.ts"
import { registry } from "#platform/http/problems.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { Lifecycle } from "#platform/system/lifecycle.ts"
import { Application, serve } from "../../src/server.ts"
import { freshDatabase } from "../support/postgres.ts"
import { exchange, nextAnswer, type RawAnswer, rawConnection } from "../support/raw-http.ts"
import { untilBlocked } from "../support/stock-rows.ts"
import { connectionOf } from "../support/world.ts"

class Port extends Context.Service<Port, number>()("test/Port") {}

const Listened = Layer.effect(
  Port,
  Effect.map(HttpServer.HttpServer, ({ address }) => ("port" in address ? address.port : 0))
)

const server = (env: Record<string, string>) =>
  Layer.unwrap(
    Effect.map(freshDatabase("socket"), (database) =>
      Listened.pipe(
        Layer.provideMerge(serve),
        Layer.provideMerge(Listening),
        Layer.provideMerge(QueueLayer),
        Layer.provideMerge(Application(connectionOf(database))),
        Layer.provideMerge(AppConfig.fromEnv({ PORT: "0", ...env })),
        Layer.provideMerge(NodeServices.layer)
      )
    )
  )

const assertProblem = (answer: RawAnswer | undefined, status: number, code: string) => {
  assert.isDefined(answer)
  assert.deepStrictEqual([answer.status, answer.body?.code], [status, code], answer.text)
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
  assert.strictEqual(registry.get(code)?.status, status)
  assert.isNotEmpty(answer.body.detail)
  assert.strictEqual(answer.body.requestId, answer.headers.get("x-request-id"))
  assert.strictEqual(answer.headers.get("x-content-type-options"), "nosniff")
}

const head = (line: string, ...headers: ReadonlyArray<string>) => [`${line} HTTP/1.1`, "host: test", ...headers, "", ""].join("\r\n")

const alive = Effect.flatMap(Port, (port) =>
  Effect.map(exchange(port, head("GET /healthz")), (answer) => assert.strictEqual(answer?.status, 200))
)

layer(server({ MAX_BODY_BYTES: "10000" }), { excludeTestServices: true, timeout: "60 seconds" })("over a real socket", (it) => {
  const refused: ReadonlyArray<readonly [string, string | Uint8Array, number, string]> = [
    ["a verb that does not exist", head("FOO /api/types"), 405, "method-not-allowed"],
    ["CONNECT", head("CONNECT example.org:443"), 405, "method-not-allowed"],
    ["TRACE", head("TRACE /api/types"), 405, "method-not-allowed"],
    ["TLS", new Uint8Array([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), 400, "bad-request"],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", 400, "bad-request"],
    ["HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad-request"],
    ["a header without a name", "GET /healthz HTTP/1.1\r\nhost: test\r\n: x\r\n\r\n", 400, "bad-request"],
    ["NUL in a header", "GET /healthz HTTP/1.1\r\nhost: test\r\nx-a: a\0b\r\n\r\n", 400, "bad-request"],
    ["a space in the address", "GET /api/ty pes HTTP/1.1\r\nhost: test\r\n\r\n", 400, "bad-request"],
    ["no Host", "GET /healthz HTTP/1.1\r\n\r\n", 400, "bad-request"],
    ["two lengths", head("POST /api/types", "content-length: 2", "content-length: 3") + "{}", 400, "bad-request"],
    ["length and chunks", head("POST /api/types", "content-length: 2", "transfer-encoding: chunked") + "0\r\n\r\n", 400, "bad-request"],
    [
      "broken chunks",
      head("POST /api/types", "content-type: application/json", "transfer-encoding: chunked") + "zz\r\n{}\r\n",
      400,
      "bad-request"
    ],
    ["a header of 20 KB", head("GET /healthz", `x-a: ${"a".repeat(20_000)}`), 431, "headers-too-large"],
    [
      "a thousand headers",
      head("GET /healthz", ...Array.from({ length: 1000 }, (_, n) => `x-header-${n}: some value`)),
      431,
      "headers-too-large"
    ],
    ["an address of 20 KB", head(`GET /api/types?cursor=${"a".repeat(20_000)}`), 431, "headers-too-large"],
    ["an address of 10 KB", head(`GET /api/types/${"a".repeat(10_000)}`), 404, "route-not-found"],
    ["a path that is not UTF-8", head("GET /api/types/%ff"), 400, "invalid-request"],
    ["bytes that are not ASCII in the address", "GET /api/types/\u00ff HTTP/1.1\r\nhost: test\r\n\r\n", 400, "bad-request"],
    ["the asterisk", head("GET *"), 404, "route-not-found"],
    ["a body on GET", head("GET /api/types", "content-length: 2") + "{}", 400, "invalid-request"],
    ["a chunked body on GET", head("GET /api/types", "transfer-encoding: chunked") + "2\r\n{}\r\n0\r\n\r\n", 400, "invalid-request"],
    ["a body on OPTIONS", head("OPTIONS /api/types", "content-length: 2") + "{}", 400, "invalid-request"],
    ["an expectation", head("POST /api/types", "expect: a-miracle", "content-length: 2"), 417, "expectation-failed"],
    [
      "a large body that waits for leave",
      head("POST /api/types", "expect: 100-continue", "content-length: 20000"),
      413,
      "payload-too-large"
    ],
    ["a large body", head("POST /api/types", "content-length: 20000000"), 413, "payload-too-large"]
  ]
  for (const [what, bytes, status, code] of refused) {
    it.effect(`${what} is ${status} ${code}`, () =>
      Effect.gen(function* () {
        const port = yield* Port
        assertProblem(yield* exchange(port, bytes), status, code)
        yield* alive
      })
    )
  }

  it.effect("a chunked body that grows past the limit is refused while it still arrives", () =>
    Effect.gen(function* () {
      const socket = yield* rawConnection(yield* Port)
      socket.write(head("POST /api/types", "content-type: application/json", "transfer-encoding: chunked"))
      const chunk = `400\r\n${"a".repeat(0x400)}\r\n`
      for (let sent = 0; sent <= 10; sent++) socket.write(chunk)
      assertProblem(yield* nextAnswer(socket), 413, "payload-too-large")
      yield* alive
    }).pipe(Effect.scoped)
  )

  it.effect("a client that vanishes in the middle of its body leaves nothing behind", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const changes = Effect.map(
        sql<{ readonly count: number }>`select count(*)::int as count from changes where topic = 'type'`,
        ([found]) => found?.count
      )
      const before = yield* changes
      const socket = yield* rawConnection(yield* Port)
      socket.write(
        head("POST /api/types", "content-type: application/json", "idempotency-key: gone", "content-length: 100") + '{"name":"Go'
      )
      socket.resetAndDestroy()
      yield* alive
      assert.strictEqual(yield* changes, before)
      const body = '{"name":"Gone and back"}'
      const again =
        head("POST /api/types", "content-type: application/json", "idempotency-key: gone", `content-length: ${body.length}`) + body
      assert.strictEqual((yield* exchange(yield* Port, again))?.status, 201)
    }).pipe(Effect.scoped)
  )

  it.effect("a refusal keeps the connection when its request was read whole", () =>
    Effect.gen(function* () {
      const socket = yield* rawConnection(yield* Port)
      for (const [line, status] of [
        ["GET /nowhere", 404],
        ["DELETE /healthz", 405],
        ["GET /api/types/1", 200]
      ] as const) {
        socket.write(head(line))
        assert.strictEqual((yield* nextAnswer(socket))?.status, status)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("HEAD has the headers of GET and no body", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const socket = yield* rawConnection(port)
      const got = yield* exchange(port, head("GET /api/types/1"))
      const bytes: Array<Buffer> = []
      socket.on("data", (chunk) => bytes.push(chunk))
      socket.write(head("HEAD /api/types/1", "connection: close"))
      yield* Effect.callback<void>((resume) => void socket.once("end", () => resume(Effect.void)))
      const text = Buffer.concat(bytes).toString()
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n/u)
      assert.include(text.toLowerCase(), `content-length: ${got?.headers.get("content-length")}\r\n`)
      assert.isTrue(text.endsWith("\r\n\r\n"))
    }).pipe(Effect.scoped)
  )

  it.effect("a request to upgrade the protocol is an ordinary request", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const upgrade = ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: dGVzdA=="]
      assert.strictEqual((yield* exchange(port, head("GET /api/types/1", ...upgrade)))?.status, 200)
      assertProblem(yield* exchange(port, head("GET /nowhere", "connection: upgrade", "upgrade: h2c")), 404, "route-not-found")
    })
  )

  it.effect("says 100 Continue to a body that it will read", () =>
    Effect.gen(function* () {
      const socket = yield* rawConnection(yield* Port)
      const body = '{"name":"Patience"}'
      socket.write(head("POST /api/types", "content-type: application/json", "expect: 100-continue", `content-length: ${body.length}`))
      const go = yield* Effect.callback<string>((resume) => void socket.once("data", (bytes) => resume(Effect.succeed(String(bytes)))))
      assert.match(go, /^HTTP\/1\.1 100 Continue/u)
      socket.write(body)
      assert.strictEqual((yield* nextAnswer(socket))?.status, 201)
    }).pipe(Effect.scoped)
  )
})

layer(server({ REQUEST_TIMEOUT: "200ms" }), { excludeTestServices: true, timeout: "60 seconds" })("the time limit of a request", (it) => {
  it.effect("is 408, five times later, for a request that never ends", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const unfinished = head("POST /api/types", "content-type: application/json", "content-length: 100") + '{"name":'
      assertProblem(yield* exchange(port, unfinished), 408, "request-timeout")
      const chunks = head("POST /api/types", "content-type: application/json", "transfer-encoding: chunked") + '8\r\n{"name":\r\n'
      assertProblem(yield* exchange(port, chunks), 408, "request-timeout")
      assertProblem(yield* exchange(port, "GET /healthz HTTP/1.1\r\nhost: te"), 408, "request-timeout")
      yield* alive
    })
  )

  it.effect("is 503 for work that takes too long, which is rolled back", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const sql = yield* SqlClient.SqlClient
      const held = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const holder = yield* sql
        .withTransaction(
          sql`select 1 from part_types where id = 1 for update`.pipe(
            Effect.andThen(Deferred.succeed(held, undefined)),
            Effect.andThen(Deferred.await(release))
          )
        )
        .pipe(Effect.forkChild)
      yield* Deferred.await(held)

      const body = '{"group":"Changed"}'
      const patch = head("PATCH /api/types/1", "content-type: application/json", `content-length: ${body.length}`) + body
      const asked = yield* Effect.forkChild(exchange(port, patch))
      yield* untilBlocked(1)
      const answer = yield* Fiber.join(asked)
      assertProblem(answer, 503, "request-took-too-long")
      assert.strictEqual(answer?.headers.get("retry-after"), "5")

      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      assert.strictEqual((yield* exchange(port, head("GET /api/types/1")))?.body.group, "Passive")
      const open = yield* sql`select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`
      assert.deepStrictEqual(open, [])
    })
  )
})

layer(server({}), { excludeTestServices: true, timeout: "60 seconds" })("a process that stops", (it) => {
  it.effect("still answers, says that it is not ready, and closes each connection after its answer", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const { beginStop } = yield* Lifecycle
      const socket = yield* rawConnection(port)
      socket.write(head("GET /readyz"))
      const ready = yield* nextAnswer(socket)
      assert.deepStrictEqual(
        [ready?.status, ready?.body],
        [200, { status: "ok", checks: { database: "ok", objects: "ok", queue: "ok", process: "ok" } }]
      )

      yield* beginStop
      socket.write(head("GET /api/types/1"))
      const answer = yield* nextAnswer(socket)
      assert.deepStrictEqual([answer?.status, answer?.headers.get("connection")], [200, "close"])
      assert.isUndefined(yield* nextAnswer(socket))
      const stopping = yield* exchange(port, head("GET /readyz"))
      assertProblem(stopping, 503, "not-ready")
      assert.deepStrictEqual(stopping?.body.checks, { database: "ok", objects: "ok", queue: "ok", process: "stopping" })
    }).pipe(Effect.scoped)
  )
})
