import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Exports } from "#inventory/transfer/export.service.ts"
import { Imports } from "#inventory/transfer/import.service.ts"
import { columns, defaults } from "#inventory/transfer/import.ts"
import { Statements } from "../support/statements.ts"
import { insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const fixture = readFileSync(new URL("fixtures/workshop.csv", import.meta.url))

const importing = Effect.fnUntraced(function* (csv: string | Uint8Array) {
  const imports = yield* Imports
  const bytes = typeof csv === "string" ? new TextEncoder().encode(csv) : csv
  const options = { ...defaults, createTypes: true, createSellers: true, createBoxes: true }
  const problems: Array<unknown> = []
  const result = yield* imports.run(Stream.make(bytes), options, {
    started: () => Effect.void,
    rows: (rows) => Effect.sync(() => void problems.push(...rows.filter(({ outcome }) => outcome === "rejected")))
  })
  assert.deepStrictEqual(problems, [])
  return result
})

const exported = Effect.fnUntraced(function* (kind: string, query = "") {
  const { send } = yield* Http
  const answer = yield* send("GET", `/api/inventory/export/${kind}.csv${query}`)
  assert.strictEqual(answer.status, 200, answer.text)
  return answer.text
})

/** The cells of simple lines. */
const linesOf = (csv: string) =>
  csv
    .trimEnd()
    .split("\r\n")
    .map((line) => line.split(","))

/** Bookings of one part without a slot of its own: the ledger outlives both. */
const insertMovements = Effect.fnUntraced(function* (count: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    insert into stock_operations (id, kind, at, principal)
    select gen_random_uuid(), 'put', now(), 'test' from generate_series(1, ${count}::int)`
  // The check of the foreign key would otherwise look through the whole table for each row, as it did when there were few.
  yield* sql`analyze stock_operations`
  yield* sql`
    insert into stock_movements (operation_id, part_id4, box_no, loc_no, delta_qty, balance_after, at)
    select o.id, 'ZZZZ', 1, 1, 1, 1, o.at from stock_operations o
    where not exists (select from stock_movements m where m.operation_id = o.id)`
})

/** Transactions of exports that are open. */
const openExports = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* sql<{ readonly open: number }>`
    select count(*)::int as open from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null and query like '%export_%'`
  return found?.open ?? 0
})

const worldOf = () => Layer.mergeAll(Imports.layer, Exports.layer).pipe(Layer.provideMerge(world()), Layer.provideMerge(Statements.layer))

const elsewhere = <A, E>(effect: Effect.Effect<A, E, Imports | Http>) => Effect.scoped(Effect.provide(effect, worldOf(), { local: true }))

layer(worldOf(), { excludeTestServices: true, timeout: "60 seconds" })("export", (it) => {
  it.effect("an empty inventory is a header", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* exported("parts"), `${columns.join(",")}\r\n`)
      assert.strictEqual(
        yield* exported("movements"),
        "id,operationId,at,kind,principal,note,undoes,id4,boxNo,locNo,deltaQty,balanceAfter\r\n"
      )
      assert.strictEqual(yield* exported("sellers"), "id4,manufacturerCode,description,seller,website,link,sellerPartNumbers,primary\r\n")
    })
  )

  it.effect("it is sent as a file, as it is made, uncompressed", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const kind of ["parts", "movements", "sellers"]) {
        const { headers } = yield* send("GET", `/api/inventory/export/${kind}.csv`, undefined, {
          headers: { "accept-encoding": "gzip, br" }
        })
        assert.strictEqual(headers.get("content-type"), "text/csv; charset=utf-8; header=present")
        assert.strictEqual(headers.get("content-disposition"), `attachment; filename="partwright-${kind}.csv"`)
        assert.strictEqual(headers.get("content-encoding"), null)
        assert.strictEqual(headers.get("content-length"), null)
        const head = yield* send("HEAD", `/api/inventory/export/${kind}.csv`)
        assert.deepStrictEqual([head.status, head.text], [200, ""])
      }
    })
  )

  it.effect("what is not exported is not there, and unknown parameters are refused", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      assert.strictEqual((yield* send("GET", "/api/inventory/export/projects.csv")).status, 404)
      for (const query of ["?limit=5", "?spreadsheetSafe=perhaps"]) {
        const { body, status } = yield* send("GET", `/api/inventory/export/parts.csv${query}`)
        assert.deepStrictEqual([status, body.code], [400, "invalid-request"])
      }
    })
  )

  it.effect("imported into an empty instance, an export gives the same parts, labels, slots and quantities", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* importing(fixture)
      const { items } = (yield* send("GET", "/api/sellers")).body
      const awkward = yield* send("POST", "/api/parts", {
        description: "=SUM(1;2)\n\"quoted\", 'single' | bar \\ 𝄞 \uFEFFmark",
        manufacturerCode: "-5",
        tags: ["a|b", "c\\d", "e\\|f\\"],
        barcodes: ["|", "\\", "+1"],
        kicad: { symbol: "Device:R", excludeFromBom: true, excludeFromSim: true },
        sellerLinks: items.map(({ id }: { readonly id: number }, at: number) => ({
          sellerId: id,
          link: at === 0 ? null : "https://seller.example/a?b=1,2",
          sellerPartNumbers: [`=${at}`, "x|y"],
          primary: at === 1
        }))
      })
      assert.strictEqual(awkward.status, 201, awkward.text)
      yield* send("POST", `/api/parts/${awkward.body.id4}/put`, { slot: { boxNo: 3, locNo: 2 }, quantity: 1_000_000_000 })

      const parts = yield* exported("parts")
      const [again, result, part] = yield* elsewhere(
        Effect.gen(function* () {
          const result = yield* importing(parts)
          const copy = (yield* (yield* Http).send("GET", `/api/parts/${awkward.body.id4}`)).body
          return [yield* exported("parts"), result, copy] as const
        })
      )
      assert.strictEqual(again, parts)
      assert.deepStrictEqual([result.created, result.updated, result.rejected], [8, 1, 0])
      for (const field of ["description", "manufacturerCode", "tags", "barcodes", "kicad", "seller", "sellerLink"]) {
        assert.deepStrictEqual(part[field], awkward.body[field], field)
      }
      assert.deepStrictEqual(part.sellerLinks[0].sellerPartNumbers, ["=1", "x|y"])
      assert.strictEqual(part.totalQuantity, 1_000_000_000)

      // Into the instance it came from it brings nothing new.
      const unchanged = yield* importing(parts)
      assert.strictEqual(unchanged.unchanged, 9)
    })
  )

  it.effect("parts: a line per slot in the order of labels and slots, one for a part without stock", () =>
    Effect.gen(function* () {
      const [header = [], ...lines] = linesOf((yield* exported("parts")).replaceAll(/"(?:[^"]|"")*"/gu, "quoted"))
      const cell = (line: ReadonlyArray<string>, column: string) => line[header.indexOf(column)]
      assert.deepStrictEqual(header, [...columns])
      const places = lines.map((line) => [cell(line, "id4"), cell(line, "boxNo"), cell(line, "locNo"), cell(line, "quantity")])
      assert.deepStrictEqual(
        places,
        places.toSorted(([a], [b]) => (a! < b! ? -1 : a! > b! ? 1 : 0))
      )
      const transistor = lines.filter((line) => cell(line, "manufacturerCode") === "BC547B")
      assert.deepStrictEqual(
        transistor.map((line) => [
          cell(line, "tags"),
          cell(line, "seller"),
          cell(line, "sellerPartNumbers"),
          cell(line, "boxNo"),
          cell(line, "quantity")
        ]),
        [
          ["npn|transistor", "Reichelt", "BC 547B", "1", "100"],
          ["npn|transistor", "Reichelt", "BC 547B", "2", "40"]
        ]
      )
      const empty = places.filter(([, boxNo]) => boxNo === "")
      assert.strictEqual(empty.length, 1)
      assert.deepStrictEqual(empty[0]?.slice(1), ["", "", ""])
    })
  )

  it.effect("movements: the whole ledger, oldest first; sellers: a line per link", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [header = [], ...lines] = linesOf(yield* exported("movements"))
      const last = Object.fromEntries(header.map((name, at) => [name, lines.at(-1)?.[at]]))
      const { operation } = (yield* send("POST", `/api/parts/${last.id4}/take`, { slot: { boxNo: 3, locNo: 2 }, quantity: 3 })).body
      const added = linesOf(yield* exported("movements")).slice(1)
      assert.strictEqual(added.length, lines.length + 1)
      assert.deepStrictEqual(added.at(-1), [
        String(operation.movements[0].id),
        operation.id,
        operation.at,
        "take",
        "owner",
        "",
        "",
        last.id4,
        "3",
        "2",
        "-3",
        "999999997"
      ])
      assert.isTrue((yield* exported("movements", "?spreadsheetSafe=true")).includes(",'-3,999999997\r\n"))

      const sellers = yield* exported("sellers")
      assert.isTrue(sellers.includes(",Mouser,,https://mouser.example/ne555p,595-NE555P|NE555P-TI,true\r\n"))
      assert.strictEqual(sellers.match(/,(true|false)\r\n/gu)?.length, 4)
    })
  )

  it.effect("formulas get an apostrophe where that is asked for", () =>
    Effect.gen(function* () {
      const safe = yield* exported("parts", "?spreadsheetSafe=true")
      assert.isTrue(safe.includes(`"'=SUM(1;2)\n`))
      assert.isFalse((yield* exported("parts", "?spreadsheetSafe=false")).includes(`'=SUM`))
    })
  )

  it.effect("everything is of one moment, however long the reading takes, and no more is read ahead than a little", () =>
    Effect.gen(function* () {
      const { fetch } = yield* Http
      const { during } = yield* Statements
      const sql = yield* SqlClient.SqlClient
      const before = linesOf(yield* exported("movements")).length
      yield* insertMovements(30_000)
      const answer = yield* fetch(new Request("http://test/api/inventory/export/movements.csv"))
      const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
      const pieces = [(yield* Effect.promise(() => reader.read())).value as Uint8Array]
      yield* insertMovements(10)
      // Time enough for all thirty pages, were they not to wait for their reader.
      const asked = yield* during(Effect.forEach(Array.from({ length: 2000 }), () => sql`select 1`, { discard: true }))
      assert.isBelow(asked - 2000, 5)
      for (;;) {
        const { done, value } = yield* Effect.promise(() => reader.read())
        if (done) break
        pieces.push(value)
      }
      assert.isAbove(pieces.length, 25)
      assert.strictEqual(linesOf(Buffer.concat(pieces).toString()).length, before + 30_000)
      assert.strictEqual(linesOf(yield* exported("movements")).length, before + 30_010)
    })
  )

  it.effect("a client that vanishes ends the query and gives the connection back", () =>
    Effect.gen(function* () {
      const { fetch, send } = yield* Http
      for (let n = 0; n < 12; n++) {
        const client = new AbortController()
        const answer = yield* fetch(new Request("http://test/api/inventory/export/movements.csv", { signal: client.signal }))
        const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
        yield* Effect.promise(() => reader.read())
        if (n % 2 === 0) client.abort()
        else yield* Effect.promise(() => reader.cancel())
      }
      yield* openExports.pipe(Effect.repeat({ until: (open) => open === 0 }))
      assert.strictEqual((yield* send("GET", "/api/parts?limit=1")).status, 200)
      assert.strictEqual((yield* exported("sellers")).split("\r\n").length, 6)
    })
  )

  it.effect("exports that nobody reads leave connections to others", () =>
    Effect.gen(function* () {
      const { fetch, send } = yield* Http
      const client = new AbortController()
      const answers = yield* Effect.forkChild(
        Effect.forEach(
          Array.from({ length: 12 }),
          () => Effect.ignoreCause(fetch(new Request("http://test/api/inventory/export/movements.csv", { signal: client.signal }))),
          { concurrency: "unbounded" }
        )
      )
      yield* openExports.pipe(Effect.repeat({ until: (open) => open === 3 }))
      assert.strictEqual((yield* send("POST", "/api/types", { name: "Between exports" })).status, 201)
      client.abort()
      yield* Fiber.join(answers)
      yield* openExports.pipe(Effect.repeat({ until: (open) => open === 0 }))
    })
  )

  it.effect("thirty-two exports and writers at once: every export is whole", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const sql = yield* SqlClient.SqlClient
      const used = new Set((yield* sql<{ readonly id4: string }>`select id4 from parts`).map(({ id4 }) => id4))
      const unused = Array.from({ length: 2500 + used.size }, (_, n) => nthId4(n + 400_000)).filter((id4) => !used.has(id4))
      yield* insertParts(unused.slice(0, 2500).map((id4, n) => ({ id4, description: `Part ${n}` })))
      const [exports, writes] = yield* Effect.all(
        [
          Effect.forEach(Array.from({ length: 32 }), () => exported("parts"), { concurrency: "unbounded" }),
          Effect.forEach(Array.from({ length: 32 }), (_, n) => send("POST", "/api/types", { name: `Meanwhile ${n}` }), {
            concurrency: "unbounded"
          })
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(exports).size, 1)
      assert.strictEqual(exports[0]?.match(/Part \d+/gu)?.length, 2500)
      assert.deepStrictEqual(
        writes.map(({ status }) => status),
        Array.from({ length: 32 }, () => 201)
      )
    })
  )
})
