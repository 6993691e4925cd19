import { Effect, Layer } from "effect"
import { HttpServerRequest } from "effect/http"
import { HttpApiMiddleware } from "effect/http-api"
import { InvalidRequest } from "./problems.ts"

/** Refuses query parameters on endpoints that declare none; where some are declared, their schema refuses the others. */
export class StrictQuery extends HttpApiMiddleware.Service<StrictQuery>()("platform/StrictQuery", { error: InvalidRequest }) {
  static readonly layer = Layer.succeed(StrictQuery, (app, { endpoint }) =>
    endpoint.query !== undefined
      ? app
      : Effect.gen(function* () {
          const { url } = yield* HttpServerRequest.HttpServerRequest
          const at = url.indexOf("?")
          const names = at < 0 ? [] : [...new URLSearchParams(url.slice(at)).keys()]
          if (names.length === 0) return yield* app
          return yield* new InvalidRequest({
            detail: `This address takes no query parameters, but got ${names.length}.`,
            errors: names.map((name) => ({ in: "query", pointer: `/${name}`, message: "Unknown field or parameter" }))
          })
        })
  )
}
