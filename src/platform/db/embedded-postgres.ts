import { type ChildProcess, execFile, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import type { Duplex } from "node:stream"
import { Cause, Deferred, Duration, Effect, Schedule } from "effect"
import { checkCluster, database, initialise, username } from "./embedded-initdb.ts"
import {
  EmbeddedPostgresError,
  exitText,
  failure,
  findPrograms,
  findUnprivileged,
  io,
  linkLibraries,
  makeError,
  signal,
  supervise
} from "./embedded-programs.ts"

export { EmbeddedPostgresError }

/** Where the cluster answers: `host` is the directory of its unix socket. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly database: string
}

export interface Cluster extends Address {
  /** The process now; another one after PostgreSQL died and was started again. */
  readonly pid: Effect.Effect<number | undefined>
  /** Ends only when PostgreSQL died and could not be started again. */
  readonly failed: Effect.Effect<never, EmbeddedPostgresError>
}

export interface Options {
  readonly dataDir: string
  /** False for tests: fast, and a power cut loses everything. */
  readonly durable?: boolean
  readonly settings?: Record<string, string>
  readonly startTimeout?: Duration.Input
}

const port = 5432
const maxLogBytes = 16 * 2 ** 20

/** Runs PostgreSQL on `<dataDir>/postgres` until the scope closes. The caller makes sure that nobody else does (`data-dir.ts`). */
export const start = Effect.fn("EmbeddedPostgres.start")(function* (options: Options) {
  const durable = options.durable ?? true
  const startTimeout = options.startTimeout ?? "30 seconds"
  const programs = yield* findPrograms
  const unprivileged = yield* findUnprivileged
  const dataDir = yield* io("directory-unusable", () => {
    fs.mkdirSync(options.dataDir, { recursive: true, mode: 0o700 })
    return fs.realpathSync(options.dataDir)
  })
  const cluster = join(dataDir, "postgres")
  const log = join(dataDir, "postgres.log")
  const socketDir = socketDirOf(dataDir)

  // An environment of our own: PGPORT, PGOPTIONS and the like of the person's shell mean other servers.
  const env = {
    PATH: "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
    LD_LIBRARY_PATH: `${join(socketDir, "lib")}:${join(socketDir, "lib", "package")}`,
    LC_ALL: "C",
    TZ: "UTC"
  }
  const supervised = (signal: string, command: ReadonlyArray<string>) => [
    ...unprivileged,
    "/bin/sh",
    "-c",
    supervise,
    "sh",
    signal,
    ...command
  ]

  yield* Effect.acquireRelease(
    io("directory-unusable", () => makePrivate(socketDir)),
    () => Effect.ignoreCause(Effect.sync(() => fs.rmSync(socketDir, { recursive: true, force: true })))
  )
  yield* io("directory-unusable", () => {
    linkLibraries(programs.native, join(socketDir, "lib"))
    checkCluster(cluster, programs.major)
    rotate(log)
  })
  yield* endLeftovers(cluster)

  if (!fs.existsSync(join(cluster, "PG_VERSION"))) {
    yield* initialise({ cluster, durable, env, programs, supervised, unprivileged })
  }

  const settings = {
    listen_addresses: "",
    unix_socket_directories: `"${socketDir}"`,
    unix_socket_permissions: "0700",
    port: String(port),
    ...(durable ? durableSettings : throwAwaySettings),
    ...options.settings
  }
  const command = supervised(durable ? "INT" : "QUIT", [
    programs.postgres,
    "-D",
    cluster,
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  ])

  let server: Server | undefined
  let since = 0 // where in the log the present attempt begins

  const stop = Effect.suspend(() => {
    const running = server
    server = undefined
    return running === undefined ? Effect.void : end(running, cluster)
  })

  const attempt = Effect.gen(function* () {
    yield* stop
    yield* endLeftovers(cluster)
    const begun = yield* io("start-failed", () => {
      // Cleaners of the temporary directory may have been there since the last start.
      makePrivate(socketDir)
      linkLibraries(programs.native, join(socketDir, "lib"))
      since = fs.statSync(log, { throwIfNoEntry: false })?.size ?? 0
      server = launch(command, env, log)
      return server
    })
    const ready = Effect.sync(() => {
      const recorded = readPidFile(cluster)
      return recorded !== undefined && recorded.pid === begun.postmaster && recorded.status === "ready"
    }).pipe(Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("10 millis") }))
    const endedEarly = Effect.flatMap(Deferred.await(begun.ended), (how) =>
      Effect.suspend(() => failure("start-failed", `PostgreSQL did not start (${how}): ${lastWords(log, since)}`))
    )
    yield* Effect.raceFirst(ready, endedEarly).pipe(
      Effect.timeoutOrElse({
        duration: startTimeout,
        orElse: () =>
          failure(
            "start-failed",
            `PostgreSQL was not ready after ${Duration.format(Duration.fromInputUnsafe(startTimeout))}. Its log is ${log}.`
          )
      })
    )
    return begun
  })

  yield* Effect.addFinalizer(() => Effect.ignoreCause(stop))
  const first = yield* attempt.pipe(
    // The shared memory of a server that was killed can outlive it for a moment.
    Effect.retry({
      while: (error) => /shared memory block|lock file .* already exists/u.test(error.message),
      schedule: Schedule.spaced("150 millis").pipe(Schedule.upTo({ duration: "5 seconds" }))
    })
  )

  const failed = yield* Deferred.make<never, EmbeddedPostgresError>()
  const keepAlive = Effect.gen(function* () {
    let watched = first
    const deaths: Array<number> = []
    while (true) {
      const how = yield* Deferred.await(watched.ended)
      const now = Date.now()
      deaths.push(now)
      if (deaths.filter((at) => now - at < 60_000).length > 5) {
        return yield* failure("died", `PostgreSQL died six times within a minute (${how}). Its log is ${log}.`)
      }
      yield* Effect.logWarning(`PostgreSQL ended by itself (${how}). It is started again.`)
      watched = yield* attempt.pipe(
        Effect.retry({ schedule: Schedule.spaced("250 millis").pipe(Schedule.upTo({ duration: "5 seconds" })) }),
        Effect.mapError((error) => makeError("died", `PostgreSQL died and could not be started again. ${error.message}`))
      )
      yield* Effect.logInfo(`PostgreSQL answers again, ${Date.now() - now} ms after it ended.`)
    }
  })
  yield* Effect.forkScoped(
    Effect.catchCause(keepAlive, (cause) => (Cause.hasInterruptsOnly(cause) ? Effect.void : Deferred.failCause(failed, cause)))
  )
  yield* Effect.forkScoped(Effect.schedule(Effect.ignoreCause(Effect.sync(() => rotate(log))), Schedule.spaced("1 hour")))

  const running: Cluster = {
    host: socketDir,
    port,
    username,
    database,
    pid: pidOf(dataDir),
    failed: Deferred.await(failed)
  }
  return running
})

