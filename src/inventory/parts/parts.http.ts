import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { created, versioned } from "#platform/http/preconditions.ts"
import { PartTags } from "./part-tags.service.ts"
import { Parts } from "./parts.service.ts"

export const PartsHttp = HttpApiBuilder.group(
  Api,
  "parts",
  Effect.fn(function* (handlers) {
    const parts = yield* Parts
    const tags = yield* PartTags
    return handlers.handleAll({
      list: ({ query }) => parts.list(query, query.include ?? [], query),
      create: ({ payload }) => Effect.map(parts.create(payload), (part) => created(`/api/parts/${part.id4}`, part)),
      get: ({ params }) => Effect.map(parts.get(params.id4), versioned),
      edit: ({ headers, params, payload }) => Effect.map(parts.edit(params.id4, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => parts.remove(params.id4, headers["if-match"]),
      bulkEdit: ({ payload }) => parts.bulkEdit(payload),
      listTags: ({ query }) => tags.list(query.prefix, query),
      renameTag: ({ payload }) => Effect.map(tags.rename(payload), (changed) => ({ changed }))
    })
  })
).pipe(Layer.provide([Parts.layer, PartTags.layer]))
