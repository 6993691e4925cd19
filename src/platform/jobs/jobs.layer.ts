import { Duration, Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import { Announcer } from "../changes/announcer.ts"
import { AppConfig } from "../config.ts"
import { Events } from "../events/events.service.ts"
import type { Metrics } from "../telemetry/metrics.ts"
import { JobHandlers } from "./handlers.ts"
import { JobSignals } from "./job-signals.ts"
import { JobsRepo } from "./jobs.repo.ts"
import { Jobs } from "./jobs.service.ts"
import { ProbeJobs } from "./probe.jobs.ts"
import { layerAmqp } from "./queue.amqp.ts"
import { layerPostgres } from "./queue.postgres.ts"
import type { Queue } from "./queue.ts"
import { RetentionJobs } from "./retention.jobs.ts"
import { Runner } from "./runner.ts"
import { SchedulesRepo } from "./schedules.repo.ts"
import { Scheduler, Schedules } from "./schedules.ts"

/** How long a worker that says nothing keeps its jobs. It renews at a quarter of it, and others look as often. */
const lease = Duration.seconds(20)

/** What asks for jobs and shows them: in every process. */
export const JobsLayer = Jobs.layer.pipe(Layer.provideMerge([JobsRepo.layer, JobSignals.layer, Announcer.layer]))

// A worker that goes away gives back what it holds, and a token that came back too often is buried by the broker.
const mostTokens = 200

/** How workers learn of jobs, and how a broker does. In every process that lives on. */
export const QueueLayer = Layer.unwrap(
  Effect.gen(function* () {
    const { amqpUrl, jobConcurrency } = yield* AppConfig
    const { wakeUps } = yield* JobSignals
    const layer: Layer.Layer<Queue, never, JobSignals | JobsRepo | Metrics | SqlClient.SqlClient> =
      amqpUrl === null ? layerPostgres : layerAmqp({ url: amqpUrl, wakeUps, prefetch: () => Math.min(2 * jobConcurrency, mostTokens) })
    return layer
  })
)

/** What runs them. `kinds` are the handlers and schedules of all features: they must be there before the first job is claimed. */
export const WorkerLayer = <E, R>(kinds: Layer.Layer<never, E, R>) =>
  Layer.unwrap(
    Effect.map(AppConfig, ({ jobConcurrency }) => Layer.merge(Runner.layerNoDeps({ concurrency: jobConcurrency, lease }), Scheduler))
  ).pipe(
    Layer.provideMerge(Layer.mergeAll(kinds, ProbeJobs, RetentionJobs)),
    Layer.provide([Events.layer, JobHandlers.layer, Schedules.layer, SchedulesRepo.layer])
  )
