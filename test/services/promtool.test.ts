import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { get, newBox, newPart, post } from "../support/inventory.ts"
import { world } from "../support/world.ts"
import { ensureInstalled } from "./debian.ts"

const rules = readFileSync(new URL("../../helm/files/partwright.rules.yaml", import.meta.url), "utf8")

layer(world({ AI_MONTHLY_BUDGET_USD: "10" }), { excludeTestServices: true, timeout: "60 seconds" })("Prometheus' own tool", (it) => {
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

  it.effect("finds the alerts raised by faults, and by nothing else", () =>
    Effect.sync(() => {
      ensureInstalled("promtool", "prometheus")
      const tests = fileURLToPath(new URL("partwright.rules.test.yaml", import.meta.url))
      const { status, stderr, stdout } = spawnSync("promtool", ["test", "rules", tests], { encoding: "utf8" })
      assert.strictEqual(status, 0, stdout + stderr)
    })
  )

  it.effect("has a metric for every alert", () =>
    Effect.gen(function* () {
      const { text } = yield* get("/metrics")
      const expressions = rules.match(/^ *expr: .*/gmu)?.join("\n") ?? ""
      const named = new Set(expressions.match(/partwright_[a-z_]+/gu) ?? [])
      // Only where there is a broker.
      named.delete("partwright_queue_connected")
      assert.isAtLeast(named.size, 6)
      for (const name of named) assert.match(text, new RegExp(`^${name}[ {]`, "mu"), name)
    })
  )

  it.effect("would have complained", () =>
    Effect.sync(() => assert.match(check("# TYPE requests counter\nrequests 1\n").said, /requests no help text/u))
  )
})
