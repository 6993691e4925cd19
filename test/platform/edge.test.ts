import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { type Cause, Deferred, Duration, Effect, Layer, Logger, Schema, type Scope, Stream } from "effect"
import { HttpEffect, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { type EdgeOptions, edge } from "#platform/http/edge.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import { routed } from "#platform/http/routes.ts"
import { text } from "#platform/http/text.ts"
import { Validation } from "#platform/http/validation.ts"

const Thing = Schema.Struct({ name: text(10), count: Schema.Int, tags: Schema.optionalKey(Schema.Array(text(3))) })

class Things extends HttpApiGroup.make("things").add(
  HttpApiEndpoint.get("list", "/things", {
    query: { limit: Schema.optional(Schema.Int), q: Schema.optional(text(5)) },
    success: Schema.Json
  }),
  HttpApiEndpoint.get("get", "/things/:id", { params: { id: Schema.Int }, success: Schema.Struct({ id: Schema.Int }) }),
  HttpApiEndpoint.patch("edit", "/things/:id", {
    params: { id: Schema.Int },
    query: { dryRun: Schema.optional(Schema.Boolean) },
    headers: { "x-level": Schema.optional(Schema.Int) },
    payload: asMergePatch(Thing),
    success: Thing
  }),
  HttpApiEndpoint.post("touch", "/things/:id/touch", { params: { id: Schema.Int }, success: Schema.Json })
) {}

class Api extends HttpApi.make("test")
  .add(Things)
  .prefix("/api")
  .middleware(Validation)
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error" })
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error" }) {}

const Handlers = HttpApiBuilder.group(Api, "things", (handlers) =>
  handlers.handleAll({
    list: () => Effect.succeed([]),
    get: ({ params }) => Effect.succeed({ id: params.id === 7 ? 0.5 : params.id }),
    edit: ({ payload }) => Effect.succeed(payload),
    touch: () => Effect.succeed("touched")
  })
)

interface Line {
  readonly level: string
  readonly message: unknown
  readonly cause: Cause.Cause<unknown>
  readonly requestId: string | null
}

/** The edge around a few routes of its own. Whatever is logged is kept. */
const makeEdge = (options: Partial<EdgeOptions> = {}) =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
      lines.push({ level: logLevel, message, cause, requestId: fiber.getRef(CurrentRequest).requestId })
    })
    const started = yield* Deferred.make<void>()
    const stopped = yield* Deferred.make<void>()
    const Routes = Layer.mergeAll(
      HttpApiBuilder.layer(Api).pipe(Layer.provide(Handlers), Layer.provide(Validation.layer)),
      HttpRouter.add("GET", "/defect", Effect.die(new Error("the password is swordfish"))),
      HttpRouter.add(
        "GET",
        "/thrown",
        Effect.sync((): never => {
          throw "the password is swordfish"
        })
      ),
      HttpRouter.add(
        "GET",
        "/bare/:status",
        Effect.map(HttpRouter.params, ({ status }) => HttpServerResponse.empty({ status: Number(status) }))
      ),
      HttpRouter.add("GET", "/plain", HttpServerResponse.text("long ".repeat(1000), { headers: { "content-encoding": "identity" } })),
      HttpRouter.add("GET", "/long", HttpServerResponse.text("long ".repeat(1000), { headers: { etag: '"1"' } })),
      HttpRouter.add(
        "GET",
        "/stream",
        HttpServerResponse.stream(Stream.make(new TextEncoder().encode("long ".repeat(1000))), { contentType: "text/plain" })
      ),
      HttpRouter.add("GET", "/page", HttpServerResponse.html("<p>page</p>")),
      HttpRouter.add("GET", "/moved", HttpServerResponse.empty({ status: 201, headers: { location: "/api/things/1" } })),
      HttpRouter.add(
        "GET",
        "/seen",
        Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => HttpServerResponse.jsonUnsafe({ url }))
      ),
      HttpRouter.add("GET", "/healthz", HttpServerResponse.jsonUnsafe({ status: "ok" })),
      HttpRouter.add(
        "GET",
        "/endless",
        Deferred.succeed(started, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
        )
      )
    )
    const { app, methodsOf } = yield* routed(Routes)
    const handled = yield* edge(app, {
      basePath: "",
      maxBodyBytes: 1000,
      requestTimeout: Duration.seconds(30),
      corsOrigins: [],
      stopping: () => false,
      isForeign: () => false,
      ...options,
      methodsOf
    })
    const services = yield* Effect.context<never>()
    const handler = HttpEffect.toWebHandlerWith<never, HttpServerRequest.HttpServerRequest | Scope.Scope>(services)(
      Effect.provide(handled, Logger.layer([logger]))
    )
    const send = (method: string, path: string, init: RequestInit = {}) =>
      Effect.promise(async () => {
        const response = await handler(new Request(`http://test${path}`, { method, ...init }))
        const body = await response.text()
        const isJson = response.headers.get("content-type")?.includes("json") === true
        return {
          status: response.status,
          headers: response.headers,
          text: body,
          body: isJson && body !== "" ? JSON.parse(body) : undefined
        }
      })
    return { send, handler, lines, started: Deferred.await(started), stopped: Deferred.await(stopped) }
  }).pipe(Effect.provide(NodeHttpServer.layerHttpServices))

