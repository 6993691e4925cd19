import { Duration, Effect, Layer, Schema } from "effect"
import { jobHandler } from "../jobs/handlers.ts"
import { jobKind } from "../jobs/job-kind.ts"
import { Jobs } from "../jobs/jobs.service.ts"
import { schedule } from "../jobs/schedules.ts"
import { Objects } from "./objects.service.ts"
import { Sweeper } from "./sweeper.service.ts"

const sweepKind = jobKind({
  name: "platform.objects.sweep",
  payload: Schema.Struct({}),
  result: Schema.Struct({ uploads: Schema.Int, deleted: Schema.Int, failed: Schema.Int }),
  priority: "background",
  maxAttempts: 1
})

const scanKind = jobKind({
  name: "platform.objects.scan",
  payload: Schema.Struct({}),
  result: Schema.Struct({ condemned: Schema.Int }),
  priority: "background",
  timeout: Duration.hours(6)
})

// What is younger may belong to an upload whose row is about to be committed.
const scanGrace = Duration.hours(24)

/** What crashes and outages of the store have left, every minute when there is anything; once a week the store against the rows. */
export const SweeperJobs = Layer.mergeAll(
  jobHandler(
    sweepKind,
    Effect.fnUntraced(function* () {
      return yield* (yield* Sweeper).sweep()
    })
  ),
  jobHandler(
    scanKind,
    Effect.fnUntraced(function* () {
      return yield* (yield* Sweeper).scan(scanGrace)
    })
  ),
  schedule(
    sweepKind.name,
    "* * * * *",
    Effect.gen(function* () {
      const { deletions, uploads } = yield* Objects.use(({ pending }) => pending)
      if (deletions + uploads > 0) yield* Jobs.use(({ enqueue }) => enqueue(sweepKind, {}, { key: "sweep" }))
    }),
    { afterStart: Duration.seconds(10) }
  ),
  schedule(
    scanKind.name,
    "41 2 * * 0",
    Effect.flatMap(Jobs, ({ enqueue }) => enqueue(scanKind, {}, { key: "scan" }))
  )
)
