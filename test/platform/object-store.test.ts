import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import { layerFiles } from "#platform/objects/object-store.files.ts"
import { ObjectStore } from "#platform/objects/object-store.ts"
import { scratchFolder } from "../support/files.ts"
import { objectStoreContract } from "../support/object-store-contract.ts"
import { bytesOf, someBytes, spooled } from "../support/spool.ts"

objectStoreContract("objects in files", Layer.unwrap(Effect.map(scratchFolder, layerFiles)))

const storeIn = (dataDir: string) => Effect.map(Layer.build(layerFiles(dataDir)), (context) => Context.get(context, ObjectStore))

const detailOf = <A, E extends { readonly _tag: string; readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ _tag, message }) => {
    assert.strictEqual(_tag, "StorageUnavailable")
    return message
  })

const filesIn = (folder: string) => fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())

describe("the folder of objects", () => {
  it.live("keeps them from one process to the next", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      const bytes = someBytes(1_000)
      const object = yield* spooled(bytes)
      yield* Effect.scoped(Effect.flatMap(storeIn(dataDir), (store) => store.put(object)))
      const store = yield* storeIn(dataDir)
      assert.isTrue((yield* Effect.scoped(Effect.flatMap(store.get(object), ({ body }) => bytesOf(body)))).equals(bytes))
      assert.strictEqual(filesIn(dataDir).length, 1)
    })
  )

  it.live("is cleared of what a process left that died, and of nothing that another one writes", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      yield* Effect.scoped(storeIn(dataDir))
      const incoming = join(dataDir, "objects", "incoming")
      const { pid: dead } = spawnSync("true")
      for (const name of [`${dead}-a`, `${process.pid}-b`, `${process.ppid}-c`, "junk"]) fs.writeFileSync(join(incoming, name), "half")
      yield* storeIn(dataDir)
      assert.deepStrictEqual(fs.readdirSync(incoming), [`${process.ppid}-c`])
    })
  )

  it.live("has no part of a put that was interrupted or refused", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      const store = yield* storeIn(dataDir)
      const incoming = join(dataDir, "objects", "incoming")
      const object = yield* spooled(someBytes(20_000_000))
      const put = yield* Effect.forkChild(store.put(object), { startImmediately: true })
      const begun = Effect.sync(() => fs.readdirSync(incoming).some((name) => fs.statSync(join(incoming, name)).size > 0))
      yield* Effect.repeat(begun, { until: (is) => is })
      yield* Fiber.interrupt(put)
      assert.deepStrictEqual(filesIn(dataDir), [])
      yield* Effect.flip(store.put({ ...object, sha256: "0".repeat(64) }))
      assert.deepStrictEqual(filesIn(dataDir), [])
    })
  )

  it.live("that takes no more is told apart, and keeps no part", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      const store = yield* storeIn(dataDir)
      const object = yield* spooled(someBytes(5_000_000))
      const limit = (bytes: string) =>
        Effect.sync(() => assert.strictEqual(spawnSync("prlimit", [`--pid=${process.pid}`, `--fsize=${bytes}:`]).status, 0))
      const refused = Effect.acquireUseRelease(
        limit("1000000"),
        () => detailOf(store.put(object)),
        () => limit("unlimited")
      )
      assert.strictEqual(yield* refused, "The disk with the objects takes no file of this size.")
      assert.deepStrictEqual(filesIn(dataDir), [])
      yield* store.put(object)
    })
  )

  it.live("that may not be written is told apart", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      const store = yield* storeIn(dataDir)
      const folder = join(dataDir, "objects", "docs")
      fs.rmdirSync(folder)
      // Where even root may not make a folder.
      fs.symlinkSync("/sys/kernel", folder)
      const object = yield* spooled(someBytes(10))
      assert.match(yield* detailOf(store.put(object)), /correct the rights in DATA_DIR/u)
      assert.deepStrictEqual(fs.readdirSync(join(dataDir, "objects", "incoming")), [])
    })
  )

  it.live("that is gone is no folder without objects", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      const store = yield* storeIn(dataDir)
      const [kept, object] = [yield* spooled(someBytes(10)), yield* spooled(someBytes(10))]
      yield* store.put(kept)
      fs.renameSync(join(dataDir, "objects"), join(dataDir, "away"))
      const list = Stream.runDrain(store.list("docs"))
      for (const call of [store.put(object), store.head(kept), Effect.scoped(store.get(kept)), store.remove(kept), list, store.check])
        assert.match(
          yield* detailOf<unknown, { readonly _tag: string; readonly message: string }, never>(call),
          /folder with the objects is gone/u
        )
      fs.renameSync(join(dataDir, "away"), join(dataDir, "objects"))
      assert.deepStrictEqual(yield* store.head(kept), { size: 10 })
      assert.strictEqual(filesIn(dataDir).length, 1)
    })
  )

  it.live("that cannot be made is named at the start", () =>
    Effect.gen(function* () {
      const dataDir = yield* scratchFolder
      fs.writeFileSync(join(dataDir, "objects"), "")
      const error = yield* Effect.flip(Effect.scoped(storeIn(dataDir)))
      assert.strictEqual(error._tag, "DataDirUnusable")
      assert.include(error.message, join(dataDir, "objects"))
    })
  )

  it.live("outlives a shortage of open files", () =>
    Effect.gen(function* () {
      const store = yield* storeIn(yield* scratchFolder)
      const object = yield* spooled(someBytes(10))
      yield* store.put(object)
      const held: Array<number> = []
      const limit = (files: string) =>
        Effect.sync(() => assert.strictEqual(spawnSync("prlimit", [`--pid=${process.pid}`, `--nofile=${files}:`]).status, 0))
      const soft = spawnSync("prlimit", [`--pid=${process.pid}`, "--nofile", "--output=SOFT", "--noheadings"], {
        encoding: "utf8"
      }).stdout.trim()
      const shortage = Effect.sync(() => {
        try {
          for (;;) held.push(fs.openSync("/dev/null", "r"))
        } catch {
          return
        }
      })
      const relief = Effect.sync(() => held.splice(0).forEach((file) => void fs.closeSync(file)))
      const refusals = Effect.acquireUseRelease(
        Effect.andThen(limit(String(fs.readdirSync("/proc/self/fd").length + 20)), shortage),
        () => Effect.all([detailOf(store.put(object)), detailOf(Effect.scoped(store.get(object)))]),
        () => Effect.andThen(relief, limit(soft))
      )
      const tooMany = "The server has too many files open. Try again in a moment."
      assert.deepStrictEqual(yield* refusals, [tooMany, tooMany])
      yield* store.put(object)
    })
  )
})
