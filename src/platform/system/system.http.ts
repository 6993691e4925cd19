import { createHash } from "node:crypto"
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiScalar, OpenApi } from "effect/http-api"
import { DocumentedApi } from "#api.ts"
import { AppConfig } from "../config.ts"
import { Db } from "../db/db.ts"
import { Problem, RouteNotFound, registry, toResponse } from "../http/problems.ts"
import { Queue } from "../jobs/queue.ts"
import { Objects } from "../objects/objects.service.ts"
import { Metrics } from "../telemetry/metrics.ts"
import { Lifecycle } from "./lifecycle.ts"

export class NotReady extends Problem<NotReady>()(
  "NotReady",
  {
    code: "not-ready",
    status: 503,
    title: "This process is not ready for requests",
    help: "GET /readyz answers so while something that every request needs is away, or the process is about to stop. `checks` names it."
  },
  { checks: Schema.Record(Schema.String, Schema.String) }
) {}

/** 200 while the process lives. */
const Healthz = HttpRouter.add("GET", "/healthz", HttpServerResponse.jsonUnsafe({ status: "ok" }))

/** Whoever types the bare address wants to read. */
const Home = HttpRouter.add(
  "GET",
  "/",
  Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) =>
    url.startsWith("/")
      ? HttpServerResponse.redirect("/docs", { status: 302 })
      : toResponse(new RouteNotFound({ detail: "Nothing is served there." }))
  )
)

/**
 * 200 only when everything that the process needs answers and it is not about to stop. Requests need no broker: what they ask for waits
 * until it is back.
 */
const Readyz = (what: { readonly needsQueue: boolean }) =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const db = yield* Db
      const lifecycle = yield* Lifecycle
      const objects = yield* Objects
      const queue = yield* Queue
      yield* router.add(
        "GET",
        "/readyz",
        Effect.gen(function* () {
          const state = <E extends { readonly detail?: string }>(check: Effect.Effect<void, E>) =>
            Effect.match(check, { onSuccess: () => "ok", onFailure: ({ detail }) => detail ?? "unavailable" })
          const [database, files, jobs] = yield* Effect.all([state(db.ping), state(objects.check), state(queue.check)], { concurrency: 3 })
          const checks = { database, objects: files, queue: jobs, process: lifecycle.stopping() ? "stopping" : "ok" }
          const failed = Object.entries(checks).filter(([name, state]) => state !== "ok" && (name !== "queue" || what.needsQueue))
          if (failed.length === 0) return HttpServerResponse.jsonUnsafe({ status: "ok", checks })
          return toResponse(new NotReady({ detail: failed.map(([name, state]) => `${name}: ${state}`).join("; "), checks }))
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
    const all = [...registry.values()].toSorted((a, b) => (a.code < b.code ? -1 : 1))
    yield* router.add("GET", "/problems", HttpServerResponse.jsonUnsafe({ items: all.map(described) }))
    yield* router.add(
      "GET",
      "/problems/:code",
      Effect.gen(function* () {
        const { code = "" } = yield* HttpRouter.params
        const { headers } = yield* HttpServerRequest.HttpServerRequest
        const problem = registry.get(code)
        if (problem === undefined) return toResponse(new RouteNotFound({ detail: "No problem has this code. /problems lists them all." }))
        const answer =
          headers.accept?.includes("text/html") === true
            ? HttpServerResponse.html(page(problem))
            : HttpServerResponse.jsonUnsafe(described(problem))
        return HttpServerResponse.setHeader(answer, "vary", "Accept")
      })
    )
  })
)

type Declared = { readonly code: string; readonly status: number; readonly title: string; readonly help: string }

const described = ({ code, help, status, title }: Declared) => ({ type: `/problems/${code}`, code, status, title, help })

const page = ({ code, help, status, title }: Declared) =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>${code}</title><style>body{font:16px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}</style><h1>${escaped(title)}</h1><p><code>${status} ${code}</code></p><p>${escaped(help)}</p></html>`

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

/** The contract for programs, and a page to read it and try it. Both name the base path, or requests tried there would miss it. */
const Contract = Layer.unwrap(
  Effect.map(AppConfig, ({ basePath }) => {
    const api = DocumentedApi.annotate(OpenApi.Servers, [{ url: basePath === "" ? "/" : basePath }])
    // Nothing that leads to the maker of the page.
    const scalar = { withDefaultFonts: false, telemetry: false, hideClientButton: true, showDeveloperTools: "never", favicon: "data:," }
    return Layer.merge(
      HttpRouter.add("GET", "/api/openapi.json", HttpServerResponse.jsonUnsafe(OpenApi.fromApi(api))),
      atFirstRequest("/docs", HttpApiScalar.layer(api, { path: "/docs", scalar }))
    ).pipe(Layer.provide(Unchanging))
  })
)

/** A page that is the same for everyone, made when it is first asked for: the script of the reader takes 20 MB of memory. */
const atFirstRequest = (path: `/${string}`, route: Layer.Layer<never, never, HttpRouter.HttpRouter>) =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      // The interruption of the first one, who went away, would be kept for everyone.
      const made = yield* Effect.cached(Effect.uninterruptible(Effect.flatten(HttpRouter.toHttpEffect(route))))
      yield* router.add("GET", path, made)
    })
  )

/** For bytes that stay the same while the process lives: whoever has them is not sent them again. */
const Unchanging = HttpRouter.middleware((app) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const response = yield* app
    const headers = { etag: tagOf(response), "cache-control": "no-cache" }
    return request.headers["if-none-match"]?.includes(headers.etag) === true
      ? HttpServerResponse.empty({ status: 304, headers })
      : HttpServerResponse.setHeaders(response, headers)
  })
).layer

const tags = new WeakMap<HttpServerResponse.HttpServerResponse, string>()

const tagOf = (response: HttpServerResponse.HttpServerResponse) => {
  const known = tags.get(response)
  if (known !== undefined || response.body._tag !== "Uint8Array") return known ?? '""'
  const tag = `"${createHash("sha256").update(response.body.body).digest("base64url")}"`
  tags.set(response, tag)
  return tag
}

const probes = (what: { readonly needsQueue: boolean }) => Layer.mergeAll(Healthz, Readyz(what), MetricsPage, Problems)

/** What a process answers that only works. */
export const ProbesHttp = probes({ needsQueue: true })

/** What is served besides the API: probes, metrics, the contract, the explanations of problems. */
export const SystemHttp = Layer.mergeAll(Home, probes({ needsQueue: false }), Contract)
