import { Duration, Effect, Schema } from "effect"
import { int } from "../http/text.ts"
import { jobKind } from "./job-kind.ts"

const atMost = (most: number, description: string) =>
  int(0, most)
    .annotate({ description })
    .pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(0)))

/** Harmless work: what an operator proves with that queue and workers live. */
const work = {
  steps: atMost(1000, "Steps of progress"),
  stepMs: atMost(60_000, "Milliseconds that a step waits"),
  failTimes: atMost(100, "Attempts that fail before one succeeds"),
  cpuMs: atMost(60_000, "Milliseconds of computing, in a thread of its own")
}
export const ProbeWork = Schema.Struct(work).annotate({ identifier: "ProbeWork" })
export type ProbeWork = typeof ProbeWork.Type

export const NewProbes = Schema.Struct({
  count: int(1, 10_000).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(1))),
  ...work
}).annotate({ identifier: "NewProbes" })

export const Probes = Schema.Struct({ ids: Schema.Array(Schema.String) }).annotate({ identifier: "Probes" })

export const probeKind = jobKind({
  name: "platform.probe",
  payload: ProbeWork,
  result: Schema.Struct({ attempt: Schema.Int }),
  backoff: { first: Duration.millis(100), most: Duration.seconds(2) }
})
