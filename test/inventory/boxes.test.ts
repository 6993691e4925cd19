import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { Db } from "#platform/db/db.ts"
import { book, insertParts, nthId4, openAllConnections, untilBlocked } from "../support/stock-rows.ts"
import { type Answer, Http, world } from "../support/world.ts"

const newBox = (body: Record<string, unknown> = {}) =>
  Effect.gen(function* () {
    const { send } = yield* Http
    const answer = yield* send("POST", "/api/boxes", { description: "Box", capacity: 4, ...body })
    assert.strictEqual(answer.status, 201, answer.text)
    return answer.body as { readonly boxNo: number; readonly version: number; readonly updatedAt: string }
  })

const locationsOf = (boxNo: number) =>
  Effect.gen(function* () {
    const { send } = yield* Http
    const { body } = yield* send("GET", `/api/boxes/${boxNo}/locations?limit=200`)
    return (body.items as ReadonlyArray<{ readonly location: string }>).map(({ location }) => location)
  })

const tally = (answers: ReadonlyArray<Answer>) => {
  const counts: Record<string, number> = {}
  for (const { body, status } of answers) {
    const outcome = status < 400 ? String(status) : `${status} ${body.code}`
    counts[outcome] = (counts[outcome] ?? 0) + 1
  }
  return counts
}

