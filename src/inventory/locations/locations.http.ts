import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Locations } from "./locations.service.ts"

export const LocationsHttp = HttpApiBuilder.group(
  Api,
  "locations",
  Effect.fn(function* (handlers) {
    const locations = yield* Locations
    return handlers.handleAll({
      ofBox: ({ params, query }) => locations.ofBox(params.boxNo, query),
      list: ({ query }) => locations.list(query, query),
      suggest: ({ query }) => Effect.map(locations.suggest(query), (items) => ({ items })),
      get: ({ params }) => locations.get(params)
    })
  })
).pipe(Layer.provide(Locations.layer))
