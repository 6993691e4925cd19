import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { acquire, type Role } from "#platform/db/data-dir.ts"
import type { Address } from "#platform/db/embedded-postgres.ts"
import { connected } from "../support/postgres.ts"

describe.concurrent("embedded PostgreSQL", () => {
  it.live("a new cluster is ready, keeps its data over a restart and removes what a killed first start left", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* temporaryDirectory, "with a space")
      const half = join(dataDir, "postgres.init-half", "base")
      fs.mkdirSync(half, { recursive: true })

      yield* Effect.scoped(
        Effect.gen(function* () {
          const cluster = yield* owned(dataDir, { durable: true })
          assert.isFalse(fs.existsSync(half))
          assert.strictEqual(fs.statSync(cluster.host).mode & 0o777, 0o700)
          yield* query(cluster, (sql) => sql`create table kept as select 7 as n`)
        })
      )
      assert.isFalse(fs.existsSync(join(dataDir, "postgres", "postmaster.pid")))

      const cluster = yield* owned(dataDir)
      assert.deepStrictEqual(yield* query(cluster, (sql) => sql`select n from kept`), [{ n: 7 }])
    }).pipe(Effect.scoped)
  )

  it.live("after kill -9 of PostgreSQL it is started again and answers, even beside a backend that is still busy", () =>
    Effect.gen(function* () {
      const cluster = yield* owned(yield* temporaryDirectory)
      const before = yield* cluster.pid
      const busy = yield* Effect.forkScoped(query(cluster, (sql) => sql`select count(*) from generate_series(1, 1e11::bigint)`))
      yield* eventually(
        query(cluster, (sql) => sql`select 1 from pg_stat_activity where query like '%1e11%' and pid <> pg_backend_pid()`),
        (rows) => rows.length === 1
      )

      process.kill(before ?? 0, "SIGKILL")

      yield* eventually(
        query(cluster, (sql) => sql`select 1 as n`),
        (rows) => rows.length === 1
      )
      assert.notStrictEqual(yield* cluster.pid, before)
      yield* Fiber.interrupt(busy)
    }).pipe(Effect.scoped)
  )

  it.live("when it cannot be started again the owner is told", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const cluster = yield* owned(dataDir)
      fs.rmSync(join(dataDir, "postgres", "global", "pg_control"))
      process.kill((yield* cluster.pid) ?? 0, "SIGKILL")

      const error = yield* Effect.flip(cluster.failed)
      assert.strictEqual(error.reason, "died")
      assert.include(error.message, "pg_control")
    }).pipe(Effect.scoped)
  )

  it.live("after kill -9 of its owner PostgreSQL ends too, and the next server starts", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const first = yield* ownerProcess(dataDir, "server")
      assert.isTrue((yield* first.said).owned)

      first.kill()

      yield* nothingLeft(dataDir)
      const cluster = yield* owned(dataDir)
      assert.deepStrictEqual(yield* query(cluster, (sql) => sql`select 1 as n`), [{ n: 1 }])
    }).pipe(Effect.scoped)
  )

  it.live("a directory of another PostgreSQL version is refused", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      fs.mkdirSync(join(dataDir, "postgres"))
      fs.writeFileSync(join(dataDir, "postgres", "PG_VERSION"), "15\n")

      const error = yield* Effect.flip(owned(dataDir))
      assert(error._tag === "EmbeddedPostgresError")
      assert.strictEqual(error.reason, "other-version")
      assert.include(error.message, "was made by PostgreSQL 15")
    }).pipe(Effect.scoped)
  )
})

