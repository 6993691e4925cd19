import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("parts", (it) => {
  it.effect("a new part gets a four-letter label and is found by it, in any case", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const created = yield* send("POST", "/api/parts", { description: "Relay 5 V", tags: ["Power Supply", "relay", "relay"] })
      assert.strictEqual(created.status, 201, created.text)
      assert.match(created.body.id4, /^[A-Z]{4}$/)
      assert.deepStrictEqual(created.body.tags, ["power-supply", "relay"])
      const found = yield* send("GET", `/api/parts/${created.body.id4.toLowerCase()}`)
      assert.deepStrictEqual(found.body, created.body)
      assert.strictEqual(found.headers.get("etag"), '"1"')
      assert.strictEqual(created.headers.get("location"), `/api/parts/${created.body.id4}`)
    })
  )
})
