import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { created, versioned } from "#platform/http/preconditions.ts"
import { Types } from "./types.service.ts"

export const TypesHttp = HttpApiBuilder.group(
  Api,
  "types",
  Effect.fn(function* (handlers) {
    const types = yield* Types
    return handlers.handleAll({
      list: ({ query }) => types.list(query),
      create: ({ payload }) => Effect.map(types.create(payload), (type) => created(`/api/types/${type.id}`, type)),
      get: ({ params }) => Effect.map(types.get(params.typeId), versioned),
      edit: ({ headers, params, payload }) => Effect.map(types.edit(params.typeId, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => types.remove(params.typeId, headers["if-match"])
    })
  })
).pipe(Layer.provide(Types.layer))
