import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { Id4 } from "#inventory/parts/part.ts"
import { Parts } from "#inventory/parts/parts.service.ts"
import { Db } from "#platform/db/db.ts"
import { get, inParallel, ledgerFaults, newBox, newPart, post, stockOf, tally } from "../support/inventory.ts"
import { openAllConnections, untilBlocked } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const verb = (name: "put" | "take", id4: string, boxNo: number, locNo: number, quantity: number) =>
  post(`/api/parts/${id4}/${name}`, { slot: { boxNo, locNo }, quantity })
const put = (id4: string, boxNo: number, locNo: number, quantity: number) => verb("put", id4, boxNo, locNo, quantity)
const take = (id4: string, boxNo: number, locNo: number, quantity: number) => verb("take", id4, boxNo, locNo, quantity)
const move = (id4: string, boxNo: number, from: number, to: number, quantity: number) =>
  post(`/api/parts/${id4}/move`, { from: { boxNo, locNo: from }, to: { boxNo, locNo: to }, quantity })

/** The running balances of the part, oldest first. */
const balances = Effect.fnUntraced(function* (id4: string) {
  const { items } = (yield* get(`/api/parts/${id4}/history?limit=200`)).body
  return items.map(({ balanceAfter }: { balanceAfter: number }) => balanceAfter).toReversed() as ReadonlyArray<number>
})

const upTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1)

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("many at once", (it) => {
  it.effect("64 puts into an empty slot all count", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      assert.deepStrictEqual(tally(yield* inParallel(64, () => put(id4, boxNo, 1, 1))), { 200: 64 })
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 64 })
      assert.deepStrictEqual(yield* balances(id4), upTo(64))
    })
  )

  it.effect("every answer is the stock as of its own commit", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      const answers = yield* inParallel(64, (n) => put(id4, boxNo, 1 + (n % 2), 1))
      const byTotal = answers.map(({ body }) => body).toSorted((a, b) => a.totalQuantity - b.totalQuantity)
      assert.deepStrictEqual(
        byTotal.map(({ totalQuantity }) => totalQuantity),
        upTo(64)
      )
      for (const { locations, operation, totalQuantity } of byTotal) {
        const sum = locations.reduce((all: number, { quantity }: { quantity: number }) => all + quantity, 0)
        assert.strictEqual(sum, totalQuantity)
        const [{ balanceAfter, locNo }] = operation.movements
        assert.strictEqual(locations.find((slot: { locNo: number }) => slot.locNo === locNo).quantity, balanceAfter)
      }
    })
  )

  it.effect("64 takes of one from 64 pieces all succeed and leave nothing", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      yield* put(id4, boxNo, 1, 64)
      assert.deepStrictEqual(tally(yield* inParallel(64, () => take(id4, boxNo, 1, 1))), { 200: 64 })
      assert.deepStrictEqual(yield* stockOf(id4), {})
    })
  )

  it.effect("of 65 takes of one from 64 pieces exactly one is refused", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      yield* put(id4, boxNo, 1, 64)
      const answers = yield* inParallel(65, (n) => (n % 2 === 0 ? take(id4, boxNo, 1, 1) : post(`/api/parts/${id4}/take`, { quantity: 1 })))
      assert.deepStrictEqual(tally(answers), { 200: 64, "409 insufficient-stock": 1 })
      assert.strictEqual(answers.find(({ status }) => status === 409)!.body.available, 0)
      assert.deepStrictEqual(yield* stockOf(id4), {})
    })
  )

  it.effect("64 moves of one from 50 pieces move 50", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      yield* put(id4, boxNo, 1, 50)
      const answers = yield* inParallel(64, (n) => move(id4, boxNo, 1, 2 + (n % 4), 1))
      assert.deepStrictEqual(tally(answers), { 200: 50, "409 insufficient-stock": 14 })
      const { [`${boxNo}-1`]: left = 0, ...others } = yield* stockOf(id4)
      assert.strictEqual(left, 0)
      assert.strictEqual(
        Object.values(others).reduce((sum, quantity) => sum + quantity, 0),
        50
      )
    })
  )

  it.effect("opposite moves, of one part and of many through the same slots, all succeed", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const ids = yield* inParallel(8, () => newPart())
      for (const id4 of ids) for (const locNo of [1, 2]) yield* put(id4, boxNo, locNo, 100)
      const answers = yield* inParallel(256, (n) => {
        const [from, to] = n % 2 === 0 ? [1, 2] : [2, 1]
        return move(ids[Math.floor(n / 2) % 8]!, boxNo, from!, to!, 1)
      })
      assert.deepStrictEqual(tally(answers), { 200: 256 })
      for (const id4 of ids) assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 100, [`${boxNo}-2`]: 100 })
    })
  )

  it.effect("batches over the same parts in opposite orders all succeed", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const ids = yield* inParallel(10, () => newPart())
      const answers = yield* inParallel(64, (n) =>
        post("/api/stock/batch", {
          operations: (n % 2 === 0 ? ids : ids.toReversed()).flatMap((id4, at) => [
            { verb: "put", id4, slot: { boxNo, locNo: 1 + ((at + n) % 10) }, quantity: 2 },
            { verb: "take", id4, slot: { boxNo, locNo: 1 + ((at + n) % 10) }, quantity: 1 }
          ])
        })
      )
      assert.deepStrictEqual(tally(answers), { 200: 64 })
      for (const id4 of ids) assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.totalQuantity, 64)
    })
  )

  it.effect("of 64 counts that expect what is there one wins", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      yield* put(id4, boxNo, 1, 10)
      const answers = yield* inParallel(64, (n) =>
        post(`/api/parts/${id4}/count`, { slot: { boxNo, locNo: 1 }, counted: 100 + n, expected: 10 })
      )
      assert.deepStrictEqual(tally(answers), { 200: 1, "409 stock-changed": 63 })
      const won = answers.find(({ status }) => status === 200)!.body.totalQuantity
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: won })
      assert.deepStrictEqual(new Set(answers.filter(({ status }) => status === 409).map(({ body }) => body.current)), new Set([won]))
    })
  )

  it.effect("64 counts of different numbers all count, and the last one stands", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      const answers = yield* inParallel(64, (n) => post(`/api/parts/${id4}/count`, { slot: { boxNo, locNo: 1 }, counted: 1 + n }))
      assert.deepStrictEqual(tally(answers), { 200: 64 })
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: (yield* balances(id4)).at(-1)! })
    })
  )

  it.effect("64 different bookings undone at once are all undone", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      yield* put(id4, boxNo, 1, 5)
      const booked = yield* inParallel(64, (n) => put(id4, boxNo, 1 + (n % 3), 1 + n))
      const answers = yield* inParallel(64, (n) => post(`/api/stock/operations/${booked[n]!.body.operation.id}/undo`, {}))
      assert.deepStrictEqual(tally(answers), { 200: 64 })
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 5 })
    })
  )

  it.effect("a part deleted while 32 puts come is gone, or has what was put", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox()
      for (let round = 0; round < 6; round++) {
        const id4 = yield* newPart()
        const [removed, puts] = yield* Effect.all([send("DELETE", `/api/parts/${id4}`), inParallel(32, () => put(id4, boxNo, 1, 1))], {
          concurrency: "unbounded"
        })
        if (removed.status === 204) {
          assert.deepStrictEqual(tally(puts), { "404 part-retired": 32 })
          assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.code, "part-retired")
        } else {
          assert.strictEqual(removed.body.code, "part-in-use")
          assert.deepStrictEqual(tally(puts), { 200: 32 })
          assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: 32 })
        }
      }
    })
  )

  it.effect("a part that is being edited can be booked", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const parts = yield* Parts
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      const edited = yield* Deferred.make<void>()
      const mayCommit = yield* Deferred.make<void>()
      const edit = parts.edit(Id4.make(id4), { description: "Edited" }, undefined)
      const editing = yield* Effect.forkChild(
        db.transaction(Effect.andThen(edit, Effect.andThen(Deferred.succeed(edited, undefined), Deferred.await(mayCommit))))
      )
      yield* Deferred.await(edited)
      assert.deepStrictEqual(tally(yield* inParallel(32, () => put(id4, boxNo, 1, 1))), { 200: 32 })
      yield* Deferred.succeed(mayCommit, undefined)
      yield* Fiber.join(editing)
      assert.deepInclude((yield* get(`/api/parts/${id4}`)).body, { totalQuantity: 32, description: "Edited", version: 2 })
    }).pipe(Effect.provide(Parts.layer))
  )

  it.effect("32 edits and bulk edits of levels, 32 bookings and a deletion of the same parts never wait for each other in a ring", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const boxNo = yield* newBox()
      const ids = yield* inParallel(4, () => newPart())
      for (const id4 of ids) yield* put(id4, boxNo, 1, 50)
      const [edits, bulk, booked, removed] = yield* Effect.all(
        [
          inParallel(32, (n) => send("PATCH", `/api/parts/${ids[n % 4]}`, { minQuantity: n, description: `Part ${n}` })),
          inParallel(32, (n) => post("/api/parts/bulk-edit", { ids: n % 2 === 0 ? ids : ids.toReversed(), set: { minQuantity: 100 + n } })),
          inParallel(32, (n) =>
            post("/api/stock/batch", {
              operations: (n % 2 === 0 ? ids : ids.toReversed()).map((id4) => ({
                verb: "put",
                id4,
                slot: { boxNo, locNo: 2 + (n % 3) },
                quantity: 1
              }))
            })
          ),
          inParallel(32, (n) => send("DELETE", `/api/parts/${ids[n % 4]}`))
        ],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        [tally(edits), tally(bulk), tally(booked), tally(removed)],
        [{ 200: 32 }, { 200: 32 }, { 200: 32 }, { "409 part-in-use": 32 }]
      )
    })
  )

  it.effect("after all that the ledger is right, and the database never had to break a deadlock", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ledgerFaults, [])
      const { text } = yield* get("/metrics")
      assert.match(text, /^partwright_db_transaction_retries_total 0$/mu)
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("clients that vanish", (it) => {
  /** A put whose client goes away when `gone` is called. */
  const vanishing = Effect.fnUntraced(function* (id4: string, boxNo: number) {
    const { fetch } = yield* Http
    const client = new AbortController()
    const sent = yield* Effect.forkChild(
      fetch(
        new Request(`http://test/api/parts/${id4}/put`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ slot: { boxNo, locNo: 1 }, quantity: 5 }),
          signal: client.signal
        })
      ),
      { startImmediately: true }
    )
    return { gone: Effect.sync(() => client.abort()), answered: Effect.exit(Fiber.join(sent)) }
  })

  const bookings = Effect.fnUntraced(function* (id4: string) {
    return (yield* get(`/api/stock/operations?id4=${id4}&limit=200`)).body.items.length as number
  })

  it.effect("begins with all connections open", () => openAllConnections)

  it.effect("while their put waits for its part leave nothing", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      const locked = yield* Deferred.make<void>()
      const mayEnd = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(
        db.transaction(
          sql`select from part_stock where part_id4 = ${id4} for update`.pipe(
            Effect.andThen(Deferred.succeed(locked, undefined)),
            Effect.andThen(Deferred.await(mayEnd))
          )
        )
      )
      yield* Deferred.await(locked)
      const clients = yield* inParallel(4, () => vanishing(id4, boxNo))
      yield* untilBlocked(4)
      for (const { gone } of clients) yield* gone
      for (const { answered } of clients) yield* answered
      yield* Deferred.succeed(mayEnd, undefined)
      yield* Fiber.join(holding)
      assert.strictEqual((yield* put(id4, boxNo, 1, 1)).body.totalQuantity, 1)
      assert.strictEqual(yield* bookings(id4), 1)
    })
  )

  it.effect("during the commit leave everything or nothing", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      yield* sql`create function wait_at_commit() returns trigger language plpgsql as
        'begin perform pg_advisory_xact_lock(4711); return null; end'`
      yield* sql`create constraint trigger wait_at_commit after insert on stock_operations deferrable initially deferred
        for each row execute function wait_at_commit()`
      const locked = yield* Deferred.make<void>()
      const mayEnd = yield* Deferred.make<void>()
      const holding = yield* Effect.forkChild(
        db.transaction(
          sql`select pg_advisory_xact_lock(4711)`.pipe(
            Effect.andThen(Deferred.succeed(locked, undefined)),
            Effect.andThen(Deferred.await(mayEnd))
          )
        )
      )
      yield* Deferred.await(locked)
      const client = yield* vanishing(id4, boxNo)
      yield* untilBlocked(1)
      yield* client.gone
      yield* Deferred.succeed(mayEnd, undefined)
      yield* Fiber.join(holding)
      yield* client.answered
      yield* sql`drop trigger wait_at_commit on stock_operations`
      // Waits for the part's lock, and so for the end of the other.
      const { totalQuantity } = (yield* put(id4, boxNo, 1, 1)).body
      assert.include([1, 6], totalQuantity)
      assert.strictEqual(yield* bookings(id4), totalQuantity === 6 ? 2 : 1)
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )

  it.effect("at any moment leave everything or nothing", () =>
    Effect.gen(function* () {
      const [boxNo, id4] = [yield* newBox(), yield* newPart()]
      for (let turns = 0; turns < 100; turns++) {
        const client = yield* vanishing(id4, boxNo)
        for (let turn = 0; turn < turns; turn++) yield* Effect.promise(() => new Promise(setImmediate))
        yield* client.gone
        yield* client.answered
      }
      const { totalQuantity } = (yield* put(id4, boxNo, 1, 1)).body
      assert.strictEqual(totalQuantity, 1 + 5 * ((yield* bookings(id4)) - 1))
      assert.deepStrictEqual(yield* stockOf(id4), { [`${boxNo}-1`]: totalQuantity })
      assert.deepStrictEqual(yield* ledgerFaults, [])
    })
  )
})
