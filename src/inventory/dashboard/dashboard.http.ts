import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Dashboard } from "./dashboard.service.ts"

export const DashboardHttp = HttpApiBuilder.group(
  Api,
  "dashboard",
  Effect.fn(function* (handlers) {
    const dashboard = yield* Dashboard
    return handlers.handleAll({
      stats: () => dashboard.stats,
      activity: ({ query }) => dashboard.activity(query),
      storage: ({ query }) => dashboard.storage(query),
      lowStock: ({ query: { threshold, ...page } }) => dashboard.lowStock(threshold, page),
      partsWithoutDocuments: ({ query }) => dashboard.partsWithoutDocuments(query),
      types: ({ query }) => dashboard.types(query)
    })
  })
).pipe(Layer.provide(Dashboard.layer))
