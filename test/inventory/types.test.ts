import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import starter from "#inventory/types/starter-types.json" with { type: "json" }
import { Types } from "#inventory/types/types.service.ts"
import { get, inParallel, newPart, post, tally } from "../support/inventory.ts"
import { Http, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

const patch = (id: number | string, body: unknown, headers: Record<string, string> = {}) =>
  Effect.flatMap(Http, ({ send }) => send("PATCH", `/api/types/${id}`, body, { headers }))
const remove = (id: number | string, headers: Record<string, string> = {}) =>
  Effect.flatMap(Http, ({ send }) => send("DELETE", `/api/types/${id}`, undefined, { headers }))
const newType = (name: string, fields: object = {}) =>
  Effect.map(post("/api/types", { name, ...fields }), ({ body, status, text }) => {
    assert.strictEqual(status, 201, text)
    return body
  })
const all = Effect.map(get("/api/types?limit=200"), ({ body }) => body.items as ReadonlyArray<Record<string, unknown>>)

layer(world(), options)("types", (it) => {
  it.effect("the starter types are there on the first start, by name", () =>
    Effect.gen(function* () {
      const { body, status } = yield* get("/api/types?limit=200&includeTotal=true")
      assert.strictEqual(status, 200)
      assert.strictEqual(body.total, 104)
      const names = body.items.map((type: { name: string }) => type.name)
      assert.sameMembers(
        names,
        starter.types.map(({ name }) => name)
      )
      const folded = names.map((name: string) => name.toLowerCase())
      assert.deepStrictEqual(folded, folded.toSorted())
      const [resistor] = starter.types
      const { id: _, createdAt: _c, updatedAt: _u, ...found } = body.items.find(({ key }: { key: string }) => key === resistor!.key)
      assert.deepStrictEqual(found, { kicadSymbol: null, kicadFootprint: null, ...resistor, partCount: 0, version: 1 })
    })
  )

  it.effect("a new type comes back as it was given, with the number of its parts", () =>
    Effect.gen(function* () {
      const fields = {
        name: "  Geiger Tube ",
        group: "Sensors",
        aliases: ["gm tube", " ZÄHLROHR "],
        reference: "D",
        kicadSymbol: "Device:Geiger",
        kicadFootprint: null
      }
      const created = yield* post("/api/types", fields)
      assert.strictEqual(created.status, 201)
      const { createdAt, id, updatedAt, ...rest } = created.body
      assert.deepStrictEqual(rest, {
        ...fields,
        key: null,
        name: "Geiger Tube",
        aliases: ["gm tube", "ZÄHLROHR"],
        partCount: 0,
        version: 1
      })
      assert.strictEqual(createdAt, updatedAt)
      assert.strictEqual(created.headers.get("location"), `/api/types/${id}`)
      assert.strictEqual(created.headers.get("etag"), '"1"')
      yield* newPart({ typeId: id })
      yield* newPart({ typeId: id })
      assert.deepStrictEqual((yield* get(`/api/types/${id}`)).body, { ...created.body, partCount: 2 })
    })
  )

  it.effect("a name is unique, ignoring case, when made and when renamed", () =>
    Effect.gen(function* () {
      const { id } = yield* newType("Übertrager")
      const taken = yield* post("/api/types", { name: "ÜBERTRAGER " })
      assert.deepInclude(taken.body, { status: 409, code: "type-name-taken", name: "ÜBERTRAGER" })
      const other = (yield* newType("Other")).id
      const refused = yield* patch(other, { name: "übertrager", group: "x" })
      assert.deepInclude(refused.body, { status: 409, code: "type-name-taken" })
      assert.deepInclude((yield* get(`/api/types/${other}`)).body, { name: "Other", group: null, version: 1 })
      assert.strictEqual((yield* patch(id, { name: "ÜBERTRAGER" })).body.name, "ÜBERTRAGER")
    })
  )

  it.effect("of 64 made with one name at once one is made, of 64 renamed to it none", () =>
    Effect.gen(function* () {
      const answers = yield* inParallel(64, (n) => post("/api/types", { name: n % 2 === 0 ? "Wanted" : "WANTED" }))
      assert.deepStrictEqual(tally(answers), { 201: 1, "409 type-name-taken": 63 })
      const ids = yield* inParallel(64, (n) => Effect.map(newType(`Rename ${n}`), ({ id }) => id))
      assert.deepStrictEqual(tally(yield* inParallel(64, (n) => patch(ids[n], { name: "wanted" }))), { "409 type-name-taken": 64 })
      const [first, ...others] = ids
      yield* remove(first)
      const renamed = yield* inParallel(63, (n) => patch(others[n], { name: "Rename 0" }))
      assert.deepStrictEqual(tally(renamed), { 200: 1, "409 type-name-taken": 62 })
    })
  )

  it.effect("an edit leaves what it does not name, empties what is null, and is made on the version that was read", () =>
    Effect.gen(function* () {
      const made = yield* newType("Edited", { group: "g", aliases: ["a"], reference: "R", kicadSymbol: "Device:R" })
      const edited = yield* patch(made.id, { group: null, aliases: ["b", "c"] }, { "if-match": '"1"' })
      assert.strictEqual(edited.headers.get("etag"), '"2"')
      const { updatedAt: _, ...rest } = edited.body
      const { updatedAt: __, ...before } = made
      assert.deepStrictEqual(rest, { ...before, group: null, aliases: ["b", "c"], version: 2 })
      assert.deepInclude((yield* patch(made.id, { group: "x" }, { "if-match": '"1"' })).body, { status: 412, current: '"2"' })
      assert.deepStrictEqual((yield* patch(made.id, { aliases: null })).body.aliases, [])
      assert.strictEqual((yield* remove(made.id, { "if-match": '"2"' })).status, 412)
      const answers = yield* inParallel(64, (n) => patch(made.id, { group: `${n}` }, { "if-match": '"3"' }))
      assert.deepStrictEqual(tally(answers), { 200: 1, "412 precondition-failed": 63 })
      assert.strictEqual((yield* get(`/api/types/${made.id}`)).body.version, 4)
    })
  )

  it.effect("a type that parts have cannot be deleted; one that none has can, once", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id } = yield* newType("Used")
      const id4 = yield* newPart({ typeId: id })
      assert.deepInclude((yield* remove(id)).body, { status: 409, code: "type-in-use", partCount: 1 })
      yield* send("PATCH", `/api/parts/${id4}`, { typeId: null })
      assert.deepStrictEqual(tally(yield* inParallel(32, () => remove(id))), { 204: 1, "404 type-not-found": 31 })
      assert.deepInclude((yield* get(`/api/types/${id}`)).body, { status: 404, code: "type-not-found", typeId: id })
    })
  )

  it.effect("a type deleted while 32 parts of it are made is in use, or none of them is made", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 6; round++) {
        const { id } = yield* newType(`Round ${round}`)
        const [removed, parts] = yield* Effect.all(
          [remove(id), inParallel(32, () => post("/api/parts", { description: "x", typeId: id }))],
          {
            concurrency: "unbounded"
          }
        )
        if (removed.status === 204) assert.deepStrictEqual(tally(parts), { "400 invalid-request": 32 })
        else {
          assert.strictEqual(removed.body.code, "type-in-use")
          assert.deepStrictEqual(tally(parts), { 201: 32 })
        }
      }
    })
  )

  it.effect("every write is recorded with what was before and after", () =>
    Effect.gen(function* () {
      const made = yield* newType("Recorded")
      const edited = (yield* patch(made.id, { reference: "X" })).body
      yield* remove(made.id)
      const { items } = (yield* get(`/api/changes?topic=type&entityId=${made.id}`)).body
      assert.deepStrictEqual(
        items.map(({ action, after, before }: Record<string, unknown>) => ({ action, before, after })),
        [
          { action: "deleted", before: edited, after: null },
          { action: "updated", before: made, after: edited },
          { action: "created", before: null, after: made }
        ]
      )
    })
  )

  it.effect("its parts are found by its new name and words as soon as the edit is answered", () =>
    Effect.gen(function* () {
      const { id } = yield* newType("Quetzal", { aliases: ["birdword"] })
      const id4 = yield* newPart({ typeId: id })
      const finds = (q: string) =>
        Effect.map(get(`/api/search?q=${q}`), ({ body }) => body.items.some((item: { id4: string }) => item.id4 === id4) as boolean)
      assert.deepStrictEqual([yield* finds("quetzal"), yield* finds("birdword"), yield* finds("zonkey")], [true, true, false])
      yield* patch(id, { name: "Zonkey" })
      assert.deepStrictEqual([yield* finds("quetzal"), yield* finds("birdword"), yield* finds("zonkey")], [false, true, true])
      yield* patch(id, { aliases: ["stripes"] })
      assert.deepStrictEqual([yield* finds("birdword"), yield* finds("stripes")], [false, true])
    })
  )

  for (const [name, fields, pointer] of [
    ["no name", { name: undefined }, "/name"],
    ["a blank name", { name: " " }, "/name"],
    ["a null name", { name: null }, "/name"],
    ["a name of 101 characters", { name: "x".repeat(101) }, "/name"],
    ["a NUL in the name", { name: "a\0" }, "/name"],
    ["a lone surrogate in an alias", { aliases: ["a", "\ud800"] }, "/aliases/1"],
    ["21 aliases", { aliases: Array.from({ length: 21 }, (_, n) => `${n}`) }, "/aliases"],
    ["a blank alias", { aliases: [""] }, "/aliases/0"],
    ["a group of 51 characters", { group: "x".repeat(51) }, "/group"],
    ["a reference of 11 characters", { reference: "x".repeat(11) }, "/reference"],
    ["a symbol without library", { kicadSymbol: "R" }, "/kicadSymbol"],
    ["a footprint without name", { kicadFootprint: "Lib:" }, "/kicadFootprint"],
    ["a key", { key: "resistor" }, "/key"],
    ["a derived count", { partCount: 3 }, "/partCount"],
    ["an unknown field", { colour: "red" }, "/colour"]
  ] as const) {
    it.effect(`${name} is refused and changes nothing`, () =>
      Effect.gen(function* () {
        const before = yield* all
        const [first] = before
        const answers = [yield* post("/api/types", { name: "Fine", ...fields })]
        if (name !== "no name") answers.push(yield* patch(first!.id as number, fields))
        for (const { body, status } of answers) {
          assert.deepStrictEqual([status, body.code], [400, "invalid-request"])
          assert.deepStrictEqual([...new Set(body.errors.map((error: { pointer: string }) => error.pointer))], [pointer])
        }
        assert.deepStrictEqual(yield* all, before)
      })
    )
  }

  for (const impossible of ["0", "-1", "x", "1.5", "2147483648", "99999999999999999999", "%00"]) {
    it.effect(`there is no type ${impossible}`, () =>
      Effect.gen(function* () {
        for (const answer of [yield* get(`/api/types/${impossible}`), yield* patch(impossible, { name: "x" }), yield* remove(impossible)]) {
          assert.deepStrictEqual([answer.status, answer.body.code], [404, "type-not-found"])
        }
      })
    )
  }

  it.effect("the list sorts by name both ways on any page", () =>
    Effect.gen(function* () {
      const names = (yield* all).map(({ name }) => (name as string).toLowerCase())
      for (const [sort, expected] of [
        ["name", names],
        ["-name", names.toReversed()]
      ] as const) {
        for (const limit of [7, 50]) {
          const found: Array<string> = []
          let cursor = ""
          do {
            const { body } = yield* get(`/api/types?sort=${sort}&limit=${limit}${cursor}`)
            found.push(...body.items.map(({ name }: { name: string }) => name.toLowerCase()))
            cursor = body.nextCursor === null ? "" : `&cursor=${body.nextCursor}`
          } while (cursor !== "")
          assert.deepStrictEqual(found, expected)
        }
      }
      for (const query of ["sort=id", "limit=0", "name=x"]) assert.strictEqual((yield* get(`/api/types?${query}`)).status, 400)
    })
  )
})

