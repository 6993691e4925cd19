import { Duration, Effect, Layer, Metric, Schedule } from "effect"
import { Metrics } from "../telemetry/metrics.ts"
import { ObjectsRepo } from "./objects.repo.ts"
import { Sweeper } from "./sweeper.service.ts"

const pendingUploads = Metric.gauge("object_uploads_pending", { description: "Uploads that were announced and have no row yet" })
const pendingDeletions = Metric.gauge("object_deletions_pending", {
  description: "Objects that are to be deleted and still lie in the store"
})

const regularly = <E>(what: string, work: Effect.Effect<unknown, E>, spaced: Duration.Input, first: Duration.Input) =>
  work.pipe(
    Effect.catchCause((cause) => Effect.logWarning(`${what} failed`, cause)),
    Effect.repeat(Schedule.spaced(spaced)),
    Effect.delay(first),
    Effect.forkScoped
  )

const scanGrace = Duration.hours(24)

export const SweeperJobs = Layer.effectDiscard(
  Effect.gen(function* () {
    const sweeper = yield* Sweeper
    const repo = yield* ObjectsRepo
    const { register } = yield* Metrics
    yield* register({
      name: "objects",
      collect: Effect.flatMap(repo.pending, ({ deletions, uploads }) =>
        Effect.andThen(Metric.update(pendingUploads, uploads), Metric.update(pendingDeletions, deletions))
      )
    })
    yield* regularly("the sweep of the file store", sweeper.sweep(), "1 minute", "10 seconds")
    yield* regularly("the comparison of the file store with the rows", sweeper.scan(scanGrace), "7 days", "1 hour")
  })
)
