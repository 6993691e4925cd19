import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { ImportJobs } from "#inventory/transfer/import-jobs.service.ts"
import { Db } from "#platform/db/db.ts"
import { faults } from "../support/documents-suite.ts"
import { type Fields, imported, reportLines, sendForm, sendImport, startImport } from "../support/imports.ts"
import { get, inParallel, ledgerFaults, newBox, newPart, post, stockOf, tally } from "../support/inventory.ts"
import { jobEnded, jobNow, untilJob } from "../support/jobs.ts"
import { eventually } from "../support/server-process.ts"
import { untilBlocked } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const fixture = readFileSync(new URL("fixtures/workshop.csv", import.meta.url))
const everything = { createTypes: "true", createSellers: "true", createBoxes: "true" }

/** Everything that an import can leave behind, once those before have let go of their files, which those that failed do not. */
const traces = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`select from imports i join jobs j on j.id = i.job_id where i.file_id is not null and j.state <> 'failed'`.pipe(
    Effect.repeat({ until: ({ length }) => length === 0, schedule: Schedule.spaced("10 millis") })
  )
  const tables = ["parts", "part_types", "sellers", "boxes", "part_locations", "stock_operations", "objects", "imports", "import_batches"]
  const counts = yield* Effect.forEach([...tables, "object_uploads"], (table) =>
    Effect.map(sql<{ readonly rows: number }>`select count(*)::int as rows from ${sql(table)}`, ([found]) => [table, found?.rows] as const)
  )
  const [changes] = yield* sql<{ readonly rows: number }>`select count(*)::int as rows from changes where topic <> 'job'`
  return Object.fromEntries([...counts, ["changes", changes?.rows] as const])
}).pipe(Effect.orDie)

/** What of it is there since, by table. */
const since = Effect.fnUntraced(function* (before: Effect.Success<typeof traces>) {
  const now = yield* traces
  return Object.fromEntries(
    Object.entries(now).flatMap(([table, rows]) => (rows === before[table] ? [] : [[table, rows! - before[table]!]]))
  )
})

const counts = ({ created, rejected, unchanged, updated }: Record<string, number>) => ({ created, updated, unchanged, rejected })

const operationsOf = (jobId: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.orDie(sql<{ readonly note: string }>`select note from stock_operations where job_id = ${jobId}::uuid order by id`)
  )

/** What lies in the slots of a box, in their order. */
const quantitiesIn = (boxNo: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const found = yield* sql<{ readonly quantity: number }>`select quantity from part_locations where box_no = ${boxNo} order by loc_no`
    return found.map(({ quantity }) => quantity)
  }).pipe(Effect.orDie)

const settle = ImportJobs.use((imports) => imports.settle).pipe(Effect.provide(ImportJobs.layer))

/** Everything that may wait for this label's stock waits while the effect runs. */
const holding = <A, E, R>(id4: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const db = yield* Db
    const sql = yield* SqlClient.SqlClient
    const locked = yield* Deferred.make<void>()
    const release = yield* Deferred.make<void>()
    const holder = yield* db
      .transaction(
        sql`select from part_stock where part_id4 = ${id4} for update`.pipe(
          Effect.andThen(Deferred.succeed(locked, undefined)),
          Effect.andThen(Deferred.await(release))
        )
      )
      .pipe(Effect.forkChild)
    yield* Deferred.await(locked)
    const result = yield* effect
    yield* Deferred.succeed(release, undefined)
    yield* Fiber.join(holder)
    return result
  })

/** Rows of one batch and one more, which books `label`: the import waits behind the first batch while that is held. */
const inTwoBatches = Effect.fnUntraced(function* (name: string) {
  const label = yield* newPart({ description: `${name} label` })
  const boxNo = yield* newBox(1000)
  const rows = Array.from({ length: 500 }, (_, n) => `,${name}-${n},${name} ${n},${boxNo},${n + 1},1\n`).join("")
  // What the first batch said is known to the second one.
  const contradiction = `,${name}-0,Something else,${boxNo},600,1\n`
  return { label, boxNo, csv: `id4,manufacturerCode,description,boxNo,locNo,quantity\n${rows}${label},,,${boxNo},501,1\n${contradiction}` }
})

