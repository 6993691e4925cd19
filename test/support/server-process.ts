import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Data, Deferred, Effect, Schedule } from "effect"

export const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The process ended before it was ready. */
export class NotStarted extends Data.TaggedError("NotStarted")<Ended & { readonly stderr: string }> {}

/** A process of ours, from the outside: what it says, and how it ends. */
export interface Running {
  readonly pid: number
  readonly stderr: () => string
  /** The lines of its log. */
  readonly log: () => ReadonlyArray<LogLine>
  readonly kill: (signal: NodeJS.Signals) => void
  readonly ended: Effect.Effect<Ended>
  /** Closes our ends of its output, as a terminal or a log reader does that goes away. */
  readonly hangUp: () => void
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly [annotation: string]: unknown
}

export interface Server extends Running {
  readonly port: number
  /** Milliseconds from the start of the process until it said that it is ready. */
  readonly readyAfter: number
}

export interface StartOptions {
  readonly env?: Record<string, string>
  readonly command?: readonly [program: string, ...args: ReadonlyArray<string>]
  readonly cwd?: string
}

/** Starts a process, `serve` unless told otherwise. When the scope closes it is killed, with what it started. */
export const startProcess = ({ command = [process.execPath, "src/main.ts", "serve"], cwd = root, env = {} }: StartOptions) =>
  Effect.gen(function* () {
    const ended = yield* Deferred.make<Ended>()
    let stdout = ""
    let stderr = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const [program, ...args] = command
        const child = spawn(program, args, {
          cwd,
          env: { ...process.env, PORT: "0", DATABASE_URL: "", LOG_FORMAT: "json", ...env },
          stdio: ["ignore", "pipe", "pipe"]
        })
        child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
        child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
        child.once("exit", (code, signal) => Deferred.doneUnsafe(ended, Effect.succeed({ code, signal })))
        child.once("error", (error) => {
          stderr += error.message
          Deferred.doneUnsafe(ended, Effect.succeed({ code: null, signal: null }))
        })
        return child
      }),
      (child) => {
        child.kill("SIGKILL")
        return Deferred.await(ended)
      }
    )
    return {
      pid: child.pid ?? 0,
      stderr: () => stderr,
      log: () =>
        stdout
          .split("\n")
          .filter((line) => line.startsWith("{"))
          .map((line) => JSON.parse(line) as LogLine),
      kill: (signal) => void child.kill(signal),
      ended: Deferred.await(ended),
      hangUp: () => {
        child.stdout.destroy()
        child.stderr.destroy()
      }
    } satisfies Running
  })

/** The port is in the address that the banner gives to people. */
const portIn = (banner: string) => /^ {2}(?:API|metrics)\s.*?:(\d+)\S*$/mu.exec(banner)?.[1]

/** Starts a server and waits until it says that it is ready. */
export const startServer = (options: StartOptions = {}) =>
  Effect.gen(function* () {
    const since = performance.now()
    const running = yield* startProcess(options)
    const told = eventually(
      "the server is ready",
      Effect.sync(() => portIn(running.stderr())),
      (port) => port !== undefined,
      "40 seconds"
    )
    const endedEarly = Effect.flatMap(running.ended, (ended) => Effect.fail(new NotStarted({ ...ended, stderr: running.stderr() })))
    const port = yield* Effect.raceFirst(told, endedEarly)
    const server: Server = { ...running, port: Number(port), readyAfter: performance.now() - since }
    return server
  })

/** For a server that must not start: its exit code and everything it said to the person who started it. */
export const refusal = (options: StartOptions) =>
  startServer(options).pipe(
    Effect.flip,
    Effect.map(({ code, stderr }) => ({ code, stderr }))
  )

/** Asks again until the answer is right, within bounds. */
export const eventually = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  is: (value: A) => boolean,
  within: "10 seconds" | "40 seconds" = "10 seconds"
) =>
  effect.pipe(
    Effect.filterOrFail(is, (value) => new Error(`${what}: not within ${within}, last: ${JSON.stringify(value)}`)),
    Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: within }))),
    Effect.orDie
  )

/** Empty at the end, and with no process of ours in it. */
export const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "partwright test ")))),
  (directory) =>
    nothingRuns(directory).pipe(Effect.ensuring(Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))))
)

/** Completes when no process works in the directory or names it on its command line. */
export const nothingRuns = (directory: string) =>
  eventually(
    `nothing runs in ${directory}`,
    Effect.sync(() => processesAt(directory)),
    (processes) => processes.length === 0
  )

export const processesAt = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync("/proc").flatMap((pid) => {
    try {
      if (!/^\d+$/u.test(pid) || Number(pid) === process.pid) return []
      const commandLine = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
      const environment = fs.readFileSync(`/proc/${pid}/environ`, "utf8")
      const isHere = fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(directory)
      return isHere || commandLine.includes(directory) || environment.includes(`DATA_DIR=${directory}`) ? [`${pid} ${commandLine}`] : []
    } catch {
      return []
    }
  })

/** A port on which nobody listens, for those who must know it before the server does. */
export const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})
