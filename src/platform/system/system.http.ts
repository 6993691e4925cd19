import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiScalar } from "effect/http-api"
import { DocumentedApi } from "#api.ts"
import { Db } from "../db/db.ts"
import { RouteNotFound, registry } from "../http/problems.ts"
import { Metrics } from "../telemetry/metrics.ts"
import { Lifecycle } from "./lifecycle.ts"

/** 200 while the process lives. */
const Healthz = HttpRouter.add("GET", "/healthz", HttpServerResponse.jsonUnsafe({ status: "ok" }))

/** 200 only when everything a request needs answers and the process is not about to stop. */
const Readyz = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const db = yield* Db
    const lifecycle = yield* Lifecycle
    yield* router.add(
      "GET",
      "/readyz",
      Effect.gen(function* () {
        const database = yield* Effect.match(db.ping, { onSuccess: () => "ok", onFailure: ({ detail }) => detail ?? "unavailable" })
        const process = lifecycle.stopping() ? "stopping" : "ok"
        const ready = database === "ok" && process === "ok"
        return HttpServerResponse.jsonUnsafe(
          { status: ready ? "ok" : "unavailable", checks: { database, process } },
          { status: ready ? 200 : 503 }
        )
      })
    )
  })
)

const MetricsPage = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    const metrics = yield* Metrics
    yield* router.add(
      "GET",
      "/metrics",
      Effect.map(metrics.page, (text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" }))
    )
  })
)

/** What a problem's code means and what to do about it: JSON for programs, a page for people. */
const Problems = HttpRouter.use(
  Effect.fnUntraced(function* (router) {
    yield* router.add("GET", "/problems", Effect.succeed(HttpServerResponse.jsonUnsafe({ items: [...registry.values()].map(described) })))
    yield* router.add(
      "GET",
      "/problems/:code",
      Effect.gen(function* () {
        const { code = "" } = yield* HttpRouter.params
        const problem = registry.get(code)
        if (problem === undefined)
          return yield* Effect.die(new RouteNotFound({ detail: "No problem has this code. /problems lists them all." }))
        const { headers } = yield* HttpServerRequest.HttpServerRequest
        return headers.accept?.includes("text/html") === true
          ? HttpServerResponse.setHeaders(HttpServerResponse.text(page(problem)), { "content-type": "text/html; charset=utf-8" })
          : HttpServerResponse.jsonUnsafe(described(problem))
      })
    )
  })
)

type Declared = { readonly code: string; readonly status: number; readonly title: string; readonly help: string }

const described = ({ code, help, status, title }: Declared) => ({ type: `/problems/${code}`, code, status, title, help })

const page = ({ code, help, status, title }: Declared) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>${code}</title><style>body{font:16px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}</style><h1>${title}</h1><p><code>${status} ${code}</code></p><p>${help}</p></html>`

/** What is served besides the API: probes, metrics, the document's page, the explanations of problems. */
export const SystemHttp = Layer.mergeAll(
  Healthz,
  Readyz,
  MetricsPage,
  Problems,
  HttpApiScalar.layer(DocumentedApi, { path: "/docs", scalar: { theme: "default", withDefaultFonts: false } as never })
)

/** The paths above, for the answer to a wrong method. */
export const systemRoutes: ReadonlyArray<{ readonly method: string; readonly path: string }> = [
  ...["/healthz", "/readyz", "/metrics", "/docs", "/problems", "/problems/:code", "/api/openapi.json"].map((path) => ({
    method: "GET",
    path
  }))
]
