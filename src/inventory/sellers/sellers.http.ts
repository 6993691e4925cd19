import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { created, versioned } from "#platform/http/preconditions.ts"
import { Sellers } from "./sellers.service.ts"

export const SellersHttp = HttpApiBuilder.group(
  Api,
  "sellers",
  Effect.fn(function* (handlers) {
    const sellers = yield* Sellers
    return handlers.handleAll({
      list: ({ query }) => sellers.list(query),
      create: ({ payload }) => Effect.map(sellers.create(payload), (seller) => created(`/api/sellers/${seller.id}`, seller)),
      get: ({ params }) => Effect.map(sellers.get(params.sellerId), versioned),
      edit: ({ headers, params, payload }) => Effect.map(sellers.edit(params.sellerId, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => sellers.remove(params.sellerId, headers["if-match"])
    })
  })
).pipe(Layer.provide(Sellers.layer))