/** The postmaster of the cluster in this data directory, by its own record. */
export const pidOf = (dataDir: string) => Effect.sync(() => readPidFile(join(dataDir, "postgres"))?.pid)

// A laptop with two cores whose server is used by a few people at a time: many short statements, few connections.
const durableSettings: Record<string, string> = {
  max_connections: "50",
  shared_buffers: "128MB",
  effective_cache_size: "1GB",
  work_mem: "16MB",
  maintenance_work_mem: "128MB",
  random_page_cost: "1.1",
  // Compiling and starting parallel workers takes longer than our statements; workers also need /dev/shm, 64 MB in a container.
  jit: "off",
  max_parallel_workers_per_gather: "0",
  max_parallel_maintenance_workers: "0",
  wal_compression: "on",
  checkpoint_timeout: "15min",
  // Errors of statements reach the log of the application. Here an expected unique violation would be three lines each.
  log_min_messages: "log",
  log_checkpoints: "off",
  max_logical_replication_workers: "0"
}

const throwAwaySettings: Record<string, string> = {
  ...durableSettings,
  max_connections: "100",
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  wal_level: "minimal",
  max_wal_senders: "0",
  io_method: "sync"
}

interface Server {
  readonly shell: ChildProcess
  readonly lifeline: Duplex
  readonly ended: Deferred.Deferred<string>
  postmaster: number | undefined
}

// A process group of its own: Ctrl-C in the terminal must not stop the database before our own drain.
const launch = (command: ReadonlyArray<string>, env: Record<string, string>, log: string): Server => {
  const output = fs.openSync(log, "a", 0o600)
  try {
    const [program = "", ...args] = command
    const shell = spawn(program, args, { env, cwd: "/", detached: true, stdio: ["ignore", output, output, "pipe", "pipe"] })
    const lifeline = shell.stdio[3] as Duplex
    const pid = shell.stdio[4] as Duplex
    const server: Server = { shell, lifeline, ended: Deferred.makeUnsafe(), postmaster: undefined }
    const ended = (how: string) => {
      lifeline.destroy()
      Deferred.doneUnsafe(server.ended, Effect.succeed(how))
    }
    shell.once("error", (error) => ended(error.message))
    shell.once("exit", (code, signal) => ended(signal === null ? exitText(code ?? 0) : signal))
    lifeline.on("error", () => {})
    pid.once("data", (text) => (server.postmaster = Number(text)))
    pid.on("error", () => {})
    for (const handle of [shell, lifeline, pid] as ReadonlyArray<{ readonly unref?: () => void }>) handle.unref?.()
    return server
  } finally {
    fs.closeSync(output)
  }
}

