import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { get, inParallel, newPart, post, tally } from "../support/inventory.ts"
import { Http, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

const rename = (from: unknown, to: unknown) => post("/api/part-tags/rename", { from, to })
const tagsOf = (id4: string) => Effect.map(get(`/api/parts/${id4}`), ({ body }) => body.tags as ReadonlyArray<string>)
const listed = (query = "") =>
  Effect.map(get(`/api/part-tags?${query}`), ({ body }) =>
    Object.fromEntries(body.items.map(({ parts, tag }: { parts: number; tag: string }) => [tag, parts]))
  )

layer(world(), options)("tags", (it) => {
  it.effect("are listed by name with the number of their parts, from a prefix on", () =>
    Effect.gen(function* () {
      yield* newPart({ tags: ["op-amp", "audio", "a_b"] })
      yield* newPart({ tags: ["op-amp", "opto"] })
      yield* newPart({ tags: ["ß", "audio", "a%b"] })
      assert.deepStrictEqual(yield* listed(), { "a%b": 1, a_b: 1, audio: 2, "op-amp": 2, opto: 1, ß: 1 })
      assert.deepStrictEqual(yield* listed("prefix=op"), { "op-amp": 2, opto: 1 })
      assert.deepStrictEqual(yield* listed("prefix=Op%20A"), { "op-amp": 2 })
      assert.deepStrictEqual(yield* listed("prefix=a_"), { a_b: 1 })
      assert.deepStrictEqual(yield* listed("prefix=%25"), {})
      const first = (yield* get("/api/part-tags?limit=4&includeTotal=true")).body
      assert.strictEqual(first.total, 6)
      const second = (yield* get(`/api/part-tags?limit=4&cursor=${first.nextCursor}`)).body
      assert.deepStrictEqual(
        [...first.items, ...second.items].map(({ tag }: { tag: string }) => tag),
        ["a%b", "a_b", "audio", "op-amp", "opto", "ß"]
      )
      for (const query of ["prefix=", "prefix=%00", "limit=0", "sort=tag"]) {
        assert.strictEqual((yield* get(`/api/part-tags?${query}`)).status, 400, query)
      }
    })
  )

  it.effect("are renamed on all parts; one that is there already is merged into, at the earlier place", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const a = yield* newPart({ tags: ["one", "led", "two", "diode"] })
      const b = yield* newPart({ tags: ["diode", "three", "led"] })
      const c = yield* newPart({ tags: ["led"] })
      const d = yield* newPart({ tags: ["diode"] })
      const { body, status } = yield* rename(" LED ", "Diode")
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(body, { changed: 3 })
      assert.deepStrictEqual(yield* tagsOf(a), ["one", "diode", "two"])
      assert.deepStrictEqual(yield* tagsOf(b), ["diode", "three"])
      assert.deepStrictEqual(yield* tagsOf(c), ["diode"])
      const versions = yield* Effect.forEach([a, b, c, d], (id4) => Effect.map(get(`/api/parts/${id4}`), (part) => part.body.version))
      assert.deepStrictEqual(versions, [2, 2, 2, 1])
      const { items } = (yield* get(`/api/changes?entity=part&entityId=${a}&limit=1`)).body
      assert.deepInclude(items[0], {
        action: "updated",
        before: { tags: ["one", "led", "two", "diode"] },
        after: { tags: ["one", "diode", "two"] }
      })
      for (const [from, to] of [
        ["led", "x"],
        ["diode", "DIODE"],
        ["nobody", "diode"]
      ]) {
        assert.deepStrictEqual((yield* rename(from, to)).body, { changed: 0 })
      }
      const edited = yield* send("PATCH", `/api/parts/${a}`, { tags: ["one", "two", "diode"] })
      assert.deepStrictEqual(edited.body.tags, ["one", "two", "diode"])
    })
  )

  it.effect("renamed both ways and merged by 32 at once end as one", () =>
    Effect.gen(function* () {
      const ids = yield* inParallel(10, (n) => newPart({ tags: n % 2 === 0 ? ["here", "there"] : ["there"] }))
      const answers = yield* inParallel(32, (n) => (n % 2 === 0 ? rename("here", "there") : rename("there", "here")))
      assert.deepStrictEqual(tally(answers), { 200: 32 })
      const found = new Set(yield* Effect.forEach(ids, (id4) => Effect.map(tagsOf(id4), (tags) => tags.join(" "))))
      assert.strictEqual(found.size, 1)
      assert.include(["here", "there"], [...found][0])
    })
  )

  it.effect("renamed while 32 edits of their parts come are not lost or doubled", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const ids = yield* inParallel(8, () => newPart({ tags: ["before", "kept"] }))
      const [renamed, edits] = yield* Effect.all(
        [rename("before", "after"), inParallel(32, (n) => send("PATCH", `/api/parts/${ids[n % 8]}`, { series: `${n}` }))],
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(renamed.body, { changed: 8 })
      assert.deepStrictEqual(tally(edits), { 200: 32 })
      for (const id4 of ids) assert.deepStrictEqual(yield* tagsOf(id4), ["after", "kept"])
    })
  )

  it.effect("that are none are refused", () =>
    Effect.gen(function* () {
      for (const [body, pointer] of [
        [{ from: "a", to: " " }, "/to"],
        [{ from: "", to: "b" }, "/from"],
        [{ from: "a" }, "/to"],
        [{ from: "a", to: "x".repeat(51) }, "/to"],
        [{ from: "a", to: "b", colour: 1 }, "/colour"]
      ] as const) {
        const answer = yield* post("/api/part-tags/rename", body)
        assert.deepStrictEqual([answer.status, answer.body.errors[0].pointer], [400, pointer])
      }
    })
  )

  it.effect("are found by search under their new name at once", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ tags: ["oldword"] })
      const found = (q: string) =>
        Effect.map(get(`/api/search?q=${q}`), ({ body }) => body.items.map((item: { id4: string }) => item.id4) as ReadonlyArray<string>)
      assert.include(yield* found("oldword"), id4)
      yield* rename("oldword", "newword")
      assert.include(yield* found("newword"), id4)
      assert.notInclude(yield* found("oldword"), id4)
    })
  )
})
