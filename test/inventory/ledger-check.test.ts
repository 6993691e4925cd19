import { execFile } from "node:child_process"
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it, layer } from "@effect/vitest"
import { Data, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { LedgerCheck } from "#inventory/stock/ledger-check.service.ts"
import { describeViolation, type LedgerReport, type Rule, ruleNames } from "#inventory/stock/ledger-check.ts"
import { Db } from "#platform/db/db.ts"
import { socketDirOf } from "#platform/db/embedded-postgres.ts"
import { listening, type Running } from "../bench/processes.ts"
import { get, inParallel, newBox, newPart, post } from "../support/inventory.ts"
import { connected } from "../support/postgres.ts"
import { world } from "../support/world.ts"

class Damaged extends Data.TaggedError("Damaged")<{ readonly report: LedgerReport }> {}

/** What the check finds while the ledger is damaged; the damage is taken back. */
const damaged = Effect.fnUntraced(function* (statements: ReadonlyArray<string>, limit = 20) {
  const db = yield* Db
  const sql = yield* SqlClient.SqlClient
  const ledger = yield* LedgerCheck
  const attempt = Effect.gen(function* () {
    for (const table of ["stock_operations", "stock_movements"]) yield* sql`alter table ${sql(table)} disable trigger user`
    for (const statement of statements) yield* sql.unsafe(statement)
    return yield* new Damaged({ report: yield* ledger.run(limit) })
  })
  const { report } = (yield* Effect.flip(db.transaction(attempt))) as Damaged
  return { violations: report.violations, shown: report.shown.map(describeViolation), rules: report.shown.map(({ rule }) => rule) }
})

layer(
  world().pipe((inner) => Layer.provideMerge(LedgerCheck.layer, inner)),
  { excludeTestServices: true, timeout: "60 seconds" }
)("the check of the ledger", (it) => {
  let boxNo = 0
  let [a, b] = ["", ""]
  const ids: Record<string, string> = {}

  it.effect("finds nothing wrong with what was booked", () =>
    Effect.gen(function* () {
      boxNo = yield* newBox()
      a = yield* newPart()
      b = yield* newPart()
      const book = (name: string, path: string, body: object) =>
        Effect.map(post(path, body), (answer) => {
          assert.strictEqual(answer.status, 200, answer.text)
          ids[name] = answer.body.operation.id
        })
      const slot = (locNo: number) => ({ boxNo, locNo })
      yield* book("put", `/api/parts/${a}/put`, { slot: slot(1), quantity: 10 })
      yield* book("take", `/api/parts/${a}/take`, { slot: slot(1), quantity: 4 })
      yield* book("move", `/api/parts/${a}/move`, { from: slot(1), to: slot(2), quantity: 2 })
      yield* book("count", `/api/parts/${a}/count`, { slot: slot(2), counted: 2 })
      yield* book("undo", `/api/stock/operations/${ids.take}/undo`, {})
      yield* book("other", `/api/parts/${b}/put`, { slot: slot(1), quantity: 5 })
      yield* book("gone", `/api/parts/${b}/take`, { slot: slot(1), quantity: 5 })
      const ledger = yield* LedgerCheck
      assert.deepStrictEqual(yield* ledger.run(20), { operations: 7, movements: 7, violations: 0, shown: [] })
      assert.strictEqual((yield* damaged([])).violations, 0)
    })
  )

  const found = new Set<Rule>()
  const at = (part: string, locNo: number) => `part_id4 = '${part}' and box_no = ${boxNo} and loc_no = ${locNo}`
  const cases: ReadonlyArray<readonly [string, () => ReadonlyArray<string>, () => ReadonlyArray<string>]> = [
    [
      "a slot that holds more than its movements",
      () => [`update part_locations set quantity = 9 where ${at(a, 1)}`, `update part_stock set total = 11 where part_id4 = '${a}'`],
      () => [`${a}, in ${boxNo}-1: a slot holds the sum of its movements; expected 8, found 9`]
    ],
    [
      "a slot that is missing",
      () => [`delete from part_locations where ${at(a, 2)}`, `update part_stock set total = 8 where part_id4 = '${a}'`],
      () => [`${a}, in ${boxNo}-2: a slot holds the sum of its movements; expected 2, found 0`]
    ],
    [
      "stock that was never booked",
      () => [
        `insert into part_locations (part_id4, box_no, loc_no, quantity) values ('${b}', ${boxNo}, 3, 7)`,
        `update part_stock set total = 7 where part_id4 = '${b}'`
      ],
      () => [`${b}, in ${boxNo}-3: a slot holds the sum of its movements; expected 0, found 7`]
    ],
    [
      "a movement with another balance",
      () => [`update stock_movements set balance_after = 7 where operation_id = '${ids.take}'`],
      () =>
        [
          `${a}, in ${boxNo}-1, operation ${ids.take}: a movement continues the balance of its place; expected 6, found 7`,
          `${a}, in ${boxNo}-1, operation ${ids.move}: a movement continues the balance of its place; expected 5, found 4`
        ].toSorted()
    ],
    [
      "a move that loses a piece",
      () => [
        `update stock_movements set delta_qty = 1, balance_after = 1 where operation_id = '${ids.move}' and delta_qty > 0`,
        `update part_locations set quantity = 1 where ${at(a, 2)}`,
        `update part_stock set total = 9 where part_id4 = '${a}'`
      ],
      () => [`${a}, operation ${ids.move}: a move or reorganisation changes no total; expected 0, found -1`]
    ],
    [
      "an undo that takes back too little",
      () => [
        `update stock_movements set delta_qty = 3, balance_after = 7 where operation_id = '${ids.undo}'`,
        `update part_locations set quantity = 7 where ${at(a, 1)}`,
        `update part_stock set total = 9 where part_id4 = '${a}'`
      ],
      () => [`${a}, in ${boxNo}-1, operation ${ids.undo}: an undo negates its original; expected 4, found 3`]
    ],
    [
      "an undo of nothing",
      () => [`update stock_operations set undoes = null where id = '${ids.undo}'`],
      () => [`operation ${ids.undo}: an undo negates its original; expected 1, found 0`]
    ],
    [
      "a booking without movements",
      () => [`insert into stock_operations (id, kind, at, principal) values ('019a0000-0000-7000-8000-000000000000', 'put', now(), 'x')`],
      () => ["operation 019a0000-0000-7000-8000-000000000000: only a count moves nothing; expected 1, found 0"]
    ],
    [
      "stock in a slot that does not exist",
      () => [
        "alter table part_locations drop constraint part_locations_slot_fk",
        `delete from locations where box_no = ${boxNo} and loc_no = 2`
      ],
      () => [`${a}, in ${boxNo}-2: stock lies in slots that exist; expected 0, found 2`]
    ],
    [
      "a wrong total",
      () => [`update part_stock set total = 11 where part_id4 = '${a}'`],
      () => [`${a}: a part's total is the sum of its slots; expected 10, found 11`]
    ],
    [
      "a part without a total",
      () => [`delete from part_stock where part_id4 = '${b}'`],
      () => [`${b}: a part's total is the sum of its slots; expected 0, found nothing`]
    ]
  ]
  for (const [name, damage, expected] of cases) {
    it.effect(`finds ${name}`, () =>
      Effect.gen(function* () {
        const { rules, shown, violations } = yield* damaged(damage())
        assert.deepStrictEqual({ violations, shown }, { violations: expected().length, shown: expected() })
        for (const rule of rules) found.add(rule)
      })
    )
  }

  it("was shown every rule broken", () => assert.sameMembers([...found], [...ruleNames]))

  it.effect("names so many of each rule and counts all", () =>
    Effect.gen(function* () {
      yield* inParallel(30, () => newPart())
      const { shown, violations } = yield* damaged(
        [`update part_stock set total = total + 1`, `update part_locations set quantity = quantity + 1`],
        5
      )
      // The part in two slots is one short; of the others, each is one over.
      assert.strictEqual(violations, 2 + 32)
      assert.strictEqual(shown.length, 2 + 5)
    })
  )

  it.effect("tells the gauge, the log and the events of a violation, and repairs nothing", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const ledger = yield* LedgerCheck
      const gauge = Effect.map(get("/metrics"), ({ text }) => /^partwright_inventory_ledger_violations (\d+)$/mu.exec(text)?.[1])
      yield* ledger.watch
      assert.strictEqual(yield* gauge, "0")
      assert.deepStrictEqual((yield* get("/api/changes?topic=ledger")).body.items, [])
      yield* sql`update part_stock set total = 11 where part_id4 = ${a}`
      yield* ledger.watch
      assert.strictEqual(yield* gauge, "1")
      const [event] = (yield* get("/api/changes?topic=ledger")).body.items
      assert.deepInclude(event, { topic: "ledger", action: "violation" })
      assert.deepStrictEqual(event.after, {
        violations: 1,
        shown: [{ rule: "total", part: a, location: null, operationId: null, expected: 10, found: 11 }]
      })
      assert.deepStrictEqual(yield* sql`select total::int from part_stock where part_id4 = ${a}`, [{ total: 11 }])
      yield* sql`update part_stock set total = 10 where part_id4 = ${a}`
      yield* ledger.watch
      assert.strictEqual(yield* gauge, "0")
    })
  )
})

