import { Clock, Context, Effect, Layer } from "effect"
import { OpenAi } from "../ai/openai.service.ts"
import { AppConfig } from "../config.ts"
import { known } from "../db/migrator.ts"
import { Jobs } from "../jobs/jobs.service.ts"
import { Queue } from "../jobs/queue.ts"
import { Objects } from "../objects/objects.service.ts"
import { version } from "../version.ts"
import { HealthRepo } from "./health.repo.ts"
import type { SystemHealth } from "./health.ts"
import { Lifecycle } from "./lifecycle.ts"

export class Health extends Context.Service<Health, { readonly details: Effect.Effect<SystemHealth> }>()("platform/Health") {
  static readonly layer = Layer.effect(
    Health,
    Effect.gen(function* () {
      const repo = yield* HealthRepo
      const { stopping } = yield* Lifecycle
      const objects = yield* Objects
      const jobs = yield* Jobs
      const queue = yield* Queue
      const { status: ai } = yield* OpenAi
      const { databasePoolMax } = yield* AppConfig
      const startedAt = new Date(yield* Clock.currentTimeMillis).toISOString()
      const status = <E extends { readonly detail?: string | undefined }>(check: Effect.Effect<void, E>) =>
        Effect.match(check, { onSuccess: () => "ok", onFailure: ({ detail }) => detail ?? "unavailable" })
      const store = Effect.map(Effect.all([status(objects.check), objects.pending]), ([status, { deletions, uploads }]) => ({
        status,
        pendingUploads: uploads,
        pendingDeletions: deletions
      }))
      const waiting = Effect.map(Effect.all([status(queue.check), jobs.figures]), ([status, kinds]) => {
        const sum = (what: "queued" | "running" | "failed") => kinds.reduce((sum, kind) => sum + kind[what], 0)
        const oldestQueuedSeconds = Math.max(0, ...kinds.map(({ oldestSeconds }) => oldestSeconds))
        return {
          engine: queue.engine,
          status,
          queued: sum("queued"),
          running: sum("running"),
          failed: sum("failed"),
          oldestQueuedSeconds
        }
      })
      return Health.of({
        details: Effect.map(Effect.all([repo.database, store, waiting, ai], { concurrency: 4 }), ([database, stored, jobs, ai]) => ({
          status: stopping() ? ("stopping" as const) : ("ok" as const),
          version,
          node: process.version,
          startedAt,
          uptimeSeconds: Math.floor(process.uptime()),
          residentMemoryBytes: process.memoryUsage.rss(),
          database: { ...database, schemaKnown: known.at(-1)?.id ?? 0, poolMax: databasePoolMax },
          objects: stored,
          queue: jobs,
          ai
        })).pipe(Effect.withSpan("Health.details"))
      })
    })
  ).pipe(Layer.provide(HealthRepo.layer))
}
