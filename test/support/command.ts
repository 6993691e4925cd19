import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterAll } from "vitest"
import { type Database, urlOf } from "./postgres.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** For the files of a test's commands; gone when the tests that asked for it have ended. */
export const commandFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), "partwright command "))
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** `partwright …` on a database, to its end. */
export const commandOn = (database: Database, dataDir: string, env: Record<string, string>, ...args: ReadonlyArray<string>) =>
  Effect.callback<Ended>((resume) => {
    const all = { ...process.env, DATA_DIR: dataDir, DATABASE_URL: urlOf(database), LOG_FORMAT: "json", OPENAI_API_KEY: "", ...env }
    const child = execFile(process.execPath, ["src/main.ts", ...args], { cwd: root, env: all }, (_, out, err) =>
      resume(Effect.succeed({ code: child.exitCode ?? -1, out, err }))
    )
  })
