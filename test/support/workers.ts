import { NodeServices } from "@effect/platform-node"
import { Duration, Effect, Exit, Layer, Schema, Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { Db } from "#platform/db/db.ts"
import { Events } from "#platform/events/events.service.ts"
import { JobHandlers, jobHandler } from "#platform/jobs/handlers.ts"
import { type Completed, type HandlerError, type JobKind, type JobRun, jobKind } from "#platform/jobs/job-kind.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { type EnqueueOptions, Jobs } from "#platform/jobs/jobs.service.ts"
import { Runner } from "#platform/jobs/runner.ts"
import { Application } from "../../src/server.ts"
import { scratchFolder } from "./files.ts"
import type { Database } from "./postgres.ts"
import { connectionOf } from "./world.ts"

export type Work = Effect.Effect<number | Completed, HandlerError, Db | SqlClient.SqlClient>
type Script = (run: JobRun<number>) => Work

const scripts = new Map<string, Script>()
const Scripted = Schema.Struct({ script: Schema.String })
export type ScriptedKind = JobKind<typeof Scripted.Type, number>

/** A kind whose jobs do what the test says that asks for them. */
export const scripted = (name: string, options: Partial<ScriptedKind> = {}): ScriptedKind =>
  jobKind({
    name,
    payload: Scripted,
    result: Schema.Int,
    backoff: { first: Duration.millis(10), most: Duration.millis(20) },
    ...options
  })

/** How workers of this process do them. */
export const scriptedJobs = (...kinds: ReadonlyArray<ScriptedKind>) =>
  Layer.mergeAll(
    Layer.empty,
    ...kinds.map((kind) =>
      jobHandler(kind, ({ script }, run) =>
        Effect.suspend(() => scripts.get(script)?.(run) ?? Effect.die(new Error(`no test knows the script ${script}`)))
      )
    )
  )

/** The environment variables by which a process learns which engine brings jobs to its workers. */
export type Engine = Effect.Effect<Record<string, string>>

export const embedded: Engine = Effect.succeed({})

let named = 0
/** A payload under which jobs do this. */
export const script = (work: Script) => {
  const script = `script ${++named}`
  scripts.set(script, work)
  return { script }
}

/** Asks for one job in a transaction of its own. */
export const enqueue = <Payload, Result>(kind: JobKind<Payload, Result>, payload: Payload, options?: EnqueueOptions) =>
  Effect.gen(function* () {
    const jobs = yield* Jobs
    const db = yield* Db
    return yield* db.transaction(jobs.enqueue(kind, payload, options))
  })

/** All that a process stands on which neither answers requests nor works. */
export const applicationOn = (database: Database, env: Record<string, string> = {}) =>
  Layer.unwrap(
    Effect.map(scratchFolder, (DATA_DIR) =>
      Application(connectionOf(database)).pipe(
        Layer.provideMerge(AppConfig.fromEnv({ DATA_DIR, ...env })),
        Layer.provideMerge(NodeServices.layer),
        Layer.fresh
      )
    )
  )

export interface WorkerOptions {
  readonly kinds: ReadonlyArray<ScriptedKind>
  readonly concurrency?: number
  readonly lease?: Duration.Input
  readonly env?: Record<string, string>
}

/** Another process that works on the database, as far as the database sees, until the scope closes or it is told to stop. */
export const workerOn = (database: Database, { concurrency = 4, env = {}, kinds, lease = "1 second" }: WorkerOptions) =>
  Effect.gen(function* () {
    const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
    const worker = Runner.layerNoDeps({ concurrency, lease: Duration.fromInputUnsafe(lease) }).pipe(
      Layer.provideMerge(scriptedJobs(...kinds)),
      Layer.provide([QueueLayer, Events.layer, JobHandlers.layer]),
      Layer.provideMerge(applicationOn(database, env)),
      Layer.fresh
    )
    const context = yield* Layer.build(worker).pipe(Scope.provide(scope))
    const { stop } = yield* Effect.provide(Runner, context)
    return { stop, close: Scope.close(scope, Exit.void), context }
  })
