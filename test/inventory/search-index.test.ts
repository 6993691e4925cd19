import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { SearchIndex } from "#inventory/search/search-index.service.ts"
import { Db } from "#platform/db/db.ts"
import { Statements } from "../support/statements.ts"
import { insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const
const indexed = () => SearchIndex.layer.pipe(Layer.provideMerge(world()))

const send = Effect.fnUntraced(function* (method: string, path: string, body?: object) {
  const http = yield* Http
  const answer = yield* http.send(method, path, body)
  assert.isBelow(answer.status, 300, answer.text)
  return answer.body
})
const found = (q: string) =>
  Effect.map(send("GET", `/api/search?limit=100&q=${encodeURIComponent(q)}`), ({ items }) =>
    (items as ReadonlyArray<{ readonly id4: string }>).map(({ id4 }) => id4)
  )

const documents = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) =>
    sql<{
      readonly id4: string
      readonly words: string
      readonly description: string
    }>`select part_id4 as id4, words::text as words, description from search_documents order by part_id4`
)
const vocabulary = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql<{ readonly word: string; readonly parts: number }>`select word, parts from search_words order by word`
)
/** Words that some document has and the vocabulary has not. */
const missing = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const lost = yield* sql<{ readonly word: string }>`select distinct u.lexeme as word from search_documents d cross join unnest(d.words) u
    where u.lexeme ~ '^[[:alnum:]]+$' and not exists (select from search_words w where w.word = u.lexeme)`
  return lost.map(({ word }) => word)
})

/** A transaction that has done its work and commits only when told. */
const held = Effect.fnUntraced(function* <A, E, R>(work: Effect.Effect<A, E, R>) {
  const db = yield* Db
  const done = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const fiber = yield* Effect.forkChild(
    db.transaction(Effect.andThen(work, Effect.andThen(Deferred.succeed(done, undefined), Deferred.await(release))))
  )
  yield* Deferred.await(done)
  return Effect.andThen(Deferred.succeed(release, undefined), Fiber.join(fiber))
})
/** When so many sessions wait for a lock. */
const waiting = (count: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql<{
      readonly n: number
    }>`select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`.pipe(
      Effect.repeat({ until: ([row]) => (row?.n ?? 0) >= count })
    )
  )

layer(indexed(), options)("search metrics", (it) => {
  it.effect("every tier has its series before the first search", () =>
    Effect.gen(function* () {
      const http = yield* Http
      const { text } = yield* http.send("GET", "/metrics")
      for (const tier of ["0", "1", "2", "3", "4", "5", "none"]) {
        assert.include(text, `partwright_inventory_search_duration_seconds_count{tier="${tier}"} 0`)
      }
    })
  )
})

