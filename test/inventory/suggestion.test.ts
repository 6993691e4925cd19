import { assert, layer } from "@effect/vitest"
import { Effect, Random } from "effect"
import { SqlClient } from "effect/sql"
import { book, insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

interface Item {
  readonly location: string
  readonly reason: string
}

const suggest = (query: string) =>
  Effect.gen(function* () {
    const { send } = yield* Http
    const { body, status, text } = yield* send("GET", `/api/locations/suggest?${query}`)
    assert.strictEqual(status, 200, text)
    return (body.items as ReadonlyArray<Item>).map(({ location, reason }) => `${location} ${reason}`)
  })

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("where to put something", (it) => {
  it.effect("nothing is suggested while there is no box", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* suggest(""), [])
      assert.deepStrictEqual(yield* suggest("typeId=1"), [])
    })
  )

  it.effect("every step comes after the better one, and ties go to the lower slot", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [type, other] = [1, 2]
      for (const [boxNo, capacity, designatedTypeIds] of [
        [1, 3, [other]],
        [2, 2, []],
        [3, 2, [other, type]],
        [4, 4, []],
        [5, 3, [other]],
        [6, 1, []]
      ]) {
        yield* send("POST", "/api/boxes", { boxNo, capacity, designatedTypeIds, description: "Box" })
      }
      yield* insertParts([{ id4: "AAAA", typeId: type }, { id4: "BBBB", typeId: type }, { id4: "CCCC" }, { id4: "DDDD", typeId: other }])
      // Box 4 holds the type in two slots, box 1 in one, though it is designated for another.
      yield* book("AAAA", { boxNo: 4, locNo: 3 }, 1)
      yield* book("BBBB", { boxNo: 4, locNo: 1 }, 1)
      yield* book("BBBB", { boxNo: 1, locNo: 2 }, 1)
      yield* book("AAAA", { boxNo: 1, locNo: 2 }, 1)
      yield* book("CCCC", { boxNo: 6, locNo: 1 }, 1)

      const ofType = [
        "4-2 same-type",
        "4-4 same-type",
        "1-1 same-type",
        "1-3 same-type",
        "3-1 designated",
        "3-2 designated",
        "2-1 first-free",
        "2-2 first-free",
        "5-1 last-resort",
        "5-2 last-resort",
        "5-3 last-resort"
      ]
      assert.deepStrictEqual(yield* suggest(`typeId=${type}&limit=50`), ofType)
      assert.deepStrictEqual(yield* suggest(`typeId=${type}`), ofType.slice(0, 5))
      assert.deepStrictEqual(yield* suggest(`typeId=${type}&limit=1`), ofType.slice(0, 1))
      assert.deepStrictEqual(yield* suggest("id4=aaaa&limit=50"), ["1-2 same-part", "4-3 same-part", ...ofType])
      assert.deepStrictEqual(yield* suggest("id4=AAAA&limit=2"), ["1-2 same-part", "4-3 same-part"])

      const withoutType = ["2-1", "2-2", "4-2", "4-4"].map((slot) => `${slot} first-free`)
      const rest = ["1-1", "1-3", "3-1", "3-2", "5-1", "5-2", "5-3"].map((slot) => `${slot} last-resort`)
      assert.deepStrictEqual(yield* suggest("limit=50"), [...withoutType, ...rest])
      assert.deepStrictEqual(yield* suggest("id4=CCCC&limit=50"), ["6-1 same-part", ...withoutType, ...rest])

      const { body } = yield* send("GET", `/api/locations/suggest?typeId=${type}&limit=1`)
      assert.deepStrictEqual(body, { items: [{ boxNo: 4, locNo: 2, location: "4-2", reason: "same-type" }] })
    })
  )

  it.effect("64 at once get the same slots: a suggestion reserves nothing", () =>
    Effect.gen(function* () {
      const answers = yield* Effect.forEach(Array.from({ length: 64 }), () => suggest("id4=AAAA&limit=3"), { concurrency: "unbounded" })
      assert.deepStrictEqual(new Set(answers.map((items) => items.join())), new Set(["1-2 same-part,4-3 same-part,4-2 same-type"]))
    })
  )

  for (const [query, status, code, pointer] of [
    ["typeId=999999", 400, "invalid-request", "/typeId"],
    ["typeId=0", 400, "invalid-request", "/typeId"],
    ["typeId=x", 400, "invalid-request", "/typeId"],
    ["typeId=99999999999999999999", 400, "invalid-request", "/typeId"],
    ["typeId=1&id4=AAAA", 400, "invalid-request", "/typeId"],
    ["id4=AAA", 400, "invalid-request", "/id4"],
    ["id4=AA%00A", 400, "invalid-request", "/id4"],
    ["id4=", 400, "invalid-request", "/id4"],
    ["limit=0", 400, "invalid-request", "/limit"],
    ["limit=51", 400, "invalid-request", "/limit"],
    ["limit=1.5", 400, "invalid-request", "/limit"],
    ["cursor=x", 400, "invalid-request", "/cursor"],
    ["id4=QQQQ", 404, "part-not-found", undefined],
    ["id4=RRRR", 404, "part-retired", undefined]
  ] as const) {
    it.effect(`${query} is ${status} ${code}`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const sql = yield* SqlClient.SqlClient
        yield* sql`insert into retired_parts (id4, description, principal) values ('RRRR', 'Gone', 'test') on conflict do nothing`
        const answer = yield* send("GET", `/api/locations/suggest?${query}`)
        assert.strictEqual(answer.status, status, answer.text)
        assert.strictEqual(answer.body.code, code)
        if (pointer !== undefined) assert.strictEqual(answer.body.errors[0].pointer, pointer)
      })
    )
  }
})

