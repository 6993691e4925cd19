import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpServerRequest } from "effect/http"
import { isForeign, type OwnOrigins } from "#platform/http/origins.ts"
import { freshDatabase } from "../support/postgres.ts"
import { Http, worldOn } from "../support/world.ts"

const own: OwnOrigins = { corsOrigins: ["https://app.example"], publicUrl: "https://parts.example/workshop", openNetwork: false }

const request = (headers: Record<string, string>) => HttpServerRequest.fromWeb(new Request("http://test/", { headers }))

describe("a request that changes something", () => {
  const cases: ReadonlyArray<readonly [string, Record<string, string>, boolean]> = [
    ["of a program", {}, false],
    ["of a page of ours", { host: "127.0.0.1:8080", origin: "http://127.0.0.1:8080", "sec-fetch-site": "same-origin" }, false],
    ["of a page of ours by name", { host: "localhost:8080", origin: "http://localhost:8080" }, false],
    ["of a page of ours behind a proxy", { host: "127.0.0.1:8080", origin: "https://parts.example" }, false],
    ["of a listed origin", { host: "127.0.0.1:8080", origin: "https://app.example", "sec-fetch-site": "cross-site" }, false],
    ["of another page", { host: "127.0.0.1:8080", origin: "https://evil.example" }, true],
    ["of another port", { host: "127.0.0.1:8080", origin: "http://127.0.0.1:3000", "sec-fetch-site": "same-site" }, true],
    ["of a page without origin", { host: "127.0.0.1:8080", origin: "null" }, true],
    ["of a page that hides its origin", { host: "127.0.0.1:8080", "sec-fetch-site": "cross-site" }, true],
    [
      "of a page whose name leads to us",
      { host: "evil.example:8080", origin: "http://evil.example:8080", "sec-fetch-site": "same-origin" },
      true
    ]
  ]
  for (const [what, headers, foreign] of cases) {
    it(`${what} is ${foreign ? "foreign" : "taken"}`, () => {
      assert.strictEqual(isForeign(own)(request(headers)), foreign)
    })
  }
  it("by whatever name, in a network that was opened, is taken from its own pages only", () => {
    const open = isForeign({ ...own, openNetwork: true })
    assert.isFalse(open(request({ host: "workshop.lan:8080", origin: "http://workshop.lan:8080" })))
    assert.isTrue(open(request({ host: "workshop.lan:8080", origin: "http://other.lan:8080" })))
  })

  it.live("is refused when another page sent it, and changes nothing; so is a body without type, which such pages can send unasked", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase()
      yield* Effect.provide(
        Effect.gen(function* () {
          const { send } = yield* Http
          const raw = JSON.stringify({ description: "Planted" })
          const foreign = yield* send("POST", "/api/parts", undefined, {
            raw,
            headers: { "content-type": "application/json", origin: "https://evil.example" }
          })
          assert.deepStrictEqual([foreign.status, foreign.body.code], [403, "forbidden"])
          const untyped = yield* send("POST", "/api/parts", undefined, {
            raw: new TextEncoder().encode(raw),
            headers: { "content-length": String(raw.length) }
          })
          assert.deepStrictEqual([untyped.status, untyped.body.code], [415, "unsupported-media-type"])
          assert.deepStrictEqual(
            (yield* send("GET", "/api/parts", undefined, { headers: { origin: "https://evil.example" } })).body.items,
            []
          )
        }),
        worldOn(database)
      )
    }).pipe(Effect.scoped)
  )
})
