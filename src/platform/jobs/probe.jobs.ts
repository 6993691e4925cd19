import { Worker } from "node:worker_threads"
import { Duration, Effect } from "effect"
import { jobHandler } from "./handlers.ts"
import { JobFailure } from "./job-kind.ts"
import { probeKind } from "./probe.ts"

/** Computes for a while beside the event loop; interrupted, the thread is ended. */
const compute = (ms: number) =>
  Effect.callback<void, JobFailure>((resume) => {
    const thread = new Worker(new URL("./probe.worker.ts", import.meta.url), {
      workerData: ms,
      resourceLimits: { maxOldGenerationSizeMb: 64 }
    })
    thread.once("message", () => resume(Effect.void))
    thread.once("error", () =>
      resume(Effect.fail(new JobFailure({ code: "probe-broken", detail: "The computing thread broke.", retryable: true })))
    )
    return Effect.promise(() => thread.terminate())
  })

export const ProbeJobs = jobHandler(probeKind, ({ cpuMs, failTimes, stepMs, steps }, run) =>
  Effect.gen(function* () {
    for (let step = 1; step <= steps; step++) {
      yield* Effect.sleep(Duration.millis(stepMs))
      yield* run.progress((100 * step) / steps, `step ${step} of ${steps}`)
    }
    if (cpuMs > 0) yield* compute(cpuMs)
    if (run.attempt <= failTimes) {
      return yield* new JobFailure({ code: "probe-failed", detail: `Attempt ${run.attempt} fails as told.`, retryable: true })
    }
    return { attempt: run.attempt }
  })
)