describe("inventory verify", () => {
  const dataDir = realpathSync(mkdtempSync(join(tmpdir(), "partwright-verify-")))
  const root = fileURLToPath(new URL("../..", import.meta.url))
  let server: Running
  beforeAll(async () => {
    server = await listening("src/main.ts", ["serve"], { PORT: "0", DATA_DIR: dataDir, DATABASE_URL: "" })
  }, 60_000)
  afterAll(async () => {
    await server.stop()
    rmSync(dataDir, { recursive: true, force: true })
  })

  const verify = (...args: ReadonlyArray<string>) =>
    new Promise<{ readonly code: number | string | null | undefined; readonly output: string; readonly errors: string }>((resolve) => {
      const env = { ...process.env, DATA_DIR: dataDir, DATABASE_URL: "" }
      execFile(process.execPath, ["src/main.ts", "inventory", "verify", ...args], { cwd: root, env }, (error, output, errors) =>
        resolve({ code: error === null ? 0 : error.code, output, errors })
      )
    })

  it("says that all is right, and ends with 1 when something is not", async () => {
    assert.deepStrictEqual(await verify(), { code: 0, output: "the ledger is right: 0 operations, 0 movements\n", errors: "" })
    const created = await fetch(`http://127.0.0.1:${server.port}/api/parts`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ description: "Fuse" })
    })
    const { id4 } = (await created.json()) as { readonly id4: string }
    const database = { host: socketDirOf(dataDir), port: 5432, username: "partwright", password: Redacted.make(""), database: "partwright" }
    await Effect.runPromise(
      connected(
        database,
        Effect.flatMap(SqlClient.SqlClient, (sql) => sql`update part_stock set total = 3 where part_id4 = ${id4}`)
      )
    )
    assert.deepStrictEqual(await verify(), {
      code: 1,
      output: `${id4}: a part's total is the sum of its slots; expected 0, found 3\n`,
      errors: "1 violation\n"
    })
    const { code, output } = await verify("--json")
    assert.strictEqual(code, 1)
    assert.deepStrictEqual(JSON.parse(output), {
      operations: 0,
      movements: 0,
      violations: 1,
      shown: [{ rule: "total", part: id4, location: null, operationId: null, expected: 0, found: 3 }]
    })
  }, 60_000)
})
