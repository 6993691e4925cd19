import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { importForm } from "../support/imports.ts"
import { connected } from "../support/postgres.ts"
import { eventually, nothingRuns, startServer, temporaryDirectory } from "../support/server-process.ts"
import { assertLedgerIsRight, databaseIn } from "../support/workshop.ts"
import { ask, clean, verify } from "../support/workshop-files.ts"

const rows = 8000
const header = "manufacturerCode,description,boxNo,locNo,quantity\n"
const csv = header + Array.from({ length: rows }, (_, n) => `ROW-${n},Row ${n},${Math.floor(n / 1000) + 1},${(n % 1000) + 1},1\n`).join("")

interface JobNow {
  readonly state: string
  readonly attempt: number
  readonly message: string | null
  readonly result: Record<string, unknown> | null
}

const jobOn = (port: number, id: string) => Effect.map(ask(port, "GET", `/api/jobs/${id}`), (answer) => answer?.body as JobNow)

/** Every operation of the job, and every slot. */
const booked = (dataDir: string, jobId: string) =>
  connected(
    databaseIn(dataDir),
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [found] = yield* sql`
        select count(*)::int as operations, count(distinct note)::int as lines,
          (select count(*)::int from part_locations where quantity = 1) as slots, (select count(*)::int from part_locations) as all,
          (select count(*)::int from parts) as parts, (select count(*)::int from import_batches) as batches,
          (select count(*)::int from changes where topic = 'inventory-import') as finished
        from stock_operations where job_id = ${jobId}::uuid`
      return found
    })
  )

describe("an import", () => {
  for (const atomic of ["false", "true"]) {
    it.live(
      `${atomic === "true" ? "that is atomic" : "in batches"} counts every row once when the server is killed in the middle`,
      () =>
        Effect.gen(function* () {
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const first = yield* startServer({ env: { DATA_DIR } })
          const form = importForm(csv, { atomic, stockMode: "add", createBoxes: "true" })
          const answer = yield* ask(first.port, "POST", "/api/inventory/import", form)
          assert.strictEqual(answer?.status, 202)
          const id = answer?.body.id as string
          const before = yield* eventually(
            "it is in the middle",
            jobOn(first.port, id),
            ({ message }) => Number.parseInt(message ?? "0", 10) >= 1000
          )
          assert.strictEqual(before.state, "running")
          first.kill("SIGKILL")
          yield* first.ended
          yield* nothingRuns(DATA_DIR)

          const second = yield* startServer({ env: { DATA_DIR } })
          const job = yield* eventually(
            "it has ended",
            jobOn(second.port, id),
            ({ state }) => state !== "queued" && state !== "running",
            "40 seconds"
          )
          assert.deepInclude(job, { state: "succeeded", attempt: 2 })
          assert.deepInclude(job.result, { rows, created: rows, updated: 0, unchanged: 0, rejected: 0 })
          const report = yield* ask(second.port, "GET", `/api/inventory/imports/${id}/report`)
          const lines = String(report?.body).trimEnd().split("\r\n").slice(1)
          assert.deepStrictEqual(
            lines.map((line) => line.split(",", 2).join(" ")),
            Array.from({ length: rows }, (_, n) => `${n + 2} created`)
          )
          const all = { operations: rows, lines: rows, slots: rows, all: rows, parts: rows, batches: 0, finished: 1 }
          yield* eventually("all is released", booked(DATA_DIR, id), (found) => found?.batches === 0)
          assert.deepStrictEqual(yield* booked(DATA_DIR, id), all)
          yield* assertLedgerIsRight(DATA_DIR)
          yield* eventually("the file is gone", verify(DATA_DIR, {}), ({ out }) => out === clean(1).out)
        }).pipe(Effect.scoped),
      120_000
    )
  }
})
