import { Effect, Layer, Schema } from "effect"
import { jobHandler } from "#platform/jobs/handlers.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { schedule } from "#platform/jobs/schedules.ts"
import { Proposals } from "./proposals.service.ts"

export const expireKind = jobKind({
  name: "inventory.proposals.expire",
  payload: Schema.Struct({}),
  result: Schema.Struct({ expired: Schema.Int, abandoned: Schema.Int }),
  priority: "background"
})

/** Proposals that nobody settled end after their time, and files that nothing will be proposed from are let go. */
export const ProposalsJobs = Layer.merge(
  jobHandler(
    expireKind,
    Effect.fnUntraced(function* () {
      return yield* (yield* Proposals).expire
    })
  ),
  schedule(
    expireKind.name,
    "23 * * * *",
    Effect.flatMap(Jobs, ({ enqueue }) => enqueue(expireKind, {}, { key: "expire" }))
  )
).pipe(Layer.provide(Proposals.layer))
