import { createHash, randomUUID } from "node:crypto"
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { NodeStream } from "@effect/platform-node"
import { Effect, Layer, Option, type Scope, Stream } from "effect"
import { DataDirUnusable } from "../db/data-dir.ts"
import { StorageUnavailable } from "../http/problems.ts"
import { type Bucket, type ByteRange, buckets, type ObjectAddress, ObjectMissing } from "./object.ts"
import { type ListedObject, type NewObject, ObjectStore, observed } from "./object-store.ts"

/** Objects as files below DATA_DIR/objects. An object appears under its name by a rename, so nobody ever sees half of one. */
export const layerFiles = (dataDir: string) => Layer.effect(ObjectStore, Effect.flatMap(make(dataDir), observed))

const chunkSize = 512 * 1024

const make = Effect.fnUntraced(function* (dataDir: string) {
  const root = join(dataDir, "objects")
  const incoming = join(root, "incoming")
  const folders = [...buckets, "incoming"].map((name) => join(root, name))
  yield* Effect.tryPromise({
    try: async () => {
      for (const folder of folders) await fs.mkdir(folder, { recursive: true, mode: 0o700 })
      for (const folder of [root, dataDir]) await syncFolder(folder)
      await removeLeftovers(incoming)
    },
    catch: (error) =>
      new DataDirUnusable({
        message: `The objects cannot be kept in ${root}: ${error instanceof Error ? error.message : error}. DATA_DIR must name a directory this user may write to.`
      })
  })

  const folderOf = (bucket: Bucket, key: string) => join(root, bucket, encoded(shardOf(key)))
  const fileOf = ({ bucket, key }: ObjectAddress) => join(folderOf(bucket, key), encoded(key))

  const kept = new Set<string>()
  /** The folder itself outlives a power cut only when the one that it lies in has been written out after it was made. */
  const keepFolder = async (bucket: Bucket, folder: string) => {
    if (kept.has(folder)) return
    await fs.mkdir(folder, { mode: 0o700 }).catch(unlessThere)
    await syncFolder(join(root, bucket))
    kept.add(folder)
  }

  const put = Effect.fnUntraced(function* ({ bucket, key, path, sha256, size }: NewObject) {
    // A spool file that is not there is a bug of the caller, a full table of open files is not.
    const source = yield* opened(path, "r").pipe(Effect.catchIf(isAbsent, Effect.die))
    const name = join(incoming, `${process.pid}-${randomUUID()}`)
    yield* Effect.addFinalizer(() => Effect.promise(() => fs.rm(name, { force: true }).catch(() => {})))
    const copy = yield* opened(name, "wx")
    const hash = createHash("sha256")
    // One is written and hashed while the other is filled.
    const buffers = [0, 1].map(() => Buffer.allocUnsafeSlow(Math.min(chunkSize, size + 1)))
    const fill = async (buffer: Buffer, position: number) => {
      const { bytesRead } = await source.read(buffer, 0, buffer.length, position)
      return buffer.subarray(0, bytesRead)
    }
    let position = 0
    let chunk = yield* io(() => fill(buffers[0]!, 0))
    for (let n = 1; chunk.length > 0; n++) {
      const full = chunk
      position += full.length
      chunk = yield* io(async () => {
        const [next] = await Promise.all([fill(buffers[n % 2]!, position), writeAll(copy, full), hash.update(full)])
        return next
      })
    }
    if (position !== size || hash.digest("hex") !== sha256) return yield* Effect.fail(changed)
    yield* io(async () => {
      await copy.sync()
      const folder = folderOf(bucket, key)
      await keepFolder(bucket, folder)
      await fs.rename(name, fileOf({ bucket, key }))
      await syncFolder(folder)
    })
  })

  const get = Effect.fnUntraced(function* (address: ObjectAddress & { readonly range?: ByteRange }) {
    const file = yield* opened(fileOf(address), "r")
    const { size } = yield* io(() => file.stat())
    const { end, start } = address.range ?? { start: 0, end: size - 1 }
    if (start > Math.min(end, size - 1) && address.range !== undefined)
      return yield* Effect.die(new Error(`An object of ${size} bytes has no bytes ${start} to ${end}`))
    const body =
      size === 0
        ? Stream.empty
        : NodeStream.fromReadable({
            evaluate: () => file.createReadStream({ start, end: Math.min(end, size - 1), autoClose: false }),
            onError: unavailable
          })
    return { size, body }
  })

  const page = (bucket: Bucket, shard: string, wanted: (key: string) => boolean) =>
    io(async () => {
      const folder = join(root, bucket, encoded(shard))
      const keys = (await fs.readdir(folder)).flatMap(decoded).filter(wanted).toSorted(byBytes)
      const found: Array<ListedObject> = []
      for (const key of keys) {
        const stat = await ifPresent(fs.stat(join(folder, encoded(key))))
        if (stat !== undefined) found.push({ key, size: stat.size, modifiedAt: stat.mtime })
      }
      return found
    })

  const list = (bucket: Bucket, { after = "", prefix = "" }: { readonly prefix?: string; readonly after?: string } = {}) =>
    io(async () =>
      (await fs.readdir(join(root, bucket)))
        .flatMap(decoded)
        .filter((shard) => shard.startsWith(prefix) || prefix.startsWith(shard))
        .filter((shard) => byBytes(shard, after) > 0 || after.startsWith(shard))
        .toSorted(byBytes)
    ).pipe(
      Effect.map((shards) =>
        Stream.paginate(0, (index) => {
          const shard = shards[index]
          if (shard === undefined) return Effect.succeed([[], Option.none<number>()] as const)
          return Effect.map(
            page(bucket, shard, (key) => key.startsWith(prefix) && byBytes(key, after) > 0),
            (found) => [found, Option.some(index + 1)] as const
          )
        })
      ),
      Effect.mapError(unavailable),
      Stream.unwrap,
      Stream.mapError(unavailable)
    )

  // Without the folder of the bucket, say of a disk that is not mounted, nothing can be said of its objects.
  const orMissing = <A>({ bucket, key }: ObjectAddress, effect: Effect.Effect<A, unknown, Scope.Scope>) =>
    effect.pipe(
      Effect.catchIf(isAbsent, () =>
        Effect.matchEffect(
          io(() => fs.access(join(root, bucket))),
          { onFailure: Effect.fail, onSuccess: () => Effect.fail(new ObjectMissing({ bucket, key })) }
        )
      ),
      Effect.mapError((error) => (error instanceof ObjectMissing ? error : unavailable(error)))
    )

  return {
    put: (object: NewObject) => Effect.mapError(Effect.scoped(put(object)), unavailable),
    get: (address: ObjectAddress & { readonly range?: ByteRange }) => orMissing(address, get(address)),
    head: (address: ObjectAddress) =>
      Effect.scoped(
        orMissing(
          address,
          Effect.map(
            io(() => fs.stat(fileOf(address))),
            ({ size }) => ({ size })
          )
        )
      ),
    remove: (address: ObjectAddress) => {
      const unlink = io(async () => {
        await fs.unlink(fileOf(address))
        await syncFolder(folderOf(address.bucket, address.key))
      })
      return Effect.catchTag(Effect.scoped(orMissing(address, unlink)), "ObjectMissing", () => Effect.void)
    },
    list,
    check: Effect.mapError(
      io(async () => {
        for (const folder of folders) await fs.access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
      }),
      unavailable
    )
  }
})