layer(world(), options)("starter types", (it) => {
  const sync = Effect.flatMap(Types, (types) => types.sync).pipe(Effect.provide(Types.layer))

  it.effect("that were renamed or deleted do not come back, and nothing a person did is written over", () =>
    Effect.gen(function* () {
      const [renamed, deleted, edited] = yield* all
      yield* patch(renamed!.id as number, { name: "My own name" })
      yield* remove(deleted!.id as number)
      yield* patch(edited!.id as number, { aliases: ["mine"], reference: null })
      const before = yield* all
      assert.deepStrictEqual(
        yield* inParallel(8, () => sync),
        Array.from({ length: 8 }, () => 0)
      )
      assert.deepStrictEqual(yield* all, before)
    })
  )

  it.effect("that are new adopt a type of their name, and are made once when many processes start", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [first, second] = (yield* all).filter(({ version }) => version === 1)
      // As if this version brought two new ones.
      yield* sql`delete from starter_types where key in (${first!.key as string}, ${second!.key as string})`
      yield* sql`delete from part_types where id in (${first!.id as number}, ${second!.id as number})`
      const own = yield* newType((first!.name as string).toUpperCase(), { aliases: ["own"], group: "Own" })
      const inserted = yield* inParallel(8, () => sync)
      assert.deepStrictEqual(inserted.toSorted(), [0, 0, 0, 0, 0, 0, 0, 2])
      const after = yield* all
      const adopted = after.find(({ key }) => key === first!.key)
      assert.deepInclude(adopted, { id: own.id, name: own.name, aliases: ["own"], group: "Own" })
      const { id: _, createdAt: _c, updatedAt: _u, ...made } = after.find(({ key }) => key === second!.key)!
      const { id: __, createdAt: __c, updatedAt: __u, ...expected } = second!
      assert.deepStrictEqual(made, expected)
    })
  )
})
