import { Effect, Layer, Schedule } from "effect"
import { LedgerCheck } from "./ledger-check.service.ts"

/** Once a day, and some minutes after a start: not while a restarted server is busiest. */
export const LedgerCheckJobs = Layer.effectDiscard(
  Effect.flatMap(LedgerCheck, ({ watch }) =>
    watch.pipe(
      Effect.catchCause((cause) => Effect.logWarning("the ledger could not be checked", cause)),
      Effect.repeat(Schedule.spaced("24 hours")),
      Effect.delay("10 minutes"),
      Effect.forkScoped
    )
  )
).pipe(Layer.provide(LedgerCheck.layer))
