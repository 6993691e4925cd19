import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("an Idempotency-Key", (it) => {
  const create = Effect.fnUntraced(function* (
    key: string,
    body: unknown,
    options: { readonly headers?: Record<string, string>; readonly path?: string } = {}
  ) {
    const { send } = yield* Http
    return yield* send("POST", options.path ?? "/api/types", body, { headers: { "idempotency-key": key, ...options.headers } })
  })
  const typesNamed = Effect.fnUntraced(function* (name: string) {
    const sql = yield* SqlClient.SqlClient
    const [found] = yield* sql<{ readonly count: number }>`select count(*)::int as count from part_types where lower(name) = lower(${name})`
    return found?.count
  })
  const keysKept = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [found] = yield* sql<{ readonly count: number }>`select count(*)::int as count from idempotency_keys`
    return found?.count
  })

  it.effect("gives the first answer again, with its headers, and the effect happens once", () =>
    Effect.gen(function* () {
      const first = yield* create("again", { name: "Again" })
      const second = yield* create("again", { name: "Again" })
      assert.deepStrictEqual([first.status, second.status], [201, 201])
      assert.strictEqual(second.text, first.text)
      for (const name of ["etag", "location", "content-type", "content-length"])
        assert.strictEqual(second.headers.get(name), first.headers.get(name), name)
      assert.deepStrictEqual(
        [first, second].map(({ headers }) => headers.get("idempotency-replayed")),
        [null, "true"]
      )
      assert.notStrictEqual(second.headers.get("x-request-id"), first.headers.get("x-request-id"))
      assert.strictEqual(yield* typesNamed("Again"), 1)
    })
  )

  it.effect("lets one of 64 parallel callers through; the others get its answer or are told to come back", () =>
    Effect.gen(function* () {
      const answers = yield* Effect.all(
        Array.from({ length: 64 }, () => create("parallel", { name: "Parallel" })),
        { concurrency: "unbounded" }
      )
      const created = answers.filter(({ status }) => status === 201)
      const told = answers.filter(({ status }) => status !== 201)
      assert.strictEqual(created.filter(({ headers }) => headers.get("idempotency-replayed") === null).length, 1)
      assert.strictEqual(new Set(created.map(({ text }) => text)).size, 1)
      for (const { body, headers, status } of told) {
        assert.deepStrictEqual([status, body.code, headers.get("retry-after")], [409, "idempotency-key-in-use", "1"])
      }
      assert.strictEqual(yield* typesNamed("Parallel"), 1)
    })
  )

  it.effect("names one operation, however its address is spelt", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const headers = { "content-type": "application/json", "idempotency-key": "spelling" }
      const answers = yield* Effect.forEach(["/api/types", "/api/types/", "/api//types", "/API/Types"], (path) =>
        send("POST", path, { name: "Spelling" }, { headers })
      )
      assert.deepStrictEqual(
        answers.map(({ headers, status }) => [status, headers.get("idempotency-replayed")]),
        [[201, null], ...[1, 2, 3].map(() => [201, "true"])]
      )
    })
  )

  it.effect("lets 64 parallel requests with 64 keys through", () =>
    Effect.gen(function* () {
      const before = (yield* keysKept) ?? 0
      const answers = yield* Effect.forEach(
        Array.from({ length: 64 }, (_, n) => n),
        (n) => create(`many-${n}`, { name: `Many ${n}` }),
        {
          concurrency: "unbounded"
        }
      )
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        answers.map(() => 201)
      )
      assert.strictEqual(yield* keysKept, before + 64)
    })
  )

  it.effect("names one request: another body is refused", () =>
    Effect.gen(function* () {
      yield* create("one-request", { name: "One request" })
      const { body, status } = yield* create("one-request", { name: "Another request" })
      assert.deepStrictEqual([status, body.code], [422, "idempotency-key-reused"])
      assert.strictEqual(yield* typesNamed("Another request"), 0)
    })
  )

  it.effect("of a refused request may be used again", () =>
    Effect.gen(function* () {
      const before = yield* keysKept
      for (const [body, status] of [
        [{ name: "Again" }, 409],
        [{ name: "" }, 400],
        [{ name: 5 }, 400],
        [undefined, 400]
      ] as const) {
        assert.strictEqual((yield* create("refused", body)).status, status)
      }
      assert.strictEqual((yield* create("refused", { name: "Text" }, { headers: { "content-type": "text/plain" } })).status, 415)
      assert.strictEqual(yield* keysKept, before)
      assert.strictEqual((yield* create("refused", { name: "Accepted in the end" })).status, 201)
    })
  )

  it.effect("of a request that was rolled back may be used again", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      // Deferred to the commit, so that everything before it has succeeded, the storing of the answer too.
      yield* sql`create function refuse_commit() returns trigger language plpgsql as $$ begin raise exception 'not today'; end $$`
      yield* sql`create constraint trigger refuse_commit after insert on part_types deferrable initially deferred for each row execute function refuse_commit()`
      const before = yield* keysKept
      assert.strictEqual((yield* create("rolled-back", { name: "Rolled back" })).status, 500)
      assert.strictEqual(yield* keysKept, before)
      yield* sql`drop trigger refuse_commit on part_types`
      const { headers, status } = yield* create("rolled-back", { name: "Rolled back" })
      assert.deepStrictEqual([status, headers.get("idempotency-replayed")], [201, null])
      assert.strictEqual(yield* typesNamed("Rolled back"), 1)
    })
  )

  it.effect("belongs to one address and one principal", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual((yield* create("shared", { name: "Shared" })).status, 201)
      const elsewhere = yield* create("shared", { name: "Shared" }, { path: "/api/sellers" })
      assert.deepStrictEqual([elsewhere.status, elsewhere.headers.get("idempotency-replayed")], [201, null])
      // There is only one principal yet, so the answer that was kept for it becomes that of another one.
      const scopeOf = (principal: string) =>
        createHash("sha256")
          .update(JSON.stringify([principal, "POST", "/api/types", "shared"]))
          .digest("hex")
      const moved = yield* sql`update idempotency_keys set scope = ${scopeOf("another")} where scope = ${scopeOf("owner")} returning 1`
      assert.strictEqual(moved.length, 1)
      assert.strictEqual((yield* create("shared", { name: "Shared too" })).headers.get("idempotency-replayed"), null)
    })
  )

  it.effect("is forgotten after 24 hours", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const first = yield* create("old", { name: "Old" })
      assert.strictEqual(first.status, 201)
      yield* sql`update idempotency_keys set created_at = now() - interval '23 hours 59 minutes'`
      assert.strictEqual((yield* create("old", { name: "Old" })).headers.get("idempotency-replayed"), "true")
      yield* sql`update idempotency_keys set created_at = now() - interval '24 hours 1 second'`
      assert.strictEqual((yield* create("old", { name: "Old" })).body.code, "type-name-taken")
      assert.strictEqual((yield* create("old", { name: "Old enough" })).status, 201)
      assert.strictEqual((yield* create("old", { name: "Old enough" })).headers.get("idempotency-replayed"), "true")
    })
  )

  it.effect("has 1 to 255 visible characters", () =>
    Effect.gen(function* () {
      for (const key of ["x".repeat(256), "two words", "tab\tbed", "ümlaut"]) {
        const { body, status } = yield* create(key, { name: `Key ${key.length}` })
        assert.deepStrictEqual([status, body.errors?.[0]?.in, body.errors?.[0]?.pointer], [400, "header", "/idempotency-key"], key)
      }
      for (const key of ["!", '"quoted"', "~".repeat(255)])
        assert.strictEqual((yield* create(key, { name: `Key ${key.slice(0, 9)}` })).status, 201)
    })
  )

  it.effect("is listed at every POST with effects", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body: document } = yield* send("GET", "/api/openapi.json")
      type Post = { readonly parameters: ReadonlyArray<{ readonly name: string }>; readonly "x-required-role": string }
      type Described = { readonly post?: Post }
      const without = Object.entries(document.paths as Record<string, Described>).flatMap(([path, { post }]) =>
        // Viewers only read, also with a body.
        post === undefined || post["x-required-role"] === "viewer" || post.parameters.some(({ name }) => name === "idempotency-key")
          ? []
          : [path]
      )
      assert.deepStrictEqual(without, [])
    })
  )
})
