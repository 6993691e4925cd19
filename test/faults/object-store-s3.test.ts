import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createServer as createTcpServer, type Server, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { StorageUnavailable } from "#platform/http/problems.ts"
import type { ObjectMissing } from "#platform/objects/object.ts"
import { layerS3 } from "#platform/objects/object-store.s3.ts"
import { ObjectStore } from "#platform/objects/object-store.ts"
import { freePort } from "../support/server-process.ts"
import { bytesOf, someBytes, spooled } from "../support/spool.ts"

const portOf = (server: Server) =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    server.on("connection", (socket: Socket) => {
      sockets.add(socket)
      socket.on("error", () => {}).on("close", () => sockets.delete(socket))
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  })

// Long enough for a busy machine, where the answer of a server that does answer takes its time.
const short = Duration.millis(1500)

const storeAt = (endpoint: string, idle = short) => {
  const options = { region: "us-east-1", forcePathStyle: true, bucketNames: { docs: "the-docs", images: "the-images" } }
  const keys = { accessKeyId: "the-id", secretAccessKey: Redacted.make("the-secret") }
  const patience = { connect: Duration.seconds(2), answer: short, idle, check: short }
  return Effect.map(Layer.build(layerS3({ endpoint, ...options, ...keys, patience })), (context) => Context.get(context, ObjectStore))
}

type Handler = (request: IncomingMessage, response: ServerResponse, n: number) => void

/** The store on a server that answers its requests as the test says; it is told how many came before. */
const answeredBy = (handler: Handler, idle = short) =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const port = yield* portOf(
      createServer((request, response) => {
        seen.push(request.method ?? "")
        handler(request, response, seen.length - 1)
      })
    )
    return { store: yield* storeAt(`http://127.0.0.1:${port}`, idle), seen }
  })

/** The sentence that a person gets; there is nothing in it that only those who run the server may know. */
const refusalOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, StorageUnavailable)
    assert.notMatch(JSON.stringify(error), /127\.0\.0\.1|the-id|the-secret|the-key/u)
    return error.detail ?? ""
  })

const address = { bucket: "docs", key: "the-key" } as const
const late = "The object store did not answer in time. Try again in a moment."
const broken = "The connection to the object store broke. Try again in a moment."
const overloaded = "The object store is out of order or overloaded. Try again in a moment."
const tries = 4

const received = (request: IncomingMessage, then: (bytes: Buffer) => void) => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => then(Buffer.concat(chunks)))
}

/** Calls that send no body. */
const questions = (store: ObjectStore["Service"]) => ({
  get: Effect.scoped(store.get(address)),
  head: store.head(address),
  remove: store.remove(address),
  list: Stream.runDrain(store.list("docs")),
  check: store.check
})

