import { Clock, Context, Effect, Layer } from "effect"
import { AppConfig } from "../config.ts"
import { known } from "../db/migrator.ts"
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
      const { databasePoolMax } = yield* AppConfig
      const startedAt = new Date(yield* Clock.currentTimeMillis).toISOString()
      return Health.of({
        details: Effect.map(repo.database, (database) => ({
          status: stopping() ? ("stopping" as const) : ("ok" as const),
          version,
          node: process.version,
          startedAt,
          uptimeSeconds: Math.floor(process.uptime()),
          residentMemoryBytes: process.memoryUsage.rss(),
          database: { ...database, schemaKnown: known.at(-1)?.id ?? 0, poolMax: databasePoolMax }
        })).pipe(Effect.withSpan("Health.details"))
      })
    })
  ).pipe(Layer.provide(HealthRepo.layer))
}
