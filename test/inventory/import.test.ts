import { readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Random, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { type Id4, randomId4 } from "#inventory/parts/part.ts"
import { Imports } from "#inventory/transfer/import.service.ts"
import { defaults, type ImportOptions, type RowOutcome, reportCells } from "#inventory/transfer/import.ts"
import { Db } from "#platform/db/db.ts"
import type { UnreadableFile } from "#platform/http/problems.ts"
import { nthId4, openAllConnections, untilBlocked } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const fixture = readFileSync(new URL("fixtures/workshop.csv", import.meta.url))

const importing = Effect.fnUntraced(function* (csv: string | Uint8Array, options: Partial<ImportOptions> = {}) {
  const imports = yield* Imports
  const bytes = typeof csv === "string" ? new TextEncoder().encode(csv) : csv
  let rows: ReadonlyArray<RowOutcome> = []
  let announced = 0
  const result = yield* imports.run(
    Stream.make(bytes),
    { ...defaults, ...options },
    {
      started: (count) =>
        Effect.sync(() => {
          rows = []
          announced = count
        }),
      rows: (outcomes, soFar) =>
        Effect.sync(() => {
          rows = [...rows, ...outcomes]
          assert.strictEqual(soFar.rows, rows.length)
        })
    }
  )
  assert.strictEqual(result.rows, rows.length)
  assert.strictEqual(announced, rows.length)
  const { applied, created, rejected, unchanged, updated } = result
  return { applied, counts: { created, updated, unchanged, rejected }, rows, outcomes: rows.map(({ outcome }) => outcome) }
})

const everything = { createTypes: true, createSellers: true, createBoxes: true }

const refusal = (csv: string, options: Partial<ImportOptions> = {}) =>
  Effect.map(Effect.flip(importing(csv, options) as Effect.Effect<unknown, UnreadableFile, Imports>), ({ column, detail, line }) => ({
    line,
    column,
    detail
  }))

/** What is wrong with the rows, as `line column: reason`. */
const wrong = ({ rows }: { readonly rows: ReadonlyArray<RowOutcome> }) =>
  rows.flatMap(({ line, problems }) => problems.map(({ column, reason }) => `${line} ${column}: ${reason}`))

/** Everything that an import can write: how many rows there are, and how often they were edited. */
const traces = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const tables = ["parts", "part_types", "sellers", "seller_links", "boxes"]
  const unversioned = ["part_tags", "part_barcodes", "seller_part_numbers", "locations", "part_locations"]
  const ledger = ["stock_operations", "stock_movements", "changes", "search_documents"]
  const counts = yield* Effect.forEach([...tables, ...unversioned, ...ledger], (table) =>
    Effect.map(
      sql<{ readonly rows: number; readonly edits: number }>`
        select count(*)::int as rows, ${sql.literal(tables.includes(table) ? "coalesce(sum(version), 0)::int" : "0")} as edits from ${sql(table)}`,
      ([found]) => [table, found?.rows, found?.edits]
    )
  )
  return counts
})

const leavesNothing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* traces
    const result = yield* effect
    assert.deepStrictEqual(yield* traces, before)
    return result
  })

const partOf = Effect.fnUntraced(function* ({ rows }: { readonly rows: ReadonlyArray<RowOutcome> }, at = 0) {
  const { send } = yield* Http
  return (yield* send("GET", `/api/parts/${rows[at]?.id4}`)).body
})

const newPart = Effect.fnUntraced(function* (body: Record<string, unknown>) {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/parts", body)
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body as { readonly id4: Id4; readonly version: number }
})

const newBox = Effect.fnUntraced(function* (boxNo: number, capacity: number) {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/boxes", { boxNo, description: `Box ${boxNo}`, capacity })
  assert.strictEqual(answer.status, 201, answer.text)
})

const stockOf = (part: { readonly locations: ReadonlyArray<{ readonly location: string; readonly quantity: number }> }) =>
  part.locations.map(({ location, quantity }) => `${location}: ${quantity}`)

