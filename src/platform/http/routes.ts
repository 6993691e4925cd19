import { Effect, Layer } from "effect"
import { FindMyWay, HttpRouter } from "effect/http"

/** The methods a path answers, by the router's own rules of matching; empty when nothing is served there. */
export type MethodsOf = (path: string) => ReadonlyArray<string>

/** The router's answer to a wrong method is 404. So that it can be 405 with Allow, every route is also noted here when it is added. */
export const routed = <A, E, R>(routes: Layer.Layer<A, E, R>) =>
  Effect.gen(function* () {
    const table = FindMyWay.make<true>()
    const methods = new Set<string>()
    const note = (method: string, path: FindMyWay.PathInput) => {
      methods.add(method)
      table.on(method, path, true)
    }
    const Noting = Layer.effect(
      HttpRouter.HttpRouter,
      Effect.map(HttpRouter.HttpRouter, (router) =>
        HttpRouter.HttpRouter.of({
          ...router,
          addAll: (added) => {
            for (const { method, path } of added) note(method, path)
            return router.addAll(added)
          },
          add: (method, path, handler, options) => {
            note(method, path)
            return router.add(method, path, handler, options)
          }
        })
      )
    )
    const app = yield* HttpRouter.toHttpEffect(Layer.provide(routes, Noting))
    const methodsOf: MethodsOf = (path) => {
      const found = [...methods].filter((method) => table.find(method, path) !== undefined)
      return found.includes("GET") ? ["HEAD", ...found] : found
    }
    return { app, methodsOf }
  })