describe.concurrent("the data directory", () => {
  it.live("a server is refused beside another, which it names; a command uses the other's socket", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const server = yield* ownerProcess(dataDir, "server")
      const { host } = yield* server.said

      const refusal = yield* Effect.flip(owned(dataDir))
      assert(refusal._tag === "DataDirInUse")
      assert.strictEqual(refusal.pid, server.pid)
      assert.include(refusal.message, `A Partwright server (pid ${server.pid}) uses the data directory ${dataDir}`)

      const command = yield* Effect.scoped(
        Effect.gen(function* () {
          const guest = yield* acquire({ dataDir, role: "command", durable: false })
          return { owned: guest.owned, host: guest.host, rows: yield* query(guest, (sql) => sql`select 1 as n`) }
        })
      )
      assert.deepStrictEqual(command, { owned: false, host: host ?? "", rows: [{ n: 1 }] })
      assert.isTrue(fs.existsSync(join(dataDir, "postgres", "postmaster.pid")))

      server.release()
      assert.strictEqual(yield* server.exited, 0)
    }).pipe(Effect.scoped)
  )

  it.live("a command alone starts PostgreSQL and stops it, but not under another command that still uses it", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const first = yield* ownerProcess(dataDir, "command")
      assert.isTrue((yield* first.said).owned)

      yield* Effect.scoped(
        Effect.gen(function* () {
          const second = yield* acquire({ dataDir, role: "command", durable: false })
          assert.isFalse(second.owned)
          first.release()
          yield* eventually(
            Effect.sync(() => fs.readFileSync(join(dataDir, "owner.json"), "utf8")),
            (owner) => owner.includes(`"address":null`)
          )
          assert.deepStrictEqual(yield* query(second, (sql) => sql`select 1 as n`), [{ n: 1 }])
        })
      )

      assert.strictEqual(yield* first.exited, 0)
      yield* nothingLeft(dataDir)
    }).pipe(Effect.scoped)
  )

  it.live("a server waits for a command", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const command = yield* ownerProcess(dataDir, "command")
      yield* command.said

      const server = yield* Effect.forkScoped(owned(dataDir))
      yield* Effect.yieldNow
      command.release()

      const cluster = yield* Fiber.join(server)
      assert.isTrue(cluster.owned)
      assert.strictEqual(yield* command.exited, 0)
    }).pipe(Effect.scoped)
  )

  it.live("of servers that start at once exactly one wins", () =>
    Effect.gen(function* () {
      const dataDir = yield* temporaryDirectory
      const servers = yield* Effect.forEach([1, 2, 3], () => ownerProcess(dataDir, "server"))
      const said = yield* Effect.forEach(servers, (server) => server.said)

      const winner = servers[said.findIndex((line) => line.owned === true)]
      assert.deepStrictEqual(said.map((line) => line.error ?? "owner").sort(), ["DataDirInUse", "DataDirInUse", "owner"])
      for (const line of said) if (line.message !== undefined) assert.include(line.message, `(pid ${winner?.pid})`)
    }).pipe(Effect.scoped)
  )

  it.live("one that cannot be used is a sentence about DATA_DIR", () =>
    Effect.gen(function* () {
      const file = join(yield* temporaryDirectory, "file")
      fs.writeFileSync(file, "")

      const error = yield* Effect.flip(owned(join(file, "data")))
      assert.strictEqual(error._tag, "DataDirUnusable")
      assert.include(error.message, "DATA_DIR must name a directory this user may write to")
    }).pipe(Effect.scoped)
  )
})

const owned = (dataDir: string, options: { readonly durable?: boolean } = {}) =>
  acquire({ dataDir, role: "server", durable: false, ...options })

const query = <A extends object>(
  { database, host, port, username }: Address,
  statement: (sql: SqlClient.SqlClient) => Effect.Effect<ReadonlyArray<A>, unknown>
) => connected({ host, port, username, database, password: Redacted.make("") }, Effect.flatMap(SqlClient.SqlClient, statement))

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>, is: (value: A) => boolean) =>
  effect.pipe(
    Effect.filterOrFail(is, () => "not yet"),
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.timeout("10 seconds"),
    Effect.orDie
  )

/** Empty at the end, and with no process of ours in it. */
const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "partwright-test-")))),
  (directory) =>
    nothingLeft(directory).pipe(Effect.ensuring(Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))))
)

const nothingLeft = (directory: string) =>
  eventually(
    Effect.sync(() => processesAt(directory)),
    (processes) => processes.length === 0
  )

const processesAt = (directory: string) =>
  process.platform === "linux"
    ? fs.readdirSync("/proc").filter((name) => {
        try {
          if (!/^\d+$/u.test(name) || Number(name) === process.pid) return false
          return (
            fs.readlinkSync(`/proc/${name}/cwd`).startsWith(directory) ||
            fs.readFileSync(`/proc/${name}/cmdline`, "utf8").includes(directory)
          )
        } catch {
          return false
        }
      })
    : []

interface Said {
  readonly owned?: boolean
  readonly host?: string
  readonly error?: string
  readonly message?: string
}

const ownerProcess = (dataDir: string, role: Role) =>
  Effect.gen(function* () {
    const script = fileURLToPath(new URL("../support/embedded-owner.ts", import.meta.url))
    const said = yield* Deferred.make<Said>()
    const exited = yield* Deferred.make<number | string>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [script, dataDir, role], { stdio: ["pipe", "pipe", "inherit"] })),
      (child) => {
        child.stdin.end()
        return Deferred.await(exited).pipe(
          Effect.interruptible,
          Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.sync(() => child.kill("SIGKILL")) })
        )
      }
    )
    child.once("exit", (code, signal) => Deferred.doneUnsafe(exited, Effect.succeed(signal ?? code ?? 0)))
    createInterface(child.stdout).on("line", (line) => {
      if (line.startsWith("{")) Deferred.doneUnsafe(said, Effect.succeed(JSON.parse(line) as Said))
    })
    return {
      pid: child.pid,
      said: Deferred.await(said),
      exited: Deferred.await(exited),
      release: () => void child.stdin.end(),
      kill: () => void child.kill("SIGKILL")
    }
  })
