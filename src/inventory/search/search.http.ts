import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Search } from "./search.service.ts"

export const SearchHttp = HttpApiBuilder.group(
  Api,
  "search",
  Effect.fn(function* (handlers) {
    const search = yield* Search
    return handlers.handleAll({
      find: ({ query: { limit = 20, q, ...filter } }) => search.find(q, filter, limit)
    })
  })
).pipe(Layer.provide(Search.layer))
