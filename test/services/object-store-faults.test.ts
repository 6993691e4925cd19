import { randomUUID } from "node:crypto"
import { connect, createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Redacted, Stream } from "effect"
import { inject } from "vitest"
import { layerS3 } from "#platform/objects/object-store.s3.ts"
import { ObjectStore } from "#platform/objects/object-store.ts"
import { bytesOf, someBytes, spooled } from "../support/spool.ts"
import { type Ceph, ceph } from "./ceph.ts"

const late = /did not answer in time/u
const gone = /cannot be reached|connection to the object store broke/u

const one = Duration.seconds(1)
const patience = { connect: one, answer: one, idle: one, check: one }

const storeAt = (endpoint: string, { accessKeyId, secretAccessKey }: Pick<Ceph, "accessKeyId" | "secretAccessKey">) => {
  const bucketNames = { docs: "faults-docs", images: "faults-images" }
  const keys = { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
  const store = layerS3({ endpoint, ...keys, region: "us-east-1", forcePathStyle: true, bucketNames, patience })
  return Effect.map(Layer.build(store), (context) => Context.get(context, ObjectStore))
}

/** The running Ceph. A test may do to it what it likes: afterwards it runs again. */
const server = Effect.acquireRelease(
  Effect.promise(() => ceph(inject("cephHome"))),
  ({ signal, startGateway }) =>
    Effect.promise(async () => {
      signal("osd", "SIGCONT")
      await startGateway()
    })
)

/** A wire to the server on which something happens, once, when so many bytes of an upload have passed. */
const wire = (endpoint: string, after: number, happens: (cut: () => void) => void) =>
  Effect.gen(function* () {
    const port = Number(new URL(endpoint).port)
    const sockets = new Set<Socket>()
    let passed = 0
    const cut = () => sockets.forEach((socket) => void socket.resetAndDestroy())
    const proxy = createServer((client) => {
      const there = connect(port, "127.0.0.1")
      for (const socket of [client, there]) {
        sockets.add(socket)
        socket.on("error", () => {}).on("close", () => sockets.delete(socket))
      }
      client.on("data", ({ length }) => {
        if (passed < after && passed + length >= after) happens(cut)
        passed += length
      })
      client.pipe(there).pipe(client)
      client.on("close", () => there.destroy())
      there.on("close", () => client.destroy())
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void proxy.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.sync(() => {
          proxy.close()
          cut()
        })
    )
    const address = proxy.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  })

const refusalOf = <A, E extends { readonly _tag: string; readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag, message }) => {
    assert.strictEqual(_tag, "StorageUnavailable")
    return message
  })

const isMissing = (store: ObjectStore["Service"], address: { readonly bucket: "docs" | "images"; readonly key: string }) =>
  Effect.map(Effect.result(store.head(address)), (found) => found._tag === "Failure" && found.failure._tag === "ObjectMissing")

const contentOf = (store: ObjectStore["Service"], address: { readonly bucket: "docs" | "images"; readonly key: string }) =>
  Effect.scoped(Effect.flatMap(store.get(address), ({ body }) => bytesOf(body)))

