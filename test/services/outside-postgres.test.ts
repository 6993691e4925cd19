import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("an outside PostgreSQL", (it) => {
  it.effect("is the one that the suite runs on", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body } = yield* send("GET", "/api/system/health")
      assert.match(body.database.version, /^15\./u)
      assert.strictEqual(body.database.schema, body.database.schemaKnown)
    })
  )
})
