import { Schema } from "effect"
import { Problem } from "../http/problems.ts"
import { Instant } from "../http/text.ts"

export const JobId = Schema.String.annotate({ identifier: "JobId", description: "UUIDv7" })

export const jobStates = ["queued", "running", "succeeded", "failed", "cancelled"] as const
export type JobState = (typeof jobStates)[number]

/** What happens to a job. `requeue` is a try that ended without a result and is followed by another. */
export const jobEvents = ["claim", "complete", "fail", "requeue", "cancel", "retry"] as const
export type JobEvent = (typeof jobEvents)[number]

/** The only ways from state to state; the statements of the repository ask for the state before, so nothing else can happen. */
export const transitions: Readonly<Record<JobState, Partial<Readonly<Record<JobEvent, JobState>>>>> = {
  queued: { claim: "running", cancel: "cancelled" },
  running: { complete: "succeeded", fail: "failed", requeue: "queued", cancel: "cancelled" },
  succeeded: {},
  failed: { retry: "queued" },
  cancelled: {}
}

/** How urgent: what someone waits for goes before what is merely due. */
export const priorities = { background: 0, normal: 1, waiting: 2 } as const
export type Priority = keyof typeof priorities

export const JobError = Schema.Struct({
  code: Schema.String.annotate({ description: "A stable kebab, like the code of a problem" }),
  detail: Schema.String
}).annotate({ identifier: "JobError" })
export type JobError = typeof JobError.Type

export const Job = Schema.Struct({
  id: JobId,
  kind: Schema.String.annotate({ description: "area.what: inventory.import" }),
  state: Schema.Literals(jobStates),
  priority: Schema.Int.annotate({ description: "0 background, 1 normal, 2 someone waits; higher ones go first" }),
  progress: Schema.Int.annotate({ description: "0 to 100; never goes back within a series of attempts" }),
  message: Schema.NullOr(Schema.String).annotate({ description: "What it is at" }),
  attempt: Schema.Int.annotate({ description: "Tries so far, the one under way included; an interruption by a shutdown does not count" }),
  maxAttempts: Schema.Int,
  runAt: Instant.annotate({ description: "Not before" }),
  createdAt: Instant,
  startedAt: Schema.NullOr(Instant).annotate({ description: "Of the last attempt" }),
  finishedAt: Schema.NullOr(Instant),
  result: Schema.NullOr(Schema.Json),
  error: Schema.NullOr(JobError).annotate({ description: "Of the last attempt that failed; null when it succeeded" }),
  entity: Schema.NullOr(Schema.Struct({ type: Schema.String, id: Schema.String })).annotate({ description: "What it is about" }),
  principal: Schema.String.annotate({ description: "Who asked for it" }),
  traceId: Schema.NullOr(Schema.String).annotate({ description: "The trace of the request that asked for it and of its work" })
}).annotate({ identifier: "Job" })
export type Job = typeof Job.Type

export class JobNotFound extends Problem<JobNotFound>()("JobNotFound", {
  code: "job-not-found",
  status: 404,
  title: "There is no such job",
  help: "No job has this id. Jobs that ended are kept for 30 days."
}) {}

export class JobFinished extends Problem<JobFinished>()("JobFinished", {
  code: "job-finished",
  status: 409,
  title: "The job has ended already",
  help: "Only jobs that are queued or running can be cancelled. What the job did stays done."
}) {}

export class JobNotFailed extends Problem<JobNotFailed>()("JobNotFailed", {
  code: "job-not-failed",
  status: 409,
  title: "Only a failed job can be tried again",
  help: "A job that is queued or running needs no retry; one that succeeded or was cancelled stays so. Ask for the work again where it was asked for."
}) {}

export class JobSuperseded extends Problem<JobSuperseded>()("JobSuperseded", {
  code: "job-superseded",
  status: 409,
  title: "Another job does the same already",
  help: "Of jobs for the same thing only one is queued or running at a time, and there is a newer one. Follow that one instead."
}) {}

/** Milliseconds until the try after `attempt`: doubling from `first` to `most`, somewhere in its upper half, `random` being from 0 to 1. */
export const backoff = ({ first, most }: { readonly first: number; readonly most: number }, attempt: number, random: number) => {
  const full = Math.min(most, first * 2 ** Math.min(attempt - 1, 30))
  return Math.round(full / 2 + (full / 2) * random)
}
