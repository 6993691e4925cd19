import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { readFileSync } from "node:fs"
import type { RequestListener, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { getCACertificates, setDefaultCACertificates, TLSSocket } from "node:tls"
import { brotliCompressSync, gzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope, Stream, Tracer } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { AppConfig } from "#platform/config.ts"
import { Fetcher, type FetchOptions, successful } from "#platform/fetcher/fetcher.service.ts"
import { Network } from "#platform/fetcher/network.ts"
import { version } from "#platform/version.ts"
import { read } from "../support/exposition.ts"
import { forEver, Internet, rawServer, secureServer, webServer } from "../support/internet.ts"

const fetcher = (allowed = "") => Fetcher.layerNoDeps.pipe(Layer.provide(AppConfig.fromEnv({ FETCH_ALLOW_HOSTS: allowed })))
const onThisMachine = (allowed?: string) => fetcher(allowed).pipe(Layer.provideMerge(Network.layer))
const onTheInternet = (allowed?: string) => fetcher(allowed).pipe(Layer.provideMerge(Internet.layer))

const mebibyte = 2 ** 20

const open = (address: string, options: Partial<FetchOptions> = {}) =>
  Fetcher.use(({ fetch }) => fetch(address, { maxBytes: mebibyte, ...options }))

const collect = <E>(body: Stream.Stream<Uint8Array, E>) => Effect.map(Stream.runCollect(body), (chunks) => Buffer.concat(chunks))

/** All of it, the connection closed. */
const get = (address: string, options?: Partial<FetchOptions>) =>
  open(address, options).pipe(
    Effect.flatMap((fetched) => Effect.map(collect(fetched.body), (bytes) => ({ ...fetched, bytes, text: bytes.toString() }))),
    Effect.scoped
  )

const refused = (address: string, options?: Partial<FetchOptions>) => Effect.flip(get(address, options))

const local = ({ port }: { readonly port: number }, path = "/") => `http://127.0.0.1:${port}${path}`

const answer =
  (status: number, headers: Record<string, string | number>, body: string | Uint8Array = ""): RequestListener =>
  (_request, response) =>
    void response.writeHead(status, headers).end(body)

/** Runs the effect; every socket that anything in this process made meanwhile. */
const socketsOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let made = 0
    const count = () => {
      made++
    }
    subscribe("net.client.socket", count)
    return effect.pipe(
      Effect.map((result) => ({ result, made })),
      Effect.ensuring(Effect.sync(() => unsubscribe("net.client.socket", count)))
    )
  })

const closed = (socket: Socket) =>
  Effect.callback<void>((resume) => {
    if (socket.destroyed) resume(Effect.void)
    else socket.once("close", () => resume(Effect.void))
  })

