import { Effect, Layer, Schema } from "effect"
import { jobHandler } from "../jobs/handlers.ts"
import { jobKind } from "../jobs/job-kind.ts"
import { Jobs } from "../jobs/jobs.service.ts"
import { schedule } from "../jobs/schedules.ts"
import { AnswersRepo } from "./answers.repo.ts"

const keptDays = 90
const batch = 1000

export const forgetKind = jobKind({
  name: "platform.ai.forget",
  payload: Schema.Struct({}),
  result: Schema.Struct({ removed: Schema.Int }),
  priority: "background"
})

/** Answers of the model are forgotten after 90 days, in small transactions. */
export const AnswersJobs = Layer.merge(
  jobHandler(
    forgetKind,
    Effect.fnUntraced(function* () {
      const answers = yield* AnswersRepo
      let removed = 0
      let last = batch
      while (last === batch) {
        last = yield* answers.removeOld(keptDays, batch)
        removed += last
      }
      return { removed }
    })
  ),
  schedule(
    forgetKind.name,
    "41 3 * * *",
    Effect.flatMap(Jobs, ({ enqueue }) => enqueue(forgetKind, {}, { key: "forget" }))
  )
).pipe(Layer.provide(AnswersRepo.layer))
