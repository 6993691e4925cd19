import * as fs from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Data, Effect, Option, Schedule, Schema } from "effect"
import { type Address, type Cluster, type Options, pidOf, start } from "./embedded-postgres.ts"

export class DataDirUnusable extends Data.TaggedError("DataDirUnusable")<{ readonly message: string }> {}

export class DataDirInUse extends Data.TaggedError("DataDirInUse")<{ readonly pid: number | undefined; readonly message: string }> {}

/** A server owns the data directory alone. A command beside an owner is its guest; when there is none it is the owner for its own time. */
export type Role = "server" | "command"

export interface AcquireOptions extends Options {
  readonly role: Role
}

export interface Acquired extends Cluster {
  /** False for the guest of another process. */
  readonly owned: boolean
}

const patience = "30 seconds"

/**
 * The embedded PostgreSQL of a data directory until the scope closes. A second server is refused at once; a server waits for a
 * command, because that ends by itself.
 */
export const acquire = Effect.fn("DataDir.acquire")(function* (options: AcquireOptions) {
  const standing = yield* claim(options)
  if (standing._tag === "Guest") {
    const guest: Acquired = { ...standing.address, owned: false, pid: pidOf(standing.dataDir), failed: Effect.never }
    return guest
  }
  const cluster = yield* start({ ...options, dataDir: standing.dataDir })
  yield* standing.admitGuests({ host: cluster.host, port: cluster.port, username: cluster.username, database: cluster.database })
  const owner: Acquired = { ...cluster, owned: true }
  return owner
})

/** Ownership alone, for a server whose database is elsewhere and whose objects are here. */
export const claim = Effect.fn("DataDir.claim")(function* (options: { readonly dataDir: string; readonly role: Role }) {
  const { role } = options
  const dataDir = yield* prepare(options.dataDir)
  const files = { owner: join(dataDir, "owner.lock"), guests: join(dataDir, "guests.lock"), record: join(dataDir, "owner.json") }

  const asOwner = Effect.gen(function* () {
    if (!(yield* hold(files.owner, "exclusive"))) return undefined
    yield* Effect.addFinalizer(() => quietly(() => fs.rmSync(files.record, { force: true })))
    yield* attempt(dataDir, () => writeRecord(files.record, { pid: process.pid, role, address: null }))
    const admitGuests = Effect.fnUntraced(function* (address: Address) {
      yield* Effect.addFinalizer(() =>
        quietly(() => writeRecord(files.record, { pid: process.pid, role, address: null })).pipe(
          Effect.andThen(role === "command" ? guestsLeave(files.guests) : Effect.void)
        )
      )
      yield* attempt(dataDir, () => writeRecord(files.record, { pid: process.pid, role, address }))
    }, Effect.uninterruptible)
    return { _tag: "Owner" as const, dataDir, admitGuests }
  }).pipe(Effect.uninterruptible)

  const asGuest = Effect.gen(function* () {
    const lock = yield* attempt(dataDir, () => tryLock(files.guests, "shared"))
    if (lock === undefined) return undefined
    // The owner takes its address back before it counts its guests. Whoever still reads it now has been counted.
    const address = readRecord(files.record)?.address
    if (address === undefined || address === null) return void lock.close()
    yield* Effect.addFinalizer(() => quietly(() => lock.close()))
    return { _tag: "Guest" as const, dataDir, address }
  }).pipe(Effect.uninterruptible)

  const once = Effect.gen(function* () {
    const owned = yield* asOwner
    if (owned !== undefined) return owned
    const owner = readRecord(files.record)
    if (owner === undefined) return undefined
    if (role === "server") return owner.role === "server" ? yield* inUse(dataDir, owner) : undefined
    return owner.address === null ? undefined : yield* asGuest
  })

  return yield* once.pipe(
    Effect.repeat({ until: (standing) => standing !== undefined, schedule: Schedule.spaced("50 millis") }),
    Effect.flatMap((standing) => (standing === undefined ? Effect.never : Effect.succeed(standing))),
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.suspend(() => inUse(dataDir, readRecord(files.record))) })
  )
})

