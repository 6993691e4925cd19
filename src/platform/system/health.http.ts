import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Health } from "./health.service.ts"

export const HealthHttp = HttpApiBuilder.group(
  Api,
  "system",
  Effect.fn(function* (handlers) {
    const health = yield* Health
    return handlers.handleAll({ health: () => health.details })
  })
).pipe(Layer.provide(Health.layer))
