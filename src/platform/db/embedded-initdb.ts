import * as fs from "node:fs"
import { basename, dirname, join } from "node:path"
import { Effect } from "effect"
import { io, makeError, type Programs, run } from "./embedded-programs.ts"

export const username = "partwright"
export const database = "partwright"

export const checkCluster = (cluster: string, major: string) => {
  const found = fs.statSync(cluster, { throwIfNoEntry: false })
  if (found === undefined) return
  const me = process.getuid?.()
  if (found.uid !== me) {
    throw makeError("other-user", `${cluster} belongs to the user with id ${found.uid}; this is ${me}. Run Partwright as that user.`)
  }
  const versionFile = join(cluster, "PG_VERSION")
  if (!fs.existsSync(versionFile)) {
    if (fs.readdirSync(cluster).length === 0) return
    throw makeError("directory-unusable", `${cluster} holds files, but no database. Move them away, or set another DATA_DIR.`)
  }
  const version = fs.readFileSync(versionFile, "utf8").trim()
  if (version !== major) {
    throw makeError(
      "other-version",
      `${cluster} was made by PostgreSQL ${version}; this Partwright brings ${major}. Start the version of Partwright that made it and export, or upgrade the directory with pg_upgrade.`
    )
  }
}

// Beside its place and renamed when complete: an initdb that was killed leaves no half database.
export const initialise = (options: {
  readonly cluster: string
  readonly durable: boolean
  readonly env: Record<string, string>
  readonly programs: Programs
  readonly supervised: (signal: string, command: ReadonlyArray<string>) => ReadonlyArray<string>
  readonly unprivileged: ReadonlyArray<string>
}) =>
  Effect.gen(function* () {
    const { cluster, durable, env, programs, supervised, unprivileged } = options
    const parent = dirname(cluster)
    const prefix = `${basename(cluster)}.init-`
    const made = yield* io("directory-unusable", () => {
      for (const name of fs.readdirSync(parent)) {
        if (name.startsWith(prefix)) fs.rmSync(join(parent, name), { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
      }
      return fs.mkdtempSync(join(parent, prefix))
    })
    yield* Effect.gen(function* () {
      const noSync = durable ? [] : ["--no-sync"]
      const locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
      yield* run(supervised("KILL", [programs.initdb, "-D", made, "-U", username, "-A", "trust", ...locale, ...noSync]), env)
      // Renamed, because a second database takes ten times as long to make.
      yield* run(
        [...unprivileged, programs.postgres, "--single", "-D", made, ...(durable ? [] : ["-F"]), "-c", "exit_on_error=on", "template1"],
        env,
        `alter database postgres rename to ${database}\n`
      )
      yield* io("init-failed", () => {
        fs.renameSync(made, cluster)
        if (!durable) return
        // Else a power cut could take back the name of a directory whose content is already on the disk.
        const directory = fs.openSync(parent, "r")
        fs.fsyncSync(directory)
        fs.closeSync(directory)
      })
    }).pipe(Effect.onError(() => Effect.ignoreCause(Effect.sync(() => fs.rmSync(made, { recursive: true, force: true })))))
  })
