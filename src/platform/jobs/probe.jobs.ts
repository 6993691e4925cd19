import { Duration, Effect } from "effect"
import { jobHandler } from "./handlers.ts"
import { JobFailure } from "./job-kind.ts"
import { probeKind } from "./probe.ts"
import { inThread } from "./thread.ts"

const program = new URL("./probe.worker.ts", import.meta.url)

export const ProbeJobs = jobHandler(probeKind, ({ cpuMs, failTimes, stepMs, steps }, run) =>
  Effect.gen(function* () {
    for (let step = 1; step <= steps; step++) {
      yield* Effect.sleep(Duration.millis(stepMs))
      yield* run.progress((100 * step) / steps, `step ${step} of ${steps}`)
    }
    if (cpuMs > 0) yield* inThread(program, cpuMs, { memoryMb: 64 })
    if (run.attempt <= failTimes) {
      return yield* new JobFailure({ code: "probe-failed", detail: `Attempt ${run.attempt} fails as told.`, retryable: true })
    }
    return { attempt: run.attempt }
  })
)
