import { Effect, Layer, Schema } from "effect"
import { jobHandler } from "#platform/jobs/handlers.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { schedule } from "#platform/jobs/schedules.ts"
import { LinkPreviews } from "./link-previews.service.ts"

export const expireKind = jobKind({
  name: "inventory.link-previews.expire",
  payload: Schema.Struct({}),
  result: Schema.Struct({ removed: Schema.Int }),
  priority: "background"
})

/** Previews whose hour is over are removed, also when nobody asks for new ones. */
export const LinkPreviewsJobs = Layer.merge(
  jobHandler(
    expireKind,
    Effect.fnUntraced(function* () {
      return { removed: yield* (yield* LinkPreviews).expire }
    })
  ),
  schedule(
    expireKind.name,
    "11 * * * *",
    Effect.flatMap(Jobs, ({ enqueue }) => enqueue(expireKind, {}, { key: "expire" }))
  )
).pipe(Layer.provide(LinkPreviews.layer))
