import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { get, inParallel, ledgerFaults, newBox, newPart, post, stockOf, tally } from "../support/inventory.ts"
import { Statements } from "../support/statements.ts"
import { Http, world } from "../support/world.ts"

const put = (id4: string, boxNo: number, locNo: number, quantity: number, more: object = {}) =>
  post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo }, quantity, ...more })
const take = (id4: string, boxNo: number, locNo: number, quantity: number, more: object = {}) =>
  post(`/api/parts/${id4}/take`, { slot: { boxNo, locNo }, quantity, ...more })
const move = (id4: string, boxNo: number, from: number, to: number, quantity?: number) =>
  post(`/api/parts/${id4}/move`, {
    from: { boxNo, locNo: from },
    to: { boxNo, locNo: to },
    ...(quantity === undefined ? {} : { quantity })
  })
const count = (id4: string, boxNo: number, locNo: number, counted: number, more: object = {}) =>
  post(`/api/parts/${id4}/count`, { slot: { boxNo, locNo }, counted, ...more })
const undo = (operationId: string, body: object = {}) => post(`/api/stock/operations/${operationId}/undo`, body)

const operations = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* sql<{ readonly count: number }>`select count(*)::int as count from stock_operations`
  return found!.count
}).pipe(Effect.orDie)

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

