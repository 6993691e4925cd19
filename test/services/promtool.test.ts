import { spawnSync } from "node:child_process"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { get, newBox, newPart, post } from "../support/inventory.ts"
import { world } from "../support/world.ts"
import { ensureInstalled } from "./debian.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("Prometheus' own tool", (it) => {
  const check = (page: string) => {
    ensureInstalled("promtool", "prometheus")
    const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], { input: page, encoding: "utf8" })
    return { status, said: stdout + stderr }
  }

  it.effect("finds nothing to complain about on the metrics page", () =>
    Effect.gen(function* () {
      const [id4, boxNo] = [yield* newPart({ typeId: 1 }), yield* newBox()]
      yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 }, quantity: 5 })
      yield* post(`/api/parts/${id4}/take`, { slot: { boxNo, locNo: 1 }, quantity: 6 })
      for (const path of ["/api/search?q=part", "/api/nothing", "/api/parts?limit=0"]) yield* get(path)
      const { text } = yield* get("/metrics")
      assert.include(text, "partwright_inventory_box_utilization_ratio")
      assert.deepStrictEqual(check(text), { status: 0, said: "" })
    })
  )

  it.effect("would have complained", () =>
    Effect.sync(() => assert.match(check("# TYPE requests counter\nrequests 1\n").said, /requests no help text/u))
  )
})
