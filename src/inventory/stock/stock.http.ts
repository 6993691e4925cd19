import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Stock } from "./stock.service.ts"

export const StockHttp = HttpApiBuilder.group(
  Api,
  "stock",
  Effect.fn(function* (handlers) {
    const stock = yield* Stock
    return handlers.handleAll({
      put: ({ params, payload }) => stock.put({ verb: "put", id4: params.id4, ...payload }),
      take: ({ params, payload }) => stock.take({ verb: "take", id4: params.id4, ...payload }),
      move: ({ params, payload }) => stock.move({ verb: "move", id4: params.id4, ...payload }),
      count: ({ params, payload }) => stock.count({ verb: "count", id4: params.id4, ...payload }),
      locations: ({ params, query }) => stock.locations(params.id4, query),
      history: ({ params, query }) => stock.history(params.id4, query, query),
      operations: ({ query }) => stock.operations(query, query),
      operation: ({ params }) => stock.operation(params.operationId),
      undo: ({ params, payload }) => stock.undo(params.operationId, payload.note),
      batch: ({ payload }) => stock.batch(payload.operations, payload.atomic)
    })
  })
).pipe(Layer.provide(Stock.layer))