const inParallel = <A, E, R>(times: number, effect: (n: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    Array.from({ length: times }, (_, n) => n),
    effect,
    { concurrency: "unbounded" }
  )

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("boxes", (it) => {
  it.effect("the first box gets the number 1, its slots, an ETag and an address", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [first, second] = (yield* send("GET", "/api/types?limit=2")).body.items
      const { body, headers, status } = yield* send("POST", "/api/boxes", {
        description: "  Relays ",
        capacity: 3,
        designatedTypeIds: [second.id, first.id, second.id]
      })
      assert.strictEqual(status, 201)
      assert.strictEqual(headers.get("etag"), '"1"')
      assert.strictEqual(headers.get("location"), "/api/boxes/1")
      const { createdAt, updatedAt, ...rest } = body
      assert.strictEqual(createdAt, updatedAt)
      const designated = [first, second].toSorted((a, b) => a.id - b.id)
      assert.deepStrictEqual(rest, {
        boxNo: 1,
        description: "Relays",
        capacity: 3,
        designatedTypeIds: designated.map(({ id }) => id),
        designatedTypes: designated.map(({ id, name }) => ({ id, name })),
        totalSlots: 3,
        occupiedSlots: 0,
        freeSlots: 3,
        usagePercent: 0,
        version: 1
      })
      const read = yield* send("GET", "/api/boxes/1")
      assert.deepStrictEqual(read.body, body)
      assert.strictEqual(read.headers.get("etag"), '"1"')
      assert.deepStrictEqual(yield* locationsOf(1), ["1-1", "1-2", "1-3"])
    })
  )

  it.effect("a number once used is never given out again, neither by itself nor on request", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox({ boxNo: 70 })
      assert.strictEqual((yield* send("DELETE", `/api/boxes/${boxNo}`)).status, 204)
      assert.strictEqual((yield* newBox()).boxNo, 71)
      assert.strictEqual((yield* newBox({ boxNo: 60 })).boxNo, 60)
      assert.strictEqual((yield* newBox({ boxNo: null })).boxNo, 72)
      for (const taken of [70, 71]) {
        const { body, status } = yield* send("POST", "/api/boxes", { boxNo: taken, description: "Box", capacity: 4 })
        assert.strictEqual(status, 409)
        assert.strictEqual(body.code, "box-number-taken")
        assert.strictEqual(body.boxNo, taken)
      }
      assert.strictEqual((yield* send("GET", "/api/boxes/70")).body.code, "box-not-found")
    })
  )

  it.effect("64 parallel creations get the next 64 numbers, whole and without an error", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox()
      const answers = yield* inParallel(64, () => send("POST", "/api/boxes", { description: "Parallel", capacity: 5 }))
      assert.deepStrictEqual(tally(answers), { 201: 64 })
      assert.deepStrictEqual(
        answers.map(({ body }) => body.boxNo).toSorted((a, b) => a - b),
        Array.from({ length: 64 }, (_, n) => boxNo + 1 + n)
      )
      for (const made of [boxNo + 1, boxNo + 64]) assert.strictEqual((yield* locationsOf(made)).length, 5)
    })
  )

  it.effect("of 32 parallel creations with one number one is made", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const answers = yield* inParallel(32, () => send("POST", "/api/boxes", { boxNo: 500, description: "Wanted", capacity: 5 }))
      assert.deepStrictEqual(tally(answers), { 201: 1, "409 box-number-taken": 31 })
    })
  )

  it.effect("creations with and without a number together never use one twice", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox()
      const answers = yield* inParallel(64, (n) =>
        send("POST", "/api/boxes", { description: "Mixed", capacity: 1, ...(n % 2 === 0 ? { boxNo: boxNo + 1 + n } : {}) })
      )
      const made = answers.filter(({ status }) => status === 201).map(({ body }) => body.boxNo)
      assert.strictEqual(new Set(made).size, made.length)
      const refused = answers.filter(({ status }) => status !== 201)
      assert.isTrue(refused.every(({ body }) => body.code === "box-number-taken" && (body.boxNo - boxNo) % 2 === 1))
      assert.isAtLeast(made.length, 32)
    })
  )

  it.effect("a creation that is repeated with its Idempotency-Key makes one box", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const create = send("POST", "/api/boxes", { description: "Once", capacity: 2 }, { headers: { "idempotency-key": "once" } })
      const first = yield* create
      assert.strictEqual(first.status, 201)
      const second = yield* create
      assert.deepStrictEqual(second.body, first.body)
      assert.strictEqual(second.headers.get("location"), first.headers.get("location"))
      assert.strictEqual((yield* newBox()).boxNo, first.body.boxNo + 1)
    })
  )

  it.effect("types that do not exist are refused, each by its place, and leave no box and no used number behind", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const before = yield* newBox()
      const { body, status } = yield* send("POST", "/api/boxes", {
        description: "Box",
        capacity: 4,
        designatedTypeIds: [999_999, 1, 999_998, 999_999]
      })
      assert.strictEqual(status, 400)
      assert.deepStrictEqual(
        body.errors.map(({ in: where, pointer }: { in: string; pointer: string }) => `${where} ${pointer}`),
        ["body /designatedTypeIds/0", "body /designatedTypeIds/2", "body /designatedTypeIds/3"]
      )
      const edit = yield* send("PATCH", `/api/boxes/${before.boxNo}`, { description: "New", designatedTypeIds: [1, 999_999] })
      assert.strictEqual(edit.status, 400)
      assert.strictEqual(edit.body.errors[0].pointer, "/designatedTypeIds/1")
      assert.deepStrictEqual((yield* send("GET", `/api/boxes/${before.boxNo}`)).body, before)
      assert.strictEqual((yield* newBox()).boxNo, before.boxNo + 1)
    })
  )

  it.effect("an edit replaces the designated types, null empties them, a deleted type leaves its boxes", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox({ designatedTypeIds: [1, 2] })
      const own = (yield* send("POST", "/api/types", { name: "Only here" })).body.id
      const edit = (designatedTypeIds: unknown) =>
        Effect.map(send("PATCH", `/api/boxes/${boxNo}`, { designatedTypeIds }), ({ body }) => body.designatedTypeIds)
      assert.deepStrictEqual(yield* edit([own, 2, 3, 3]), [2, 3, own])
      assert.strictEqual((yield* send("DELETE", `/api/types/${own}`)).status, 204)
      assert.deepStrictEqual((yield* send("GET", `/api/boxes/${boxNo}`)).body.designatedTypeIds, [2, 3])
      assert.deepStrictEqual(yield* edit(null), [])
    })
  )

  it.effect("a type deleted while 32 boxes are designated for it is in none of them", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const doomed = (yield* send("POST", "/api/types", { name: "Doomed" })).body.id
      const boxes = yield* inParallel(32, () => newBox({ capacity: 1 }))
      const [removed, answers] = yield* Effect.all(
        [
          send("DELETE", `/api/types/${doomed}`),
          inParallel(32, (n) => send("PATCH", `/api/boxes/${boxes[n]!.boxNo}`, { designatedTypeIds: [1, doomed] }))
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(removed.status, 204)
      const { 200: done = 0, "400 invalid-request": refused = 0 } = tally(answers)
      assert.strictEqual(done + refused, 32)
      for (const { boxNo } of boxes) {
        assert.notInclude((yield* send("GET", `/api/boxes/${boxNo}`)).body.designatedTypeIds, doomed)
      }
    })
  )

  it.effect("a larger capacity adds slots, a smaller one takes the highest away", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox({ capacity: 2 })
      const grown = yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 4 })
      assert.deepInclude(grown.body, { capacity: 4, totalSlots: 4, freeSlots: 4, version: 2 })
      assert.deepStrictEqual(yield* locationsOf(boxNo), [`${boxNo}-1`, `${boxNo}-2`, `${boxNo}-3`, `${boxNo}-4`])
      const shrunk = yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 1, description: "Small" })
      assert.deepInclude(shrunk.body, { description: "Small", capacity: 1, totalSlots: 1, version: 3 })
      assert.deepStrictEqual(yield* locationsOf(boxNo), [`${boxNo}-1`])
      assert.strictEqual((yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 1000 })).body.freeSlots, 1000)
    })
  )

  it.effect("a slot with stock is not taken away by a smaller capacity", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox({ capacity: 9 })
      yield* insertParts([{ id4: "ZAAA" }, { id4: "ZAAB" }])
      for (const locNo of [2, 5, 7]) yield* book("ZAAA", { boxNo, locNo }, 3)
      yield* book("ZAAB", { boxNo, locNo: 7 }, 1)
      const { body, status } = yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 4, description: "Not kept" })
      assert.strictEqual(status, 409)
      assert.deepInclude(body, {
        code: "slots-occupied",
        boxNo,
        locations: [
          { boxNo, locNo: 5, location: `${boxNo}-5` },
          { boxNo, locNo: 7, location: `${boxNo}-7` }
        ]
      })
      assert.deepInclude((yield* send("GET", `/api/boxes/${boxNo}`)).body, {
        capacity: 9,
        description: "Box",
        version: 1,
        occupiedSlots: 3
      })
      assert.strictEqual((yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 7 })).status, 200)
      yield* book("ZAAA", { boxNo, locNo: 7 }, -3)
      yield* book("ZAAB", { boxNo, locNo: 7 }, -1)
      assert.strictEqual((yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity: 5 })).status, 200)
    })
  )

  it.effect("a box with stock cannot be deleted; an empty one goes with its slots and leaves its history", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const sql = yield* SqlClient.SqlClient
      const { boxNo } = yield* newBox({ capacity: 9, designatedTypeIds: [1] })
      yield* insertParts([
        { id4: "YAAA", description: "Fuse" },
        { id4: "YAAB", description: "Relay" }
      ])
      yield* book("YAAB", { boxNo, locNo: 8 }, 2)
      yield* book("YAAA", { boxNo, locNo: 8 }, 5)
      yield* book("YAAA", { boxNo, locNo: 3 }, 7)
      const { body, status } = yield* send("DELETE", `/api/boxes/${boxNo}`)
      assert.strictEqual(status, 409)
      assert.deepInclude(body, {
        code: "box-not-empty",
        boxNo,
        occupiedSlots: 2,
        contents: [
          { boxNo, locNo: 3, location: `${boxNo}-3`, id4: "YAAA", description: "Fuse", quantity: 7 },
          { boxNo, locNo: 8, location: `${boxNo}-8`, id4: "YAAA", description: "Fuse", quantity: 5 },
          { boxNo, locNo: 8, location: `${boxNo}-8`, id4: "YAAB", description: "Relay", quantity: 2 }
        ]
      })
      assert.strictEqual((yield* locationsOf(boxNo)).length, 9)
      yield* book("YAAB", { boxNo, locNo: 8 }, -2)
      yield* book("YAAA", { boxNo, locNo: 8 }, -5)
      yield* book("YAAA", { boxNo, locNo: 3 }, -7)
      assert.strictEqual((yield* send("DELETE", `/api/boxes/${boxNo}`)).status, 204)
      for (const path of [`/api/boxes/${boxNo}`, `/api/boxes/${boxNo}/locations`]) {
        assert.strictEqual((yield* send("GET", path)).body.code, "box-not-found")
      }
      assert.strictEqual((yield* send("DELETE", `/api/boxes/${boxNo}`)).body.code, "box-not-found")
      assert.strictEqual((yield* send("GET", `/api/locations/${boxNo}/3`)).body.code, "location-not-found")
      const movements = yield* sql`select from stock_movements where box_no = ${boxNo}`
      assert.strictEqual(movements.length, 6)
    })
  )

  it.effect("usage counts each slot with stock once and rounds half up to two decimals", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* insertParts([{ id4: "XAAA" }, { id4: "XAAB" }])
      // 1/800 = 0.125 % and 1/160 = 0.625 % lie exactly between two decimals
      for (const [capacity, slots, usagePercent] of [
        [800, 1, 0.13],
        [160, 1, 0.63],
        [3, 1, 33.33],
        [3, 2, 66.67],
        [7, 7, 100],
        [1000, 999, 99.9],
        [96, 1, 1.04]
      ] as const) {
        const { boxNo } = yield* newBox({ capacity })
        yield* Effect.forEach(
          Array.from({ length: slots }, (_, n) => ({ boxNo, locNo: n + 1 })),
          (slot) => book("XAAA", slot, 1),
          { discard: true }
        )
        yield* book("XAAB", { boxNo, locNo: 1 }, 1)
        assert.deepInclude((yield* send("GET", `/api/boxes/${boxNo}`)).body, {
          totalSlots: capacity,
          occupiedSlots: slots,
          freeSlots: capacity - slots,
          usagePercent
        })
      }
    })
  )

  it.effect("of 32 edits of the same version one is made; the others learn the current one", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox({ capacity: 10 })
      const answers = yield* inParallel(32, (n) =>
        send("PATCH", `/api/boxes/${boxNo}`, { capacity: n + 1 }, { headers: { "if-match": '"1"' } })
      )
      assert.deepStrictEqual(tally(answers), { 200: 1, "412 precondition-failed": 31 })
      const { body } = yield* send("GET", `/api/boxes/${boxNo}`)
      assert.deepStrictEqual(body, answers.find(({ status }) => status === 200)!.body)
      assert.strictEqual((yield* locationsOf(boxNo)).length, body.capacity)
      const stale = yield* send("DELETE", `/api/boxes/${boxNo}`, undefined, { headers: { "if-match": '"1"' } })
      assert.strictEqual(stale.body.current, '"2"')
      assert.strictEqual((yield* send("DELETE", `/api/boxes/${boxNo}`, undefined, { headers: { "if-match": '"2"' } })).status, 204)
    })
  )

  it.effect("32 parallel changes of the capacity all count, and the slots are those of the last", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox({ capacity: 10 })
      const answers = yield* inParallel(32, (n) => send("PATCH", `/api/boxes/${boxNo}`, { capacity: ((n * 7) % 19) + 1 }))
      assert.deepStrictEqual(tally(answers), { 200: 32 })
      const { body } = yield* send("GET", `/api/boxes/${boxNo}`)
      assert.strictEqual(body.version, 33)
      assert.deepStrictEqual(
        yield* locationsOf(boxNo),
        Array.from({ length: body.capacity }, (_, n) => `${boxNo}-${n + 1}`)
      )
    })
  )

  it.effect("of 32 parallel deletions one finds the box", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { boxNo } = yield* newBox()
      const answers = yield* inParallel(32, () => send("DELETE", `/api/boxes/${boxNo}`))
      assert.deepStrictEqual(tally(answers), { 204: 1, "404 box-not-found": 31 })
    })
  )

  it.effect("every write is recorded with what was before and after", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const made = yield* newBox({ description: "Recorded" })
      const edited = (yield* send("PATCH", `/api/boxes/${made.boxNo}`, { description: "Renamed" })).body
      yield* send("DELETE", `/api/boxes/${made.boxNo}`)
      const { body } = yield* send("GET", `/api/changes?topic=box&entity=box&entityId=${made.boxNo}`)
      assert.deepStrictEqual(
        body.items.map(({ action, after, before }: Record<string, unknown>) => ({ action, before, after })),
        [
          { action: "deleted", before: edited, after: null },
          { action: "updated", before: made, after: edited },
          { action: "created", before: null, after: made }
        ]
      )
    })
  )

  for (const [name, body, pointer] of [
    ["no description", { capacity: 1 }, "/description"],
    ["a blank description", { description: " \t", capacity: 1 }, "/description"],
    ["a description of 256 characters", { description: "x".repeat(256), capacity: 1 }, "/description"],
    ["a NUL in the description", { description: "a\0b", capacity: 1 }, "/description"],
    ["a lone surrogate in the description", { description: "a\ud800b", capacity: 1 }, "/description"],
    ["a number as description", { description: 5, capacity: 1 }, "/description"],
    ["no capacity", { description: "Box" }, "/capacity"],
    ["capacity 0", { description: "Box", capacity: 0 }, "/capacity"],
    ["capacity 1001", { description: "Box", capacity: 1001 }, "/capacity"],
    ["capacity 1.5", { description: "Box", capacity: 1.5 }, "/capacity"],
    ["capacity as text", { description: "Box", capacity: "3" }, "/capacity"],
    ["capacity 1e300", { description: "Box", capacity: 1e300 }, "/capacity"],
    ["capacity null", { description: "Box", capacity: null }, "/capacity"],
    ["number 0", { boxNo: 0, description: "Box", capacity: 1 }, "/boxNo"],
    ["number 100000", { boxNo: 100_000, description: "Box", capacity: 1 }, "/boxNo"],
    ["number -1", { boxNo: -1, description: "Box", capacity: 1 }, "/boxNo"],
    ["types that are not a list", { description: "Box", capacity: 1, designatedTypeIds: 1 }, "/designatedTypeIds"],
    ["type 0", { description: "Box", capacity: 1, designatedTypeIds: [1, 0] }, "/designatedTypeIds/1"],
    ["type 2^31", { description: "Box", capacity: 1, designatedTypeIds: [2 ** 31] }, "/designatedTypeIds/0"],
    ["1001 types", { description: "Box", capacity: 1, designatedTypeIds: Array.from({ length: 1001 }, () => 1) }, "/designatedTypeIds"],
    ["a derived field", { description: "Box", capacity: 1, freeSlots: 1 }, "/freeSlots"],
    ["an unknown field", { description: "Box", capacity: 1, colour: "red" }, "/colour"]
  ] as const) {
    it.effect(`${name} is refused and makes no box`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const before = (yield* send("GET", "/api/boxes?limit=1&includeTotal=true")).body.total
        const answer = yield* send("POST", "/api/boxes", body)
        assert.strictEqual(answer.status, 400)
        assert.strictEqual(answer.body.code, "invalid-request")
        assert.deepStrictEqual([...new Set(answer.body.errors.map((error: { pointer: string }) => error.pointer))], [pointer])
        assert.strictEqual((yield* send("GET", "/api/boxes?limit=1&includeTotal=true")).body.total, before)
      })
    )
  }

  it.effect("an edit refuses what a creation refuses, and the number of a box never changes", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const made = yield* newBox()
      for (const [edit, pointer] of [
        [{ boxNo: 9 }, "/boxNo"],
        [{ description: null }, "/description"],
        [{ description: "" }, "/description"],
        [{ capacity: null }, "/capacity"],
        [{ capacity: 0 }, "/capacity"],
        [{ designatedTypeIds: [null] }, "/designatedTypeIds/0"],
        [{ usagePercent: 3 }, "/usagePercent"]
      ] as const) {
        const { body, status } = yield* send("PATCH", `/api/boxes/${made.boxNo}`, edit)
        assert.strictEqual(status, 400)
        assert.strictEqual(body.errors[0].pointer, pointer)
      }
      assert.deepStrictEqual((yield* send("GET", `/api/boxes/${made.boxNo}`)).body, made)
    })
  )

  for (const impossible of ["0", "-1", "x", "1.5", "100000", "99999999999999999999", "%00", "1%20", "NaN"]) {
    it.effect(`there is no box ${impossible}`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        for (const [method, body] of [["GET"], ["PATCH", { description: "Box" }], ["DELETE"]] as const) {
          const answer = yield* send(method, `/api/boxes/${impossible}`, body)
          assert.strictEqual(answer.status, 404, `${method} ${answer.text}`)
          assert.strictEqual(answer.body.code, "box-not-found")
        }
        assert.strictEqual((yield* send("GET", `/api/boxes/${impossible}/locations`)).body.code, "box-not-found")
      })
    )
  }
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("the list of boxes", (it) => {
  it.effect("sorts by number and by description, both ways, on any page", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const [boxNo, description] of [
        [5, "beta"],
        [2, "Alpha"],
        [9, "alpha"],
        [7, "Gamma"],
        [11, "Beta"]
      ] as const) {
        yield* newBox({ boxNo, description })
      }
      const expected = {
        boxNo: [2, 5, 7, 9, 11],
        "-boxNo": [11, 9, 7, 5, 2],
        description: [2, 9, 5, 11, 7],
        "-description": [7, 11, 5, 9, 2]
      }
      for (const [sort, order] of Object.entries(expected)) {
        for (const limit of [1, 2, 5, 200]) {
          const found: Array<number> = []
          let cursor = ""
          do {
            const { body, status } = yield* send("GET", `/api/boxes?sort=${sort}&limit=${limit}&includeTotal=true${cursor}`)
            assert.strictEqual(status, 200)
            assert.strictEqual(body.total, 5)
            found.push(...body.items.map((box: { boxNo: number }) => box.boxNo))
            cursor = body.nextCursor === null ? "" : `&cursor=${encodeURIComponent(body.nextCursor)}`
          } while (cursor !== "")
          assert.deepStrictEqual(found, order, `${sort} ${limit}`)
        }
      }
      assert.deepStrictEqual((yield* send("GET", "/api/boxes")).body, (yield* send("GET", "/api/boxes?sort=boxNo")).body)
      const { items } = (yield* send("GET", "/api/boxes")).body
      for (const box of items) assert.deepStrictEqual((yield* send("GET", `/api/boxes/${box.boxNo}`)).body, box)
    })
  )

  it.effect("refuses what it does not know", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const cursor = (yield* send("GET", "/api/boxes?limit=1")).body.nextCursor
      for (const [query, code] of [
        ["limit=0", "invalid-request"],
        ["limit=201", "invalid-request"],
        ["limit=ten", "invalid-request"],
        ["sort=capacity", "invalid-request"],
        ["colour=red", "invalid-request"],
        ["cursor=x", "invalid-cursor"],
        [`sort=-boxNo&cursor=${cursor}`, "invalid-cursor"]
      ]) {
        const { body, status } = yield* send("GET", `/api/boxes?${query}`)
        assert.strictEqual(status, 400, query)
        assert.strictEqual(body.code, code, query)
      }
      assert.strictEqual((yield* send("GET", `/api/types?cursor=${cursor}`)).body.code, "invalid-cursor")
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("the numbers of boxes", (it) => {
  it.effect("above 99999 comes the lowest number never used, and in the end none", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const sql = yield* SqlClient.SqlClient
      yield* newBox({ boxNo: 1 })
      yield* newBox({ boxNo: 3 })
      yield* newBox({ boxNo: 99_998 })
      assert.strictEqual((yield* newBox()).boxNo, 99_999)
      assert.strictEqual((yield* newBox()).boxNo, 2)
      assert.strictEqual((yield* newBox()).boxNo, 4)
      yield* send("DELETE", "/api/boxes/99999")
      assert.strictEqual((yield* newBox()).boxNo, 5)

      yield* sql`insert into box_numbers (box_no) select n from generate_series(1, 99999) n where n not between 1000 and 1009 on conflict do nothing`
      const answers = yield* inParallel(32, () => send("POST", "/api/boxes", { description: "Last", capacity: 1 }))
      assert.deepStrictEqual(tally(answers), { 201: 10, "409 box-numbers-exhausted": 22 })
      const last = yield* send("POST", "/api/boxes", { boxNo: 7, description: "Asked for", capacity: 1 })
      assert.strictEqual(last.body.code, "box-number-taken")
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("a box that shrinks or goes while stock comes", (it) => {
  const id4s = Array.from({ length: 64 }, (_, n) => nthId4(n))

  /** One of each part into the slots from 33 to 63, all at once; says which were booked. */
  const putAll = (boxNo: number) =>
    Effect.forEach(id4s, (id4, n) => book(id4, { boxNo, locNo: 33 + (n % 31) }, 1), { concurrency: "unbounded" })

  const stockIn = (boxNo: number) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      return (yield* sql`select from part_locations where box_no = ${boxNo}`).length
    })

  const refusals = [
    ["PATCH", { capacity: 32 }, 200, "slots-occupied"],
    ["DELETE", undefined, 204, "box-not-empty"]
  ] as const

  it.effect("begins with 64 parts", () => Effect.andThen(insertParts(id4s.map((id4) => ({ id4 }))), openAllConnections))

  for (const [method, body, done, code] of refusals) {
    it.effect(`${method} waits for a put that is under way and is refused because of it`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const db = yield* Db
        const { boxNo } = yield* newBox({ capacity: 64 })
        const booked = yield* Deferred.make<void>()
        const mayCommit = yield* Deferred.make<void>()
        const putting = yield* Effect.forkChild(
          db.transaction(
            Effect.gen(function* () {
              yield* book(id4s[0]!, { boxNo, locNo: 40 }, 1)
              yield* Deferred.succeed(booked, undefined)
              yield* Deferred.await(mayCommit)
            })
          )
        )
        yield* Deferred.await(booked)
        const refused = yield* Effect.forkChild(send(method, `/api/boxes/${boxNo}`, body))
        yield* untilBlocked(1)
        yield* Deferred.succeed(mayCommit, undefined)
        yield* Fiber.join(putting)
        assert.strictEqual((yield* Fiber.join(refused)).body.code, code)
        assert.strictEqual(yield* stockIn(boxNo), 1)
        assert.strictEqual((yield* send("GET", `/api/locations/${boxNo}/64`)).status, 200)
      })
    )

    it.effect(`${method} under way lets none of 64 puts into the slots that go`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const db = yield* Db
        const sql = yield* SqlClient.SqlClient
        const { boxNo } = yield* newBox({ capacity: 64 })
        // Sharing the last slot stops it after it has locked all the others.
        const mayGo = yield* Deferred.make<void>()
        const shared = yield* Deferred.make<void>()
        const sharing = yield* Effect.forkChild(
          db.transaction(
            Effect.gen(function* () {
              yield* sql`select 1 from locations where box_no = ${boxNo} and loc_no = 64 for key share`
              yield* Deferred.succeed(shared, undefined)
              yield* Deferred.await(mayGo)
            })
          )
        )
        yield* Deferred.await(shared)
        const change = yield* Effect.forkChild(send(method, `/api/boxes/${boxNo}`, body))
        yield* untilBlocked(1)
        const puts = yield* Effect.forkChild(putAll(boxNo))
        yield* untilBlocked(5)
        yield* Deferred.succeed(mayGo, undefined)
        yield* Fiber.join(sharing)
        assert.strictEqual((yield* Fiber.join(change)).status, done)
        assert.deepStrictEqual(new Set(yield* Fiber.join(puts)), new Set([false]))
        assert.strictEqual(yield* stockIn(boxNo), 0)
      })
    )

    it.effect(`${method} against 64 puts: either it is done and nothing came in, or it is refused and all of it`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        for (let round = 0; round < 8; round++) {
          const { boxNo } = yield* newBox({ capacity: 64 })
          const [answer, puts] = yield* Effect.all([send(method, `/api/boxes/${boxNo}`, body), putAll(boxNo)], { concurrency: "unbounded" })
          if (answer.status === done) {
            assert.strictEqual(yield* stockIn(boxNo), puts.filter((put) => put).length)
            assert.strictEqual(yield* stockIn(boxNo), 0)
          } else {
            assert.strictEqual(answer.body.code, code)
            assert.isTrue(puts.every((put) => put))
            assert.strictEqual(yield* stockIn(boxNo), 64)
          }
        }
      })
    )
  }
})
