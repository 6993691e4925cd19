import { Duration, Effect, Exit, Layer, Schema } from "effect"
import { Db } from "#platform/db/db.ts"
import { jobHandler } from "#platform/jobs/handlers.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { schedule } from "#platform/jobs/schedules.ts"
import { importKind } from "./import-job.ts"
import { ImportJobs } from "./import-jobs.service.ts"

const settleKind = jobKind({
  name: "inventory.import.settle",
  payload: Schema.Struct({}),
  result: Schema.Struct({ settled: Schema.Int, forgotten: Schema.Int }),
  priority: "background"
})

const settleIn = (delay: Duration.Duration) => Effect.flatMap(Jobs, ({ enqueue }) => enqueue(settleKind, {}, { key: "settle", delay }))

/** Imports, and what is to be done when they did not come to their own end: at once as far as their worker still can, else by the clock. */
export const ImportWork = Layer.mergeAll(
  jobHandler(
    importKind,
    Effect.fnUntraced(function* ({ options }, run) {
      const imports = yield* ImportJobs
      const db = yield* Db
      // By then it is written that the job has ended, if it has.
      const settleSoon = Effect.ignoreCause(db.transaction(settleIn(Duration.seconds(1))))
      return yield* Effect.onExit(imports.run(options, run), (exit) => (Exit.isSuccess(exit) ? Effect.void : settleSoon))
    })
  ),
  jobHandler(
    settleKind,
    Effect.fnUntraced(function* () {
      return yield* (yield* ImportJobs).settle
    })
  ),
  schedule(settleKind.name, "*/5 * * * *", settleIn(Duration.zero))
).pipe(Layer.provide(ImportJobs.layer))
