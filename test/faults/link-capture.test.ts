import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { spooled } from "../support/documents-suite.ts"
import { get, newPart, post, tally } from "../support/inventory.ts"
import { Web, webbed } from "../support/web.ts"

layer(webbed, { excludeTestServices: true, timeout: "60 seconds" })("a link", (it) => {
  it.effect(
    "to a server that never answers, or never ends, is given up after half a minute",
    () =>
      Effect.gen(function* () {
        const { pages, url } = yield* Web
        const id4 = yield* newPart()
        pages.set("/silent", () => {})
        pages.set("/stopped", (_, response) => void response.writeHead(200, { "content-type": "text/html" }).write("<title>Half"))
        pages.set("/drop", (_, response) => {
          const timer = setInterval(() => response.write(" "), 50)
          response.on("close", () => clearInterval(timer))
        })
        const answers = yield* Effect.forEach(
          ["/silent", "/stopped", "/drop"],
          (path) => post(`/api/parts/${id4}/documents`, { url: url + path }),
          {
            concurrency: "unbounded"
          }
        )
        assert.deepStrictEqual(tally(answers), { "422 link-unreachable": 3 })
        assert.deepStrictEqual(yield* spooled, [])
        assert.deepStrictEqual((yield* get(`/api/parts/${id4}/documents`)).body.items, [])
      }),
    60_000
  )
})
