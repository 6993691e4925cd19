import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Changes } from "./changes.service.ts"

export const ChangesHttp = HttpApiBuilder.group(
  Api,
  "changes",
  Effect.fn(function* (handlers) {
    const changes = yield* Changes
    return handlers.handleAll({ list: ({ query }) => changes.list(query, query) })
  })
).pipe(Layer.provide(Changes.layer))