const json = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  headers: { "content-type": "application/json", ...headers },
  body: typeof body === "string" ? body : JSON.stringify(body)
})

describe("a defect", () => {
  for (const path of ["/defect", "/thrown"]) {
    it.effect(`at ${path} is answered without a word of it and reported once, with the id of its request`, () =>
      Effect.gen(function* () {
        const { lines, send } = yield* makeEdge()
        const { body, headers, status, text } = yield* send("GET", path)
        assert.strictEqual(status, 500)
        assert.strictEqual(body.code, "internal-error")
        assert.strictEqual(body.requestId, headers.get("x-request-id"))
        assert.notInclude(text, "swordfish")
        const reported = lines.filter(({ cause }) => JSON.stringify(cause.reasons.map(String)).length > 2)
        assert.deepStrictEqual(
          reported.map(({ level, requestId }) => ({ level, requestId })),
          [{ level: "Error", requestId: body.requestId }]
        )
        assert.include(String(reported[0]?.cause), "swordfish")
        assert.deepStrictEqual(
          lines.map(({ message }) => [message].flat()[0]),
          ["unexpected failure", "request failed"]
        )
      }).pipe(Effect.scoped)
    )
  }

  it.effect("is what an answer that does not fit its own schema is", () =>
    Effect.gen(function* () {
      const { lines, send } = yield* makeEdge()
      assert.strictEqual((yield* send("GET", "/api/things/6")).status, 200)
      const { body, status } = yield* send("GET", "/api/things/7")
      assert.deepStrictEqual([status, body.code], [500, "internal-error"])
      assert.strictEqual(lines.filter(({ message }) => [message].flat()[0] === "unexpected failure").length, 1)
    }).pipe(Effect.scoped)
  )
})

