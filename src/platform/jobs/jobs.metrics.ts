import { Effect, Layer, Metric } from "effect"
import { gaugePerLabel, Metrics } from "../telemetry/metrics.ts"
import { JobsRepo } from "./jobs.repo.ts"

const queued = gaugePerLabel("jobs_queued", "kind", { description: "Jobs that wait, also for their time" })
const running = gaugePerLabel("jobs_running", "kind", { description: "Jobs under way in all processes" })
const failed = gaugePerLabel("jobs_failed", "kind", { description: "Jobs that failed and were neither tried again nor forgotten" })
const oldest = Metric.gauge("job_oldest_queued_seconds", { description: "How long the job that waits longest has been due" })

export const JobsMetrics = Layer.effectDiscard(
  Effect.gen(function* () {
    const repo = yield* JobsRepo
    const { register } = yield* Metrics
    yield* Metric.update(oldest, 0)
    yield* register({
      name: "jobs",
      collect: Effect.flatMap(repo.figures, (figures) => {
        const by = (what: "queued" | "running" | "failed") => new Map(figures.map((figure) => [figure.kind, figure[what]]))
        return Effect.all(
          [
            queued(by("queued")),
            running(by("running")),
            failed(by("failed")),
            Metric.update(oldest, Math.max(0, ...figures.map(({ oldestSeconds }) => oldestSeconds)))
          ],
          { discard: true }
        )
      })
    })
  })
)
