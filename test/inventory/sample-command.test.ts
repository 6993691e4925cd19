import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), "partwright sample "))
afterAll(() => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }))

const sample = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number; readonly out: string; readonly err: string }>((resolve) => {
    const env = { ...process.env, DATA_DIR: scratch, DATABASE_URL: "", LOG_FORMAT: "json" }
    const child = execFile(process.execPath, ["src/main.ts", "inventory", "sample", ...args], { cwd: root, env }, (_, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err })
    )
  })

describe("the command sample", () => {
  const size = ["--parts", "30", "--boxes", "2", "--operations", "50", "--seed", "3"]

  it("fills an empty instance, says so, and tells its progress apart; it adds to a filled one only when told", async () => {
    const made = await sample(...size)
    assert.deepStrictEqual([made.code, made.err], [0, "parts: 30 of 30\nbookings: 50 of 50\nstock: 30 of 30\n"])
    assert.match(made.out, /^30 parts, 2 boxes and 50 bookings made in \d+\.\d s\n$/u)

    const refused = await sample(...size)
    assert.deepStrictEqual([refused.code, refused.out], [1, ""])
    assert.match(refused.err, /--yes/u)

    assert.strictEqual((await sample(...size, "--yes")).code, 0)
  }, 60_000)

  it("refuses sizes out of bounds before anything happens", async () => {
    for (const args of [
      ["--parts", "0"],
      ["--boxes", "100000"],
      ["--operations", "-1"],
      ["--seed", "x"]
    ]) {
      const { code, err } = await sample(...args)
      assert.strictEqual(code, 1, args.join(" "))
      assert.include(err, (args[0] ?? "").slice(2), args.join(" "))
    }
  }, 60_000)
})