interface Workshop {
  readonly boxes: Map<number, { capacity: number; designated: ReadonlyArray<number> }>
  readonly types: ReadonlyMap<string, number | null>
  /** `AAAA 7-3` for a part in a slot. */
  readonly stock: Set<string>
}

/** As slow and plain as the rule is told. */
const ranking = ({ boxes, stock, types }: Workshop, id4: string | null, typeId: number | null): ReadonlyArray<string> => {
  const type = id4 === null ? typeId : (types.get(id4) ?? null)
  const slots = [...boxes]
    .toSorted(([a], [b]) => a - b)
    .flatMap(([boxNo, { capacity }]) => Array.from({ length: capacity }, (_, n) => ({ boxNo, location: `${boxNo}-${n + 1}` })))
  const partsIn = (location: string) => [...types.keys()].filter((part) => stock.has(`${part} ${location}`))
  const free = slots.filter(({ location }) => partsIn(location).length === 0)
  const slotsOfType = (boxNo: number) =>
    type === null
      ? 0
      : slots.filter((slot) => slot.boxNo === boxNo && partsIn(slot.location).some((part) => types.get(part) === type)).length
  const designated = (boxNo: number) => boxes.get(boxNo)!.designated

  const steps = {
    "same-part": id4 === null ? [] : slots.filter(({ location }) => stock.has(`${id4} ${location}`)),
    "same-type": free.filter(({ boxNo }) => slotsOfType(boxNo) > 0).toSorted((a, b) => slotsOfType(b.boxNo) - slotsOfType(a.boxNo)),
    designated: free.filter(({ boxNo }) => type !== null && designated(boxNo).includes(type)),
    "first-free": free.filter(({ boxNo }) => designated(boxNo).every((other) => other === type)),
    "last-resort": free
  }
  const seen = new Set<string>()
  return Object.entries(steps).flatMap(([reason, found]) =>
    found.flatMap(({ location }) => {
      if (seen.has(location)) return []
      seen.add(location)
      return [`${location} ${reason}`]
    })
  )
}

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("where to put something, in any workshop", (it) => {
  for (const seed of ["oak", "ash", "elm"]) {
    it.effect(`after every one of 80 random changes it is what the rule says (${seed})`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const sql = yield* SqlClient.SqlClient
        const below = (n: number) => Random.nextIntBetween(0, n, { halfOpen: true })
        const oneOf = <A>(items: ReadonlyArray<A>) => Effect.map(below(items.length), (n) => items[n]!)

        const offset = ["oak", "ash", "elm"].indexOf(seed) * 8
        const parts = Array.from({ length: 8 }, (_, n) => ({ id4: nthId4(offset + n), typeId: n < 2 ? null : 1 + (n % 3) }))
        yield* insertParts(parts)
        const workshop: Workshop = { boxes: new Map(), stock: new Set(), types: new Map(parts.map(({ id4, typeId }) => [id4, typeId])) }
        const someTypes = Effect.map(below(8), (bits) => [1, 2, 3].filter((_, n) => (bits & (1 << n)) !== 0))
        const done: Array<string> = []

        const addBox = Effect.gen(function* () {
          const [capacity, designated] = [1 + (yield* below(4)), yield* someTypes]
          const { body } = yield* send("POST", "/api/boxes", { description: "Box", capacity, designatedTypeIds: designated })
          workshop.boxes.set(body.boxNo, { capacity, designated })
        })
        const changeBox = Effect.gen(function* () {
          const boxNo = yield* oneOf([...workshop.boxes.keys()])
          const [capacity, designated] = [1 + (yield* below(4)), yield* someTypes]
          const { status } = yield* send("PATCH", `/api/boxes/${boxNo}`, { capacity, designatedTypeIds: designated })
          if (status === 200) workshop.boxes.set(boxNo, { capacity, designated })
        })
        const removeBox = Effect.gen(function* () {
          const boxNo = yield* oneOf([...workshop.boxes.keys()])
          if ((yield* send("DELETE", `/api/boxes/${boxNo}`)).status === 204) workshop.boxes.delete(boxNo)
        })
        const putOrTake = Effect.gen(function* () {
          const { id4 } = yield* oneOf(parts)
          const boxNo = yield* oneOf([...workshop.boxes.keys()])
          const locNo = 1 + (yield* below(workshop.boxes.get(boxNo)!.capacity))
          const key = `${id4} ${boxNo}-${locNo}`
          yield* book(id4, { boxNo, locNo }, workshop.stock.has(key) ? -1 : 1)
          if (!workshop.stock.delete(key)) workshop.stock.add(key)
        })

        for (let step = 0; step < 80; step++) {
          const dice = yield* below(10)
          const [name, change] =
            workshop.boxes.size < 2 || (dice === 0 && workshop.boxes.size < 9)
              ? (["add", addBox] as const)
              : dice === 1
                ? (["remove", removeBox] as const)
                : dice < 4
                  ? (["change", changeBox] as const)
                  : (["stock", putOrTake] as const)
          yield* change
          done.push(name)
          const limit = 1 + (yield* below(50))
          const asked = [
            { id4: null, typeId: null },
            ...[1, 2, 3, 4].map((typeId) => ({ id4: null, typeId })),
            { id4: (yield* oneOf(parts)).id4, typeId: null },
            { id4: (yield* oneOf(parts)).id4, typeId: null }
          ]
          for (const { id4, typeId } of asked) {
            const query = `limit=${limit}${id4 === null ? "" : `&id4=${id4}`}${typeId === null ? "" : `&typeId=${typeId}`}`
            assert.deepStrictEqual(
              yield* suggest(query),
              ranking(workshop, id4, typeId).slice(0, limit),
              `${query} after ${done.join(", ")}`
            )
          }
        }

        // Leaves nothing behind for the next run.
        for (const key of workshop.stock) {
          const [id4, boxNo, locNo] = key.split(/[ -]/u)
          yield* book(id4!, { boxNo: Number(boxNo), locNo: Number(locNo) }, -1)
        }
        for (const boxNo of workshop.boxes.keys()) assert.strictEqual((yield* send("DELETE", `/api/boxes/${boxNo}`)).status, 204)
        assert.strictEqual((yield* sql`select from locations`).length, 0)
      }).pipe(Random.withSeed(seed))
    )
  }
})