const untilFirstBatch = (id: string) =>
  Effect.andThen(
    untilJob(id, ({ message }) => message !== null),
    untilBlocked(1)
  )

layer(world(), { excludeTestServices: true, timeout: "120 seconds" })("an import over HTTP", (it) => {
  it.effect("is a job whose report says what became of every row", () =>
    Effect.gen(function* () {
      const before = yield* traces
      const answer = yield* sendImport(fixture, everything, { filename: "C:\\lists\\workshop.csv" })
      assert.strictEqual(answer.status, 202, answer.text)
      assert.strictEqual(answer.headers.get("location"), `/api/jobs/${answer.body.id}`)
      assert.deepInclude(answer.body, { kind: "inventory.import", state: "queued", progress: 0, result: null })
      const { id } = answer.body
      const job = yield* jobEnded(id)
      assert.deepInclude(job, { state: "succeeded", progress: 100, message: "8 of 8 rows", attempt: 1, error: null })
      assert.deepStrictEqual(job.result, {
        rows: 8,
        created: 7,
        updated: 1,
        unchanged: 0,
        rejected: 0,
        applied: true,
        dryRun: false,
        rejections: [],
        reportUrl: `/api/inventory/imports/${id}/report`
      })
      const lines = yield* reportLines(id)
      assert.deepStrictEqual(
        lines.map((line) => line.replace(/,[A-Z]{4},/u, ",LABEL,")),
        [2, 3, 4, 5, 6, 7, 8, 9].map((line) => `${line},${line === 4 ? "updated" : "created"},LABEL,,`)
      )
      const { body } = yield* get(`/api/stock/operations?id4=${lines[0]!.split(",")[2]}`)
      assert.deepStrictEqual(
        body.items.map(({ jobId, kind, note }: Record<string, string>) => [kind, note, jobId]),
        [["import", "workshop.csv, line 2", id]]
      )
      yield* untilReleased(id)
      // One object is left: the report.
      assert.deepInclude(yield* since(before), { parts: 7, stock_operations: 7, objects: 1, imports: 1 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("is one event with its counts, beside one for each hundred rows", () =>
    Effect.gen(function* () {
      const rows = Array.from({ length: 250 }, (_, n) => `EVENT-${n},Event ${n}\n`).join("")
      const { id } = yield* imported(`manufacturerCode,description\n${rows}`, { atomic: "false" })
      const { items } = (yield* get(`/api/changes?entity=inventory-import&entityId=${id}`)).body
      assert.deepStrictEqual(
        items.map(({ action, principal, topic }: Record<string, string>) => `${principal} ${topic}.${action}`),
        ["owner inventory-import.finished", "owner part.imported", "owner part.imported", "owner part.imported"]
      )
      assert.deepStrictEqual(items[0].after, { rows: 250, created: 250, updated: 0, unchanged: 0, rejected: 0 })
      const ofJob = (yield* get(`/api/changes?entity=job&entityId=${id}`)).body.items
      assert.deepStrictEqual(
        ofJob.map(({ action }: Record<string, string>) => action),
        ["succeeded", "started", "queued"]
      )
    })
  )

  it.effect("changes nothing when it comes again", () =>
    Effect.gen(function* () {
      yield* imported(fixture, everything)
      const before = yield* traces
      const { id, result, state } = yield* imported(fixture, everything)
      assert.deepStrictEqual([state, counts(result)], ["succeeded", { created: 0, updated: 0, unchanged: 8, rejected: 0 }])
      yield* untilReleased(id)
      const { imports, objects, ...others } = yield* since(before)
      assert.deepStrictEqual([imports, others], [1, {}])
    })
  )

  it.effect("takes its options from the fields beside the file", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox(3)
      const { id4 } = (yield* post("/api/parts", { description: "Fuse", manufacturerCode: `FUSE-${boxNo}` })).body
      const csv = Buffer.from(
        `Bestellnummer;Beschreibung;Bemerkung;Box No;loc_no;quantity\r\nFUSE-${boxNo};;x;${boxNo};1;5\r\nNEW-${boxNo};L\xf6tzinn;y;${boxNo};2;7\r\n`,
        "latin1"
      )
      const mapping = JSON.stringify({ Bestellnummer: "manufacturerCode", beschreibung: "description", Bemerkung: null })
      const first = yield* imported(csv, { mapping, stockMode: "add" })
      assert.deepStrictEqual([first.state, counts(first.result)], ["succeeded", { created: 1, updated: 1, unchanged: 0, rejected: 0 }])
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
      const made = (yield* reportLines(first.id))[1]!.split(",")[2]!
      assert.strictEqual((yield* get(`/api/parts/${made}`)).body.description, "Lötzinn")
      yield* imported(csv, { mapping, stockMode: "add" })
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 10 })
      yield* imported(csv, { mapping, mode: "upsert", stockMode: "count" })
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
      const known = yield* imported(csv, { mapping, mode: "create", atomic: "false" })
      assert.deepStrictEqual([known.state, known.result.rejected], ["succeeded", 2])
    })
  )

  it.effect("that is atomic and rejects a row is a failed job with the same result, and writes nothing", () =>
    Effect.gen(function* () {
      const before = yield* traces
      const csv = `manufacturerCode,description,type,pinCount,boxNo,locNo,quantity
HALF-1,Good,Half type,,,,
HALF-2,Half a slot,,,77,,
HALF-3,=1+1,Half type,ten,1,1,\0
`
      const job = yield* imported(csv, everything)
      assert.deepStrictEqual(
        [job.state, job.error],
        ["failed", { code: "rows-rejected", detail: "2 rows were rejected, so nothing was imported. The report says why." }]
      )
      assert.deepInclude(job.result, { created: 1, rejected: 2, applied: false, rows: 3 })
      assert.deepStrictEqual(job.result.rejections, [
        { line: 3, problems: [{ column: "locNo", reason: "A slot needs both the number of its box and its own" }] },
        {
          line: 4,
          problems: [
            { column: "pinCount", reason: "Expected a whole number, not below 0" },
            { column: "quantity", reason: "Expected a whole number, not below 0" }
          ]
        }
      ])
      const lines = yield* reportLines(job.id)
      assert.strictEqual(lines.length, 3)
      assert.strictEqual(
        lines[2],
        `4,rejected,,pinCount|quantity,"pinCount: Expected a whole number, not below 0; quantity: Expected a whole number, not below 0"`
      )
      assert.deepStrictEqual(yield* settle, { settled: 0, forgotten: 0 })
      assert.deepStrictEqual(yield* since(before), { imports: 1, objects: 2 })
    })
  )

  it.effect("that failed is done when it is tried again and nothing stands in its way any more; until then it says so again", () =>
    Effect.gen(function* () {
      const before = yield* traces
      const job = yield* imported("description,type\nLater,A type of tomorrow\n")
      const retried = Effect.gen(function* () {
        const again = yield* post(`/api/jobs/${job.id}/retry`, {})
        assert.strictEqual(again.status, 200, again.text)
        return yield* jobEnded(job.id)
      })
      assert.deepStrictEqual([job.state, job.error.code], ["failed", "rows-rejected"])
      const failed = yield* retried
      assert.deepStrictEqual([failed.state, failed.error, failed.result], [job.state, job.error, job.result])
      assert.strictEqual((yield* post("/api/types", { name: "A type of tomorrow" })).status, 201)
      const done = yield* retried
      assert.deepStrictEqual([done.state, done.error, done.result.created], ["succeeded", null, 1])
      assert.strictEqual((yield* reportLines(job.id))[0]?.slice(0, 9), "2,created")
      yield* untilReleased(job.id)
      assert.deepInclude(yield* since(before), { parts: 1, imports: 1, objects: 1 })
    })
  )

  it.effect("that is not atomic keeps the good rows", () =>
    Effect.gen(function* () {
      const before = yield* traces
      const job = yield* imported("manufacturerCode,description,pinCount\nKEEP-1,Good,3\nKEEP-2,Bad,none\nKEEP-3,Good too,\n", {
        atomic: "false"
      })
      assert.deepStrictEqual([job.state, job.result.applied], ["succeeded", true])
      assert.deepStrictEqual(counts(job.result), { created: 2, updated: 0, unchanged: 0, rejected: 1 })
      yield* untilReleased(job.id)
      assert.deepStrictEqual(yield* since(before), { imports: 1, objects: 1, parts: 2, changes: 2 })
    })
  )

  it.effect("that is a dry run tells the same and writes nothing", () =>
    Effect.gen(function* () {
      const csv = "manufacturerCode,description,type,seller,sellerLink,boxNo,locNo,quantity\n"
      const good = `${csv}DRY-1,Dry,Dry type,Dry seller,https://dry.example/1,271,1,5\nDRY-1,,,,,271,2,5\n`
      for (const atomic of ["true", "false"]) {
        for (const [file, rejected] of [
          [good, 0],
          [`${good}DRY-2,Dry,,,,271,0,5\n`, 1]
        ] as const) {
          const before = yield* traces
          const job = yield* imported(file, { ...everything, atomic, dryRun: "true" })
          assert.deepStrictEqual([job.state, job.result.applied, job.result.dryRun], ["succeeded", false, true])
          assert.deepStrictEqual(counts(job.result), { created: 1, updated: 1, unchanged: 0, rejected })
          assert.strictEqual((yield* reportLines(job.id))[0], "2,created,,,")
          yield* untilReleased(job.id)
          const { imports, objects, ...others } = yield* since(before)
          assert.deepStrictEqual([imports, others], [1, {}])
        }
      }
    })
  )

  it.effect("is refused with everything that is wrong with its form, and nothing is kept", () =>
    Effect.gen(function* () {
      const before = yield* traces
      const newest = Effect.map(get("/api/jobs?kind=inventory.import&limit=1"), ({ body }) => body.items[0].id)
      const job = yield* newest
      const csv = "description\nRefused\n"
      const pointers = (fields: Fields) =>
        Effect.map(sendImport(csv, fields), ({ body, status }) => [
          status,
          ...body.errors.map(({ pointer }: { readonly pointer: string }) => pointer).toSorted()
        ])
      assert.deepStrictEqual(
        yield* pointers({ mapping: "{", mode: "insert", stockMode: "", createTypes: "yes", atomic: "1", dryRun: "TRUE", surprise: "1" }),
        [400, "/atomic", "/createTypes", "/dryRun", "/mapping", "/mode", "/stockMode", "/surprise"]
      )
      assert.deepStrictEqual(yield* pointers({ source: "elsewhere.csv" }), [400, "/source"])
      for (const mapping of ["[]", "null", '"description"', "1"]) assert.deepStrictEqual(yield* pointers({ mapping }), [400, "/mapping"])
      assert.deepStrictEqual(yield* pointers({ mapping: '{"a":"nothing","b":5,"c":"id4"}' }), [400, "/mapping/a", "/mapping/b"])
      assert.deepStrictEqual((yield* pointers({ mapping: '{"a\\u0000":"id4"}' }))[0], 400)

      const forms: ReadonlyArray<readonly [what: string, form: FormData]> = [
        ["no file", new FormData()],
        ["the file as text", formOf(["file", csv])],
        ["two files", formOf(["file", new File([csv], "a.csv")], ["file", new File([csv], "b.csv")])],
        ["a file of another name", formOf(["list", new File([csv], "a.csv")])],
        ["an option twice", formOf(["atomic", "true"], ["atomic", "false"], ["file", new File([csv], "a.csv")])]
      ]
      for (const [what, form] of forms) {
        const answer = yield* sendForm(form)
        assert.deepStrictEqual([answer.status, answer.body.code], [400, "invalid-request"], what)
      }
      const { send } = yield* Http
      for (const type of ["text/csv", "application/json", "application/x-www-form-urlencoded"]) {
        const answer = yield* send("POST", "/api/inventory/import", undefined, { raw: csv, headers: { "content-type": type } })
        assert.deepStrictEqual([answer.status, answer.body.code], [415, "unsupported-media-type"], type)
      }
      const long = yield* sendImport(csv, { mapping: `{"${"x".repeat(20_000)}":null}` })
      const many = yield* sendForm(formOf(...Array.from({ length: 30 }, (_, n) => [`f${n}`, "x"] as const)))
      for (const answer of [long, many]) assert.deepStrictEqual([answer.status, answer.body.code], [413, "payload-too-large"])
      assert.deepStrictEqual(yield* since(before), {})
      assert.strictEqual(yield* newest, job)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of a file that is no list of parts is refused at once, with line and column", () =>
    Effect.gen(function* () {
      const before = yield* traces
      const cases: ReadonlyArray<readonly [file: string | Uint8Array, fields: Fields, line: number | null, column: number | null]> = [
        ["", {}, 1, null],
        ["\r\n\n", {}, 1, null],
        ["description,colour\nx,red\n", {}, 1, 2],
        ["description,,quantity\n", {}, 1, 2],
        ["description,Description\n", {}, 1, 2],
        ["description,text\n", { mapping: '{"text":"description"}' }, 1, 2],
        ["description\nx\n", { mapping: '{"colour":"series"}' }, 1, null],
        ['description\ngood\n"b"ad\n', { atomic: "false" }, 3, 1],
        ['description,series\ngood,1\n"two\nlines",2\n"never closed,3\n', { atomic: "false" }, 5, 1],
        ["description,series\ngood,1\nx,2,3\n", { atomic: "false" }, 3, 3],
        [`description\n${"x\n".repeat(300_000)}`, { atomic: "false" }, 200_002, null],
        [`description\n${"x".repeat(1_100_000)}\n`, {}, 2, null],
        [Buffer.from("\ufeffdescription\nx\n", "utf16le"), {}, null, null],
        [Buffer.from([0xef, 0xbb, 0xbf, 0x64, 0xff, 0x0a]), {}, null, null],
        [Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1"), {}, 1, 1],
        [Buffer.alloc(100_000), {}, 1, 1]
      ]
      for (const [file, fields, line, column] of cases) {
        const { body, status } = yield* sendImport(file, fields)
        const what = JSON.stringify([String(file).slice(0, 60), body.detail])
        assert.deepStrictEqual([status, body.code], [422, "unreadable-file"], what)
        assert.deepStrictEqual([body.line ?? null, body.column ?? null], [line, column], what)
      }
      const large = yield* sendImport(Buffer.alloc(64 * 1024 * 1024 + 1, "description\n"))
      assert.deepStrictEqual(
        [large.status, large.body.code, large.body.detail],
        [413, "payload-too-large", "The file is larger than 64 MiB."]
      )
      assert.deepStrictEqual(yield* since(before), {})
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of one file thirty-two times at once makes its parts once and adds its pieces thirty-two times", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox(40)
      const csv = (name: string) =>
        `manufacturerCode,description,boxNo,locNo,quantity\n${Array.from({ length: 20 }, (_, n) => `${name}-${n},${name} ${n},${boxNo},${n + (name === "ADD" ? 21 : 1)},${n + 1}\n`).join("")}`
      const counting = inParallel(32, (n) => startImport(csv("COUNT"), { atomic: String(n % 2 === 0) }))
      const adding = inParallel(32, (n) => startImport(csv("ADD"), { stockMode: "add", atomic: String(n % 2 === 0) }))
      const started = yield* Effect.all([counting, adding], { concurrency: 2 })
      const [counted, added] = [yield* Effect.forEach(started[0], jobEnded), yield* Effect.forEach(started[1], jobEnded)]
      const outcomes = (jobs: typeof counted) =>
        jobs
          .map(({ result, state }) => `${state} ${JSON.stringify(counts(result))}`)
          .toSorted()
          .filter((outcome, at, all) => all.indexOf(outcome) === at)
      assert.deepStrictEqual(outcomes(counted), [
        'succeeded {"created":0,"updated":0,"unchanged":20,"rejected":0}',
        'succeeded {"created":20,"updated":0,"unchanged":0,"rejected":0}'
      ])
      assert.deepStrictEqual(outcomes(added), [
        'succeeded {"created":0,"updated":20,"unchanged":0,"rejected":0}',
        'succeeded {"created":20,"updated":0,"unchanged":0,"rejected":0}'
      ])
      assert.deepStrictEqual(
        yield* quantitiesIn(boxNo),
        Array.from({ length: 40 }, (_, n) => (n < 20 ? n + 1 : (n - 19) * 32))
      )
      yield* Effect.forEach([...counted, ...added], ({ id }) => untilReleased(id), { discard: true })
      assert.deepStrictEqual(yield* ledgerFaults, [])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that comes with one Idempotency-Key thirty-two times happens once", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox(1)
      const { id4 } = (yield* post("/api/parts", { description: "Once" })).body
      const csv = `id4,boxNo,locNo,quantity\n${id4},${boxNo},1,5\n`
      const keyed = { headers: { "idempotency-key": `once-${id4}` } }
      const before = yield* traces
      const answers = yield* inParallel(32, () => sendImport(csv, { stockMode: "add" }, keyed))
      const taken = answers.filter(({ status }) => status === 202)
      const { 202: some = 0, "409 idempotency-key-in-use": others = 0 } = tally(answers)
      assert.deepStrictEqual([some + others, new Set(taken.map(({ body }) => body.id)).size], [32, 1], JSON.stringify(tally(answers)))
      const { id } = taken[0]!.body
      yield* jobEnded(id)
      yield* untilReleased(id)

      const again = yield* sendImport(csv, { stockMode: "add" }, keyed)
      assert.deepStrictEqual([again.status, again.headers.get("idempotency-replayed")], [202, "true"])
      assert.deepStrictEqual([again.body.id, again.headers.get("location")], [id, `/api/jobs/${id}`])
      for (const other of [
        sendImport(csv, { stockMode: "count" }, keyed),
        sendImport(`${csv}\n`, { stockMode: "add" }, keyed),
        sendImport(csv, { stockMode: "add" }, { ...keyed, filename: "other.csv" })
      ]) {
        assert.deepInclude((yield* other).body, { status: 422, code: "idempotency-key-reused" })
      }
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
      // The files that came for nothing are gone.
      assert.deepInclude(yield* since(before), { imports: 1, objects: 1 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that is atomic leaves nothing when it is cancelled in the middle", () =>
    Effect.gen(function* () {
      const { csv, label } = yield* inTwoBatches("CANCEL")
      const before = yield* traces
      const id = yield* holding(
        label,
        Effect.gen(function* () {
          const id = yield* startImport(csv)
          yield* untilFirstBatch(id)
          assert.deepInclude(yield* jobNow(id), { state: "running", message: "500 of 502 rows", progress: 99 })
          const early = yield* get(`/api/inventory/imports/${id}/report`)
          assert.deepStrictEqual([early.status, early.body.code, early.headers.get("retry-after")], [409, "import-not-finished", "2"])
          const cancelled = yield* post(`/api/jobs/${id}/cancel`, {})
          assert.deepStrictEqual([cancelled.status, cancelled.body.state], [200, "cancelled"])
          return id
        })
      )
      yield* untilReleased(id)
      assert.deepStrictEqual(yield* reportLines(id), [])
      assert.deepStrictEqual(yield* since(before), { imports: 1, objects: 1 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that is not atomic says how far it came when it is cancelled in the middle", () =>
    Effect.gen(function* () {
      const { csv, label } = yield* inTwoBatches("SOFAR")
      const before = yield* traces
      const id = yield* holding(
        label,
        Effect.gen(function* () {
          const id = yield* startImport(csv, { atomic: "false" })
          yield* untilFirstBatch(id)
          yield* post(`/api/jobs/${id}/cancel`, {})
          return id
        })
      )
      yield* untilReleased(id)
      assert.deepInclude(yield* jobNow(id), { state: "cancelled", message: "500 of 502 rows", result: null })
      const lines = yield* reportLines(id)
      assert.deepStrictEqual([lines.length, lines[0]?.slice(0, 9), lines.at(-1)?.slice(0, 11)], [500, "2,created", "501,created"])
      assert.deepInclude(yield* since(before), { parts: 500, stock_operations: 500, imports: 1, objects: 1 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that is not its worker's any more commits nothing more, also when the worker does not hear of it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const [atomic, rows] of [
        ["false", 500],
        ["true", 0]
      ] as const) {
        const { csv, label } = yield* inTwoBatches(`DEAF${atomic}`)
        const good = csv.split("\n").slice(0, -2).join("\n")
        const id = yield* holding(
          label,
          Effect.gen(function* () {
            const id = yield* startImport(good, { atomic })
            yield* untilFirstBatch(id)
            yield* sql`update jobs set state = 'cancelled', finished_at = now(), lease_until = null where id = ${id}::uuid`
            return id
          })
        )
        yield* untilReleased(id)
        assert.deepStrictEqual([(yield* reportLines(id)).length, (yield* operationsOf(id)).length], [rows, rows])
      }
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that is cancelled while it waits never starts, and its file goes", () =>
    Effect.gen(function* () {
      const { csv, label } = yield* inTwoBatches("QUEUED")
      const waiting = yield* holding(
        label,
        Effect.gen(function* () {
          const running = yield* startImport(csv)
          yield* untilFirstBatch(running)
          const waiting = yield* startImport("description\nNever made\n")
          assert.strictEqual((yield* post(`/api/jobs/${waiting}/cancel`, {})).body.state, "cancelled")
          yield* post(`/api/jobs/${running}/cancel`, {})
          return waiting
        })
      )
      yield* settle
      assert.deepStrictEqual(yield* reportLines(waiting), [])
      assert.deepStrictEqual((yield* get("/api/search?q=never%20made")).body.items, [])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that another worker takes over in the middle books every row once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const atomic of ["false", "true"]) {
        const { boxNo, csv, label } = yield* inTwoBatches(`TAKEN${atomic}`)
        const good = csv.split("\n").slice(0, -2).join("\n")
        const id = yield* holding(
          label,
          Effect.gen(function* () {
            const id = yield* startImport(atomic === "true" ? good : csv, { atomic, stockMode: "add" })
            yield* untilFirstBatch(id)
            // As when its lease ran out: whoever claims it next has another number.
            yield* sql`update jobs set state = 'queued', lease_until = null where id = ${id}::uuid`
            return id
          })
        )
        const job = yield* jobEnded(id)
        assert.deepStrictEqual([job.state, job.attempt], ["succeeded", 2])
        const rejected = atomic === "true" ? 0 : 1
        assert.deepStrictEqual(counts(job.result), { created: 500, updated: 1, unchanged: 0, rejected })
        const notes = (yield* operationsOf(id)).map(({ note }) => note).toSorted()
        assert.deepStrictEqual(notes, Array.from({ length: 501 }, (_, n) => `parts.csv, line ${n + 2}`).toSorted())
        assert.deepStrictEqual(yield* quantitiesIn(boxNo), Array(501).fill(1))
        const lines = yield* reportLines(id)
        assert.deepStrictEqual(
          lines.map((line) => line.split(",", 2).join(" ")),
          Array.from({ length: 501 + rejected }, (_, n) => `${n + 2} ${n < 500 ? "created" : n === 500 ? "updated" : "rejected"}`)
        )
        if (rejected === 1)
          assert.deepStrictEqual(
            job.result.rejections.map(({ line }: { readonly line: number }) => line),
            [503]
          )
        yield* untilReleased(id)
      }
      assert.deepStrictEqual(yield* ledgerFaults, [])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that failed for good in the middle, and is tried again, books every row once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { boxNo, csv, label } = yield* inTwoBatches("OUTAGE")
      const id = yield* holding(
        label,
        Effect.gen(function* () {
          const id = yield* startImport(csv, { atomic: "false", stockMode: "add" })
          yield* untilFirstBatch(id)
          // As when the store was away for all its attempts.
          yield* sql`
            update jobs set state = 'failed', claim = claim + 1, lease_until = null, finished_at = clock_timestamp(), attempt = max_attempts,
              error = '{"code": "storage-unavailable", "detail": "Away."}'
            where id = ${id}::uuid`
          return id
        })
      )
      yield* eventually("it has a report", get(`/api/inventory/imports/${id}/report`), ({ status }) => status === 200)
      assert.strictEqual((yield* reportLines(id)).length, 500)
      assert.strictEqual((yield* post(`/api/jobs/${id}/retry`, {})).status, 200)
      const job = yield* jobEnded(id)
      assert.deepStrictEqual([job.state, counts(job.result)], ["succeeded", { created: 500, updated: 1, unchanged: 0, rejected: 1 }])
      assert.deepStrictEqual(yield* quantitiesIn(boxNo), Array(501).fill(1))
      assert.strictEqual((yield* reportLines(id)).length, 502)
      yield* untilReleased(id)
      assert.deepStrictEqual(yield* ledgerFaults, [])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("has a report as long as it has a job", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const before = yield* traces
      const job = yield* imported("description,pinCount\nForgotten,x\n")
      const { reportUrl } = job.result
      const { send } = yield* Http
      const whole = yield* send("GET", reportUrl)
      assert.deepStrictEqual(
        [whole.headers.get("content-type"), whole.headers.get("content-disposition")],
        ["text/csv; charset=utf-8; header=present", "attachment; filename=\"import-report.csv\"; filename*=UTF-8''import-report.csv"]
      )
      const part = yield* send("GET", reportUrl, undefined, { headers: { range: "bytes=0-3" } })
      assert.deepStrictEqual([part.status, part.text], [206, "line"])
      const known = yield* send("GET", reportUrl, undefined, { headers: { "if-none-match": whole.headers.get("etag") ?? "" } })
      assert.strictEqual(known.status, 304)
      const head = yield* send("HEAD", reportUrl)
      assert.deepStrictEqual([head.status, head.headers.get("content-length"), head.text], [200, String(whole.text.length), ""])

      yield* sql`update jobs set finished_at = now() - interval '31 days' where id = ${job.id}::uuid`
      yield* sql`delete from jobs where finished_at < now() - interval '30 days'`
      assert.deepStrictEqual((yield* settle).forgotten, 1)
      assert.deepInclude((yield* get(reportUrl)).body, { status: 404, code: "import-not-found" })
      assert.deepStrictEqual(yield* since(before), {})
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("is not what another job is", () =>
    Effect.gen(function* () {
      const { ids } = (yield* post("/api/jobs/probe", { count: 1, steps: 1, stepMs: 1 })).body
      for (const id of [ids[0], "01a1fdc0-38ea-7ead-b45a-ba7f26585f4b", "no-uuid", "%00"]) {
        const answer = yield* get(`/api/inventory/imports/${id}/report`)
        assert.deepStrictEqual([answer.status, answer.body.code], [404, "import-not-found"], id)
      }
    })
  )

  it.effect("counts its rows for Prometheus", () =>
    Effect.gen(function* () {
      const rows = Effect.map(get("/metrics"), ({ text }) =>
        Object.fromEntries(
          ["created", "updated", "unchanged", "rejected"].map((outcome) => [
            outcome,
            Number(new RegExp(`^partwright_inventory_import_rows_total\\{outcome="${outcome}"\\} (\\d+)$`, "mu").exec(text)?.[1])
          ])
        )
      )
      const before = yield* rows
      yield* imported("manufacturerCode,description,pinCount\nMETER-1,Meter,\nMETER-2,Meter,x\n", { atomic: "false" })
      const after = yield* rows
      assert.deepStrictEqual(
        Object.entries(after).map(([outcome, n]) => n - before[outcome]!),
        [1, 0, 0, 1]
      )
    })
  )
})

/** Until nothing but the report is kept of it. */
const untilReleased = (jobId: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql`select from imports where job_id = ${jobId}::uuid and file_id is null`.pipe(
      Effect.repeat({ until: ({ length }) => length === 1, schedule: Schedule.spaced("10 millis") }),
      Effect.orDie
    )
  )

const formOf = (...entries: ReadonlyArray<readonly [name: string, value: string | File]>) => {
  const form = new FormData()
  for (const [name, value] of entries) form.append(name, value)
  return form
}
