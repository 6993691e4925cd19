import { Effect, Layer, Metric } from "effect"
import { Db } from "#platform/db/db.ts"
import { gaugePerLabel, Metrics } from "#platform/telemetry/metrics.ts"
import { DashboardRepo } from "./dashboard.repo.ts"
import { Dashboard } from "./dashboard.service.ts"

const parts = Metric.gauge("inventory_parts", { description: "Parts" })
const quantity = Metric.gauge("inventory_quantity", { description: "Pieces in stock" })
const lowStock = Metric.gauge("inventory_low_stock_parts", { description: "Parts at or below their own level, or at or below 5" })
const withoutDocuments = Metric.gauge("inventory_parts_without_documents", { description: "Parts without a document" })
const boxes = Metric.gauge("inventory_boxes", { description: "Boxes" })
const partsByType = gaugePerLabel("inventory_parts_by_type", "type", {
  description: "Parts of the 50 most common types; `other` are those of all other types and of none"
})
const boxUtilization = gaugePerLabel("inventory_box_utilization_ratio", "box", { description: "Share of a box's slots that hold stock" })
const operationsRecent = gaugePerLabel("inventory_operations_recent", "window", { description: "Bookings of the last days" })

/** The gauges of the inventory, computed when someone looks. */
export const DashboardMetrics = Layer.effectDiscard(
  Effect.gen(function* () {
    const dashboard = yield* Dashboard
    const repo = yield* DashboardRepo
    const db = yield* Db
    const metrics = yield* Metrics

    const collect = Effect.gen(function* () {
      const [stats, [common, usage]] = yield* Effect.all([dashboard.stats, db.snapshot(Effect.all([repo.commonTypes(50), repo.boxes]))], {
        concurrency: 2
      })
      yield* Metric.update(parts, stats.parts)
      yield* Metric.update(quantity, stats.totalQuantity)
      yield* Metric.update(lowStock, stats.lowStock)
      yield* Metric.update(boxes, stats.boxes)
      yield* Metric.update(withoutDocuments, stats.partsWithoutDocuments)
      yield* partsByType(withOther(common, stats.parts))
      yield* boxUtilization(new Map(usage.map(({ boxNo, ratio }) => [String(boxNo), ratio])))
      yield* operationsRecent(
        new Map([
          ["7d", stats.operations7d],
          ["30d", stats.operations30d]
        ])
      )
    })
    yield* metrics.register({ name: "inventory", collect })
  })
).pipe(Layer.provide([Dashboard.layer, DashboardRepo.layer]))

/** A type that a person named `other` is among them. */
const withOther = (common: ReadonlyArray<{ readonly name: string; readonly parts: number }>, all: number) => {
  const named = common.filter(({ name }) => name !== "other")
  const counted = named.reduce((sum, { parts }) => sum + parts, 0)
  return new Map([...named.map(({ name, parts }): [string, number] => [name, parts]), ["other", Math.max(0, all - counted)]])
}
