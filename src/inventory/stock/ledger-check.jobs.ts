import { Duration, Effect, Layer, Schema } from "effect"
import { jobHandler } from "#platform/jobs/handlers.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { schedule } from "#platform/jobs/schedules.ts"
import { LedgerCheck } from "./ledger-check.service.ts"

const checkKind = jobKind({
  name: "inventory.ledger.check",
  payload: Schema.Struct({}),
  result: Schema.Struct({ violations: Schema.Int }),
  priority: "background",
  timeout: Duration.hours(1)
})

/** Once a day, when nobody books. */
export const LedgerCheckJobs = Layer.merge(
  jobHandler(
    checkKind,
    Effect.fnUntraced(function* () {
      return { violations: yield* (yield* LedgerCheck).watch }
    })
  ),
  schedule(
    checkKind.name,
    "23 3 * * *",
    Effect.flatMap(Jobs, ({ enqueue }) => enqueue(checkKind, {}, { key: "check" }))
  )
).pipe(Layer.provide(LedgerCheck.layer))
