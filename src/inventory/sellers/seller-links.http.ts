import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { created, versioned } from "#platform/http/preconditions.ts"
import { SellerLinks } from "./seller-links.service.ts"

export const SellerLinksHttp = HttpApiBuilder.group(
  Api,
  "sellerLinks",
  Effect.fn(function* (handlers) {
    const links = yield* SellerLinks
    return handlers.handleAll({
      add: ({ params, payload }) =>
        Effect.map(links.add(params.id4, payload), (link) => created(`/api/parts/${params.id4}/seller-links/${link.id}`, link)),
      edit: ({ headers, params, payload }) => Effect.map(links.edit(params.id4, params.linkId, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => links.remove(params.id4, params.linkId, headers["if-match"])
    })
  })
).pipe(Layer.provide(SellerLinks.layer))