// Side by side: each waits for a server of its own.
describe.concurrent("the S3 store, when its server", () => {
  it.live("is away, says so after a few tries", () =>
    Effect.gen(function* () {
      const store = yield* storeAt(`http://127.0.0.1:${yield* freePort}`)
      const object = yield* spooled(someBytes(3_000_000))
      const calls = { ...questions(store), put: store.put(object) }
      const away = "The object store cannot be reached. Try again in a moment."
      const refusals = yield* Effect.forEach(
        Object.values(calls),
        (call) => refusalOf<unknown, StorageUnavailable | ObjectMissing, never>(call),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(refusals, Array(6).fill(away))
      const puts = Effect.forEach(Array.from({ length: 32 }), () => refusalOf(store.put(object)), { concurrency: "unbounded" })
      assert.strictEqual((yield* puts).length, 32)
    })
  )

  it.live("never answers, is not waited for", () =>
    Effect.gen(function* () {
      const { seen, store } = yield* answeredBy(() => {})
      for (const [name, call] of Object.entries(questions(store))) assert.strictEqual(yield* refusalOf(call), late, name)
      // What takes long once is not made longer by doing it again; `check` asks for two buckets.
      assert.strictEqual(seen.length, 6)
      for (const size of [0, 10, 30_000_000])
        assert.strictEqual(yield* refusalOf(store.put(yield* spooled(someBytes(size)))), late, `${size}`)
    })
  )

  it.live("takes the whole body and never answers, is not waited for", () =>
    Effect.gen(function* () {
      const { seen, store } = yield* answeredBy((request) => void request.resume())
      assert.strictEqual(yield* refusalOf(store.put(yield* spooled(someBytes(5_000_000)))), late)
      assert.deepStrictEqual(seen, ["PUT"])
    })
  )

  it.live("takes the connection and no handshake, is not waited for", () =>
    Effect.gen(function* () {
      const port = yield* portOf(createTcpServer(() => {}))
      const store = yield* storeAt(`https://127.0.0.1:${port}`)
      for (const [name, call] of Object.entries(questions(store))) assert.strictEqual(yield* refusalOf(call), late, name)
      assert.strictEqual(yield* refusalOf(store.put(yield* spooled(someBytes(10)))), late)
    })
  )

  it.live("stops in the middle of a body, the reader is told", () =>
    Effect.gen(function* () {
      const { store } = yield* answeredBy((_, response) => void response.writeHead(200, { "content-length": 1000 }).write("0123456789"))
      const { body, size } = yield* store.get(address)
      assert.strictEqual(size, 1000)
      const arrived: Array<Uint8Array> = []
      assert.strictEqual(yield* refusalOf(Stream.runForEach(body, (chunk) => Effect.sync(() => arrived.push(chunk)))), late)
      assert.strictEqual(Buffer.concat(arrived).toString(), "0123456789")
    })
  )

  it.live("stops in the middle of an error or a list, is not waited for", () =>
    Effect.gen(function* () {
      const { store } = yield* answeredBy((request, response) => {
        const status = request.url?.includes("list-type") === true ? 200 : 404
        response.writeHead(status, { "content-length": 1000, "content-type": "application/xml" }).write("<?xml")
      })
      const { get, list, remove } = questions(store)
      for (const call of [get, list, remove]) assert.strictEqual(yield* refusalOf(call), late)
    })
  )

  it.live("sends less than it said, the reader is told", () =>
    Effect.gen(function* () {
      const { store } = yield* answeredBy((_, response) => {
        response.writeHead(200, { "content-length": 1000 })
        response.write("0123456789", () => response.socket?.end())
      })
      const { body } = yield* store.get(address)
      assert.strictEqual(yield* refusalOf(bytesOf(body)), broken)
    })
  )

  it.live("is slow but never silent, is waited for", () =>
    Effect.gen(function* () {
      const bytes = someBytes(40)
      const { store } = yield* answeredBy((request, response) => {
        if (request.method === "PUT") {
          let left = 0
          const more = setInterval(() => {
            left = 4_000_000
            request.resume()
          }, 100)
          request.on("data", ({ length }: Buffer) => {
            left -= length
            if (left < 0) request.pause()
          })
          request.on("end", () => {
            clearInterval(more)
            response.end()
          })
          return
        }
        response.writeHead(200, { "content-length": bytes.length })
        let sent = 0
        const drip = setInterval(() => {
          response.write(bytes.subarray(sent, ++sent))
          if (sent < bytes.length) return
          clearInterval(drip)
          response.end()
        }, 50)
      }, Duration.seconds(1))
      // Both take longer, all in all, than it may be silent.
      const { body } = yield* store.get(address)
      assert.isTrue((yield* bytesOf(body)).equals(bytes))
      yield* store.put(yield* spooled(someBytes(60_000_000)))
    })
  )

  it.live("waits for a reader who takes longer than it may be silent itself, goes on", () =>
    Effect.gen(function* () {
      const bytes = someBytes(20_000_000)
      const { store } = yield* answeredBy((_, response) => void response.writeHead(200, { "content-length": bytes.length }).end(bytes))
      const { body } = yield* store.get(address)
      let taken = 0
      const slowly = (chunk: Uint8Array) =>
        Effect.andThen(
          Effect.sync(() => (taken += chunk.length)),
          taken === 0 ? Effect.sleep("1200 millis") : Effect.void
        )
      yield* Stream.runForEach(body, slowly)
      assert.strictEqual(taken, bytes.length)
    })
  )

  it.live("resets the connection in the middle of a put, gets all of it again", () =>
    Effect.gen(function* () {
      const bytes = someBytes(8_000_000)
      let arrived: Buffer | undefined
      const { seen, store } = yield* answeredBy((request, response, n) => {
        if (n < 2) request.on("data", () => void request.socket.resetAndDestroy())
        else
          received(request, (body) => {
            arrived = body
            response.end()
          })
      })
      yield* store.put(yield* spooled(bytes))
      assert.deepStrictEqual(seen, ["PUT", "PUT", "PUT"])
      assert.isTrue(arrived?.equals(bytes))
    })
  )

  it.live("resets every connection, is given up after a few tries", () =>
    Effect.gen(function* () {
      const { seen, store } = yield* answeredBy((request) => void request.socket.resetAndDestroy())
      const { check, ...calls } = questions(store)
      for (const [name, call] of Object.entries({ ...calls, put: store.put(yield* spooled(someBytes(100_000))) })) {
        seen.length = 0
        assert.strictEqual(yield* refusalOf(call), broken, name)
        assert.strictEqual(seen.length, tries, name)
      }
      assert.strictEqual(yield* refusalOf(check), broken)
    })
  )

  it.live("answers 503 and then well, is asked again", () =>
    Effect.gen(function* () {
      const { seen, store } = yield* answeredBy((request, response, n) => {
        request.resume()
        // The first time before it has read the body, the second time afterwards.
        if (n === 0) response.writeHead(503).end()
        else request.on("end", () => void response.writeHead(n === 1 ? 503 : 200).end())
      })
      yield* store.put(yield* spooled(someBytes(3_000_000)))
      assert.deepStrictEqual(seen, ["PUT", "PUT", "PUT"])
      yield* store.remove(address)
    })
  )

  it.live("answers 500 or 503 for ever, is given up after a few tries", () =>
    Effect.gen(function* () {
      for (const status of [500, 503]) {
        const { seen, store } = yield* answeredBy((request, response) => {
          request.resume()
          response.writeHead(status).end()
        })
        assert.strictEqual(yield* refusalOf(store.put(yield* spooled(someBytes(100_000)))), overloaded)
        assert.strictEqual(yield* refusalOf(store.head(address)), overloaded)
        assert.strictEqual(seen.length, 2 * tries)
      }
    })
  )

  it.live("refuses our keys, is asked once and whoever runs us is told", () =>
    Effect.gen(function* () {
      const { seen, store } = yield* answeredBy((request, response) => {
        request.resume()
        response.writeHead(403, { "content-type": "application/xml" }).end("<Error><Code>SignatureDoesNotMatch</Code></Error>")
      })
      for (const [name, call] of Object.entries({ ...questions(store), put: store.put(yield* spooled(someBytes(10))) }))
        assert.match(yield* refusalOf(call), /correct S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY/u, name)
      assert.strictEqual(seen.length, 7)
    })
  )

  it.live("lacks the bucket, is asked to make it once; refusing that too, is named", () =>
    Effect.gen(function* () {
      const { seen, store } = yield* answeredBy((request, response) => {
        request.resume()
        const makes = request.method === "PUT" && /^\/the-(docs|images)\/?$/u.test(request.url ?? "")
        const [status, code] = makes ? [403, "AccessDenied"] : [404, "NoSuchBucket"]
        response.writeHead(status as number, { "content-type": "application/xml" })
        response.end(request.method === "HEAD" ? "" : `<Error><Code>${code}</Code></Error>`)
      })
      const cannotMake = "The object store has no bucket the-docs and does not let this server make it."
      assert.strictEqual(yield* refusalOf(store.put(yield* spooled(someBytes(10)))), cannotMake)
      assert.strictEqual(seen.length, 2)
      // That it is gone must not look as if the object were.
      const { check, get, head, list, remove } = questions(store)
      for (const call of [get, head, list, remove]) assert.match(yield* refusalOf(call), /lost the bucket/u)
      assert.match(yield* refusalOf(check), /no bucket the-(docs|images)/u)
    })
  )

  it.live("is no object store, is not understood and nothing is a bug of ours", () =>
    Effect.gen(function* () {
      const { store } = yield* answeredBy((request, response) => {
        request.resume()
        response.writeHead(request.method === "GET" ? 200 : 405, { "content-type": "text/html" }).end("<p>It works!<")
      })
      const { list, remove } = questions(store)
      for (const call of [list, remove, store.put(yield* spooled(someBytes(10)))]) assert.isNotEmpty(yield* refusalOf(call))
    })
  )

  it.live("is sending or taking a body when the caller goes away, loses the connection", () =>
    Effect.gen(function* () {
      const [came, went] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const { store } = yield* answeredBy((request) => {
        request.once("data", () => Deferred.doneUnsafe(came, Effect.void))
        request.socket.once("close", () => Deferred.doneUnsafe(went, Effect.void))
      })
      const put = yield* Effect.forkChild(store.put(yield* spooled(someBytes(30_000_000))))
      yield* Deferred.await(came)
      yield* Fiber.interrupt(put)
      yield* Deferred.await(went)

      const left = yield* Deferred.make<void>()
      const { store: sender } = yield* answeredBy((request, response) => {
        request.socket.once("close", () => Deferred.doneUnsafe(left, Effect.void))
        response.writeHead(200, { "content-length": 1000 }).write("0123456789")
      })
      yield* Effect.scoped(Effect.flatMap(sender.get(address), ({ body }) => Stream.runDrain(Stream.take(body, 1))))
      yield* Deferred.await(left)
    })
  )

  it.live("closes connections that were kept open, is not noticed", () =>
    Effect.gen(function* () {
      const { store } = yield* answeredBy((request, response) => {
        request.resume()
        response.writeHead(204).end(() => setImmediate(() => request.socket.destroy()))
      })
      for (let n = 0; n < 20; n++) yield* store.remove(address)
    })
  )
})