layer(indexed(), options)("search-rebuild", (it) => {
  it.effect("makes the same index from nothing as the changes made one by one", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      const type = yield* send("POST", "/api/types", { name: "Choke", aliases: ["inductor"] })
      const seller = yield* send("POST", "/api/sellers", { name: "Coil Corner" })
      const ids: Array<string> = []
      for (let n = 0; n < 30; n++) {
        const part = yield* send("POST", "/api/parts", {
          description: `Choke ${n} µH ±10% 'quoted' back\\slash, Größe ${n % 3}`,
          manufacturerCode: `CH-${n}.5/A`,
          typeId: n % 2 === 0 ? type.id : null,
          tags: [`batch ${n % 4}`, "wound"],
          barcodes: [`40000${n}`],
          pinCount: n + 1,
          sellerLinks: n % 3 === 0 ? [{ sellerId: seller.id, sellerPartNumbers: [`CC-${n}-ND`] }] : []
        })
        ids.push(part.id4)
      }
      yield* send("PATCH", `/api/types/${type.id}`, { name: "Power Choke", aliases: ["coil"] })
      yield* send("PATCH", `/api/sellers/${seller.id}`, { name: "Choke Corner" })
      yield* send("PATCH", `/api/parts/${ids[0]}`, { description: "Ferrite bead" })
      yield* send("DELETE", `/api/parts/${ids[1]}`)
      yield* send("POST", "/api/part-tags/rename", { from: "wound", to: "hand-wound" })
      const written = yield* documents
      assert.lengthOf(written, 29)
      assert.deepStrictEqual(yield* missing, [])

      const progress: Array<readonly [number, number]> = []
      const { parts } = yield* index.rebuild((done, total) => Effect.sync(() => void progress.push([done, total])))
      assert.deepStrictEqual([parts, progress], [29, [[29, 29]]])
      assert.deepStrictEqual(yield* documents, written)
      const words = yield* vocabulary
      assert.include(
        words.map(({ word, parts }) => `${word} ${parts}`),
        "handwound 29"
      )
      assert.notInclude(
        words.map(({ word }) => word),
        "inductor"
      )

      yield* sql`truncate search_documents, search_words`
      assert.deepStrictEqual(yield* found("choke"), [])
      yield* index.rebuild()
      assert.deepStrictEqual(yield* documents, written)
      assert.deepStrictEqual(yield* vocabulary, words)
      assert.lengthOf(yield* found("choke"), 29)
    })
  )

  it.effect("beside writers it leaves no document behind that is older than its part", () =>
    Effect.gen(function* () {
      const index = yield* SearchIndex
      const ids: Array<string> = []
      for (let n = 0; n < 32; n++) ids.push((yield* send("POST", "/api/parts", { description: `Washer first${n}x` })).id4)
      const edits = ids.map((id4, n) => send("PATCH", `/api/parts/${id4}`, { description: `Washer second${n}x` }))
      yield* Effect.all([Effect.all(edits, { concurrency: "unbounded" }), index.rebuild(), index.rebuild(), index.recount], {
        concurrency: "unbounded"
      })
      for (const [n, id4] of ids.entries()) assert.deepStrictEqual(yield* found(`second${n}x`), [id4])
      const after = yield* documents
      yield* index.rebuild()
      assert.deepStrictEqual(yield* documents, after)
    })
  )
})

