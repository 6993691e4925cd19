import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { operations } from "../support/contract.ts"
import { insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("If-Match", (it) => {
  const edit = Effect.fnUntraced(function* (ifMatch: string, body: unknown = { group: "Edited" }) {
    const { send } = yield* Http
    return yield* send("PATCH", "/api/types/2", body, { headers: { "if-match": ifMatch } })
  })

  it.effect("lets an edit through when one of its tags, or *, is the current version", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const tags of ['"1"', '"9", "2"', '"9","3" , W/"8"', "*", ' "5" ']) {
        const { headers, status } = yield* edit(tags)
        assert.strictEqual(status, 200, tags)
        assert.match(headers.get("etag") ?? "", /^"\d+"$/u)
      }
      const { body, headers } = yield* send("GET", "/api/types/2")
      assert.deepStrictEqual([body.version, headers.get("etag")], [6, '"6"'])
    })
  )

  it.effect("refuses an edit of another version, with the current one, and weak tags never match", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const tags of ['"1"', 'W/"6"', '"66"', '"6 "', '""', '"1", "2"']) {
        const { body, status } = yield* edit(tags)
        assert.deepStrictEqual([status, body.code, body.current], [412, "precondition-failed", '"6"'], tags)
      }
      assert.strictEqual((yield* send("DELETE", "/api/types/2", undefined, { headers: { "if-match": '"1"' } })).status, 412)
      assert.strictEqual((yield* send("GET", "/api/types/2")).body.version, 6)
    })
  )

  it.effect("that is no list of tags is refused like any other bad input", () =>
    Effect.gen(function* () {
      for (const tags of ["6", "'6'", '"6', "*, *", '"6";"7"', "W/6"]) {
        const { body, status } = yield* edit(tags)
        assert.deepStrictEqual([status, body.errors?.[0]?.in, body.errors?.[0]?.pointer], [400, "header", "/if-match"], tags)
      }
    })
  )

  it.effect("lets one of 32 parallel edits of one version through", () =>
    Effect.gen(function* () {
      const answers = yield* Effect.all(
        Array.from({ length: 32 }, () => edit('"6"')),
        { concurrency: "unbounded" }
      )
      const statuses = answers.map(({ status }) => status).toSorted()
      assert.deepStrictEqual(statuses, [200, ...Array.from({ length: 31 }, () => 412)])
    })
  )

  it.effect("is compared with the tag of a compressed answer as well", () =>
    Effect.gen(function* () {
      const { send, fetch } = yield* Http
      const { body } = yield* send("POST", "/api/types", {
        name: "Long",
        aliases: Array.from({ length: 20 }, (_, n) => `${n} `.padEnd(50, "long"))
      })
      const path = `/api/types/${body.id}`
      const answer = yield* fetch(new Request(`http://test${path}`, { headers: { "accept-encoding": "gzip" } }))
      assert.strictEqual(answer.headers.get("content-encoding"), "gzip")
      const tag = answer.headers.get("etag") ?? ""
      assert.strictEqual((yield* send("PATCH", path, { group: "Read compressed" }, { headers: { "if-match": tag } })).status, 200)
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("lists", (it) => {
  const lists = operations.filter(
    ({ method, parameters, template }) =>
      method === "GET" && !template.includes("{") && parameters.some(({ name, in: where }) => name === "cursor" && where === "query")
  )
  const pathOf = (template: string, query: Record<string, string>) => `${template}?${new URLSearchParams(query)}`
  const get = Effect.fnUntraced(function* (template: string, query: Record<string, string>) {
    const { send } = yield* Http
    return yield* send("GET", pathOf(template, query))
  })
  const maxLimit = ({ parameters }: (typeof operations)[number]) => Number(parameters.find(({ name }) => name === "limit")?.schema.maximum)
  const sortsOf = ({ parameters }: (typeof operations)[number]) =>
    (parameters.find(({ name }) => name === "sort")?.schema.enum ?? []) as ReadonlyArray<string>

  it.effect("have something to list", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* insertParts(Array.from({ length: 12 }, (_, n) => ({ id4: nthId4(n), manufacturerCode: n % 3 === 0 ? null : `MC ${n % 4}` })))
      for (let n = 0; n < 12; n++) {
        assert.strictEqual((yield* send("POST", "/api/sellers", { name: `Seller ${n}` })).status, 201)
        assert.strictEqual((yield* send("POST", "/api/boxes", { description: `Box ${n % 3}`, capacity: 5 })).status, 201)
        assert.strictEqual((yield* send("PATCH", `/api/parts/${nthId4(n)}`, { tags: [`tag ${n}`] })).status, 200)
      }
      assert.isAbove(lists.length, 5)
      for (const list of lists) assert.isAtMost(maxLimit(list), 200)
    })
  )

  for (const list of lists) {
    const { template } = list

    it.effect(`${template} pages through everything once, in every order`, () =>
      Effect.gen(function* () {
        for (const sort of [undefined, ...sortsOf(list)]) {
          const order: Record<string, string> = sort === undefined ? {} : { sort }
          const { body: whole } = yield* get(template, { ...order, limit: `${maxLimit(list)}`, includeTotal: "true" })
          const seen: Array<unknown> = []
          let cursor: string | null | undefined
          while (cursor !== null && seen.length < whole.items.length) {
            const { body, status } = yield* get(template, { ...order, limit: "5", ...(cursor === undefined ? {} : { cursor }) })
            assert.strictEqual(status, 200)
            assert.isUndefined(body.total)
            assert.isAtMost(body.items.length, 5)
            seen.push(...body.items)
            cursor = body.nextCursor
          }
          assert.deepStrictEqual(seen.slice(0, whole.items.length), whole.items, `${template} ${sort}`)
          assert.isAtLeast(whole.total, whole.items.length)
          if (whole.nextCursor === null) assert.strictEqual(whole.total, whole.items.length, `${template} ${sort}`)
        }
      })
    )

    it.effect(`${template} refuses cursors that it has not given, limits outside its bounds and orders it does not know`, () =>
      Effect.gen(function* () {
        const { body: first } = yield* get(template, { limit: "1" })
        const own: string | null = first.nextCursor
        const [, otherSort] = sortsOf(list)
        const elsewhere = lists.find((other) => other.template !== template)?.template ?? ""
        const foreign: string | null = (yield* get(elsewhere, { limit: "1" })).body.nextCursor
        const changed =
          own === null ? [] : [`${own}x`, `${own}.x`, `x${own}`, own.slice(0, -1), own.slice(1), own.replace(".", "!."), own.toUpperCase()]
        for (const cursor of [...changed, foreign ?? "x", "x", ".", "x.y", "\u{1F529}", ...forged(own)]) {
          const { body, status } = yield* get(template, { cursor })
          assert.deepStrictEqual([status, body.code], [400, "invalid-cursor"], `${template} ${cursor}`)
        }
        if (own !== null && otherSort !== undefined) {
          assert.strictEqual((yield* get(template, { cursor: own, sort: otherSort })).body.code, "invalid-cursor")
        }
        for (const limit of ["0", `${maxLimit(list) + 1}`, "-1", "1.5", "many", "", "1e9"]) {
          const { body, status } = yield* get(template, { limit })
          assert.deepStrictEqual([status, body.code, body.errors?.[0]?.pointer], [400, "invalid-request", "/limit"], `${template} ${limit}`)
        }
        for (const sort of ["unknown", "--id", "", "id;drop table parts"]) {
          const { body, status } = yield* get(template, { sort })
          assert.deepStrictEqual([status, body.code, body.errors?.[0]?.pointer], [400, "invalid-request", "/sort"], `${template} ${sort}`)
        }
        for (const includeTotal of ["yes", "1", ""]) assert.strictEqual((yield* get(template, { includeTotal })).status, 400)
      })
    )
  }
})

/** What someone could make who has read how a cursor is checked: the right sum over values of wrong types. */
const forged = (cursor: string | null) => {
  if (cursor === null) return []
  const [list] = JSON.parse(Buffer.from(cursor.split(".")[0] ?? "", "base64url").toString())
  return [
    "not JSON",
    "[]",
    "null",
    JSON.stringify([list]),
    JSON.stringify([list, 1, 2]),
    JSON.stringify([list, "\0", "\0"]),
    JSON.stringify(["another list", "a", "1"])
  ].map((payload) => {
    const body = Buffer.from(payload).toString("base64url")
    return `${body}.${createHash("sha256").update(`partwright cursor ${body}`).digest("base64url").slice(0, 10)}`
  })
}

layer(world({ BASE_PATH: "/shop" }), { excludeTestServices: true, timeout: "60 seconds" })("under a base path", (it) => {
  it.effect("every address that the server gives leads to it", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const created = yield* send("POST", "/shop/api/types", { name: "Moved" }, { headers: { "idempotency-key": "moved" } })
      const location = created.headers.get("location") ?? ""
      assert.match(location, /^\/shop\/api\/types\/\d+$/u)
      assert.strictEqual((yield* send("GET", location)).status, 200)
      const again = yield* send("POST", "/shop/api/types", { name: "Moved" }, { headers: { "idempotency-key": "moved" } })
      assert.strictEqual(again.headers.get("location"), location)

      const { body: document } = yield* send("GET", "/shop/api/openapi.json")
      assert.deepStrictEqual(document.servers, [{ url: "/shop" }])
      assert.include((yield* send("GET", "/shop/docs")).text, '"url":"/shop"')
      for (const path of ["/healthz", "/readyz", "/metrics"]) {
        assert.strictEqual((yield* send("GET", path)).status, 200, path)
        assert.strictEqual((yield* send("GET", `/shop${path}`)).status, 200, path)
      }
      for (const path of ["/", "/docs", "/api/types", "/problems", "/shopping"])
        assert.strictEqual((yield* send("GET", path)).status, 404, path)
      const { body } = yield* send("GET", "/shop/api/types/0")
      assert.strictEqual(body.type, "/problems/type-not-found")
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("the pages", (it) => {
  it.effect("are whole in themselves and allowed to load nothing else", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const [path, accept] of [
        ["/docs", "*/*"],
        ["/problems/type-in-use", "text/html"]
      ] as const) {
        const { headers, status, text } = yield* send("GET", path, undefined, { headers: { accept } })
        assert.strictEqual(status, 200)
        assert.match(headers.get("content-type") ?? "", /^text\/html/u)
        const policy = headers.get("content-security-policy") ?? ""
        assert.include(policy, "default-src 'none'")
        assert.notMatch(policy, /https?:|\*|unsafe-eval/u)
        const elsewhere = [...text.matchAll(/<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?!data:)([^"]*)"/gu)].map(([, url]) => url)
        assert.deepStrictEqual(elsewhere, [])
      }
    })
  )

  it.effect("need not be sent again to whoever has them", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const path of ["/docs", "/api/openapi.json"]) {
        const first = yield* send("GET", path)
        const tag = first.headers.get("etag") ?? ""
        assert.match(tag, /^"[\w-]+"$/u, path)
        const again = yield* send("GET", path, undefined, { headers: { "if-none-match": `"x", ${tag}` } })
        assert.deepStrictEqual([again.status, again.text, again.headers.get("etag")], [304, "", tag], path)
        assert.strictEqual((yield* send("GET", path, undefined, { headers: { "if-none-match": '"x"' } })).status, 200)
      }
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("times", (it) => {
  it.effect("that do not exist, or have no zone, are refused; all others are taken", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const from = (time: string) => send("GET", `/api/changes?${new URLSearchParams({ from: time })}`)
      for (const time of [
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00+15:00",
        "2024-01-01T00:00:00+01:60",
        "0000-01-01T00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01",
        "yesterday",
        "infinity"
      ]) {
        const { body, status } = yield* from(time)
        assert.deepStrictEqual([status, body.code, body.errors?.[0]?.pointer], [400, "invalid-request", "/from"], time)
      }
      for (const time of [
        "2024-02-29T23:59:59.123456789Z",
        "2024-01-01T00:00+14:00",
        "2024-01-01T24:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00"
      ]) {
        assert.strictEqual((yield* from(time)).status, 200, time)
      }
    })
  )
})
