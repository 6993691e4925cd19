import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { freshDatabase, urlOf } from "../support/postgres.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const fixture = join(root, "test/inventory/fixtures/workshop.csv")
const scratch = mkdtempSync(join(tmpdir(), "partwright transfer "))
afterAll(() => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }))

type Inventory = (...args: ReadonlyArray<string>) => Effect.Effect<{ readonly code: number; readonly out: string; readonly err: string }>

/** Runs commands on a database of its own, which is there until the test ends. */
const instance: Effect.Effect<Inventory, never, Scope.Scope> = Effect.map(freshDatabase("commands"), (database): Inventory => {
  const env = { ...process.env, DATA_DIR: scratch, DATABASE_URL: urlOf(database), LOG_FORMAT: "json" }
  return (...args) =>
    Effect.callback((resume) => {
      const child = execFile(process.execPath, ["src/main.ts", "inventory", ...args], { cwd: root, env }, (_, out, err) =>
        resume(Effect.succeed({ code: child.exitCode ?? -1, out, err }))
      )
    })
})

const file = (name: string, text = "") => {
  const path = join(scratch, name)
  if (text !== "") writeFileSync(path, text)
  return path
}

const makeAll = ["--create-types", "--create-sellers", "--create-boxes"]

describe("the commands import and export", () => {
  it.live("carry an inventory from one instance to another", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* instance, yield* instance]
      const first = yield* one("import", fixture, ...makeAll)
      assert.deepStrictEqual(first, { code: 0, out: "8 rows: 7 created, 1 updated, 0 unchanged, 0 rejected\n", err: "" })
      const again = yield* one("import", fixture, ...makeAll)
      assert.strictEqual(again.out, "8 rows: 0 created, 0 updated, 8 unchanged, 0 rejected\n")
      const path = file("parts.csv")
      assert.deepStrictEqual(yield* one("export", "parts", "--output", path), { code: 0, out: "", err: "" })
      assert.isFalse(existsSync(`${path}.partial`))
      const moved = yield* two("import", path, ...makeAll)
      assert.strictEqual(moved.out, "8 rows: 7 created, 1 updated, 0 unchanged, 0 rejected\n")
      assert.strictEqual((yield* two("export", "parts")).out, readFileSync(path, "utf8"))
      const movements = yield* two("export", "movements", "--spreadsheet-safe")
      assert.strictEqual(movements.out.match(/,import,owner,"parts\.csv, line \d+",/gu)?.length, 7)
    }).pipe(Effect.scoped)
  )

  it.live("end with 1 and say why when rows are rejected, and report every row where that is asked for", () =>
    Effect.gen(function* () {
      const three = yield* instance
      const list = file("list.csv", "Label,text,pieces\nABCDE,Long label,\n,Good,\n,No slot,5\n")
      const report = file("report.csv")
      const mapping = ["--mapping", "Label=id4", "--mapping", "text=description", "--mapping", "pieces=quantity"]
      const { code, err, out } = yield* three("import", list, ...mapping, "--report", report, "--dry-run")
      assert.strictEqual(code, 1)
      assert.strictEqual(
        out,
        `3 rows: 1 created, 0 updated, 0 unchanged, 2 rejected
  line 2: Label: Expected a string matching the RegExp ^[A-Za-z]{4}$
  line 4: boxNo: Expected a box, because pieces is filled
dry run: nothing was imported
`
      )
      assert.strictEqual(err, "2 rows were rejected in a dry run\n")
      assert.deepStrictEqual(readFileSync(report, "utf8").split("\r\n"), [
        "line,outcome,id4,column,reason",
        "2,rejected,,Label,Expected a string matching the RegExp ^[A-Za-z]{4}$",
        "3,created,,,",
        '4,rejected,,boxNo,"Expected a box, because pieces is filled"',
        ""
      ])

      const atomic = yield* three("import", list, ...mapping)
      assert.strictEqual(atomic.err, "2 rows were rejected, so nothing was imported; --no-atomic imports the others\n")
      const some = yield* three("import", list, ...mapping, "--no-atomic")
      assert.deepStrictEqual([some.code, some.err], [1, "2 rows were rejected\n"])
      assert.strictEqual((yield* three("export", "parts")).out.trimEnd().split("\r\n").length, 2)
    }).pipe(Effect.scoped)
  )

  it.live("refuse what is no list of parts, and mappings to fields that do not exist", () =>
    Effect.gen(function* () {
      const four = yield* instance
      const list = file("colours.csv", "description,colour\nRelay,red\n")
      const unknown = yield* four("import", list)
      assert.deepStrictEqual(unknown, {
        code: 1,
        out: "",
        err: "Line 1, column 2: No field is called colour. Map it to the one that it means, or leave it out.\n"
      })
      const misspelt = yield* four("import", list, "--mapping", "colour=color")
      assert.deepStrictEqual([misspelt.code, misspelt.out], [1, ""])
      assert.match(misspelt.err, /^--mapping colour=color: no field is called color\. There are id4, description, /u)
      assert.strictEqual((yield* four("import", list, "--mapping", "colour=-")).code, 0)
    }).pipe(Effect.scoped)
  )
})