layer(indexed(), options)("the index beside others", (it) => {
  it.effect("a part that gets a type while the type is being renamed has the new name, whoever comes first", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      const type = yield* send("POST", "/api/types", { name: "Oldname" })

      const rename = yield* held(
        Effect.andThen(sql`update part_types set name = 'Newname' where id = ${type.id}`, index.refreshType(type.id))
      )
      const late = yield* Effect.forkChild(send("POST", "/api/parts", { description: "Late", typeId: type.id }))
      yield* waiting(1)
      yield* rename
      const { id4 } = yield* Fiber.join(late)
      assert.deepStrictEqual([yield* found("newname"), yield* found("oldname")], [[id4], []])

      const early = nthId4(7)
      const insert = yield* held(
        Effect.andThen(insertParts([{ id4: early, description: "Early", typeId: type.id }]), index.refresh([early]))
      )
      const second = yield* Effect.forkChild(send("PATCH", `/api/types/${type.id}`, { name: "Lastname" }))
      yield* waiting(1)
      yield* insert
      yield* Fiber.join(second)
      assert.sameMembers(yield* found("lastname"), [id4, early])
      assert.deepStrictEqual(yield* found("newname"), [])
    })
  )

  it.effect("a link to a seller that is being renamed has the new name", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      const seller = yield* send("POST", "/api/sellers", { name: "Oldshop" })
      const { id4 } = yield* send("POST", "/api/parts", { description: "Sold" })
      const rename = yield* held(
        Effect.andThen(sql`update sellers set name = 'Newshop' where id = ${seller.id}`, index.refreshSeller(seller.id))
      )
      const link = yield* Effect.forkChild(
        send("POST", `/api/parts/${id4}/seller-links`, { sellerId: seller.id, link: "https://x.example/" })
      )
      yield* waiting(1)
      yield* rename
      yield* Fiber.join(link)
      assert.deepStrictEqual([yield* found("newshop"), yield* found("oldshop")], [[id4], []])
    })
  )

  it.effect("two who change texts of one part both find their words", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      const { id4 } = yield* send("POST", "/api/parts", { description: "Shared" })
      const tag = yield* held(
        Effect.andThen(sql`insert into part_tags (part_id4, position, tag) values (${id4}, 0, 'firstword')`, index.refresh([id4]))
      )
      const edit = yield* Effect.forkChild(send("PATCH", `/api/parts/${id4}`, { description: "Shared secondword" }))
      yield* waiting(1)
      yield* tag
      yield* Fiber.join(edit)
      assert.deepStrictEqual([yield* found("firstword"), yield* found("secondword")], [[id4], [id4]])
    })
  )

  it.effect("a recount keeps a word that a transaction under way relies on", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      yield* index.recount
      yield* sql`insert into search_words (word) values ('lonely'), ('unwanted'), ('quo''te\\d')`
      const words = Effect.map(
        sql<{ readonly word: string }>`select word from search_words where word in ('lonely', 'unwanted', 'quo''te\\d') order by word`,
        (all) => all.map(({ word }) => word)
      )
      const id4 = nthId4(99)
      const commit = yield* held(Effect.andThen(insertParts([{ id4, description: "Lonely" }]), index.refresh([id4])))
      assert.deepStrictEqual(yield* index.recount, { removed: 0 })
      assert.lengthOf(yield* words, 3)
      yield* commit
      assert.deepStrictEqual(yield* index.recount, { removed: 2 })
      assert.deepStrictEqual(yield* words, ["lonely"])
      assert.deepStrictEqual(yield* found("lonely"), [id4])
      assert.deepStrictEqual(yield* index.recount, { removed: 0 })
    })
  )

  it.effect("32 writers who bring and drop the same words, and recounts among them: every word that is used stays known", () =>
    Effect.gen(function* () {
      const index = yield* SearchIndex
      const writers = Array.from({ length: 32 }, (_, n) =>
        Effect.gen(function* () {
          const { id4 } = yield* send("POST", "/api/parts", { description: `Bracket verso${n % 5} recto${n % 3}` })
          yield* send("PATCH", `/api/parts/${id4}`, { description: `Bracket recto${n % 5}` })
          yield* send("PATCH", `/api/parts/${id4}`, { description: `Bracket verso${n % 5}` })
          return id4
        })
      )
      const [ids] = yield* Effect.all(
        [Effect.all(writers, { concurrency: "unbounded" }), index.recount.pipe(Effect.repeat({ times: 5 }))],
        { concurrency: 2 }
      )
      assert.deepStrictEqual(yield* missing, [])
      for (let n = 0; n < 5; n++) {
        assert.sameMembers(
          yield* found(`verso${n}`),
          ids.filter((_, at) => at % 5 === n)
        )
      }
      yield* index.recount
      assert.deepStrictEqual(
        (yield* vocabulary).filter(({ word }) => /^(recto|verso|bracket)/u.test(word)).map(({ parts, word }) => `${word} ${parts}`),
        ["bracket 32", "verso0 7", "verso1 7", "verso2 6", "verso3 6", "verso4 6"]
      )
    })
  )
})

layer(indexed().pipe(Layer.provideMerge(Statements.layer)), options)("the index, counted", (it) => {
  it.effect("many parts are written, and many found, with as many statements as one", () =>
    Effect.gen(function* () {
      const { during } = yield* Statements
      const db = yield* Db
      const index = yield* SearchIndex
      const http = yield* Http
      const ids = Array.from({ length: 400 }, (_, n) => nthId4(n * 3))
      yield* insertParts(ids.map((id4, n) => ({ id4, description: `Spacer ${n} mm` })))
      const refresh = (some: ReadonlyArray<string>) => during(db.transaction(index.refresh(some)))
      const one = yield* refresh(ids.slice(0, 1))
      assert.strictEqual(yield* refresh(ids), one)
      const find = (limit: number) => during(http.send("GET", `/api/search?q=spacer&limit=${limit}`))
      const few = yield* find(1)
      assert.strictEqual(yield* find(100), few)
      assert.isAtMost(few, 6)
    })
  )
})
