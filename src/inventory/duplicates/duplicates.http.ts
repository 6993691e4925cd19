import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Duplicates } from "./duplicates.service.ts"

export const DuplicatesHttp = HttpApiBuilder.group(
  Api,
  "duplicates",
  Effect.fn(function* (handlers) {
    const duplicates = yield* Duplicates
    return handlers.handleAll({
      check: ({ payload }) => Effect.map(duplicates.checkDraft(payload), (items) => ({ items }))
    })
  })
).pipe(Layer.provide(Duplicates.layer))