// One step is never left half-way: a put that is interrupted has either stored its object or nothing.
const io = <A>(step: () => Promise<A>) => Effect.uninterruptible(Effect.tryPromise({ try: step, catch: (error) => error }))

const opened = (path: string, flags: "r" | "wx") =>
  Effect.acquireRelease(
    io(() => fs.open(path, flags, 0o600)),
    (file) => Effect.promise(() => file.close().catch(() => {}))
  )

const writeAll = async (file: fs.FileHandle, bytes: Uint8Array) => {
  let written = 0
  while (written < bytes.length) written += (await file.write(bytes, written)).bytesWritten
}

const syncFolder = async (path: string) => {
  const folder = await fs.open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** What a process left that died while it wrote. A command beside a server must leave the server's alone. */
const removeLeftovers = async (incoming: string) => {
  for (const name of await fs.readdir(incoming)) {
    const pid = Number(/^\d+/u.exec(name)?.[0] ?? process.pid)
    if (pid === process.pid || !lives(pid)) await fs.rm(join(incoming, name), { force: true })
  }
}

const lives = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === "EPERM"
  }
}

// A folder with every object in it would be slow to look through. The first characters keep the order of the keys.
const shardOf = (key: string) => [...key.slice(0, 4)].slice(0, 2).join("")

// No slash and no dot is left, so no key can lead out of its folder.
const encoded = (key: string) => encodeURIComponent(key).replaceAll(/[.*]/gu, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

const decoded = (name: string): ReadonlyArray<string> => {
  try {
    const key = decodeURIComponent(name)
    return encoded(key) === name ? [key] : []
  } catch {
    return []
  }
}

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

const codeOf = (error: unknown) => (error as { readonly code?: unknown } | undefined)?.code

const isAbsent = (error: unknown) => codeOf(error) === "ENOENT"

const unlessThere = (error: unknown) => {
  if (codeOf(error) !== "EEXIST") throw error
}

const ifPresent = <A>(found: Promise<A>): Promise<A | undefined> =>
  found.catch((error) => {
    if (isAbsent(error)) return undefined
    throw error
  })

const changed = new StorageUnavailable({
  detail: "The bytes changed on their way to the object store, so they were not kept. Send the request again."
})

const details: Record<string, string> = {
  ENOENT: "The folder with the objects is gone. Whoever runs the server must bring it back.",
  ENOSPC: "The disk with the objects is full.",
  EDQUOT: "The disk quota of the objects is used up.",
  EFBIG: "The disk with the objects takes no file of this size.",
  EACCES: "The server may not write to its objects. Whoever runs it must correct the rights in DATA_DIR.",
  EPERM: "The server may not write to its objects. Whoever runs it must correct the rights in DATA_DIR.",
  EROFS: "The disk with the objects can only be read.",
  EMFILE: "The server has too many files open. Try again in a moment.",
  ENFILE: "The machine has too many files open. Try again in a moment."
}

const unavailable = (error: unknown) => {
  if (error instanceof StorageUnavailable) return error
  const code = String(codeOf(error))
  return new StorageUnavailable({ detail: details[code] ?? `The disk with the objects cannot be read or written (${code}).` })
}
