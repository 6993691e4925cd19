import { Context, Effect, Layer } from "effect"
import type { Completed, HandlerError, JobKind, JobRun } from "./job-kind.ts"

type Handler<Payload, Result, E, R> = (payload: Payload, run: JobRun<Result>) => Effect.Effect<Result | Completed, E, R>

export interface Registered {
  readonly kind: JobKind<unknown, unknown>
  readonly handle: Handler<unknown, unknown, HandlerError, never>
}

/** What this process can run, by kind. Filled while the layers are built, before the first job is claimed. */
export class JobHandlers extends Context.Service<JobHandlers, Map<string, Registered>>()("platform/JobHandlers") {
  static readonly layer = Layer.sync(JobHandlers, () => new Map())
}

/**
 * Says how a kind of job is done. An attempt may be interrupted and made again at any moment, so everything outside of the transaction of
 * `complete` must bear being done twice.
 */
export const jobHandler = <Payload, Result, E extends HandlerError, R>(
  kind: JobKind<Payload, Result>,
  handler: Handler<Payload, Result, E, R>
) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const handlers = yield* JobHandlers
      const context = yield* Effect.context<R>()
      if (handlers.has(kind.name)) yield* Effect.die(new Error(`Two handlers for the jobs ${kind.name}`))
      const handle: Handler<Payload, Result, E, never> = (payload, run) => Effect.provide(handler(payload, run), context)
      handlers.set(kind.name, { kind, handle } as unknown as Registered)
    })
  )