describe("Ceph, when", () => {
  it.live("it has no bucket yet, gets one with the first object", () =>
    Effect.gen(function* () {
      const { accessKeyId, endpoint, secretAccessKey } = yield* server
      const bucketNames = { docs: `new-${randomUUID()}`, images: `new-${randomUUID()}` }
      const keys = { accessKeyId, secretAccessKey: Redacted.make(secretAccessKey) }
      const layer = layerS3({ endpoint, ...keys, region: "us-east-1", forcePathStyle: true, bucketNames })
      const store = Context.get(yield* Layer.build(layer), ObjectStore)
      const bytes = someBytes(1_000)
      const object = yield* spooled(bytes)
      for (const call of [store.head(object), Effect.scoped(store.get(object)), Stream.runDrain(store.list("docs"))])
        assert.match(yield* refusalOf<unknown, { readonly _tag: string; readonly message: string }, never>(call), /lost the bucket/u)
      yield* Effect.forEach(Array.from({ length: 8 }), () => store.put(object), { concurrency: "unbounded" })
      assert.isTrue((yield* contentOf(store, object)).equals(bytes))
      yield* store.check
      assert.deepStrictEqual(yield* Stream.runCollect(store.list("images")), [])
    })
  )

  it.live("our keys are wrong, says so", () =>
    Effect.gen(function* () {
      const { accessKeyId, endpoint, secretAccessKey } = yield* server
      const object = yield* spooled(someBytes(100_000))
      for (const keys of [
        { accessKeyId: "nobody", secretAccessKey },
        { accessKeyId, secretAccessKey: "wrong" }
      ]) {
        const store = yield* storeAt(endpoint, keys)
        for (const call of [store.check, store.put(object), store.head(object), store.remove(object)])
          assert.match(
            yield* refusalOf<unknown, { readonly _tag: string; readonly message: string }, never>(call),
            /correct S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY/u
          )
      }
    })
  )

  it.live("the gateway is killed and started again, has lost nothing", () =>
    Effect.gen(function* () {
      const running = yield* server
      const store = yield* storeAt(running.endpoint, running)
      yield* store.check
      const bytes = someBytes(300_000)
      const object = yield* spooled(bytes)
      yield* store.put(object)
      yield* Effect.promise(running.killGateway)
      const calls = [store.check, store.put(object), store.head(object), Effect.scoped(store.get(object)), store.remove(object)]
      for (const call of calls)
        assert.match(yield* refusalOf<unknown, { readonly _tag: string; readonly message: string }, never>(call), gone)
      yield* Effect.promise(running.startGateway)
      yield* store.check
      assert.isTrue((yield* contentOf(store, object)).equals(bytes))
    })
  )

  for (const daemon of ["rgw", "osd"] as const)
    it.live(`${daemon === "rgw" ? "the gateway" : "its disk"} hangs, is not waited for, and is well afterwards`, () =>
      Effect.gen(function* () {
        const running = yield* server
        const store = yield* storeAt(running.endpoint, running)
        const bytes = someBytes(5_000_000)
        const [there, object] = [yield* spooled(bytes), yield* spooled(bytes)]
        yield* store.put(there)
        running.signal(daemon, "SIGSTOP")
        const calls = [store.put(object), store.head(object), Effect.scoped(store.get(object)), store.remove(object)]
        for (const call of calls)
          assert.match(yield* refusalOf<unknown, { readonly _tag: string; readonly message: string }, never>(call), late)
        running.signal(daemon, "SIGCONT")
        const again = yield* spooled(bytes)
        yield* Effect.retry(store.put(again), { times: 10 })
        for (const each of [there, again]) assert.isTrue((yield* contentOf(store, each)).equals(bytes))
      })
    )

  it.live("the gateway hangs in the middle of a put, the put fails in time and leaves no object", () =>
    Effect.gen(function* () {
      const running = yield* server
      const store = yield* storeAt(running.endpoint, running)
      yield* store.check
      const object = yield* spooled(someBytes(80_000_000))
      const endpoint = yield* wire(running.endpoint, 20_000_000, () => running.signal("rgw", "SIGSTOP"))
      const wired = yield* storeAt(endpoint, running)
      assert.match(yield* refusalOf(wired.put(object)), late)
      running.signal("rgw", "SIGCONT")
      assert.isTrue(yield* isMissing(store, object))
    })
  )

  it.live("the gateway is killed in the middle of a put, the put fails and leaves no object", () =>
    Effect.gen(function* () {
      const running = yield* server
      const store = yield* storeAt(running.endpoint, running)
      yield* store.check
      const bytes = someBytes(80_000_000)
      const object = yield* spooled(bytes)
      const endpoint = yield* wire(running.endpoint, 20_000_000, () => running.signal("rgw", "SIGKILL"))
      const wired = yield* storeAt(endpoint, running)
      assert.match(yield* refusalOf(wired.put(object)), gone)
      yield* Effect.promise(running.startGateway)
      assert.isTrue(yield* isMissing(store, object))
      yield* store.put(object)
      assert.isTrue((yield* contentOf(store, object)).equals(bytes))
    })
  )

  it.live("the wire is cut in the middle of a put, all is sent again", () =>
    Effect.gen(function* () {
      const running = yield* server
      const bytes = someBytes(30_000_000)
      const object = yield* spooled(bytes)
      const store = yield* storeAt(yield* wire(running.endpoint, 10_000_000, (cut) => cut()), running)
      yield* store.put(object)
      assert.isTrue((yield* contentOf(store, object)).equals(bytes))
    })
  )

  it.live("the gateway is killed in the middle of a download, the reader is told", () =>
    Effect.gen(function* () {
      const running = yield* server
      const store = yield* storeAt(running.endpoint, running)
      const object = yield* spooled(someBytes(80_000_000))
      yield* store.put(object)
      const { body } = yield* store.get(object)
      let first = true
      const killed = Stream.runForEach(body, () =>
        Effect.suspend(() => {
          const now = first
          first = false
          return now ? Effect.promise(running.killGateway) : Effect.void
        })
      )
      assert.match(yield* refusalOf(killed), gone)
    })
  )

  it.live("the gateway is killed while 32 put at once, each has its object or was told", () =>
    Effect.gen(function* () {
      const running = yield* server
      const store = yield* storeAt(running.endpoint, running)
      yield* store.check
      const bytes = someBytes(2_000_000)
      const endpoint = yield* wire(running.endpoint, 40_000_000, () => running.signal("rgw", "SIGKILL"))
      const wired = yield* storeAt(endpoint, running)
      const objects = yield* Effect.forEach(Array.from({ length: 32 }), () => spooled(bytes))
      const results = yield* Effect.forEach(objects, (object) => Effect.result(wired.put(object)), { concurrency: "unbounded" })
      yield* Effect.promise(running.startGateway)
      assert.isTrue(results.some(({ _tag }) => _tag === "Failure"))
      for (const [n, object] of objects.entries()) {
        const result = results[n]
        if (result?._tag === "Failure") assert.strictEqual(result.failure._tag, "StorageUnavailable")
        // An answer that was lost on its way is no answer: then there may be an object, but a whole one.
        if (result?._tag === "Failure" && (yield* isMissing(store, object))) continue
        assert.isTrue((yield* contentOf(store, object)).equals(bytes))
      }
    })
  )
})
