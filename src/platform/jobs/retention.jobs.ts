import { Effect, Layer, Schema } from "effect"
import { jobHandler } from "./handlers.ts"
import { jobKind } from "./job-kind.ts"
import { JobsRepo } from "./jobs.repo.ts"
import { Jobs } from "./jobs.service.ts"
import { SchedulesRepo } from "./schedules.repo.ts"
import { schedule } from "./schedules.ts"

const keptDays = 30
const batch = 5000

export const retentionKind = jobKind({
  name: "platform.jobs.retention",
  payload: Schema.Struct({}),
  result: Schema.Struct({ removed: Schema.Int }),
  priority: "background"
})

/** Jobs that ended long ago are forgotten, in small transactions. */
export const RetentionJobs = Layer.merge(
  jobHandler(
    retentionKind,
    Effect.fnUntraced(function* () {
      const jobs = yield* JobsRepo
      const schedules = yield* SchedulesRepo
      let removed = 0
      let last = batch
      while (last === batch) {
        last = yield* jobs.removeEnded(keptDays, batch)
        removed += last
      }
      yield* schedules.removeOld
      return { removed }
    })
  ),
  schedule(
    "platform.jobs.retention",
    "17 3 * * *",
    Effect.flatMap(Jobs, ({ enqueue }) => enqueue(retentionKind, {}, { key: "retention" }))
  )
)