describe("the edge", () => {
  it.effect("makes problems of bare refusals", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      const codes = yield* Effect.forEach([400, 404, 413, 415, 500], (status) =>
        Effect.map(send("GET", `/bare/${status}`), ({ body }) => body)
      )
      assert.deepStrictEqual(
        codes.map(({ code, status }) => [status, code]),
        [
          [400, "bad-request"],
          [404, "route-not-found"],
          [413, "payload-too-large"],
          [415, "unsupported-media-type"],
          [500, "internal-error"]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("tells everything that is wrong with a request at once, with pointers", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      const { body, status } = yield* send(
        "PATCH",
        "/api/things/one?dryRun=maybe&a%2Fb=1",
        json({ name: "far too long", count: "1", tags: ["ok", "\0"], "a/b~c": 1 }, { "x-level": "high" })
      )
      assert.strictEqual(status, 400)
      assert.strictEqual(body.code, "invalid-request")
      assert.deepStrictEqual(
        body.errors.map((error: { readonly in: string; readonly pointer: string }) => `${error.in} ${error.pointer}`).toSorted(),
        ["body /a~1b~0c", "body /count", "body /name", "body /tags/1", "header /x-level", "path /id", "query /a~1b", "query /dryRun"]
      )
      assert.match(body.detail, /^path \/id: .* \(and 7 more\)$/u)
      const strange = body.errors.filter(({ message }: { readonly message: string }) => message === "Unknown field or parameter")
      assert.deepStrictEqual(
        strange.map(({ pointer }: { readonly pointer: string }) => pointer),
        ["/a~1b", "/a~1b~0c"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("takes the last of duplicate keys, and a body under every type that the endpoint declares", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      const twice = '{"name":"a","count":1,"name":"b"}'
      assert.deepStrictEqual((yield* send("PATCH", "/api/things/1", json(twice))).body, { name: "b", count: 1 })
      const merge = { "content-type": "application/merge-patch+json; charset=UTF-8" }
      assert.deepStrictEqual((yield* send("PATCH", "/api/things/1", json(twice, merge))).body, { name: "b", count: 1 })
    }).pipe(Effect.scoped)
  )

  it.effect("takes no body where none is expected, except an empty object", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      for (const body of ["", "{}", " { } \n"]) assert.strictEqual((yield* send("POST", "/api/things/1/touch", json(body))).status, 200)
      for (const body of ['{"a":1}', "[]", "null", "x", "\u00a0x"]) {
        const answer = yield* send("POST", "/api/things/1/touch", json(body))
        assert.deepStrictEqual([answer.status, answer.body.errors?.[0]?.in], [400, "body"], body)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("refuses a body larger than the limit, whether its length was told before or not", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      const large = JSON.stringify({ name: "a", count: 1, tags: Array.from({ length: 1000 }, () => "a") })
      for (const headers of [{}, { "content-length": String(large.length) }]) {
        const { body, headers: answered, status } = yield* send("PATCH", "/api/things/1", json(large, headers))
        assert.deepStrictEqual([status, body.code, answered.get("connection")], [413, "payload-too-large", "close"])
        assert.include(body.detail, "1000 bytes")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("stops work that takes longer than the limit", () =>
    Effect.gen(function* () {
      const { send, stopped } = yield* makeEdge({ requestTimeout: Duration.millis(20) })
      const { body, headers, status } = yield* send("GET", "/endless")
      assert.deepStrictEqual([status, body.code, headers.get("retry-after")], [503, "request-took-too-long", "5"])
      yield* stopped
    }).pipe(Effect.scoped)
  )

  it.effect("stops work for a client that has gone", () =>
    Effect.gen(function* () {
      const { handler, started, stopped } = yield* makeEdge()
      const client = new AbortController()
      const answer = handler(new Request("http://test/endless", { signal: client.signal }))
      yield* started
      client.abort()
      yield* stopped
      yield* Effect.promise(() => answer)
    }).pipe(Effect.scoped)
  )

  it.effect("answers 404, 405 with Allow, HEAD and OPTIONS on every route alike", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      for (const [path, allow] of [
        ["/healthz", "GET, HEAD, OPTIONS"],
        ["/api/things/1", "GET, HEAD, OPTIONS, PATCH"],
        ["/api/things/1/touch", "OPTIONS, POST"]
      ] as const) {
        const wrong = yield* send("DELETE", path)
        assert.deepStrictEqual([wrong.status, wrong.body.code, wrong.headers.get("allow")], [405, "method-not-allowed", allow])
        assert.deepStrictEqual(wrong.body.allow, allow.split(", "))
        const options = yield* send("OPTIONS", path)
        assert.deepStrictEqual([options.status, options.text, options.headers.get("allow")], [204, "", allow])
      }
      const head = yield* send("HEAD", "/api/things/1")
      assert.deepStrictEqual([head.status, head.text, head.headers.get("content-length")], [200, "", "8"])
      assert.strictEqual((yield* send("HEAD", "/api/things/1/touch")).status, 405)
      for (const method of ["GET", "POST", "OPTIONS", "FOO"])
        assert.strictEqual((yield* send(method, "/nowhere")).body.code, "route-not-found")
    }).pipe(Effect.scoped)
  )

  it.effect("keeps a request id of 1 to 64 visible characters and makes one otherwise", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      const idFor = (id: string) =>
        Effect.map(send("GET", "/healthz", { headers: { "x-request-id": id } }), ({ headers }) => headers.get("x-request-id"))
      for (const id of ["a", 'quote"\\', "x".repeat(64)]) assert.strictEqual(yield* idFor(id), id)
      for (const id of ["", "x".repeat(65), "two words", "ü"]) assert.match((yield* idFor(id)) ?? "", /^[0-9a-f-]{36}$/u)
      const refused = yield* send("GET", "/nowhere", { headers: { "x-request-id": 'quote"\\' } })
      assert.strictEqual(refused.body.requestId, 'quote"\\')
    }).pipe(Effect.scoped)
  )

  it.effect("dresses every answer with security headers, and pages with a policy", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge()
      for (const path of ["/healthz", "/nowhere", "/defect", "/page", "/api/things/x"]) {
        const { headers } = yield* send("GET", path)
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff", path)
        assert.strictEqual(headers.get("referrer-policy"), "no-referrer", path)
        assert.strictEqual(headers.get("x-frame-options"), "DENY", path)
        assert.strictEqual(headers.get("cache-control"), "no-store", path)
        assert.strictEqual(headers.has("content-security-policy"), path === "/page", path)
        assert.isFalse(headers.has("access-control-allow-origin"), path)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("asks keep-alive clients to go elsewhere while the process stops", () =>
    Effect.gen(function* () {
      let stopping = false
      const { send } = yield* makeEdge({ stopping: () => stopping })
      assert.isFalse((yield* send("GET", "/healthz")).headers.has("connection"))
      stopping = true
      assert.strictEqual((yield* send("GET", "/healthz")).headers.get("connection"), "close")
    }).pipe(Effect.scoped)
  )
})

describe("compression", () => {
  it.effect("is done when it is asked for and worth it, and leaves the version tag strong", () =>
    Effect.gen(function* () {
      const { handler, send } = yield* makeEdge()
      const asked = (path: string, accept: string) =>
        Effect.promise(() => handler(new Request(`http://test${path}`, { headers: { "accept-encoding": accept } })))
      const compressed = yield* asked("/long", "gzip")
      assert.strictEqual(compressed.headers.get("content-encoding"), "gzip")
      assert.strictEqual(compressed.headers.get("etag"), '"1"')
      assert.strictEqual(compressed.headers.get("vary"), "Accept-Encoding")
      const bytes = new Uint8Array(yield* Effect.promise(() => compressed.arrayBuffer()))
      assert.isBelow(bytes.length, 500)
      const decompressed = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")))
      assert.strictEqual(yield* Effect.promise(() => decompressed.text()), "long ".repeat(1000))
      for (const [path, accept] of [
        ["/long", "identity"],
        ["/long", "gzip;q=0"],
        ["/healthz", "gzip"],
        ["/plain", "gzip"],
        ["/stream", "gzip"]
      ] as const) {
        const { headers, status } = yield* asked(path, accept)
        assert.deepStrictEqual([status, headers.get("content-encoding")], [200, null], `${path} ${accept}`)
      }
      const plain = yield* send("GET", "/plain")
      assert.deepStrictEqual([plain.text.length, plain.headers.get("content-encoding")], [5000, null])
    }).pipe(Effect.scoped)
  )
})

describe("a base path", () => {
  it.effect("moves everything, also the addresses in answers; probes stay at the root too", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge({ basePath: "/shop" })
      assert.deepStrictEqual((yield* send("GET", "/shop/seen?a=1")).body, { url: "/seen?a=1" })
      assert.strictEqual((yield* send("GET", "/shop/moved")).headers.get("location"), "/shop/api/things/1")
      for (const path of ["/shop/healthz", "/healthz"]) assert.strictEqual((yield* send("GET", path)).status, 200, path)
      for (const path of ["/seen", "/", "/shopping/seen", "/shop", "/healthz/x"]) {
        const { body, status } = yield* send("GET", path)
        assert.deepStrictEqual([status, body.code, body.type], [404, "route-not-found", "/problems/route-not-found"], path)
      }
      assert.strictEqual((yield* send("DELETE", "/shop/seen")).headers.get("allow"), "GET, HEAD, OPTIONS")
    }).pipe(Effect.scoped)
  )
})

describe("browsers of other origins", () => {
  const corsOrigins = ["https://app.example.org", "http://localhost:5173"]
  const preflight = (origin: string): RequestInit => ({
    headers: { origin, "access-control-request-method": "PATCH", "access-control-request-headers": "if-match" }
  })

  it.effect("may read answers and write when they are in the list, exactly", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge({ corsOrigins })
      for (const origin of corsOrigins) {
        const read = yield* send("GET", "/api/things/1", { headers: { origin } })
        assert.strictEqual(read.headers.get("access-control-allow-origin"), origin)
        assert.include(read.headers.get("access-control-expose-headers"), "etag")
        assert.include(read.headers.get("vary"), "Origin")
        const refused = yield* send("GET", "/nowhere", { headers: { origin } })
        assert.strictEqual(refused.headers.get("access-control-allow-origin"), origin)
        const asked = yield* send("OPTIONS", "/api/things/1", preflight(origin))
        assert.strictEqual(asked.status, 204)
        assert.strictEqual(asked.headers.get("access-control-allow-origin"), origin)
        assert.strictEqual(asked.headers.get("access-control-allow-methods"), "GET, HEAD, OPTIONS, PATCH")
        assert.include(asked.headers.get("access-control-allow-headers"), "if-match")
        assert.isNotNull(asked.headers.get("x-request-id"))
      }
    }).pipe(Effect.scoped)
  )

  it.effect("get nothing that lets them when they are not", () =>
    Effect.gen(function* () {
      const { send } = yield* makeEdge({ corsOrigins })
      for (const origin of ["https://app.example.org.evil.example", "https://APP.example.org", "http://app.example.org", "null", ""]) {
        const asked = yield* send("OPTIONS", "/api/things/1", preflight(origin))
        const read = yield* send("GET", "/api/things/1", { headers: { origin } })
        for (const { headers } of [asked, read]) {
          assert.deepStrictEqual(
            [...headers.keys()].filter((name) => name.startsWith("access-control-")),
            [],
            origin
          )
          assert.include(headers.get("vary"), "Origin")
        }
      }
      assert.strictEqual((yield* send("OPTIONS", "/nowhere", preflight("https://app.example.org"))).status, 404)
    }).pipe(Effect.scoped)
  )
})
