import { createHash, randomUUID } from "node:crypto"
import { isDeepStrictEqual } from "node:util"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, type Layer, Stream } from "effect"
import { PrometheusMetrics } from "effect/observability"
import type { ByteRange, ObjectAddress } from "#platform/objects/object.ts"
import { ObjectStore } from "#platform/objects/object-store.ts"
import { read } from "./exposition.ts"
import { bytesOf, sha256Of, someBytes, spooled } from "./spool.ts"

// What is still held is the question, not what nobody has swept up yet.
setFlagsFromString("--expose-gc")
const gc: () => void = runInNewContext("gc")

/** Twice, because V8 frees the buffers of one collection beside the program, and counts them until the next one waits for that. */
const collectGarbage = () => {
  gc()
  gc()
}

/** What every kind of object store does, as tests. */
export const objectStoreContract = (name: string, store: Layer.Layer<ObjectStore, unknown>) =>
  layer(store, { excludeTestServices: true, timeout: "60 seconds" })(name, (it) => {
    const put = (bytes: Uint8Array, key?: string) =>
      Effect.gen(function* () {
        const object = yield* spooled(bytes, key === undefined ? {} : { key })
        yield* ObjectStore.use((_) => _.put(object))
        return { bucket: object.bucket, key: object.key } satisfies ObjectAddress
      }).pipe(Effect.scoped)
    const get = (address: ObjectAddress & { readonly range?: ByteRange }) =>
      Effect.scoped(
        Effect.flatMap(
          ObjectStore.use((_) => _.get(address)),
          ({ body, size }) => Effect.map(bytesOf(body), (bytes) => ({ bytes, size }))
        )
      )
    const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.map(Effect.flip(effect), ({ _tag }) => _tag)
    const head = (address: ObjectAddress) => ObjectStore.use((_) => _.head(address))
    const remove = (address: ObjectAddress) => ObjectStore.use((_) => _.remove(address))
    const keys = (options: { readonly prefix?: string; readonly after?: string }) =>
      Effect.flatMap(ObjectStore, (store) => Stream.runCollect(Stream.map(store.list("docs", options), ({ key }) => key)))

    it.effect("answers", () => ObjectStore.use((_) => _.check))

    it.effect("gives back what it was given, whole and by range", () =>
      Effect.gen(function* () {
        const bytes = someBytes(700_001)
        const address = yield* put(bytes)
        assert.deepStrictEqual(yield* head(address), { size: bytes.length })
        const whole = yield* get(address)
        assert.strictEqual(whole.size, bytes.length)
        assert.isTrue(whole.bytes.equals(bytes))
        const ranges = [
          [0, 0],
          [0, 9],
          [262_143, 262_144],
          [1, 699_999],
          [700_000, 700_000],
          [700_000, 900_000],
          [0, 700_000]
        ] as const
        for (const [start, end] of ranges) {
          const part = yield* get({ ...address, range: { start, end } })
          assert.strictEqual(part.size, bytes.length)
          assert.isTrue(part.bytes.equals(bytes.subarray(start, end + 1)), `${start}-${end}`)
        }
      })
    )

    it.effect("takes a range that begins behind the end for a bug of its caller", () =>
      Effect.gen(function* () {
        const address = yield* put(someBytes(10))
        const exit = yield* Effect.exit(get({ ...address, range: { start: 10, end: 11 } }))
        assert.isTrue(exit._tag === "Failure" && exit.cause.reasons.every(({ _tag }) => _tag === "Die"))
      })
    )

    it.effect("keeps an object of no bytes", () =>
      Effect.gen(function* () {
        const address = yield* put(new Uint8Array())
        assert.deepStrictEqual(yield* head(address), { size: 0 })
        assert.deepStrictEqual(yield* get(address), { bytes: Buffer.alloc(0), size: 0 })
      })
    )

    it.effect("has nothing where nothing was put, in the other bucket neither", () =>
      Effect.gen(function* () {
        const { key } = yield* put(someBytes(10))
        for (const address of [
          { bucket: "docs", key: randomUUID() },
          { bucket: "docs", key: `${key}/2` },
          { bucket: "docs", key: key.slice(0, -2) },
          { bucket: "images", key }
        ] as const) {
          assert.strictEqual(yield* tagOf(head(address)), "ObjectMissing", address.key)
          assert.strictEqual(yield* tagOf(get(address)), "ObjectMissing", address.key)
        }
      })
    )

    it.effect("removes, and what is gone once more", () =>
      Effect.gen(function* () {
        const address = yield* put(someBytes(10))
        for (const _ of ["once", "twice"]) {
          yield* remove(address)
          assert.strictEqual(yield* tagOf(head(address)), "ObjectMissing")
          assert.strictEqual(yield* tagOf(get(address)), "ObjectMissing")
        }
        yield* remove({ bucket: "images", key: "never/there" })
      })
    )

    it.effect("stores the same object again without harm", () =>
      Effect.gen(function* () {
        const bytes = someBytes(300_000)
        const address = yield* put(bytes)
        yield* Effect.forEach([1, 2, 3, 4], () => put(bytes, address.key), { concurrency: "unbounded" })
        assert.isTrue((yield* get(address)).bytes.equals(bytes))
        assert.deepStrictEqual(yield* keys({ prefix: address.key }), [address.key])
      })
    )

    it.effect("refuses bytes that are not those of the digest, and keeps nothing of them", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        for (const size of [10, 3_000_000]) {
          const object = yield* spooled(someBytes(size))
          const refused = yield* Effect.flip(store.put({ ...object, sha256: sha256Of(someBytes(1)) }))
          assert.strictEqual(refused._tag, "StorageUnavailable")
          assert.match(refused.message, /bytes changed/u)
          const shorter = yield* Effect.flip(store.put({ ...object, size: size + 1 }))
          assert.match(shorter.message, /bytes changed/u)
          assert.strictEqual(yield* tagOf(head(object)), "ObjectMissing")
        }
      })
    )

    it.effect("takes a spool file that is not there for a bug of its caller", () =>
      Effect.gen(function* () {
        const object = yield* spooled(someBytes(10))
        const exit = yield* Effect.exit(ObjectStore.use((_) => _.put({ ...object, path: `${object.path}-not` })))
        assert.isTrue(exit._tag === "Failure" && exit.cause.reasons.every(({ _tag }) => _tag === "Die"))
      })
    )

    it.effect("takes any key for a name and nothing else", () =>
      Effect.gen(function* () {
        const folder = randomUUID()
        const odd = [
          "../../escape",
          "..",
          ".",
          "a/./b",
          "a/../../b",
          "ü ñ/日本 語",
          "😀",
          "sp ace+plus#hash%25?q&a=b",
          "quote'(1)*!~.txt",
          "-",
          "~"
        ]
        const names = odd.map((name) => `${folder}/${name}`)
        const stored = new Map<string, Uint8Array>()
        for (const key of [...names, `${folder}/a`, `..${folder}`]) {
          const bytes = someBytes(20)
          stored.set(key, bytes)
          yield* put(bytes, key)
        }
        for (const [key, bytes] of stored) assert.isTrue((yield* get({ bucket: "docs", key })).bytes.equals(bytes), key)
        const inOrder = [...names, `${folder}/a`].toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        assert.deepStrictEqual(yield* keys({ prefix: `${folder}/` }), inOrder)
        for (const key of stored.keys()) yield* remove({ bucket: "docs", key })
        assert.deepStrictEqual(yield* keys({ prefix: folder }), [])
        assert.deepStrictEqual(yield* keys({ prefix: `..${folder}` }), [])
      })
    )

    it.effect("lists all keys in their order, from any of them on, by prefix, with size and time", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const began = Date.now()
        const object = yield* spooled(someBytes(7))
        const folders = ["aa", "ab", "b"].map((start) => `${start}${randomUUID()}`)
        const all = Array.from({ length: 1_260 }, (_, n) => `${folders[n % 3]}/${String(n).padStart(4, "0")}`).toSorted()
        yield* Effect.forEach(all, (key) => store.put({ ...object, key }), { concurrency: 16, discard: true })
        const others = (found: ReadonlyArray<string>) => found.filter((key) => folders.some((folder) => key.startsWith(folder)))
        assert.deepStrictEqual(others(yield* keys({})), all)
        for (const folder of folders)
          assert.deepStrictEqual(
            yield* keys({ prefix: folder }),
            all.filter((key) => key.startsWith(folder))
          )
        for (const n of [0, 1, 419, 420, 1_000, 1_258, 1_259])
          assert.deepStrictEqual(others(yield* keys({ after: all[n]! })), all.slice(n + 1), `after ${n}`)
        assert.deepStrictEqual(yield* keys({ prefix: folders[1]!, after: all[500]! }), all.slice(501, 840))
        assert.deepStrictEqual(yield* keys({ prefix: folders[0]!, after: all[500]! }), [])
        assert.deepStrictEqual(yield* Stream.runCollect(store.list("images", { prefix: folders[0]! })), [])
        const [first] = yield* Stream.runCollect(Stream.take(store.list("docs", { prefix: folders[0]! }), 1))
        assert.strictEqual(first?.size, 7)
        assert.isAtLeast(first?.modifiedAt.getTime() ?? 0, began - 2_000)
        assert.isAtMost(first?.modifiedAt.getTime() ?? 0, Date.now() + 2_000)
        yield* Effect.forEach(all, (key) => store.remove({ bucket: "docs", key }), { concurrency: 16, discard: true })
        assert.deepStrictEqual(others(yield* keys({})), [])
      })
    )

    it.effect("serves 32 writers and readers at once", () =>
      Effect.gen(function* () {
        const one = (n: number) =>
          Effect.gen(function* () {
            const bytes = someBytes(50_000 * n + 1)
            const address = yield* put(bytes)
            const { bytes: whole } = yield* get(address)
            const { bytes: part } = yield* get({ ...address, range: { start: 40_000 * n, end: 45_000 * n } })
            yield* remove(address)
            const after = yield* tagOf(head(address))
            return whole.equals(bytes) && part.equals(bytes.subarray(40_000 * n, 45_000 * n + 1)) && after === "ObjectMissing"
          })
        const right = yield* Effect.forEach(
          Array.from({ length: 32 }, (_, n) => n),
          one,
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(right, Array(32).fill(true))
      })
    )

    it.effect("carries 100 MB both ways without holding them", () =>
      Effect.gen(function* () {
        const bytes = someBytes(100_000_000)
        const digest = sha256Of(bytes)
        const object = yield* spooled(bytes)
        collectGarbage()
        const before = process.memoryUsage().arrayBuffers
        let most = 0
        const look = Effect.sync(() => {
          collectGarbage()
          most = Math.max(most, process.memoryUsage().arrayBuffers - before)
        })
        yield* Effect.forkScoped(Effect.forever(Effect.delay(look, "100 millis")))
        yield* ObjectStore.use((_) => _.put(object))
        const { body, size } = yield* ObjectStore.use((_) => _.get(object))
        const hash = createHash("sha256")
        yield* Stream.runForEach(body, (chunk) => Effect.sync(() => hash.update(chunk)))
        assert.strictEqual(size, 100_000_000)
        assert.strictEqual(hash.digest("hex"), digest)
        assert.isBelow(most, 8_000_000)
        yield* remove(object)
      })
    )

    it.effect("has all or nothing of what was interrupted", () =>
      Effect.gen(function* () {
        const store = yield* ObjectStore
        const bytes = someBytes(8_000_000)
        let nothing = 0
        for (let ticks = 0; ticks < 200; ticks = Math.ceil(ticks * 1.5 + 1)) {
          const object = yield* spooled(bytes)
          const fiber = yield* Effect.forkChild(store.put(object), { startImmediately: true })
          for (let n = 0; n < ticks; n++) yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
          yield* Fiber.interrupt(fiber)
          const found = yield* Effect.result(get(object))
          if (found._tag === "Failure") {
            assert.strictEqual(found.failure._tag, "ObjectMissing")
            nothing++
          } else assert.isTrue(found.success.bytes.equals(bytes))
        }
        assert.isAbove(nothing, 1)
      })
    )

    it.effect("counts what it did", () =>
      Effect.gen(function* () {
        const figures = Effect.map(PrometheusMetrics.format({ prefix: "partwright" }), (page) => {
          const { series } = read(page)
          return (name: string, labels: Record<string, string>) =>
            series.find((one) => one.name === `partwright_object_store_${name}` && isDeepStrictEqual(one.labels, labels))?.value ??
            Number.NaN
        })
        const before = yield* figures
        const address = yield* put(someBytes(1_000))
        yield* get({ ...address, range: { start: 0, end: 99 } })
        yield* remove(address)
        yield* Effect.flip(head(address))
        yield* Effect.flip(get(address))
        const after = yield* figures
        const counted = (operation: string, outcome: string) =>
          after("operations_total", { operation, outcome }) - before("operations_total", { operation, outcome })
        const all = [
          counted("put", "ok"),
          counted("get", "ok"),
          counted("remove", "ok"),
          counted("head", "missing"),
          counted("get", "missing")
        ]
        assert.deepStrictEqual(all, [1, 1, 1, 1, 1])
        assert.strictEqual(counted("put", "unavailable"), 0)
        const moved = (direction: string) => after("bytes_total", { direction }) - before("bytes_total", { direction })
        assert.deepStrictEqual([moved("written"), moved("read")], [1_000, 100])
        const timed = (operation: string) =>
          after("duration_seconds_count", { operation }) - before("duration_seconds_count", { operation })
        assert.deepStrictEqual([timed("put"), timed("get"), timed("head"), timed("remove")], [1, 2, 1, 1])
      })
    )

    it.effect("lets go of what is opened and not read", () =>
      Effect.gen(function* () {
        const address = yield* put(someBytes(2_000_000))
        // More than there are connections, were they kept.
        yield* Effect.forEach(
          Array.from({ length: 300 }),
          () =>
            Effect.scoped(
              Effect.flatMap(
                ObjectStore.use((_) => _.get(address)),
                ({ body }) => Stream.runDrain(Stream.take(body, 1))
              )
            ),
          { concurrency: 8, discard: true }
        )
        assert.strictEqual((yield* get(address)).bytes.length, 2_000_000)
      })
    )
  })