layer(world(), options)("stock verbs", (it) => {
  it.effect("a put answers the booking and the stock as of its commit", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const { body, status } = yield* put(id4.toLowerCase(), boxNo, 3, 25, { note: "  new bag " })
      assert.strictEqual(status, 200)
      const { at, id, movements, ...operation } = body.operation
      assert.match(at, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/)
      assert.deepStrictEqual(operation, { kind: "put", principal: "owner", note: "new bag", jobId: null, undoes: null, undoneBy: null })
      const { id: movementId, ...movement } = movements[0]
      assert.isNumber(movementId)
      assert.deepStrictEqual(movement, { partId4: id4, boxNo, locNo: 3, location: `${boxNo}-3`, deltaQty: 25, balanceAfter: 25 })
      assert.strictEqual(movements.length, 1)
      assert.strictEqual(body.totalQuantity, 25)
      assert.deepStrictEqual(body.locations, [{ boxNo, locNo: 3, location: `${boxNo}-3`, quantity: 25, lastCountedAt: null }])
      assert.deepStrictEqual((yield* get(`/api/stock/operations/${id}`)).body, body.operation)
      const second = yield* put(id4, boxNo, 1, 5)
      assert.strictEqual(second.body.totalQuantity, 30)
      assert.deepStrictEqual(
        second.body.locations.map(({ location, quantity }: Record<string, unknown>) => [location, quantity]),
        [
          [`${boxNo}-1`, 5],
          [`${boxNo}-3`, 25]
        ]
      )
      assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body.locations, second.body.locations)
    })
  )

  it.effect("a take without a slot works while the part lies in exactly one", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const nothing = yield* post(`/api/parts/${id4}/take`, { quantity: 1 })
      assert.strictEqual(nothing.status, 409)
      assert.deepInclude(nothing.body, { code: "insufficient-stock", id4, requested: 1, available: 0, location: null })
      yield* put(id4, boxNo, 2, 5)
      const taken = yield* post(`/api/parts/${id4}/take`, { quantity: 2 })
      assert.strictEqual(taken.body.totalQuantity, 3)
      assert.deepInclude(taken.body.operation.movements[0], { boxNo, locNo: 2, deltaQty: -2, balanceAfter: 3 })
      yield* put(id4, boxNo, 1, 4)
      const ambiguous = yield* post(`/api/parts/${id4}/take`, { quantity: 1 })
      assert.strictEqual(ambiguous.status, 409)
      assert.deepInclude(ambiguous.body, {
        code: "location-ambiguous",
        locations: [
          { boxNo, locNo: 1, location: `${boxNo}-1`, quantity: 4 },
          { boxNo, locNo: 2, location: `${boxNo}-2`, quantity: 3 }
        ]
      })
      yield* take(id4, boxNo, 2, 3)
      assert.strictEqual((yield* post(`/api/parts/${id4}/take`, { quantity: 4 })).body.totalQuantity, 0)
      assert.deepStrictEqual(yield* stockOf(id4), {})
    })
  )

  it.effect("too much is refused with what there is; a slot never used is another answer than one used up", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const never = yield* take(id4, boxNo, 1, 1)
      assert.strictEqual(never.status, 404)
      assert.deepInclude(never.body, { code: "part-not-in-location", id4, location: `${boxNo}-1` })
      assert.strictEqual((yield* move(id4, boxNo, 1, 2)).body.code, "part-not-in-location")
      yield* put(id4, boxNo, 1, 3)
      const tooMuch = yield* take(id4, boxNo, 1, 4)
      assert.strictEqual(tooMuch.status, 409)
      assert.deepInclude(tooMuch.body, { code: "insufficient-stock", requested: 4, available: 3, location: `${boxNo}-1` })
      assert.strictEqual((yield* move(id4, boxNo, 1, 2, 4)).body.available, 3)
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 3 })
      yield* take(id4, boxNo, 1, 3)
      for (const refused of [yield* take(id4, boxNo, 1, 1), yield* move(id4, boxNo, 1, 2), yield* move(id4, boxNo, 1, 2, 7)]) {
        assert.strictEqual(refused.status, 409)
        assert.deepInclude(refused.body, { code: "insufficient-stock", available: 0, location: `${boxNo}-1` })
      }
      // A count of nothing where nothing was does not make it a place of the part.
      assert.strictEqual((yield* count(id4, boxNo, 4, 0)).status, 200)
      assert.strictEqual((yield* take(id4, boxNo, 4, 1)).body.code, "part-not-in-location")
    })
  )

  it.effect("a move is one booking of two movements; without a quantity all goes", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 1, 10)
      yield* put(id4, boxNo, 2, 1)
      const some = yield* move(id4, boxNo, 1, 2, 4)
      assert.deepStrictEqual(
        some.body.operation.movements.map(({ balanceAfter, deltaQty, location }: Record<string, unknown>) => [
          location,
          deltaQty,
          balanceAfter
        ]),
        [
          [`${boxNo}-1`, -4, 6],
          [`${boxNo}-2`, 4, 5]
        ]
      )
      assert.strictEqual(some.body.totalQuantity, 11)
      assert.strictEqual((yield* move(id4, boxNo, 1, 3)).body.operation.movements[1].deltaQty, 6)
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-2`]: 5, [`${boxNo}-3`]: 6 })
      const same = yield* move(id4, boxNo, 3, 3, 1)
      assert.strictEqual(same.status, 400)
      assert.deepStrictEqual(same.body.errors[0], { in: "body", pointer: "/to", message: "Expected another slot than from" })
    })
  )

  it.effect("a count books the difference, remembers its time, and says so when nothing differs", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const first = yield* count(id4, boxNo, 1, 7)
      assert.deepInclude(first.body.operation.movements[0], { deltaQty: 7, balanceAfter: 7 })
      assert.strictEqual(first.body.locations[0].lastCountedAt, first.body.operation.at)
      const second = yield* count(id4, boxNo, 1, 7, { note: "again" })
      assert.deepStrictEqual(second.body.operation.movements, [])
      assert.strictEqual(second.body.operation.note, "again")
      assert.isAbove(second.body.locations[0].lastCountedAt.localeCompare(first.body.operation.at), -1)
      assert.strictEqual(second.body.locations[0].lastCountedAt, second.body.operation.at)
      assert.strictEqual((yield* put(id4, boxNo, 1, 1)).body.locations[0].lastCountedAt, second.body.operation.at)
      const none = yield* count(id4, boxNo, 1, 0)
      assert.deepStrictEqual(none.body.locations, [])
      assert.strictEqual((yield* put(id4, boxNo, 1, 1)).body.locations[0].lastCountedAt, null)
    })
  )

  it.effect("a count with an expectation is refused when the books say something else", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      assert.strictEqual((yield* count(id4, boxNo, 1, 5, { expected: 0 })).status, 200)
      const changed = yield* count(id4, boxNo, 1, 9, { expected: 4 })
      assert.strictEqual(changed.status, 409)
      assert.deepInclude(changed.body, { code: "stock-changed", id4, location: `${boxNo}-1`, current: 5 })
      assert.strictEqual((yield* count(id4, boxNo, 2, 9, { expected: 4 })).body.current, 0)
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
    })
  )

  it.effect("a slot holds a thousand million pieces of a part and not one more", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const most = 1_000_000_000
      assert.strictEqual((yield* put(id4, boxNo, 1, most)).status, 200)
      assert.strictEqual((yield* put(id4, boxNo, 2, most)).body.totalQuantity, 2 * most)
      for (const refused of [yield* put(id4, boxNo, 1, 1), yield* move(id4, boxNo, 2, 1, 1)]) {
        assert.strictEqual(refused.status, 409)
        assert.deepInclude(refused.body, { code: "quantity-too-large", location: `${boxNo}-1`, current: most, requested: 1 })
      }
      assert.strictEqual((yield* count(id4, boxNo, 3, most)).body.totalQuantity, 3 * most)
      const { body } = yield* put(id4, boxNo, 4, most)
      assert.strictEqual((yield* take(id4, boxNo, 1, most)).status, 200)
      yield* put(id4, boxNo, 1, 1)
      // The put of the fourth slot can be undone, the taking of the first cannot: the slot is no longer empty.
      assert.strictEqual((yield* undo(body.operation.id)).status, 200)
      const { items } = (yield* get(`/api/stock/operations?id4=${id4}&kind=take`)).body
      assert.strictEqual((yield* undo(items[0].id)).body.code, "quantity-too-large")
    })
  )

  it.effect("every booking is recorded with what it moved and the totals it left", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const { body } = yield* put(id4, boxNo, 1, 5, { note: "x" })
      const { items } = (yield* get(`/api/changes?topic=stock&entityId=${body.operation.id}`)).body
      assert.strictEqual(items.length, 1)
      assert.deepInclude(items[0], { action: "booked", entity: "operation", before: null })
      assert.deepStrictEqual(items[0].after, {
        operationId: body.operation.id,
        kind: "put",
        note: "x",
        undoes: null,
        movements: body.operation.movements,
        totals: { [id4]: 5 }
      })
    })
  )

  it.effect("the same Idempotency-Key books once", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const send = post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 }, quantity: 5 }, { headers: { "idempotency-key": `k-${id4}` } })
      const first = yield* send
      assert.deepStrictEqual((yield* send).body, first.body)
      const rest = yield* inParallel(32, () => send)
      assert.deepStrictEqual(
        Object.keys(tally(rest)).filter((outcome) => !/^(200|409 idempotency-key-in-use)$/.test(outcome)),
        []
      )
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
    })
  )
})

layer(world(), options)("bad input to stock", (it) => {
  const quantities = [
    ["0", "/quantity"],
    ["-3", "/quantity"],
    ["1.5", "/quantity"],
    ['"3"', "/quantity"],
    ["4000000000", "/quantity"],
    ["1000000001", "/quantity"],
    ["1e400", "/quantity"],
    ["null", "/quantity"],
    ["[1]", "/quantity"],
    ["true", "/quantity"]
  ] as const

  it.effect("a quantity that is none is 400 with its place, and books nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 1, 5)
      const before = yield* operations
      const slot = `"slot":{"boxNo":${boxNo},"locNo":1}`
      const raw = (path: string, body: string) =>
        send("POST", path, undefined, { raw: body, headers: { "content-type": "application/json" } })
      for (const [quantity, pointer] of quantities) {
        for (const [path, body, at] of [
          [`/api/parts/${id4}/put`, `{${slot},"quantity":${quantity}}`, pointer],
          [`/api/parts/${id4}/take`, `{${slot},"quantity":${quantity}}`, pointer],
          [`/api/parts/${id4}/take`, `{"quantity":${quantity}}`, pointer],
          [
            `/api/parts/${id4}/move`,
            `{"from":{"boxNo":${boxNo},"locNo":1},"to":{"boxNo":${boxNo},"locNo":2},"quantity":${quantity}}`,
            pointer
          ],
          ["/api/stock/batch", `{"operations":[{"verb":"put","id4":"${id4}",${slot},"quantity":${quantity}}]}`, `/operations/0${pointer}`]
        ] as const) {
          const { body: problem, status } = yield* raw(path, body)
          assert.strictEqual(status, 400, `${path} ${body}`)
          assert.deepStrictEqual([problem.code, problem.errors[0].in, problem.errors[0].pointer], ["invalid-request", "body", at], body)
        }
        if (quantity === "0") continue
        const counted = yield* raw(`/api/parts/${id4}/count`, `{${slot},"counted":${quantity}}`)
        assert.deepStrictEqual([counted.status, counted.body.errors[0].pointer], [400, "/counted"])
        const expected = yield* raw(`/api/parts/${id4}/count`, `{${slot},"counted":1,"expected":${quantity}}`)
        assert.deepStrictEqual([expected.status, expected.body.errors[0].pointer], [400, "/expected"])
      }
      assert.strictEqual((yield* raw(`/api/parts/${id4}/put`, `{${slot},"quantity":NaN}`)).body.code, "malformed-json")
      assert.strictEqual(yield* operations, before)
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
    })
  )

  it.effect("every fault of a request is named at once", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const { body, status } = yield* post(`/api/parts/${id4}/put`, {
        slot: { boxNo: 0, locNo: "x", row: 1 },
        quantity: -1,
        note: "a\0b",
        colour: "red"
      })
      assert.strictEqual(status, 400)
      assert.deepStrictEqual(body.errors.map(({ pointer }: { pointer: string }) => pointer).toSorted(), [
        "/colour",
        "/note",
        "/quantity",
        "/slot/boxNo",
        "/slot/locNo",
        "/slot/row"
      ])
    })
  )

  it.effect("notes that are too long, lone surrogates and slots that cannot be are 400", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      for (const [more, pointer] of [
        [{ note: "x".repeat(501) }, "/note"],
        [{ note: "\ud800" }, "/note"],
        [{ note: 5 }, "/note"],
        [{ slot: { boxNo: 100_000, locNo: 1 } }, "/slot/boxNo"],
        [{ slot: { boxNo, locNo: 1001 } }, "/slot/locNo"],
        [{ slot: { boxNo, locNo: 1.5 } }, "/slot/locNo"],
        [{ slot: `${boxNo}-1` }, "/slot"],
        [{ slot: null }, "/slot"],
        [{ projectId: "x" }, "/projectId"]
      ] as const) {
        const { body, status } = yield* put(id4, boxNo, 1, 1, more)
        assert.strictEqual(status, 400, JSON.stringify(more))
        assert.strictEqual(body.errors[0].pointer, pointer, JSON.stringify(more))
      }
      assert.strictEqual((yield* put(id4, boxNo, 1, 1, { note: "x".repeat(500) })).status, 200)
      assert.strictEqual((yield* put(id4, boxNo, 1, 1, { note: " \n " })).body.operation.note, null)
      assert.strictEqual((yield* put(id4, boxNo, 1, 1, { note: null })).body.operation.note, null)
    })
  )

  it.effect("unknown, impossible and deleted parts, and slots that do not exist, are 404 for every verb", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox(2)
      const gone = yield* newPart({ description: "Gone" })
      assert.strictEqual((yield* send("DELETE", `/api/parts/${gone}`)).status, 204)
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 1, 5)
      const before = yield* operations
      const verbs = (part: string, box: number, loc: number) => [
        put(part, box, loc, 1),
        take(part, box, loc, 1),
        move(part, box, loc, 2, 1),
        count(part, box, loc, 1)
      ]
      for (const [part, code] of [
        ["OOOO", "part-not-found"],
        ["12", "part-not-found"],
        ["ABCDE", "part-not-found"],
        ["%00%00%00%00", "part-not-found"],
        ["ÄÖÜß", "part-not-found"],
        [gone, "part-retired"]
      ] as const) {
        for (const verb of verbs(encodeURI(part).replaceAll("%25", "%"), boxNo, 1)) {
          const { body, status } = yield* verb
          assert.deepStrictEqual([status, body.code], [404, code], part)
        }
        for (const path of ["history", "locations"]) {
          assert.strictEqual((yield* get(`/api/parts/${encodeURI(part).replaceAll("%25", "%")}/${path}`)).body.code, code)
        }
      }
      for (const [box, loc] of [
        [boxNo, 3],
        [boxNo + 1, 1]
      ] as const) {
        for (const verb of verbs(id4, box, loc)) {
          const { body, status } = yield* verb
          assert.deepStrictEqual([status, body.code], [404, "location-not-found"])
          assert.deepInclude(body, { boxNo: box, locNo: loc })
        }
      }
      const to = yield* post(`/api/parts/${id4}/move`, { from: { boxNo, locNo: 1 }, to: { boxNo, locNo: 9 } })
      assert.deepInclude(to.body, { code: "location-not-found", boxNo, locNo: 9 })
      for (const operation of ["x", "0", "019a0000-0000-7000-8000-000000000000", "%00"]) {
        assert.strictEqual((yield* get(`/api/stock/operations/${operation}`)).body.code, "operation-not-found")
        assert.strictEqual((yield* undo(operation)).body.code, "operation-not-found")
      }
      assert.strictEqual(yield* operations, before)
    })
  )

  it.effect("a batch that is none is 400", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox(2)
      const id4 = yield* newPart()
      const item = { verb: "put", id4, slot: { boxNo, locNo: 1 }, quantity: 1 }
      for (const [body, pointer] of [
        [{ operations: [] }, "/operations"],
        [{ operations: Array.from({ length: 201 }, () => item) }, "/operations"],
        [{ operations: [item], atomic: "no" }, "/atomic"],
        [{ operations: [item, { ...item, id4: "12" }] }, "/operations/1/id4"],
        [{ operations: [{ ...item, colour: "red" }] }, "/operations/0/colour"],
        [{ operations: [{ verb: "move", id4, from: item.slot, to: item.slot }] }, "/operations/0/to"]
      ] as const) {
        const answer = yield* post("/api/stock/batch", body)
        assert.strictEqual(answer.status, 400)
        assert.include(
          answer.body.errors.map((error: { pointer: string }) => error.pointer),
          pointer
        )
      }
      assert.strictEqual((yield* post("/api/stock/batch", { operations: [{ ...item, verb: "burn" }] })).status, 400)
      assert.deepStrictEqual(yield* stockOf(id4), {})
    })
  )

  it.effect("the database itself refuses to change or remove what was booked", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 1, 5)
      for (const table of ["stock_operations", "stock_movements"]) {
        for (const statement of [
          sql`update ${sql(table)} set at = now()`,
          sql`delete from ${sql(table)}`,
          sql`truncate ${sql(table)} cascade`
        ]) {
          const error = yield* Effect.flip(statement)
          assert.include(String(error.reason.cause), `rows of ${table} are never changed or removed`)
        }
      }
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )
})

layer(world(), options)("undoing", (it) => {
  it.effect("books the exact negation and says so on both", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 1, 10)
      const moved = (yield* move(id4, boxNo, 1, 2, 4)).body.operation
      const { body, status } = yield* undo(moved.id, { note: "wrong bag" })
      assert.strictEqual(status, 200)
      assert.deepInclude(body.operation, { kind: "undo", undoes: moved.id, undoneBy: null, note: "wrong bag" })
      assert.deepStrictEqual(
        body.operation.movements.map(({ balanceAfter, deltaQty, location }: Record<string, unknown>) => [location, deltaQty, balanceAfter]),
        [
          [`${boxNo}-2`, -4, 0],
          [`${boxNo}-1`, 4, 10]
        ]
      )
      assert.strictEqual(body.totalQuantity, 10)
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 10 })
      assert.strictEqual((yield* get(`/api/stock/operations/${moved.id}`)).body.undoneBy, body.operation.id)
      const history = (yield* get(`/api/parts/${id4}/history`)).body.items
      assert.deepStrictEqual(
        history.map(({ undoneBy }: Record<string, unknown>) => undoneBy),
        [null, null, body.operation.id, body.operation.id, null]
      )
    })
  )

  it.effect("is refused twice, for an undo, for what moved nothing, and when too little is left", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const operation = (yield* put(id4, boxNo, 1, 5)).body.operation.id
      yield* take(id4, boxNo, 1, 3)
      const short = yield* undo(operation)
      assert.strictEqual(short.status, 409)
      assert.deepInclude(short.body, { code: "insufficient-stock", requested: 5, available: 2, location: `${boxNo}-1` })
      yield* put(id4, boxNo, 1, 3)
      const undone = (yield* undo(operation)).body.operation.id
      assert.deepInclude((yield* undo(operation)).body, { code: "already-undone", status: 409, undoneBy: undone })
      assert.deepInclude((yield* undo(undone)).body, { code: "not-undoable", status: 409 })
      const nothing = (yield* count(id4, boxNo, 1, 0)).body.operation
      assert.deepStrictEqual(nothing.movements, [])
      assert.deepInclude((yield* undo(nothing.id)).body, { code: "not-undoable", status: 409 })
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )

  it.effect("is refused when the slot or the part has gone", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox(2)
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 2, 5)
      const taken = (yield* take(id4, boxNo, 2, 5)).body.operation.id
      yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 1 })
      assert.deepInclude((yield* undo(taken)).body, { code: "location-gone", status: 409, location: `${boxNo}-2` })
      yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 2 })
      assert.strictEqual((yield* undo(taken)).status, 200)
      yield* take(id4, boxNo, 2, 5)
      const { items } = (yield* get(`/api/stock/operations?id4=${id4}&kind=take`)).body
      yield* send("DELETE", `/api/parts/${id4}`)
      const refused = yield* undo(items[0].id)
      assert.deepStrictEqual([refused.status, refused.body.code], [409, "not-undoable"])
      assert.include(refused.body.detail, id4)
    })
  )

  it.effect("of 64 parallel undos of one booking one books", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      yield* put(id4, boxNo, 1, 100)
      const operation = (yield* take(id4, boxNo, 1, 30)).body.operation.id
      const answers = yield* inParallel(64, () => undo(operation))
      assert.deepStrictEqual(tally(answers), { 200: 1, "409 already-undone": 63 })
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 100 })
      const undone = answers.find(({ status }) => status === 200)!.body.operation.id
      assert.deepStrictEqual(new Set(answers.filter(({ status }) => status === 409).map(({ body }) => body.undoneBy)), new Set([undone]))
    })
  )
})

layer(world().pipe(Layer.provideMerge(Statements.layer)), options)("a batch", (it) => {
  it.effect("runs in the order given, each command on what the ones before left", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const slot = (locNo: number) => ({ boxNo, locNo })
      const { body, status } = yield* post("/api/stock/batch", {
        operations: [
          { verb: "put", id4: id4.toLowerCase(), slot: slot(1), quantity: 5, note: "first" },
          { verb: "take", id4, quantity: 2 },
          { verb: "move", id4, from: slot(1), to: slot(2) },
          { verb: "count", id4, slot: slot(2), counted: 9, expected: 3 },
          { verb: "take", id4, slot: slot(2), quantity: 9 },
          { verb: "put", id4, slot: slot(2), quantity: 1 }
        ]
      })
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(
        body.results.map((result: { operation: { kind: string }; totalQuantity: number }) => [result.operation.kind, result.totalQuantity]),
        [
          ["put", 5],
          ["take", 3],
          ["move", 3],
          ["count", 9],
          ["take", 0],
          ["put", 1]
        ]
      )
      assert.strictEqual(body.results[3].locations[0].lastCountedAt, body.results[3].operation.at)
      // The slot was used up after the count: it is as if it had never been counted.
      assert.strictEqual(body.results[5].locations[0].lastCountedAt, null)
      assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body.locations, body.results[5].locations)
      const { items } = (yield* get(`/api/stock/operations?id4=${id4}`)).body
      assert.deepStrictEqual(items, body.results.map(({ operation }: { operation: unknown }) => operation).toReversed())
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )

  it.effect("that is atomic books nothing when one command is refused, and says which", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const [a, b] = [yield* newPart(), yield* newPart()]
      const before = yield* operations
      const good = { verb: "put", id4: a, slot: { boxNo, locNo: 1 }, quantity: 5 }
      for (const [bad, expected] of [
        [
          { verb: "take", id4: a, slot: { boxNo, locNo: 1 }, quantity: 6 },
          { code: "insufficient-stock", available: 5, index: 1 }
        ],
        [
          { verb: "take", id4: b, slot: { boxNo, locNo: 1 }, quantity: 1 },
          { code: "part-not-in-location", index: 1 }
        ],
        [
          { verb: "put", id4: b, slot: { boxNo, locNo: 99 }, quantity: 1 },
          { code: "location-not-found", index: 1 }
        ],
        [
          { verb: "put", id4: "OOOO", slot: { boxNo, locNo: 1 }, quantity: 1 },
          { code: "part-not-found", index: 1 }
        ],
        [
          { verb: "put", id4: a, slot: { boxNo, locNo: 1 }, quantity: 1_000_000_000 },
          { code: "quantity-too-large", index: 1 }
        ],
        [
          { verb: "count", id4: a, slot: { boxNo, locNo: 1 }, counted: 1, expected: 6 },
          { code: "stock-changed", current: 5, index: 1 }
        ]
      ] as const) {
        const { body, status } = yield* post("/api/stock/batch", { operations: [good, bad, bad] })
        assert.isTrue(status === 404 || status === 409)
        assert.deepInclude(body, expected)
      }
      const alone = yield* post("/api/stock/batch", { operations: [{ verb: "take", id4: a, quantity: 1 }] })
      assert.deepInclude(alone.body, { code: "insufficient-stock", index: 0 })
      assert.strictEqual(yield* operations, before)
      assert.deepStrictEqual(yield* stockOf(a), {})
    })
  )

  it.effect("that is not atomic answers each command by itself", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const put = (quantity: number) => ({ verb: "put", id4, slot: { boxNo, locNo: 1 }, quantity })
      const { body, status } = yield* post("/api/stock/batch", {
        atomic: false,
        operations: [{ verb: "take", id4, quantity: 1 }, put(2), { ...put(1), id4: "OOOO" }, put(3), { verb: "take", id4, quantity: 9 }]
      })
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(
        body.results.map((result: { problem?: { code: string; status: number }; totalQuantity: number }) =>
          result.problem === undefined ? result.totalQuantity : `${result.problem.status} ${result.problem.code}`
        ),
        ["409 insufficient-stock", 2, "404 part-not-found", 5, "409 insufficient-stock"]
      )
      assert.strictEqual(body.results[4].problem.available, 5)
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
      const refused = yield* post("/api/stock/batch", { atomic: false, operations: [{ ...put(1), id4: "OOOO" }] })
      assert.strictEqual(refused.status, 200)
    })
  )

  it.effect("of 200 commands over many parts and slots asks the database as often as one of 2", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox(100)
      const ids = yield* inParallel(20, () => newPart())
      const commands = Array.from({ length: 200 }, (_, n) => ({
        verb: n % 4 === 3 ? "take" : "put",
        id4: ids[n % 20],
        slot: { boxNo, locNo: 1 + (n % 20) },
        quantity: 1
      }))
      const { during } = yield* Statements
      const few = yield* during(post("/api/stock/batch", { atomic: false, operations: commands.slice(0, 2) }))
      const many = yield* during(post("/api/stock/batch", { atomic: false, operations: commands }))
      assert.strictEqual(many, few)
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )
})