layer(onThisMachine(), { excludeTestServices: true, timeout: "30 seconds" })("an address on this machine or its networks", (it) => {
  const hosts = [
    ["127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1"],
    ["127。0。0。1", "１２７.0.0.1", "①②⑦.⓪.⓪.①", "%31%32%37.0.0.1", "0", "0.0.0.0", "00.0x0.0", "localhost"],
    ["[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]"],
    [
      "[64:ff9b::127.0.0.1]",
      "[64:ff9b:1::7f00:1]",
      "[2002:7f00:1::]",
      "[2001:0:7f00:1::]",
      "[fe80::1]",
      "[fec0::1]",
      "[fd00::1]",
      "[ff02::1]"
    ],
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "198.18.0.1", "192.0.2.1"],
    [
      "198.51.100.1",
      "203.0.113.1",
      "192.88.99.1",
      "224.0.0.1",
      "240.0.0.1",
      "255.255.255.255",
      "168.63.129.16",
      "[100::1]",
      "[5f00::1]",
      "[2001:db8::1]"
    ]
  ].flat()
  for (const scheme of ["http", "https"]) {
    it.effect(`is refused over ${scheme}, however it is spelled, without any connection`, () =>
      Effect.gen(function* () {
        const server = yield* webServer(answer(200, {}, "secret"))
        for (const host of hosts) {
          const { made, result } = yield* socketsOf(refused(`${scheme}://${host}:${server.port}/`))
          assert.deepStrictEqual([result.reason, made], ["no-host", 0], host)
        }
        assert.strictEqual(server.accepted(), 0)
      }).pipe(Effect.scoped)
    )
  }

  it.effect("is known to the machine", () =>
    Effect.gen(function* () {
      const { own, resolve } = yield* Network
      assert.include(yield* own, "127.0.0.1/8")
      const all = yield* Effect.forEach(Array.from({ length: 32 }), () => resolve("localhost"), { concurrency: "unbounded" })
      for (const addresses of all) assert.include(addresses, "127.0.0.1")
    })
  )

  const unfit: ReadonlyArray<readonly [string, RegExp]> = [
    ["file:///etc/passwd", /https:\/\//u],
    ["ftp://example.org/", /https:\/\//u],
    ["gopher://127.0.0.1:70/_x", /https:\/\//u],
    ["data:text/plain,x", /https:\/\//u],
    ["javascript:alert(1)", /https:\/\//u],
    ["ws://example.org/", /https:\/\//u],
    ["blob:https://example.org/1", /https:\/\//u],
    ["", /cannot be read/u],
    ["example.org", /cannot be read/u],
    ["//example.org", /cannot be read/u],
    ["http://", /cannot be read/u],
    ["http://[fe80::1%25eth0]/", /cannot be read/u],
    ["http://256.1.1.1/", /cannot be read/u],
    ["http://exa mple.org/", /cannot be read/u],
    ["http://example.org:65536/", /cannot be read/u],
    [`http://${"a.".repeat(200)}example/`, /cannot be read/u],
    ["http://user@example.org/", /user name/u],
    ["https://user:hunter2@example.org/", /user name/u],
    ["http://:hunter2@127.0.0.1/", /user name/u],
    ["http://example.org:0/", /port 0/u],
    ["http://example.org:25/", /port 25/u],
    ["https://example.org:6667/", /port 6667/u]
  ]
  for (const [address, sentence] of unfit) {
    it.effect(`is not asked for by ${address.slice(0, 40)}`, () =>
      Effect.gen(function* () {
        const { made, result } = yield* socketsOf(refused(address))
        assert.deepStrictEqual([result.reason, made], ["bad-address", 0])
        assert.match(result.sentence, sentence)
        assert.notInclude(result.sentence, "hunter2")
      })
    )
  }
})

layer(onThisMachine("127.0.0.1"), { excludeTestServices: true, timeout: "30 seconds" })("a fetch", (it) => {
  it.effect("gives what the server sends, and asks as Partwright and nobody else", () =>
    Effect.gen(function* () {
      let seen: unknown
      const server = yield* webServer((request, response) => {
        seen = { url: request.url, method: request.method, headers: request.headers }
        response.writeHead(200, {
          "content-type": "Text/HTML; charset=ISO-8859-1",
          "content-disposition": Buffer.from('inline; filename="ß 图.pdf"').toString("latin1"),
          etag: '"1"',
          "set-cookie": "a=b"
        })
        response.end("hello")
      })
      const { made, result } = yield* socketsOf(get(local(server, "/a%20b/ü?q=1 2#part"), { accept: "text/html" }))
      const { bytes, charset, finalUrl, headers, mediaType, status } = result
      assert.deepStrictEqual(
        { status, mediaType, charset, headers, body: bytes.toString(), finalUrl: finalUrl.href },
        {
          status: 200,
          mediaType: "text/html",
          charset: "ISO-8859-1",
          headers: { "content-disposition": 'inline; filename="ß 图.pdf"', etag: '"1"' },
          body: "hello",
          finalUrl: local(server, "/a%20b/%C3%BC?q=1%202")
        }
      )
      assert.deepStrictEqual(seen, {
        url: "/a%20b/%C3%BC?q=1%202",
        method: "GET",
        headers: {
          host: `127.0.0.1:${server.port}`,
          "user-agent": `Partwright/${version}`,
          accept: "text/html",
          "accept-encoding": "gzip, br",
          connection: "close"
        }
      })
      assert.strictEqual(made, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("uses no proxy, whatever the environment says", () =>
    Effect.gen(function* () {
      const [server, proxy] = [yield* webServer(answer(200, {}, "direct")), yield* webServer(answer(200, {}, "proxied"))]
      const variables = ["http_proxy", "HTTP_PROXY", "all_proxy", "NODE_USE_ENV_PROXY"]
      const before = variables.map((name) => process.env[name])
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          for (const name of variables) process.env[name] = name === "NODE_USE_ENV_PROXY" ? "1" : local(proxy)
        }),
        () =>
          Effect.sync(() => {
            for (const [at, name] of variables.entries())
              if (before[at] === undefined) delete process.env[name]
              else process.env[name] = before[at]
          })
      )
      assert.strictEqual((yield* get(local(server))).text, "direct")
      assert.strictEqual(proxy.accepted(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("gives answers of every status; a caller may ask for success alone", () =>
    Effect.gen(function* () {
      const server = yield* webServer(({ url }, response) => void response.writeHead(Number(url?.slice(1))).end())
      for (const status of [200, 204, 299, 300, 304, 404, 410, 429, 500, 599]) {
        const fetched = yield* get(local(server, `/${status}`))
        assert.deepStrictEqual([fetched.status, fetched.mediaType, fetched.text], [status, null, ""])
        const exit = yield* Effect.exit(successful(fetched))
        assert.strictEqual(Exit.isSuccess(exit), status < 300)
      }
      const error = yield* Effect.flip(Effect.scoped(Effect.flatMap(open(local(server, "/503")), successful)))
      assert.deepStrictEqual([error.reason, error.message], ["error-status", "127.0.0.1 answered with the status 503."])
    }).pipe(Effect.scoped)
  )

  it.effect("decodes gzip and Brotli", () =>
    Effect.gen(function* () {
      const text = "wörds ".repeat(10_000)
      for (const [encoding, bytes] of [
        ["gzip", gzipSync(text)],
        ["X-GZIP", gzipSync(text)],
        ["br", brotliCompressSync(text)],
        ["identity", Buffer.from(text)]
      ] as const) {
        const server = yield* webServer(answer(200, { "content-encoding": encoding, "content-length": bytes.length }, bytes))
        assert.strictEqual((yield* get(local(server))).text, text, encoding)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("reads a body once", () =>
    Effect.gen(function* () {
      const server = yield* webServer(answer(200, {}, "hello"))
      const { body } = yield* open(local(server))
      yield* collect(body)
      assert.isTrue(Exit.hasDies(yield* Effect.exit(collect(body))))
    }).pipe(Effect.scoped)
  )

  it.effect("of 32 at once gives each its own body", () =>
    Effect.gen(function* () {
      const waiting: Array<() => void> = []
      const server = yield* webServer(({ url }, response) => {
        waiting.push(() => void response.end(`${url} `.repeat(20_000)))
        // None is answered before all have asked.
        if (waiting.length === 32) for (const go of waiting) go()
      })
      const paths = Array.from({ length: 32 }, (_, n) => `/${n}`)
      const all = yield* Effect.forEach(paths, (path) => get(local(server, path)), { concurrency: "unbounded" })
      assert.deepStrictEqual(
        all.map(({ text }) => text),
        paths.map((path) => `${path} `.repeat(20_000))
      )
      assert.strictEqual(server.accepted(), 32)
      yield* Effect.forEach(server.sockets, closed, { discard: true })
    }).pipe(Effect.scoped)
  )

  const tooLarge: ReadonlyArray<readonly [string, RequestListener, Partial<FetchOptions>?]> = [
    ["that is declared too large", answer(200, { "content-length": mebibyte + 1 })],
    ["one byte larger than allowed", answer(200, {}, Buffer.alloc(mebibyte + 1))],
    ["without end", (_request, response) => forEver(response, Buffer.alloc(65_536))],
    ["that decodes to a thousand times its size", answer(200, { "content-encoding": "gzip" }, gzipSync(Buffer.alloc(64 * mebibyte)))],
    [
      "that decodes, with Brotli, to a million times its size",
      answer(200, { "content-encoding": "br" }, brotliCompressSync(Buffer.alloc(64 * mebibyte)))
    ],
    [
      "without end that decodes to nothing",
      (_request, response) => {
        response.writeHead(200, { "content-encoding": "gzip" })
        forEver(response, Buffer.concat(Array.from({ length: 100 }, () => gzipSync(""))))
      }
    ]
  ]
  for (const [what, listener] of tooLarge) {
    it.effect(`stops at a body ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* webServer(listener)
        const error = yield* refused(local(server))
        assert.deepStrictEqual([error.reason, error.sentence], ["too-large", "127.0.0.1 sends more than 1 MiB."])
        yield* Effect.forEach(server.sockets, closed, { discard: true })
      }).pipe(Effect.scoped)
    )
  }

  it.effect("takes a body exactly as large as allowed, and one of nothing", () =>
    Effect.gen(function* () {
      const server = yield* webServer(({ url }, response) => void response.end(Buffer.alloc(Number(url?.slice(1)), 7)))
      assert.strictEqual((yield* get(local(server, `/${mebibyte}`))).bytes.length, mebibyte)
      assert.strictEqual((yield* get(local(server, "/0"))).bytes.length, 0)
      assert.strictEqual((yield* get(local(server, "/0"), { maxBytes: 1 })).bytes.length, 0)
    }).pipe(Effect.scoped)
  )

  const ok = "HTTP/1.1 200 OK\r\n"
  const half = gzipSync("hello ".repeat(1000)).subarray(0, 20)
  const broken: ReadonlyArray<readonly [string, string | Uint8Array, RegExp]> = [
    ["ends before its length", `${ok}Content-Length: 10\r\n\r\nhello`, /broke off/u],
    ["ends without its last chunk", `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`, /broke off/u],
    ["has chunks that are none", `${ok}Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n`, /broke off/u],
    [
      "ends within its compression",
      Buffer.concat([Buffer.from(`${ok}Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n`), half]),
      /broke off/u
    ],
    ["is not compressed as it says", `${ok}Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello`, /damaged/u],
    [
      "is no Brotli as it says",
      Buffer.concat([Buffer.from(`${ok}Content-Encoding: br\r\nContent-Length: 5\r\n\r\n`), Buffer.alloc(5, 255)]),
      /damaged/u
    ],
    ["is compressed otherwise", `${ok}Content-Encoding: zstd\r\nContent-Length: 5\r\n\r\nhello`, /not asked for/u],
    ["is compressed twice", `${ok}Content-Encoding: gzip, gzip\r\nContent-Length: 5\r\n\r\nhello`, /not asked for/u]
  ]
  for (const [what, bytes, sentence] of broken) {
    it.effect(`fails when the body ${what}`, () =>
      Effect.gen(function* () {
        const error = yield* refused(local(yield* rawServer(bytes)))
        assert.strictEqual(error.reason, "broken-body")
        assert.match(error.sentence, sentence)
      }).pipe(Effect.scoped)
    )
  }

  it.effect("reads as many bytes as are declared, whatever comes after them", () =>
    Effect.gen(function* () {
      for (const more of [" world", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]) {
        const server = yield* rawServer(`${ok}Content-Length: 5\r\n\r\nhello${more}`, (socket) => forEver(socket, more.repeat(1000)))
        assert.strictEqual((yield* get(local(server))).text, "hello")
        yield* Effect.forEach(server.sockets, closed, { discard: true })
      }
    }).pipe(Effect.scoped)
  )

  it.effect("of an answer without length or chunks reads to the end of the connection", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get(local(yield* rawServer("HTTP/1.0 200 OK\r\n\r\nhello")))).text, "hello")
    }).pipe(Effect.scoped)
  )

  const noHttp: ReadonlyArray<readonly [string, string | Uint8Array]> = [
    ["says nothing and hangs up", ""],
    ["speaks SSH", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["speaks TLS", Uint8Array.of(21, 3, 1, 0, 2, 2, 80)],
    ["hangs up within its headers", "HTTP/1.1 200 OK\r\nContent-"],
    ["has headers without end", `${ok}X-A: ${"a".repeat(20_000)}\r\n\r\n`],
    ["has a thousand headers", `${ok}${Array.from({ length: 2000 }, (_, n) => `X-${n}: some value`).join("\r\n")}\r\n\r\n`],
    ["gives two lengths", `${ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`],
    ["changes the protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]
  ]
  for (const [what, bytes] of noHttp) {
    it.effect(`has no answer of a server that ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* rawServer(bytes)
        const error = yield* refused(local(server))
        assert.deepStrictEqual([error.reason, error.sentence], ["no-answer", "127.0.0.1 does not answer as a web server does."])
        yield* Effect.forEach(server.sockets, closed, { discard: true })
      }).pipe(Effect.scoped)
    )
  }

  it.effect("has no answer of a port that nobody listens on", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(webServer(answer(200, {})))
      const error = yield* refused(local({ port }))
      assert.deepStrictEqual([error.reason, error.sentence], ["no-answer", "127.0.0.1 did not answer."])
    })
  )

  it.effect("passes over what is said before the answer", () =>
    Effect.gen(function* () {
      const server = yield* rawServer(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}Content-Length: 5\r\n\r\nhello`)
      assert.strictEqual((yield* get(local(server))).text, "hello")
    }).pipe(Effect.scoped)
  )

  const slow: ReadonlyArray<readonly [string, string, Partial<FetchOptions>, ((socket: Socket) => void)?]> = [
    ["never answers", "", { idleTimeout: "200 millis" }],
    ["stops within its headers", "HTTP/1.1 200 OK\r\nX-A: ", { idleTimeout: "200 millis" }],
    ["never answers, in all the time there is", "", { timeout: "200 millis" }],
    ["stops within its body", `${ok}Content-Length: 10\r\n\r\nhello`, { idleTimeout: "200 millis" }],
    ["stops within its compressed body", `${ok}Content-Encoding: gzip\r\n\r\n`, { idleTimeout: "200 millis" }],
    ["drips for ever", `${ok}\r\n`, { idleTimeout: "1 second", timeout: "300 millis" }, drip("x")],
    ["drips headers for ever", ok, { idleTimeout: "300 millis" }, drip("X-A: a\r\n")],
    ["promises an answer for ever", "", { idleTimeout: "300 millis" }, drip("HTTP/1.1 103 Early Hints\r\n\r\n")]
  ]
  for (const [what, bytes, options, next = () => {}] of slow) {
    it.effect(`runs out of time with a server that ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* rawServer(bytes, next)
        const error = yield* refused(local(server), options)
        assert.strictEqual(error.reason, "timeout", error.sentence)
        assert.match(error.sentence, /127\.0\.0\.1/u)
        assert.strictEqual(server.accepted(), 1)
        yield* Effect.forEach(server.sockets, closed, { discard: true })
      }).pipe(Effect.scoped)
    )
  }

  it.effect("lets go of a body that nobody reads", () =>
    Effect.gen(function* () {
      const server = yield* webServer((_request, response) => forEver(response, Buffer.alloc(65_536)))
      const { body } = yield* open(local(server), { timeout: "300 millis" })
      yield* Effect.forEach(server.sockets, closed, { discard: true })
      assert.strictEqual((yield* Effect.flip(collect(body))).reason, "timeout")
    }).pipe(Effect.scoped)
  )

  it.effect("closes its connection at once when it is interrupted, whatever it waits for", () =>
    Effect.gen(function* () {
      for (const bytes of ["", "HTTP/1.1 200", `${ok}Content-Length: 10\r\n\r\nhello`]) {
        const connected = yield* Deferred.make<Socket>()
        const server = yield* rawServer(bytes, (socket) => void Deferred.doneUnsafe(connected, Exit.succeed(socket)))
        const fiber = yield* Effect.forkChild(get(local(server)))
        const socket = yield* Deferred.await(connected)
        yield* Fiber.interrupt(fiber)
        yield* closed(socket)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("that failed holds no connection, while the scope goes on", () =>
    Effect.gen(function* () {
      const listeners = [
        answer(200, { "content-length": mebibyte + 1 }),
        answer(200, { "content-encoding": "zstd" }, "hello"),
        (_request: unknown, response: ServerResponse) => {
          response.writeHead(302, { location: "http://127.0.0.2/" })
          forEver(response, "x".repeat(65_536))
        }
      ]
      for (const listener of listeners) {
        const server = yield* webServer(listener)
        yield* Effect.flip(open(local(server)))
        assert.strictEqual(server.accepted(), 1)
        yield* Effect.forEach(server.sockets, closed, { discard: true })
      }
    }).pipe(Effect.scoped)
  )

  it.effect("closes its connection with the scope, read or not", () =>
    Effect.gen(function* () {
      const server = yield* webServer((_request, response) => forEver(response, Buffer.alloc(65_536)))
      const scope = yield* Scope.make()
      const { body } = yield* Scope.provide(open(local(server)), scope)
      assert.isNotEmpty(yield* Stream.runCollect(Stream.take(body, 1)))
      const sockets = [...server.sockets]
      yield* Scope.close(scope, Exit.void)
      yield* Effect.forEach(sockets, closed, { discard: true })
    }).pipe(Effect.scoped)
  )

  it.effect("follows redirects of every kind, relative and in any script, to the end", () =>
    Effect.gen(function* () {
      const statuses = [301, 302, 303, 307, 308]
      const server = yield* webServer(({ url = "" }, response) => {
        const at = Number(/^\/(\d)/u.exec(url)?.[1])
        const status = statuses[at]
        if (status === undefined) return void response.end(`at ${url}`)
        const location = at === 4 ? Buffer.from("/5/ü 图?q=ß#part").toString("latin1") : `${at + 1}?from=${at}`
        // The body of a redirect is not waited for.
        response.writeHead(status, { location })
        forEver(response, Buffer.alloc(65_536))
      })
      const { finalUrl, text } = yield* get(local(server, "/0"))
      assert.strictEqual(text, "at /5/%C3%BC%20%E5%9B%BE?q=%C3%9F")
      assert.strictEqual(finalUrl.href, local(server, "/5/%C3%BC%20%E5%9B%BE?q=%C3%9F"))
      assert.strictEqual(server.accepted(), 6)
      const error = yield* refused(local(server, "/0"), { maxRedirects: 4 })
      assert.deepStrictEqual([error.reason, error.sentence], ["redirects", "127.0.0.1 redirects on after 4 redirects."])
    }).pipe(Effect.scoped)
  )

  it.effect("does not go round in circles", () =>
    Effect.gen(function* () {
      const server = yield* webServer((request, response) => void response.writeHead(302, { location: request.url ?? "" }).end())
      assert.strictEqual((yield* refused(local(server, "/again"))).reason, "redirects")
      assert.strictEqual(server.accepted(), 6)
      assert.strictEqual((yield* refused(local(server, "/again"), { maxRedirects: 0 })).reason, "redirects")
      assert.strictEqual(server.accepted(), 7)
    }).pipe(Effect.scoped)
  )

  it.effect("does not follow to where it would not go by itself", () =>
    Effect.gen(function* () {
      const secret = yield* webServer(answer(200, {}, "secret"))
      const leads: ReadonlyArray<readonly [location: string | undefined, reason: string]> = [
        [`http://127.0.0.2:${secret.port}/`, "no-host"],
        [`//[::1]:${secret.port}/`, "no-host"],
        [`http://[::ffff:127.0.0.2]:${secret.port}/`, "no-host"],
        ["http://169.254.169.254/latest/meta-data", "no-host"],
        ["file:///etc/passwd", "bad-address"],
        ["gopher://127.0.0.1/", "bad-address"],
        [`http://user:hunter2@127.0.0.1:${secret.port}/`, "bad-address"],
        ["http://127.0.0.1:22/", "bad-address"],
        ["http://[/", "bad-address"],
        [undefined, "redirects"]
      ]
      for (const [location, reason] of leads) {
        const server = yield* webServer(answer(302, location === undefined ? {} : { location }))
        const { made, result } = yield* socketsOf(refused(local(server)))
        assert.deepStrictEqual([result.reason, made], [reason, 1], location)
        assert.notInclude(result.sentence, "hunter2")
      }
      assert.strictEqual(secret.accepted(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("is counted once, by its outcome, and timed", () =>
    Effect.gen(function* () {
      const figures = Effect.map(PrometheusMetrics.format({ prefix: "partwright" }), (page) => {
        const { faults, series } = read(page)
        assert.deepStrictEqual(faults, [])
        const counts = series.filter(({ name }) => name === "partwright_fetcher_requests_total")
        const timed = series.find(({ name }) => name === "partwright_fetcher_duration_seconds_count")?.value
        return new Map<string, number>([
          ...counts.map(({ labels, value }) => [labels.outcome ?? "", value] as const),
          ["timed", timed ?? 0]
        ])
      })
      const server = yield* webServer(({ url }, response) => {
        if (url === "/loop") response.writeHead(302, { location: "/loop" })
        response.end("hello")
      })
      const before = yield* figures
      yield* get(local(server))
      yield* get(local(server))
      yield* Effect.scoped(open(local(server)))
      yield* refused(local(server, "/loop"))
      yield* refused(local(server), { maxBytes: 1 })
      yield* refused("http://127.0.0.2/")
      const after = yield* figures
      const change = [...after].map(([name, value]) => [name, value - (before.get(name) ?? Number.NaN)] as const)
      assert.deepStrictEqual(Object.fromEntries(change), {
        ok: 2,
        abandoned: 1,
        redirects: 1,
        "too-large": 1,
        "no-host": 1,
        "bad-address": 0,
        "no-answer": 0,
        "broken-body": 0,
        timeout: 0,
        timed: 6
      })
    }).pipe(Effect.scoped)
  )

  it.effect("is traced without what an address may carry", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const server = yield* webServer(answer(302, { location: "/token-swordfish?key=swordfish" }))
      yield* Effect.exit(get(local(server, "/path-hunter2?token=hunter2"))).pipe(Effect.withTracer(tracer))
      yield* Effect.exit(get("http://user:hunter2@127.0.0.1/")).pipe(Effect.withTracer(tracer))
      assert.deepStrictEqual(
        spans.map(({ kind, name }) => [name, kind]),
        [
          ["Fetcher.fetch", "client"],
          ["Fetcher.fetch", "client"]
        ]
      )
      assert.deepStrictEqual(Object.fromEntries(spans[0]!.attributes), {
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "error.type": "redirects"
      })
      assert.notMatch(
        spans.map(({ attributes, status }) => JSON.stringify([[...attributes], status._tag === "Ended" ? String(status.exit) : ""])).join(),
        /hunter2|swordfish/u
      )
    }).pipe(Effect.scoped)
  )
})

function drip(text: string) {
  return (socket: Socket) => {
    const timer = setInterval(() => socket.write(text), 20)
    socket.once("close", () => clearInterval(timer))
  }
}

const shop = "93.184.215.14"

layer(onTheInternet("nas.local,10.1.0.0/16,printer:25"), { excludeTestServices: true, timeout: "30 seconds" })("a name", (it) => {
  it.effect("is looked up once; the connection goes to the address that was checked, the name stays in the request", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const hosts: Array<string | undefined> = []
      const server = yield* webServer(({ headers }, response) => {
        hosts.push(headers.host)
        response.end("hello")
      })
      internet.place(shop, server.port)
      internet.name("once.example", [shop, "2a00::1"], ["127.0.0.1"])
      assert.strictEqual((yield* get("http://ONCE.example:8080/")).text, "hello")
      assert.deepStrictEqual(
        internet.connections.filter(({ host }) => host === "once.example"),
        [{ host: "once.example", port: 8080, secure: false, addresses: [shop, "2a00::1"] }]
      )
      assert.deepStrictEqual(
        internet.lookups.filter((name) => name === "once.example"),
        ["once.example"]
      )
      assert.deepStrictEqual(hosts, ["once.example:8080"])
    }).pipe(Effect.scoped)
  )

  it.effect("that leads elsewhere when it is asked again is checked again", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const server = yield* webServer(answer(302, { location: "/again" }))
      internet.place(shop, server.port)
      internet.place("127.0.0.1", server.port)
      internet.name("rebinding.example", [shop], ["127.0.0.1"])
      const { made, result } = yield* socketsOf(refused("http://rebinding.example/"))
      assert.deepStrictEqual([result.reason, made, server.accepted()], ["no-host", 1, 1])
      assert.deepStrictEqual(
        internet.connections.filter(({ host }) => host === "rebinding.example").map(({ addresses }) => addresses),
        [[shop]]
      )
      // And from then on.
      assert.strictEqual((yield* refused("http://rebinding.example/")).reason, "no-host")
      assert.strictEqual(server.accepted(), 1)
    }).pipe(Effect.scoped)
  )

  const inner = [
    ["127.0.0.1", "127.8.8.8", "0.0.0.0", "10.2.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254"],
    ["192.0.0.1", "192.0.2.1", "192.88.99.1", "198.19.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"],
    ["255.255.255.255", "168.63.129.16", "::", "::1", "::ffff:10.2.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "::ffff:0:8.8.8.8"],
    ["64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:808:808::1", "3fff::1"],
    [
      "4000::1",
      "5f00::1",
      "fc00::1",
      "fd00:ec2::254",
      "fe80::1",
      "fe80::1%eth0",
      "2a00::1%eth0",
      "fec0::1",
      "ff02::1",
      "not an address",
      ""
    ]
  ].flat()
  it.effect("that leads to any address that is not the internet's is refused, also when others are", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const before = internet.connections.length
      for (const address of inner) {
        for (const addresses of [[address], [shop, address], [address, shop]]) {
          internet.name("inner.example", addresses)
          const { made, result } = yield* socketsOf(refused("https://inner.example/"))
          assert.deepStrictEqual([result.reason, made], ["no-host", 0], address)
          assert.notInclude(result.sentence, shop)
          if (address !== "") assert.notInclude(result.sentence, address)
        }
      }
      assert.strictEqual(internet.connections.length, before)
    })
  )

  it.effect("that does not exist reads like one of an inner network", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      internet.name("inner.example", ["10.2.0.1"])
      const [inner, nowhere] = [yield* refused("http://inner.example/"), yield* refused("http://nowhere.example/")]
      assert.strictEqual(inner.sentence.replace("inner", "nowhere"), nowhere.sentence)
      assert.strictEqual(inner.reason, nowhere.reason)
    })
  )

  it.effect("that is this machine's own, in any spelling, is looked up and refused", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      for (const name of ["localhost", "localhost."]) internet.name(name, ["::1", "127.0.0.1"])
      for (const host of ["LOCALHOST", "localhost.", "loc%61lhost", "ｌocalhost"]) {
        const { made, result } = yield* socketsOf(refused(`http://${host}/`))
        assert.deepStrictEqual([result.reason, made], ["no-host", 0], host)
        assert.match(internet.lookups.at(-1) ?? "", /^localhost\.?$/u)
      }
    })
  )

  it.effect("of which one address does not answer is reached at the other", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const server = yield* webServer(answer(200, {}, "hello"))
      internet.place(shop, server.port)
      for (const addresses of [
        ["93.184.215.99", shop],
        [shop, "93.184.215.99"]
      ]) {
        internet.name("two.example", addresses)
        assert.strictEqual((yield* get("http://two.example/")).text, "hello")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("that leads to this machine or its neighbours is refused, be their addresses public", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      internet.own("93.184.215.0/28", "2a00:1:2:3::5/64")
      for (const address of [shop, "93.184.215.1", "2a00:1:2:3::5", "2a00:1:2:3:ffff::1"]) {
        internet.name("neighbour.example", [address])
        const { made, result } = yield* socketsOf(refused("http://neighbour.example/"))
        assert.deepStrictEqual([result.reason, made], ["no-host", 0], address)
      }
      internet.own()
      const server = yield* webServer(answer(200, {}, "hello"))
      internet.place(shop, server.port)
      internet.name("neighbour.example", [shop])
      assert.strictEqual((yield* get("http://neighbour.example/")).text, "hello")
    }).pipe(Effect.scoped)
  )

  it.effect("that is allowed may lead anywhere, as may one that leads to an allowed address", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const server = yield* webServer(answer(200, {}, "inside"))
      for (const address of ["192.168.1.5", "10.1.2.3", "10.2.0.1"]) internet.place(address, server.port)
      internet.name("nas.local", ["192.168.1.5"])
      internet.name("nas.local.", ["192.168.1.5"])
      internet.name("other.local", ["10.1.2.3"], ["10.1.2.3", "10.2.0.1"])
      internet.name("printer", ["192.168.1.5"])
      for (const address of [
        "http://nas.local/",
        "http://NAS.local.:8080/",
        "http://other.local/",
        "http://printer:25/",
        "http://10.1.2.3/"
      ])
        assert.strictEqual((yield* get(address)).text, "inside", address)
      for (const address of ["http://other.local/", "http://printer/", "http://192.168.1.5/", "http://10.2.0.1/"])
        assert.strictEqual((yield* refused(address)).reason, "no-host", address)
    }).pipe(Effect.scoped)
  )

  it.effect("that cannot be looked up is out of time, not for ever waited for", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      internet.silence("silent.example")
      const error = yield* refused("http://silent.example/", { connectTimeout: "100 millis" })
      assert.deepStrictEqual([error.reason, error.sentence], ["timeout", "The name silent.example could not be looked up in time."])
    })
  )

  const pem = readFileSync(new URL("fixtures/shop.example.pem", import.meta.url), "utf8")
  const trusting = Effect.acquireRelease(
    Effect.sync(() => {
      const before = getCACertificates("default")
      setDefaultCACertificates([...before, pem])
      return before
    }),
    (before) => Effect.sync(() => setDefaultCACertificates(before))
  )

  it.effect("is the one that a certificate is asked for and checked by", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const asked: Array<unknown> = []
      const server = yield* secureServer(pem, ({ headers, socket }, response) => {
        if (socket instanceof TLSSocket) asked.push([socket.servername, headers.host, socket.alpnProtocol])
        response.end("hello")
      })
      internet.place(shop, server.port)
      for (const name of ["shop.example", "shop.example.", "other.example"]) internet.name(name, [shop])

      const untrusted = yield* refused("https://shop.example/")
      assert.deepStrictEqual([untrusted.reason, asked], ["no-answer", []])
      assert.match(untrusted.sentence, /certificate/u)

      yield* trusting
      assert.strictEqual((yield* get("https://shop.example/")).text, "hello")
      assert.strictEqual((yield* get("https://shop.example./")).text, "hello")
      const wrong = yield* refused("https://other.example/")
      assert.strictEqual(wrong.reason, "no-answer")
      assert.match(wrong.sentence, /certificate/u)
      assert.deepStrictEqual(asked, [
        ["shop.example", "shop.example", "http/1.1"],
        ["shop.example", "shop.example.", "http/1.1"]
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("whose server speaks no TLS, or none in time, has no answer over https", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      internet.name("shop.example", [shop])
      internet.place(shop, (yield* rawServer("HTTP/1.1 400 Bad Request\r\n\r\n")).port)
      assert.strictEqual((yield* refused("https://shop.example/")).reason, "no-answer")
      const mute = yield* rawServer("", () => {})
      internet.place(shop, mute.port)
      assert.strictEqual((yield* refused("https://shop.example/", { connectTimeout: "200 millis" })).reason, "timeout")
      yield* Effect.forEach(mute.sockets, closed, { discard: true })
    }).pipe(Effect.scoped)
  )

  it.effect("may lead from http to https, but not back", () =>
    Effect.gen(function* () {
      const internet = yield* Internet
      const [plain, secret] = [shop, "93.184.215.15"]
      const redirect = (to: string) => (_request: unknown, response: ServerResponse) => void response.writeHead(301, { location: to }).end()
      yield* trusting
      internet.name("up.example", [plain])
      internet.name("shop.example", [secret])
      const up = yield* webServer(redirect("https://shop.example/"))
      internet.place(plain, up.port)
      internet.place(secret, (yield* secureServer(pem, answer(200, {}, "hello"))).port)
      const { finalUrl, text } = yield* get("http://up.example/")
      assert.deepStrictEqual([finalUrl.href, text], ["https://shop.example/", "hello"])

      internet.place(secret, (yield* secureServer(pem, redirect("http://up.example/"))).port)
      const error = yield* refused("https://shop.example/")
      assert.strictEqual(error.reason, "redirects")
      assert.match(error.sentence, /http address/u)
      assert.strictEqual(up.accepted(), 1)
    }).pipe(Effect.scoped)
  )
})