const World = Imports.layer.pipe(Layer.provideMerge(world()))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("import", (it) => {
  it.effect("a list of parts becomes parts, boxes, sellers and stock", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const imported = yield* importing(fixture, { ...everything, source: "workshop.csv" })
      assert.deepStrictEqual(wrong(imported), [])
      assert.deepStrictEqual(imported.counts, { created: 7, updated: 1, unchanged: 0, rejected: 0 })
      assert.isTrue(imported.applied)

      const timer = yield* partOf(imported)
      const { createdAt: _, id4, locations, sellerLinks, type, updatedAt: __, ...fields } = timer
      assert.strictEqual(type.name, "Timer")
      assert.deepStrictEqual(
        {
          description: fields.description,
          manufacturerCode: fields.manufacturerCode,
          manufacturer: fields.manufacturer,
          tags: fields.tags,
          package: fields.package,
          minQuantity: fields.minQuantity,
          barcodes: fields.barcodes,
          kicad: fields.kicad,
          seller: fields.seller,
          sellerLink: fields.sellerLink,
          totalQuantity: fields.totalQuantity,
          version: fields.version
        },
        {
          description: "Precision timer, DIP-8",
          manufacturerCode: "NE555P",
          manufacturer: "Texas Instruments",
          tags: ["timer", "astable"],
          package: "DIP-8",
          minQuantity: 5,
          barcodes: ["5901234123457"],
          kicad: {
            symbol: "Timer:NE555P",
            footprint: null,
            reference: null,
            value: null,
            excludeFromBom: false,
            excludeFromBoard: false,
            excludeFromSim: false
          },
          seller: "Mouser",
          sellerLink: "https://mouser.example/ne555p",
          totalQuantity: 25,
          version: 1
        }
      )
      assert.deepStrictEqual(sellerLinks[0].sellerPartNumbers, ["595-NE555P", "NE555P-TI"])
      assert.deepStrictEqual(stockOf({ locations }), ["1-1: 25"])

      const { items } = (yield* send("GET", `/api/stock/operations?id4=${id4}`)).body
      assert.deepStrictEqual(
        items.map((operation: { readonly kind: string; readonly note: string }) => [operation.kind, operation.note]),
        [["import", "workshop.csv, line 2"]]
      )
      const capacities = (yield* send("GET", "/api/boxes")).body.items.map(
        (box: { readonly boxNo: number; readonly capacity: number; readonly description: string }) => [
          box.boxNo,
          box.capacity,
          box.description
        ]
      )
      assert.deepStrictEqual(capacities, [
        [1, 4, "ICs"],
        [2, 7, "Transistors"],
        [3, 30, "Screws; nuts, washers"]
      ])
      assert.deepStrictEqual(stockOf(yield* partOf(imported, 2)), ["1-2: 100", "2-7: 40"])
      assert.deepStrictEqual((yield* partOf(imported, 4)).barcodes, ["4006381333931", "LOT|7"])
      assert.strictEqual((yield* partOf(imported, 7)).description, "8-bit microcontroller\r\n32 KiB flash, DIP-28")
      const found = yield* send("GET", `/api/search?q=${encodeURIComponent("φίλτρο")}`)
      assert.strictEqual(found.body.items[0]?.id4, imported.rows[3]?.id4)
    })
  )

  it.effect("importing it again changes nothing", () =>
    Effect.gen(function* () {
      yield* importing(fixture, everything)
      const again = yield* leavesNothing(importing(fixture, everything))
      assert.deepStrictEqual(again.counts, { created: 0, updated: 0, unchanged: 8, rejected: 0 })
      assert.isTrue(again.applied)
    })
  )

  it.effect("filled cells change what differs, once per part; empty cells change nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4 } = yield* newPart({ description: "Relay", manufacturerCode: "G5LE-1", package: "THT", pinCount: 5, tags: ["relay"] })
      const imported = yield* importing(
        `id4,description,package,pin_count,tags,Series\n${id4.toLowerCase()},Relay 5 V,,,power|relay,G5LE\n`
      )
      assert.deepStrictEqual(imported.outcomes, ["updated"])
      const part = yield* partOf(imported)
      assert.deepStrictEqual(
        [part.description, part.package, part.pinCount, part.tags, part.series, part.version],
        ["Relay 5 V", "THT", 5, ["power", "relay"], "G5LE", 2]
      )
      const found = yield* send("GET", "/api/search?q=power")
      assert.deepStrictEqual(
        found.body.items.map((item: { readonly id4: string }) => item.id4),
        [id4]
      )
    })
  )

  it.effect("a row means the part with its label, else its part number, else its description", () =>
    Effect.gen(function* () {
      const type = (yield* (yield* Http).send("GET", "/api/types?limit=1")).body.items[0]
      const numbered = yield* newPart({ description: "Op amp", manufacturerCode: "LM-358 N", manufacturer: "ST" })
      const plain = yield* newPart({ description: "Washer Ø 4 µm", typeId: type.id, manufacturer: "Würth" })
      const rows = [
        `${numbered.id4},SOMETHING-ELSE,,Op amp,`,
        ",lm358n,,,",
        ",LM358-N,st,,",
        `,,wurth,WASHER Ø 4 um,${type.name.toUpperCase()}`,
        // Each differs in one thing from a part that is there, and so is another one.
        ",LM358N,TI,Op amp,",
        `,,wurth,Washer Ø 4 µm,`,
        `,,,Washer Ø 4 µm,${type.name}`,
        `,,wurth,Washer Ø 5 µm,${type.name}`
      ]
      // One at a time: the first gives the part another number.
      const meant: Array<unknown> = []
      for (const row of [rows[1], rows[2], rows[3], ...rows.slice(4), rows[0]]) {
        const imported = yield* importing(`id4,manufacturerCode,manufacturer,description,type\n${row}\n`)
        meant.push(imported.outcomes[0] === "created" ? "created" : imported.rows[0]?.id4)
      }
      assert.deepStrictEqual(meant, [numbered.id4, numbered.id4, plain.id4, "created", "created", "created", "created", numbered.id4])
    })
  )

  it.effect("a row without part number never means a part that has one", () =>
    Effect.gen(function* () {
      yield* newPart({ description: "Zener 5.1 V", manufacturerCode: "BZX55C5V1" })
      assert.deepStrictEqual((yield* importing("description\nZener 5.1 V\n")).outcomes, ["created"])
    })
  )

  it.effect("an unknown label is given to the new part, a label of a deleted part is refused", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const made = yield* importing("id4,description\nilol,Named by hand\n")
      assert.deepStrictEqual([made.outcomes[0], made.rows[0]?.id4], ["created", "ILOL"])
      assert.strictEqual((yield* send("DELETE", "/api/parts/ILOL")).status, 204)
      const again = yield* leavesNothing(importing("id4,description\nILOL,Named by hand\n"))
      assert.deepStrictEqual(wrong(again), ["2 id4: ILOL was deleted, and its label is never used again"])
    })
  )

  it.effect("a label that is drawn is not one that a later row brings", () =>
    Effect.gen(function* () {
      const drawn = yield* randomId4.pipe(Random.withSeed("labels"))
      // Labels with an L are never drawn.
      const between = Array.from({ length: 600 }, (_, n) => `L${nthId4(n).slice(1)},Between ${n}\n`).join("")
      const imported = yield* importing(`id4,description\n,Drawn\n${between}${drawn},Brought\n`).pipe(Random.withSeed("labels"))
      assert.deepStrictEqual(imported.counts, { created: 602, updated: 0, unchanged: 0, rejected: 0 })
      assert.strictEqual(imported.rows.at(-1)?.id4, drawn)
      assert.notStrictEqual(imported.rows[0]?.id4, drawn)
    })
  )

  it.effect("a row that may mean several parts is refused", () =>
    Effect.gen(function* () {
      const one = yield* newPart({ description: "Regulator", manufacturerCode: "7805", manufacturer: "ST" })
      const other = yield* newPart({ description: "Regulator", manufacturerCode: "78-05", manufacturer: "TI" })
      const { rows } = yield* leavesNothing(importing("MPN?,Notes\n7805,x\n", { mapping: { "MPN?": "manufacturerCode", Notes: null } }))
      assert.strictEqual(rows[0]?.problems.length, 1)
      assert.strictEqual(rows[0]?.problems[0]?.column, "MPN?")
      assert.match(rows[0]?.problems[0]?.reason ?? "", /^Means 2 parts: [A-Z]{4}, [A-Z]{4}$/u)
      const named = yield* importing("manufacturerCode,manufacturer,series\n7805,TI,78xx\n")
      assert.deepStrictEqual([named.outcomes[0], named.rows[0]?.id4], ["updated", other.id4])
      assert.notStrictEqual(one.id4, other.id4)
    })
  )

  it.effect("create refuses rows that mean a part which was there before, not those of one that the file makes", () =>
    Effect.gen(function* () {
      const { id4 } = yield* newPart({ description: "Fuse 1 A", manufacturerCode: "FUSE-1A" })
      yield* newBox(210, 2)
      const imported = yield* importing(
        `id4,manufacturerCode,description,boxNo,locNo,quantity
,FUSE1A,Fuse 1 A,,,
${id4},,Fuse,,,
,FUSE-2A,Fuse 2 A,210,1,5
,FUSE-2A,Fuse 2 A,210,2,6
`,
        { mode: "create", atomic: false }
      )
      assert.deepStrictEqual(wrong(imported), [
        `2 manufacturerCode: Means ${id4}, which is known already`,
        `3 id4: Means ${id4}, which is known already`
      ])
      assert.deepStrictEqual(imported.outcomes, ["rejected", "rejected", "created", "updated"])
      assert.deepStrictEqual(stockOf(yield* partOf(imported, 3)), ["210-1: 5", "210-2: 6"])
    })
  )

  it.effect("rows of one part are one part in several slots; one that contradicts those before is refused", () =>
    Effect.gen(function* () {
      yield* newBox(220, 9)
      const csv = `manufacturerCode,description,tags,pinCount,boxNo,locNo,quantity
SEVERAL-1,Switch,toggle,,220,1,5
SEVERAL-1,,,3,220,2,6
SEVERAL-1,Button,toggle,4,220,3,7
SEVERAL-1,Switch,toggle|on,3,220,4,8
SEVERAL-1,,,,220,2,6
SEVERAL-1,Switch,,3,,,
SEVERAL-1,,,,220,3,9
`
      const expected = [
        "4 description: An earlier line of this part says something else",
        "4 pinCount: An earlier line of this part says something else",
        "5 tags: An earlier line of this part says something else",
        "6 locNo: An earlier line of this part says what is in 220-2",
        "7 manufacturerCode: Line 2 is about this part, and this one adds nothing to it"
      ]
      assert.deepStrictEqual(wrong(yield* leavesNothing(importing(csv))), expected)
      const imported = yield* importing(csv, { atomic: false })
      assert.deepStrictEqual(wrong(imported), expected)
      assert.deepStrictEqual(imported.outcomes, ["created", "updated", "rejected", "rejected", "rejected", "rejected", "updated"])
      const part = yield* partOf(imported)
      assert.deepStrictEqual([part.description, part.tags, part.pinCount, part.version], ["Switch", ["toggle"], 3, 1])
      assert.deepStrictEqual(stockOf(part), ["220-1: 5", "220-2: 6", "220-3: 9"])
    })
  )

  it.effect("what far earlier rows said of a part is not forgotten", () =>
    Effect.gen(function* () {
      yield* newBox(230, 1000)
      const others = Array.from({ length: 998 }, (_, n) => `FAR-${n},Filler ${n},,230,${n + 2},1`)
      const csv = ["manufacturerCode,description,package,boxNo,locNo,quantity", "APART-1,Far apart,SOT-23,230,1,5", ...others]
      const imported = yield* importing(
        [...csv, "APART-1,,,230,1,5", "APART-1,,SOT-89,230,1000,6", "APART-1,Far apart,SOT-23,230,1000,7", ""].join("\n"),
        { atomic: false }
      )
      assert.deepStrictEqual(wrong(imported), [
        "1001 locNo: An earlier line of this part says what is in 230-1",
        "1002 package: An earlier line of this part says something else"
      ])
      assert.deepStrictEqual(stockOf(yield* partOf(imported)), ["230-1: 5", "230-1000: 7"])
    })
  )

  it.effect("slots must exist; boxes are made only when that is asked for", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* newBox(240, 3)
      yield* newBox(241, 1)
      yield* send("DELETE", "/api/boxes/241")
      const csv = `manufacturerCode,description,boxNo,locNo,quantity,boxDescription
SLOT-1,One,240,4,1,
SLOT-2,Two,241,1,1,
SLOT-3,Three,242,2,1,New one
SLOT-4,Four,242,5,1,
SLOT-5,Five,242,1,1,Another one
SLOT-6,Six,243,1,,
`
      const refused = yield* leavesNothing(importing(csv))
      assert.deepStrictEqual(wrong(refused), [
        "2 locNo: Box 240 has 3 slots",
        "3 boxNo: There is no box 241",
        "4 boxNo: There is no box 242",
        "5 boxNo: There is no box 242",
        "6 boxNo: There is no box 242",
        '6 boxDescription: Line 4 calls box 242 "New one"',
        "7 boxNo: There is no box 243"
      ])
      const imported = yield* importing(csv, { createBoxes: true, atomic: false })
      assert.deepStrictEqual(wrong(imported), [
        "2 locNo: Box 240 has 3 slots",
        "3 boxNo: The number 241 belonged to a box that is gone",
        '6 boxDescription: Line 4 calls box 242 "New one"'
      ])
      const made = yield* Effect.forEach([242, 243], (boxNo) => Effect.map(send("GET", `/api/boxes/${boxNo}`), ({ body }) => body))
      assert.deepStrictEqual(
        made.map(({ capacity, description, occupiedSlots }) => [description, capacity, occupiedSlots]),
        [
          ["New one", 5, 2],
          ["Box 243", 1, 0]
        ]
      )
    })
  )

  it.effect("a count sets what lies in a slot, an addition comes to it, slots that are not named stay", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* newBox(250, 3)
      const { id4 } = yield* newPart({ description: "Counted" })
      const header = "id4,boxNo,locNo,quantity\n"
      yield* importing(`${header}${id4},250,1,10\n${id4},250,2,20\n`)
      const counted = yield* importing(`${header}${id4},250,1,4\n${id4},250,3,0\n`)
      assert.deepStrictEqual(counted.outcomes, ["updated", "unchanged"])
      assert.deepStrictEqual(stockOf(yield* partOf(counted)), ["250-1: 4", "250-2: 20"])
      const added = yield* importing(`${header}${id4},250,1,4\n${id4},250,3,7\n${id4},250,2,0\n`, { stockMode: "add" })
      assert.deepStrictEqual(added.outcomes, ["updated", "updated", "unchanged"])
      assert.deepStrictEqual(stockOf(yield* partOf(added)), ["250-1: 8", "250-2: 20", "250-3: 7"])
      const emptied = yield* importing(`${header}${id4},250,2,0\n`)
      assert.deepStrictEqual(emptied.outcomes, ["updated"])
      const { body } = yield* send("GET", `/api/parts/${id4}/history`)
      assert.deepStrictEqual(
        body.items.map((item: { readonly kind: string; readonly deltaQty: number }) => [item.kind, item.deltaQty]),
        [-20, 7, 4, -6, 20, 10].map((delta) => ["import", delta])
      )
      assert.strictEqual((yield* partOf(emptied)).version, 1)
    })
  )

  it.effect("every problem of every row is told at once, and an atomic import then writes nothing", () =>
    Effect.gen(function* () {
      const csv = `id4,description,type,productPage,pinCount,tags,kicadSymbol,kicadExcludeFromBom,seller,boxNo,locNo,quantity,boxDescription
ABC,,,,,,,,,,,,
,Good row,,,,,,,,,,,
,Bad numbers,,,0,,,,,1.5,0,-3,
,${"x".repeat(2001)},,ftp://example.org,ten,${"y".repeat(51)},NoColon,maybe,,,,,
,Half a slot,,,,,,,,7,,,
,No slot,,,,,,,,,,5,Some box
,Unknown names,Flux capacitor,,,,,,Nobody,,,,
,,,,12,,,,,,,,
,NUL \0 in it,,,,tag\0,,,,,,,
`
      const imported = yield* leavesNothing(importing(csv))
      assert.isFalse(imported.applied)
      assert.deepStrictEqual(imported.counts, { created: 1, updated: 0, unchanged: 0, rejected: 8 })
      const columns = imported.rows.map(({ line, problems }) => [line, problems.map(({ column }) => column).sort()])
      assert.deepStrictEqual(columns, [
        [2, ["id4"]],
        [3, []],
        [4, ["boxNo", "locNo", "pinCount", "quantity"]],
        [5, ["description", "kicadExcludeFromBom", "kicadSymbol", "pinCount", "productPage", "tags"]],
        [6, ["locNo"]],
        [7, ["boxNo", "boxNo"]],
        [8, ["seller", "type"]],
        [9, ["description"]],
        [10, ["description", "tags"]]
      ])
      assert.deepStrictEqual(reportCells(imported.rows[6] as RowOutcome), [
        "8",
        "rejected",
        "",
        "type|seller",
        "type: No type is called Flux capacitor; seller: No seller is called Nobody"
      ])
    })
  )

  it.effect("without atomic, good rows stay and bad ones leave nothing behind, also not what only they name", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* newBox(260, 5)
      const taken = yield* newPart({ description: "Has the barcode", barcodes: ["BAR-260"] })
      yield* importing("description,seller,sellerPartNumbers\nHas the number,Seller 260,N-260\n", { createSellers: true })
      const full = yield* newPart({ description: "Much", manufacturerCode: "MUCH-260" })
      yield* send("POST", `/api/parts/${full.id4}/put`, { slot: { boxNo: 260, locNo: 1 }, quantity: 999_999_999 })
      const before = yield* traces
      const imported = yield* importing(
        `manufacturerCode,description,type,barcodes,seller,sellerPartNumbers,boxNo,locNo,quantity
GOOD-260,Good,,,,,260,2,5
BAD-260-1,Barcode,Type 260,BAR-260,,,261,1,1
BAD-260-2,Number,Type 260,,Seller 260,n-260,261,1,1
BAD-260-3,Nothing of the seller,,,Seller 261,,,,
MUCH-260,,,,,,260,1,2
GOOD-260-2,Good too,,NEW-260,Seller 260,N-261,260,3,5
`,
        { ...everything, stockMode: "add", atomic: false }
      )
      const owner = (yield* send("GET", "/api/sellers?limit=200")).body.items.filter(({ name }: { name: string }) => name === "Seller 261")
      assert.deepStrictEqual(owner, [])
      assert.deepStrictEqual(imported.outcomes, ["created", "rejected", "rejected", "rejected", "rejected", "created"])
      const problems = wrong(imported)
      assert.strictEqual(problems[0], `3 barcodes: BAR-260 belongs to ${taken.id4}`)
      assert.match(problems[1] ?? "", /^4 sellerPartNumbers: n-260 belongs to [A-Z]{4}$/u)
      assert.strictEqual(problems[2], "5 seller: Expected a link or at least one seller part number besides the seller")
      assert.match(problems[3] ?? "", /^6 quantity: 260-1 holds 999999999 of [A-Z]{4}/u)
      const grown = (yield* traces).map(([table, rows], at) => [table, (rows as number) - (before[at]?.[1] as number)])
      assert.deepStrictEqual(
        Object.fromEntries(grown.filter(([, rows]) => rows !== 0)),
        // Changes: one for the rows, one for the import.
        {
          parts: 2,
          seller_links: 1,
          seller_part_numbers: 1,
          part_barcodes: 1,
          part_locations: 2,
          stock_operations: 2,
          stock_movements: 2,
          changes: 2,
          search_documents: 2
        }
      )
    })
  )

  it.effect("a dry run tells the same and writes nothing", () =>
    Effect.gen(function* () {
      const csv = `manufacturerCode,description,type,seller,sellerLink,boxNo,locNo,quantity
DRY-1,Dry,Dry type,Dry seller,https://dry.example/1,271,1,5
DRY-1,Dry,Dry type,,,271,2,5
DRY-2,Dry,,,,271,0,5
`
      for (const atomic of [true, false]) {
        const dry = yield* leavesNothing(importing(csv, { ...everything, atomic, dryRun: true }))
        assert.deepStrictEqual(dry.outcomes, ["created", "updated", "rejected"])
        assert.isFalse(dry.applied)
      }
    })
  )

  it.effect("sellers: the row's seller becomes the primary one, and what it says of the link is kept", () =>
    Effect.gen(function* () {
      const header = "manufacturerCode,description,seller,sellerLink,sellerPartNumbers\n"
      const first = yield* importing(`${header}SOLD-1,Sold,Seller A,,A-1|A-2\n`, { createSellers: true })
      const second = yield* importing(`${header}SOLD-1,,Seller B,https://b.example/1,\n`, { createSellers: true })
      const third = yield* importing(`${header}SOLD-1,,,,B-1\n`)
      const again = yield* leavesNothing(importing(`${header}SOLD-1,Sold,seller b,https://b.example/1,B-1\n`))
      assert.deepStrictEqual(
        [...first.outcomes, ...second.outcomes, ...third.outcomes, ...again.outcomes],
        ["created", "updated", "updated", "unchanged"]
      )
      const { seller, sellerLinks, version } = yield* partOf(first)
      assert.deepStrictEqual([seller, version], ["Seller B", 1])
      assert.deepStrictEqual(
        sellerLinks.map((link: Record<string, unknown>) => [link.sellerName, link.link, link.sellerPartNumbers, link.primary]),
        [
          ["Seller A", null, ["A-1", "A-2"], false],
          ["Seller B", "https://b.example/1", ["B-1"], true]
        ]
      )
      const nobody = yield* importing(`${header}SOLD-2,Sold,,,X-1\n`)
      assert.deepStrictEqual(wrong(nobody), ["2 seller: Expected the seller of this link or number"])
    })
  )

  it.effect("types are found by name, else by alias, ignoring case; asked to, it makes those that no name has", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* send("POST", "/api/types", { name: "Flux Capacitor", aliases: ["flux"] })
      const csv = "description,type\nFirst flux,FLUX CAPACITOR\nSecond flux,Flux\n"
      const imported = yield* importing(csv)
      const names = yield* Effect.forEach([0, 1], (at) => Effect.map(partOf(imported, at), ({ type }) => type.name))
      assert.deepStrictEqual(names, ["Flux Capacitor", "Flux Capacitor"])
      const made = yield* importing("description,type\nThird flux,flux\nFourth flux,FLUX\n", { createTypes: true })
      assert.deepStrictEqual(made.outcomes, ["created", "created"])
      const types = yield* Effect.forEach([0, 1], (at) => Effect.map(partOf(made, at), ({ type }) => type.name))
      assert.deepStrictEqual(types, ["flux", "flux"])
    })
  )

  it.effect("columns are found by name, ignoring case, blanks and underscores, or as the mapping says", () =>
    Effect.gen(function* () {
      const csv = "PART NO;De_scription;Manufacturer Code;Internal\n;Mapped;MAP-1;secret\n"
      const imported = yield* importing(csv, { mapping: { part_no: "series", internal: null } })
      assert.deepStrictEqual(imported.outcomes, ["created"])
      const { description, manufacturerCode, series } = yield* partOf(imported)
      assert.deepStrictEqual([description, manufacturerCode, series], ["Mapped", "MAP-1", null])
    })
  )

  it.effect("a file that is no list of parts is refused with line and column, whatever the options", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, Partial<ImportOptions>, number | null, number | null, RegExp]> = [
        ["", {}, 1, null, /empty/u],
        ["description,colour\nx,red\n", {}, 1, 2, /No field is called colour/u],
        ["description,,quantity\n", {}, 1, 2, /no name/u],
        ["description,Description\n", {}, 1, 2, /two columns Description/u],
        ["description,text\n", { mapping: { text: "description" } }, 1, 2, /description and text both mean description/u],
        ["description\nx\n", { mapping: { colour: "series" } }, 1, null, /There is no column colour/u],
        ['description\ngood\n"b"ad\n', { atomic: false }, 3, 1, /quote/u],
        ['description,series\ngood,1\n"two\nlines",2\n"never closed,3\n', { atomic: false }, 5, 1, /quote/u],
        ["description,series\ngood,1\nx,2,3\n", { atomic: false }, 3, 3, /3 cells, the header 2/u],
        [`description\n${"x\n".repeat(200_001)}`, { atomic: false }, 200_002, null, /more than 200000 rows/u]
      ]
      for (const [csv, options, line, column, reason] of cases) {
        const refused = yield* leavesNothing(refusal(csv, options))
        assert.deepStrictEqual([refused.line ?? null, refused.column ?? null], [line, column], refused.detail)
        assert.match(refused.detail ?? "", reason)
      }
    })
  )

  it.effect("a header alone is an import of nothing, and a short row has empty cells at its end", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* leavesNothing(importing("description,series\n"))).counts, {
        created: 0,
        updated: 0,
        unchanged: 0,
        rejected: 0
      })
      assert.deepStrictEqual((yield* importing("description,series,pinCount\nShort row\n")).outcomes, ["created"])
    })
  )

  it.effect("a file in Windows-1252 keeps its letters", () =>
    Effect.gen(function* () {
      const imported = yield* importing(Buffer.from("description;series\nSpule 10 \xb5H \xb120 %, gr\xfcn;\x80\n", "latin1"))
      const { description, series } = yield* partOf(imported)
      assert.deepStrictEqual([description, series], ["Spule 10 µH ±20 %, grün", "€"])
    })
  )

  it.effect("one change is recorded for every hundred rows that did something, and one for the import", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const rows = Array.from({ length: 250 }, (_, n) => `HUNDRED-${n},Hundred ${n}`)
      const csv = ["manufacturerCode,description", ...rows, ""].join("\n")
      const [newest] = (yield* send("GET", "/api/changes?limit=1")).body.items
      const imported = yield* importing(csv)
      const { items } = (yield* send("GET", "/api/changes?limit=10")).body
      const changes = items.filter(({ seq }: { readonly seq: number }) => seq > newest.seq).toReversed()
      assert.deepStrictEqual(
        changes.map(({ action, after, topic }: Record<string, never> & { readonly after: Record<string, ReadonlyArray<string>> }) => [
          `${topic}.${action}`,
          topic === "part" ? after.created?.length : after.created
        ]),
        [
          ["part.imported", 100],
          ["part.imported", 100],
          ["part.imported", 50],
          ["inventory-import.finished", 250]
        ]
      )
      assert.deepStrictEqual(
        changes.slice(0, 3).flatMap(({ after }: { readonly after: { readonly created: ReadonlyArray<string> } }) => after.created),
        imported.rows.map(({ id4 }) => id4)
      )
      assert.strictEqual(new Set(changes.map(({ entityId }: { readonly entityId: string }) => entityId)).size, 1)
    })
  )

  it.effect("thirty-two imports of one file at once make its parts once", () =>
    Effect.gen(function* () {
      const csv = `manufacturerCode,description,type,boxNo,locNo,quantity\n${Array.from({ length: 40 }, (_, n) => `ONCE-${n},Once ${n},Once,280,${n + 1},${n + 1}\n`).join("")}`
      // Two instances, as two processes have them.
      const another = yield* Effect.provide(Imports, Imports.layer, { local: true })
      const results = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => n),
        (n) =>
          n % 4 < 2
            ? importing(csv, { ...everything, atomic: n % 2 === 0 })
            : Effect.provideService(importing(csv, { ...everything, atomic: n % 2 === 0 }), Imports, another),
        { concurrency: "unbounded" }
      )
      const made = results.filter(({ counts }) => counts.created === 40)
      const others = results.filter(({ counts }) => counts.unchanged === 40)
      assert.deepStrictEqual([made.length, others.length], [1, 31])
      const sql = yield* SqlClient.SqlClient
      const [stock] = yield* sql<{ readonly parts: number; readonly pieces: number }>`
        select count(*)::int as parts, sum(quantity)::int as pieces from part_locations where box_no = 280`
      assert.deepStrictEqual(stock, { parts: 40, pieces: 820 })
    })
  )

  it.effect("imports and bookings of the same parts at the same time lose nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* newBox(290, 2)
      const parts = yield* Effect.forEach([1, 2, 3, 4], (n) => newPart({ description: `Busy ${n}` }))
      const csv = `id4,boxNo,locNo,quantity\n${parts.map(({ id4 }) => `${id4},290,1,1\n`).join("")}`
      const work = Array.from({ length: 32 }, (_, n) =>
        n % 4 === 0
          ? Effect.asVoid(importing(csv, { stockMode: "add" }))
          : Effect.asVoid(send("POST", `/api/parts/${parts[n % 4]?.id4}/put`, { slot: { boxNo: 290, locNo: 1 }, quantity: 1 }))
      )
      yield* Effect.all(work, { concurrency: "unbounded", discard: true })
      const totals = yield* Effect.forEach(parts, ({ id4 }) =>
        Effect.map(send("GET", `/api/parts/${id4}`), ({ body }) => body.totalQuantity)
      )
      assert.deepStrictEqual(totals, [8, 16, 16, 16])
    })
  )

  it.effect("an edit that happens while a row is decided is not lost", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      yield* openAllConnections
      const { id4 } = yield* newPart({ description: "Edited twice", series: "old" })
      const locked = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const editing = yield* db
        .transaction(
          sql`update parts set series = 'by hand', version = version + 1 where id4 = ${id4}`.pipe(
            Effect.andThen(Deferred.succeed(locked, undefined)),
            Effect.andThen(Deferred.await(release))
          )
        )
        .pipe(Effect.forkChild)
      yield* Deferred.await(locked)
      const running = yield* Effect.forkChild(importing(`id4,package\n${id4},TO-92\n`))
      yield* untilBlocked(1)
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(editing)
      assert.deepStrictEqual((yield* Fiber.join(running)).outcomes, ["updated"])
      const part = (yield* (yield* Http).send("GET", `/api/parts/${id4}`)).body
      assert.deepStrictEqual([part.package, part.series, part.version], ["TO-92", "by hand", 3])
    })
  )

  it.effect("whoever watches can stop an import, and nothing of it stays", () =>
    Effect.gen(function* () {
      const imports = yield* Imports
      const csv = `description\n${Array.from({ length: 1200 }, (_, n) => `Stopped ${n}\n`).join("")}`
      const stopped = leavesNothing(
        Effect.flip(
          imports.run(Stream.make(new TextEncoder().encode(csv)), defaults, {
            started: () => Effect.void,
            rows: (_, { rows }) => (rows < 1000 ? Effect.void : Effect.fail("enough"))
          })
        )
      )
      assert.strictEqual(yield* stopped, "enough")
    })
  )

  it.effect("in one transaction holds back nobody's events before its end", () =>
    Effect.gen(function* () {
      const imports = yield* Imports
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      const rows = Array.from(
        { length: 1200 },
        (_, n) => `Long ${n},Long type ${n % 7},Long seller ${n % 5},LN-${n},${9100 + (n % 3)},${Math.floor(n / 3) + 1},1\n`
      )
      const csv = `description,type,seller,sellerPartNumbers,boxNo,locNo,quantity\n${rows.join("")}`
      const looks: Array<boolean> = []
      const look = sql<{
        readonly free: boolean
      }>`select settled_changes() = coalesce(pg_sequence_last_value('changes_seq_seq'), 0) as free`.pipe(
        db.outside,
        Effect.orDie,
        Effect.flatMap(([row]) => Effect.sync(() => looks.push(row?.free ?? false)))
      )
      const watcher = { started: () => Effect.void, rows: () => look }
      const { created } = yield* imports.run(Stream.make(new TextEncoder().encode(csv)), { ...defaults, ...everything }, watcher)
      assert.deepStrictEqual([created, looks], [1200, [true, true, true]])
    })
  )
})