const prepare = (dataDir: string) =>
  attempt(dataDir, () => {
    fs.mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    fs.accessSync(dataDir, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK)
    return fs.realpathSync(dataDir)
  })

const guestsLeave = (file: string) =>
  Effect.gen(function* () {
    const alone = Effect.sync(() => {
      const lock = tryLock(file, "exclusive")
      lock?.close()
      return lock !== undefined
    })
    if (yield* alone) return
    yield* Effect.logInfo(`Another command still uses the database. It stops with that command, or in ${patience}.`)
    yield* alone.pipe(
      Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("50 millis") }),
      Effect.interruptible,
      Effect.timeoutOption(patience)
    )
  }).pipe(Effect.ignoreCause)

const hold = Effect.fnUntraced(function* (file: string, mode: "exclusive" | "shared") {
  const lock = yield* attempt(file, () => tryLock(file, mode))
  if (lock === undefined) return false
  yield* Effect.addFinalizer(() => quietly(() => lock.close()))
  return true
})

// Node has no flock, but SQLite locks its file in the kernel: such a lock ends with its holder, after kill -9 too, is never stale
// and never raced for. Nothing else may open these files: closing any descriptor of one would give up the lock.
const tryLock = (file: string, mode: "exclusive" | "shared"): DatabaseSync | undefined => {
  const lock = new DatabaseSync(file, { timeout: 0 })
  try {
    lock.exec(mode === "exclusive" ? "pragma journal_mode = memory; begin exclusive" : "begin; select 1 from sqlite_schema")
    return lock
  } catch (error) {
    lock.close()
    if ((error as { readonly errcode?: number }).errcode === sqliteBusy) return undefined
    throw error
  }
}

const sqliteBusy = 5

// Who holds the lock, for the others. True only while the lock is held: after kill -9 it stays behind.
const Owner = Schema.fromJsonString(
  Schema.Struct({
    pid: Schema.Int,
    role: Schema.Literals(["server", "command"]),
    address: Schema.NullOr(Schema.Struct({ host: Schema.String, port: Schema.Int, username: Schema.String, database: Schema.String }))
  })
)

const writeRecord = (file: string, owner: typeof Owner.Type) => {
  fs.writeFileSync(`${file}.new`, Schema.encodeSync(Owner)(owner), { mode: 0o600 })
  fs.renameSync(`${file}.new`, file)
}

const readRecord = (file: string): typeof Owner.Type | undefined => {
  try {
    const owner = Option.getOrUndefined(Schema.decodeUnknownOption(Owner)(fs.readFileSync(file, "utf8")))
    if (owner !== undefined) process.kill(owner.pid, 0)
    return owner
  } catch {
    return undefined
  }
}

const inUse = (dataDir: string, owner: typeof Owner.Type | undefined) => {
  const pid = owner?.pid
  const who =
    owner === undefined ? "Another process" : owner.role === "server" ? `A Partwright server (pid ${pid})` : `A command (pid ${pid})`
  const advice =
    owner?.role === "server"
      ? "Stop it first, or give this one a DATA_DIR of its own."
      : `It did not let go of it within ${patience}. Try again when it has ended.`
  return Effect.fail(new DataDirInUse({ pid, message: `${who} uses the data directory ${dataDir}. ${advice}` }))
}

const attempt = <A>(what: string, f: () => A) =>
  Effect.try({
    try: f,
    catch: (error) =>
      new DataDirUnusable({
        message: `The data directory cannot be used: ${what}: ${error instanceof Error ? error.message : error}. DATA_DIR must name a directory this user may write to.`
      })
  })

const quietly = (f: () => void) => Effect.ignoreCause(Effect.sync(f))
