import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("types", (it) => {
  it.effect("the starter types are there on the first start", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body, status } = yield* send("GET", "/api/types?limit=200&includeTotal=true")
      assert.strictEqual(status, 200)
      assert.strictEqual(body.total, 104)
      assert.deepStrictEqual(
        body.items.map((type: { name: string }) => type.name.toLowerCase()),
        body.items.map((type: { name: string }) => type.name.toLowerCase()).toSorted()
      )
    })
  )
})
