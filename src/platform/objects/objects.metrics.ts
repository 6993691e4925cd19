import { Effect, Layer, Metric } from "effect"
import { Metrics } from "../telemetry/metrics.ts"
import { ObjectsRepo } from "./objects.repo.ts"

const pendingUploads = Metric.gauge("object_uploads_pending", { description: "Uploads that were announced and have no row yet" })
const pendingDeletions = Metric.gauge("object_deletions_pending", {
  description: "Objects that are to be deleted and still lie in the store"
})

export const ObjectsMetrics = Layer.effectDiscard(
  Effect.gen(function* () {
    const repo = yield* ObjectsRepo
    const { register } = yield* Metrics
    yield* register({
      name: "objects",
      collect: Effect.flatMap(repo.pending, ({ deletions, uploads }) =>
        Effect.andThen(Metric.update(pendingUploads, uploads), Metric.update(pendingDeletions, deletions))
      )
    })
  })
)