// Bounded, so that the end of this process is bounded: 10 seconds to end in order, 3 to drop everything, then kill.
const end = (server: Server, cluster: string) =>
  Effect.gen(function* () {
    const ended = (within: Duration.Input) => Deferred.await(server.ended).pipe(Effect.timeoutOption(within))
    server.lifeline.destroy()
    if ((yield* ended("10 seconds"))._tag === "Some") return
    yield* Effect.logWarning("PostgreSQL does not stop within 10 seconds; it is stopped at once and recovers at the next start.")
    if (server.postmaster !== undefined) signal(server.postmaster, "SIGQUIT")
    if ((yield* ended("3 seconds"))._tag === "Some") return
    for (const pid of yield* processesOf(cluster)) signal(pid, "SIGKILL")
    if (server.shell.pid !== undefined) signal(-server.shell.pid, "SIGKILL")
    yield* ended("2 seconds")
  })

/** What an earlier owner left behind: a server whose shell was killed too, or backends of a postmaster that was killed. */
const endLeftovers = (cluster: string) =>
  Effect.gen(function* () {
    const found = yield* processesOf(cluster)
    const recorded = readPidFile(cluster)?.pid
    if (found.length === 0) {
      // The number now belongs to some other program; PostgreSQL would take it for a running server and refuse to start.
      if (recorded !== undefined && signal(recorded, 0)) yield* io("start-failed", () => fs.rmSync(join(cluster, "postmaster.pid")))
      return
    }
    const gone = (within: Duration.Input) =>
      processesOf(cluster).pipe(
        Effect.repeat({ until: (left) => left.length === 0, schedule: Schedule.spaced("25 millis") }),
        Effect.timeoutOption(within)
      )
    if (recorded !== undefined && found.includes(recorded)) {
      yield* Effect.logWarning(`PostgreSQL of an earlier run (pid ${recorded}) is stopped first.`)
      signal(recorded, "SIGINT")
      if ((yield* gone("10 seconds"))._tag === "Some") return
    }
    for (const pid of yield* processesOf(cluster)) signal(pid, "SIGKILL")
    if ((yield* gone("5 seconds"))._tag === "Some") return
    return yield* failure("start-failed", `PostgreSQL of an earlier run does not end. End it by hand: kill -9 ${found.join(" ")}`)
  })

// Every PostgreSQL process works in the directory of its cluster, and only those: a shell that stands there is none of ours.
const processesOf = (cluster: string): Effect.Effect<ReadonlyArray<number>> =>
  process.platform === "linux"
    ? Effect.sync(() =>
        fs.readdirSync("/proc").flatMap((name) => {
          if (!/^\d+$/u.test(name)) return []
          try {
            const [program = ""] = basename(fs.readlinkSync(`/proc/${name}/exe`)).split(" ") // " (deleted)" after an upgrade
            return program === "postgres" && fs.readlinkSync(`/proc/${name}/cwd`) === cluster ? [Number(name)] : []
          } catch {
            return []
          }
        })
      )
    : Effect.callback((resume) => {
        execFile("/bin/ps", ["-axww", "-o", "pid=,command="], { maxBuffer: 2 ** 26 }, (_, output) =>
          resume(
            Effect.succeed(
              output.split("\n").flatMap((line) => {
                const [, pid, command = ""] = /^\s*(\d+) (.*)$/u.exec(line) ?? []
                return command.includes(`/postgres -D ${cluster} -c `) && !command.includes("/bin/sh") ? [Number(pid)] : []
              })
            )
          )
        )
      })

const readPidFile = (cluster: string) => {
  try {
    const lines = fs.readFileSync(join(cluster, "postmaster.pid"), "utf8").split("\n")
    const pid = Number(lines[0])
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, status: lines[7]?.trim() } : undefined
  } catch {
    return undefined
  }
}

/** In the temporary directory, because a socket path holds 103 bytes on macOS and 107 on Linux; by name it belongs to the data directory. */
export const socketDirOf = (dataDir: string) => {
  const name = `partwright-${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}`
  const dir = join(fs.realpathSync(tmpdir()), name)
  return Buffer.byteLength(join(dir, `.s.PGSQL.${port}`)) <= 103 ? dir : join("/tmp", name)
}

// Whoever reaches the socket is let in as owner of the database, so nobody else may have made the directory before us.
const makePrivate = (dir: string) => {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 })
  const found = fs.lstatSync(dir)
  if (!found.isDirectory() || found.uid !== process.getuid?.()) throw new Error(`${dir} belongs to someone else. Remove it.`)
  fs.chmodSync(dir, 0o700)
}

// PostgreSQL appends to the file it was given, so cutting it off under its hands is safe.
const rotate = (log: string) => {
  if ((fs.statSync(log, { throwIfNoEntry: false })?.size ?? 0) < maxLogBytes) return
  fs.copyFileSync(log, `${log}.1`)
  fs.truncateSync(log)
}

const lastWords = (log: string, from: number) => {
  try {
    const lines = fs.readFileSync(log).subarray(from).toString("utf8").trim().split("\n")
    const telling = lines.filter((line) => /(?:FATAL|PANIC|HINT|DETAIL|unshare|error while loading)/u.test(line))
    return `${(telling.length > 0 ? telling : lines).slice(-4).join("; ")}. Its log is ${log}.`
  } catch {
    return `Its log would be ${log}.`
  }
}
