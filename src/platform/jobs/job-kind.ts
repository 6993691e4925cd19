import { Data, Duration, type Effect, type Schema } from "effect"
import type { Transaction } from "../db/db.ts"
import type { Priority } from "./job.ts"

/** What a handler gives its answer as: a value of the result's schema, as JSON when it is stored. */
type Json<A> = Schema.Codec<A, unknown>

/** One kind of job, declared once and used by who asks for it and by who runs it. */
export interface JobKind<in out Payload, in out Result> {
  /** `area.what`; also the name of its queue. */
  readonly name: string
  readonly payload: Json<Payload>
  readonly result: Json<Result>
  readonly maxAttempts: number
  readonly backoff: { readonly first: Duration.Duration; readonly most: Duration.Duration }
  /** How long one attempt may take. */
  readonly timeout: Duration.Duration
  /** How many of it one worker runs at once; not more than it runs in all, unless it `waits`. */
  readonly concurrency: number
  readonly priority: Priority
  /**
   * Most of its time goes by waiting for others outside: it takes none of the places of a worker, which are for work, and others do not
   * wait behind it. Give it a `concurrency`.
   */
  readonly waits: boolean
}

export const jobKind = <Payload, Result>(
  declaration: Pick<JobKind<Payload, Result>, "name" | "payload" | "result"> & Partial<JobKind<Payload, Result>>
): JobKind<Payload, Result> => ({
  maxAttempts: 5,
  backoff: { first: Duration.seconds(2), most: Duration.minutes(10) },
  timeout: Duration.minutes(10),
  concurrency: Number.POSITIVE_INFINITY,
  priority: "normal",
  waits: false,
  ...declaration
})

/** Proof that the job has been completed in the handler's own transaction. */
export interface Completed {
  readonly _: unique symbol
}

/** What a handler knows of the job it runs. */
export interface JobRun<Result> {
  readonly id: string
  /** From 1. */
  readonly attempt: number
  readonly isLastAttempt: boolean
  /** 0 to 100. Stored and shown at most twice a second; less than before changes nothing but the message. */
  readonly progress: (percent: number, message?: string) => Effect.Effect<void>
  /**
   * Keeps the job this worker's to the end of the transaction it stands in, as the last of its writes: for work that is committed piece by
   * piece. When another worker has taken the job over or someone has cancelled it, as with `complete`.
   */
  readonly hold: Effect.Effect<void, never, Transaction>
  /**
   * Ends the job together with the writes of the transaction it stands in, as the last of them. When another worker has taken the job
   * over or someone has cancelled it, the transaction is rolled back and the handler ends there.
   */
  readonly complete: (result: Result) => Effect.Effect<Completed, never, Transaction>
}

/** The job cannot be done, now (`retryable`) or ever. `detail` is shown to people. */
export class JobFailure extends Data.TaggedError("JobFailure")<{
  readonly code: string
  readonly detail: string
  readonly retryable?: boolean
  /** What there is to show all the same, such as a report. */
  readonly result?: unknown
}> {
  override get message() {
    return this.detail
  }
}

/** What a handler may fail with: problems too. One with status 429 or 5xx may go better next time, everything else fails at once. */
export type HandlerError =
  | JobFailure
  | { readonly _tag: string; readonly code: string; readonly status: number; readonly detail?: string | undefined }
