import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { AppConfig, describe as describeConfig } from "#platform/config.ts"
import { listening, type Running } from "./bench/processes.ts"

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8")
const scratch = mkdtempSync(join(tmpdir(), "partwright-readme-"))

const bash = (script: string) =>
  new Promise<{ readonly code: number | null; readonly output: string; readonly errors: string }>((resolve) => {
    const child = spawn("bash", ["-euo", "pipefail", "-c", script], { cwd: scratch })
    let output = ""
    let errors = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()))
    child.once("close", (code) => resolve({ code, output, errors }))
  })

describe("the README", () => {
  let server: Running
  beforeAll(async () => {
    server = await listening("src/main.ts", ["serve"], { PORT: "0", DATA_DIR: join(scratch, "data"), DATABASE_URL: "" })
  }, 60_000)
  afterAll(async () => {
    await server.stop()
    rmSync(scratch, { recursive: true, force: true })
  })

  it("has a tour that works as it is typed", async () => {
    const tour = /<!-- tour -->\n```sh\n(?<script>[\s\S]*?)```/u.exec(readme)?.groups?.script
    assert.isDefined(tour)
    const { code, errors, output } = await bash(tour.replace("127.0.0.1:8080", `127.0.0.1:${server.port}`))
    assert.strictEqual(code, 0, `${errors}\n${output}`)
    // 25 - 2 in two slots, the count undone, 100 put once although sent twice.
    assert.include(output, '"totalQuantity":123,"seller":null')
    assert.include(output, '"code":"insufficient-stock"')
  })

  it("names every variable of the configuration", async () => {
    const config = await Effect.runPromise(Effect.provide(AppConfig, AppConfig.fromEnv({})))
    const missing = Object.keys(describeConfig(config)).filter((variable) => !readme.includes(`\`${variable}\``))
    assert.deepStrictEqual(missing, [])
  })
})
