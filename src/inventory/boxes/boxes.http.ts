import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { created, versioned } from "#platform/http/preconditions.ts"
import { Boxes } from "./boxes.service.ts"

export const BoxesHttp = HttpApiBuilder.group(
  Api,
  "boxes",
  Effect.fn(function* (handlers) {
    const boxes = yield* Boxes
    return handlers.handleAll({
      list: ({ query }) => boxes.list(query),
      create: ({ payload }) => Effect.map(boxes.create(payload), (box) => created(`/api/boxes/${box.boxNo}`, box)),
      get: ({ params }) => Effect.map(boxes.get(params.boxNo), versioned),
      edit: ({ headers, params, payload }) => Effect.map(boxes.edit(params.boxNo, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => boxes.remove(params.boxNo, headers["if-match"])
    })
  })
).pipe(Layer.provide(Boxes.layer))
