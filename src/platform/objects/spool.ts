import { createHash, randomUUID } from "node:crypto"
import { type FileHandle, mkdir, open, readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { Context, Effect, Layer, type Scope, Stream } from "effect"
import { AppConfig } from "../config.ts"
import { StorageUnavailable } from "../http/problems.ts"
import { type Limit, type Staged, TooLarge } from "./object.ts"
import { passed } from "./passing.ts"

/** The folder where bytes wait until they are whole and known. */
export class Spool extends Context.Service<
  Spool,
  {
    /** Writes the stream to a file, which is gone with the scope. Refuses the first byte that is too many while it arrives. */
    readonly stage: <E, R>(
      bytes: Stream.Stream<Uint8Array, E, R>,
      options: { readonly maxBytes: Limit }
    ) => Effect.Effect<Staged, E | TooLarge | StorageUnavailable, R | Scope.Scope>
  }
>()("platform/Spool") {
  static readonly layer = Layer.effect(
    Spool,
    Effect.gen(function* () {
      const { dataDir } = yield* AppConfig
      const folder = join(dataDir, "spool", String(process.pid))
      // What another process of this number left behind when it was killed.
      yield* io(() => rm(folder, { recursive: true, force: true }))
      yield* Effect.acquireRelease(
        io(() => mkdir(folder, { recursive: true, mode: 0o700 })),
        () => Effect.ignore(io(() => rm(folder, { recursive: true, force: true })))
      )
      yield* Effect.ignore(removeAbandoned(join(dataDir, "spool")))

      return Spool.of({
        stage: Effect.fn("Spool.stage")(function* (bytes, { maxBytes }) {
          const path = join(folder, randomUUID())
          const file = yield* Effect.acquireRelease(
            io(() => open(path, "wx", 0o600)),
            (file) => Effect.ignore(io(() => file.close().finally(() => rm(path, { force: true }))))
          )
          const sha256 = createHash("sha256")
          let size = 0
          let most = typeof maxBytes === "number" ? maxBytes : undefined
          let waiting: Array<Uint8Array> = []
          let length = 0
          // One write is under way while the next bytes arrive and are hashed.
          let written: Promise<void> = Promise.resolve()
          const flush = io(async () => {
            await written
            written = writeAll(file, waiting)
            written.catch(() => {})
            waiting = []
            length = 0
          })
          yield* Stream.runForEach(bytes, (chunk): Effect.Effect<void, TooLarge | StorageUnavailable> => {
            size += chunk.length
            waiting.push(chunk)
            if (most === undefined && typeof maxBytes === "function" && size >= headLength) most = maxBytes(Buffer.concat(waiting))
            if (most !== undefined && size > most) return Effect.fail(new TooLarge({ maxBytes: most }))
            sha256.update(chunk)
            length += chunk.length
            passed(chunk.length)
            return length < atOnce ? Effect.void : flush
          })
          if (most === undefined && typeof maxBytes === "function") most = maxBytes(Buffer.concat(waiting))
          if (most !== undefined && size > most) return yield* Effect.fail(new TooLarge({ maxBytes: most }))
          yield* flush
          yield* io(() => written)
          return { path, size, sha256: sha256.digest("hex") }
        })
      })
    })
  )
}

const atOnce = 512 * 1024
const headLength = 64 * 1024

const writeAll = async (file: FileHandle, chunks: ReadonlyArray<Uint8Array>) => {
  for (let rest = chunks; rest.length > 0; ) {
    let { bytesWritten } = await file.writev(rest)
    rest = rest.flatMap((chunk) => {
      const done = Math.min(bytesWritten, chunk.length)
      bytesWritten -= done
      return done === chunk.length ? [] : [chunk.subarray(done)]
    })
  }
}

/** Folders of processes that are not there any more. */
const removeAbandoned = (spool: string) =>
  io(async () => {
    for (const name of await readdir(spool)) {
      if (/^\d+$/u.test(name) && !isAlive(Number(name))) await rm(join(spool, name), { recursive: true, force: true })
    }
  })

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

const io = <A>(work: () => Promise<A>) =>
  Effect.tryPromise({
    try: work,
    catch: (cause) =>
      new StorageUnavailable({
        detail:
          (cause as NodeJS.ErrnoException).code === "ENOSPC"
            ? "The disk of the server is full. Free some space, then send the file again."
            : "The file could not be kept on the server's disk. Try again in a moment."
      })
  })
