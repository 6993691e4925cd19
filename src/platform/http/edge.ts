import { randomUUIDv7 } from "node:crypto"
import { Cause, Clock, Context, Duration, Effect, Exit, Metric } from "effect"
import { HttpMiddleware, HttpRouter, HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import { unavailable } from "../db/sql-errors.ts"
import {
  InternalError,
  InvalidRequest,
  MethodNotAllowed,
  PayloadTooLarge,
  RequestTookTooLong,
  RouteNotFound,
  ServerStopping,
  toResponse,
  UnsupportedMediaType
} from "./problems.ts"
import { CurrentRequest, type RequestInfo } from "./request.ts"

export interface EdgeOptions {
  readonly basePath: string
  readonly maxBodyBytes: number
  readonly requestTimeout: Duration.Duration
  readonly corsOrigins: ReadonlyArray<string>
  /** The methods a path answers; empty when nothing is served there. */
  readonly methodsOf: (path: string) => ReadonlyArray<string>
  /** True once the process has begun to stop: answers then ask keep-alive clients to go elsewhere. */
  readonly stopping: () => boolean
}

const requests = Metric.counter("http_requests_total", {
  description: "Requests answered, by route template, method and status",
  incremental: true
})
const durations = Metric.histogram("http_request_duration_seconds", {
  description: "Time from the request's head to the answer, by route template and method",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
})
const inFlight = Metric.gauge("http_requests_in_flight", { description: "Requests being answered now" })

const slow = Duration.millis(500)

const securityHeaders = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin"
}

// /docs needs its inlined script and styles; nothing may be loaded from elsewhere.
const htmlPolicy =
  "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

type App<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/**
 * Everything that is the same for every request, around the router: ids, limits, base path, CORS, security headers, compression,
 * access log, metrics; and a problem for every refusal and every failure, also those that the router or the framework answer bare.
 */
export const edge = <E, R>(app: App<E, R>, options: EdgeOptions) => {
  const cors = HttpMiddleware.cors({
    allowedOrigins: options.corsOrigins,
    allowedMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    allowedHeaders: ["content-type", "if-match", "if-none-match", "idempotency-key", "x-request-id", "authorization", "last-event-id"],
    exposedHeaders: ["etag", "location", "x-request-id", "retry-after", "allow", "idempotency-replayed"],
    maxAge: 600
  })
  const compressed = HttpMiddleware.compression({ minSize: 1024 })
  const inner = compressed(Effect.suspend(() => answer(app, options)))
  const withCors = options.corsOrigins.length === 0 ? inner : cors(inner)

  let running = 0
  return Effect.withFiber<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest>((fiber) => {
    const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
    const given = request.headers["x-request-id"]
    const info: RequestInfo = {
      requestId: given !== undefined && /^[\x21-\x7e]{1,64}$/u.test(given) ? given : randomUUIDv7(),
      principal: "owner",
      route: null
    }
    const path = withoutBase(request.url, options.basePath)
    const inside = path === undefined || path === request.url ? request : request.modify({ url: path })
    const clock = fiber.getRef(Clock.Clock)
    const since = clock.currentTimeNanosUnsafe()
    const work: App<never, R | HttpServerRequest.HttpServerRequest> =
      path === undefined
        ? finish(toResponse(new RouteNotFound({ detail: "Nothing is served at this address." })), info, options, request)
        : (withCors as never)
    running++
    return Effect.onExit(
      Effect.provideService(Effect.provideService(work, CurrentRequest, info), HttpServerRequest.HttpServerRequest, inside),
      (exit) => {
        running--
        const seconds = Number(clock.currentTimeNanosUnsafe() - since) / 1e9
        return account(exit, info, request, seconds, running)
      }
    )
  })
}

/** `/base/api/x` → `/api/x`; undefined when the address lies outside. Probes and metrics also answer at the root. */
const withoutBase = (url: string, basePath: string): string | undefined => {
  if (basePath === "") return url
  if (url === basePath || url.startsWith(`${basePath}/`) || url.startsWith(`${basePath}?`)) {
    const rest = url.slice(basePath.length)
    return rest.startsWith("/") ? rest : `/${rest}`
  }
  return /^\/(healthz|readyz|metrics)(\?|$)/u.test(url) ? url : undefined
}

const answer = <E, R>(app: App<E, R>, options: EdgeOptions) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const info = yield* CurrentRequest
    const refusal = refuse(request, options)
    if (refusal !== undefined) return yield* finish(refusal, info, options, request)
    const limit = { reached: false }
    const exit = yield* Effect.exit(withinTime(app, options.requestTimeout, limit))
    info.route = yield* currentRoute
    if (Exit.isSuccess(exit)) return yield* finish(exit.value, info, options, request)
    if (limit.reached && Cause.hasInterruptsOnly(exit.cause)) {
      const seconds = Duration.toSeconds(options.requestTimeout)
      const problem = new RequestTookTooLong({ detail: `The work took longer than ${seconds} s and was stopped.` })
      return yield* finish(toResponse(problem, retryAfter(5)), info, options, request)
    }
    // The client has gone: nobody reads the answer, and the fiber must end as interrupted.
    if (Cause.hasInterruptsOnly(exit.cause) && !options.stopping()) return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
    return yield* finish(yield* failed(exit.cause, request, options), info, options, request)
  })

// Effect.timeout would run every handler in a fiber of its own, which costs more than the rest of this module.
const withinTime = <A, E, R>(app: Effect.Effect<A, E, R>, timeout: Duration.Duration, limit: { reached: boolean }) =>
  Effect.withFiber<A, E, R>((fiber) => {
    const timer = setTimeout(() => {
      limit.reached = true
      fiber.interruptUnsafe()
    }, Duration.toMillis(timeout))
    return Effect.onExit(app, () => {
      clearTimeout(timer)
      return Effect.void
    })
  })

const currentRoute = Effect.withFiber<string | null>((fiber) =>
  Effect.succeed(Context.getOrUndefined(fiber.context, HttpRouter.RouteContext)?.route.path ?? null)
)

const bodiless = new Set(["GET", "HEAD", "OPTIONS"])

const refuse = (request: HttpServerRequest.HttpServerRequest, options: EdgeOptions) => {
  const length = request.headers["content-length"]
  if (bodiless.has(request.method) && ((length !== undefined && length !== "0") || request.headers["transfer-encoding"] !== undefined)) {
    return toResponse(
      new InvalidRequest({
        detail: `A ${request.method} request has no body.`,
        errors: [{ in: "body", pointer: "", message: `A ${request.method} request has no body` }]
      }),
      { connection: "close" }
    )
  }
  const type = request.headers["content-type"]
  const isUpload = type?.startsWith("multipart/") === true
  if (!isUpload && length !== undefined && Number(length) > options.maxBodyBytes) return tooLarge(options)
  if (type !== undefined && /charset=/iu.test(type) && !/charset="?utf-?8"?\s*(;|$)/iu.test(type)) {
    return toResponse(new UnsupportedMediaType({ detail: `Bodies are read as UTF-8, not as ${type}.` }))
  }
  const path = request.url.split("?")[0] ?? ""
  if (request.method === "OPTIONS" && request.headers["access-control-request-method"] === undefined) {
    const allow = options.methodsOf(path)
    if (allow.length > 0) return HttpServerResponse.empty({ status: 204, headers: { allow: [...allow, "OPTIONS"].join(", ") } })
  }
  return undefined
}

const tooLarge = (options: EdgeOptions) =>
  toResponse(new PayloadTooLarge({ detail: `The body may have ${options.maxBodyBytes} bytes.` }), { connection: "close" })

/** The answer to a failed request: a problem that someone raised, an outage, or a defect that is reported here, once. */
const failed = (cause: Cause.Cause<unknown>, request: HttpServerRequest.HttpServerRequest, options: EdgeOptions) =>
  Effect.gen(function* () {
    if (options.stopping() && Cause.hasInterruptsOnly(cause))
      return toResponse(new ServerStopping({ detail: "The server is shutting down." }), retryAfter(2))
    for (const reason of cause.reasons) {
      const error = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
      const outage = unavailable(error)
      if (outage !== undefined) {
        yield* Effect.logWarning("database unavailable", cause)
        return toResponse(outage, retryAfter(1))
      }
      if (error instanceof HttpServerError.HttpServerError) {
        if (error.reason._tag === "RouteNotFound") return notFound(request, options)
        if (error.reason._tag === "RequestParseError") return tooLarge(options)
      }
    }
    const [response] = yield* HttpServerError.causeResponse(cause)
    if (response.status < 500) return response
    yield* Effect.logError("unexpected failure", cause)
    return toResponse(new InternalError({ detail: "An unexpected error happened; it has been reported." }))
  })

const retryAfter = (seconds: number) => ({ "retry-after": String(seconds) })

const notFound = (request: HttpServerRequest.HttpServerRequest, options: EdgeOptions) => {
  const path = request.url.split("?")[0] ?? ""
  const allow = options.methodsOf(path)
  return allow.length === 0
    ? toResponse(new RouteNotFound({ detail: `Nothing is served at ${printable(path)}.` }))
    : toResponse(new MethodNotAllowed({ detail: `${printable(path)} answers ${allow.join(", ")}, not ${request.method}.`, allow }), {
        allow: [...allow, "OPTIONS"].join(", ")
      })
}

const printable = (path: string) => (path.length > 200 ? `${path.slice(0, 199)}…` : path)

/** Bare answers of the framework become problems; every answer gets the headers that every answer has. */
const finish = (
  bare: HttpServerResponse.HttpServerResponse,
  info: RequestInfo,
  options: EdgeOptions,
  request: HttpServerRequest.HttpServerRequest
) => {
  let response = bare
  const type = response.headers["content-type"]
  if (response.status >= 400 && !(type ?? "").startsWith("application/problem+json")) {
    const problem = fromStatus(response, request, options)
    response = HttpServerResponse.setHeaders(problem, keep(response.headers))
  }
  if (response.status >= 400) response = withRequestId(response, info)
  const headers: Record<string, string> = { ...securityHeaders, "x-request-id": info.requestId ?? "" }
  if (type?.startsWith("text/html")) headers["content-security-policy"] = htmlPolicy
  if (response.headers["cache-control"] === undefined) headers["cache-control"] = "no-store"
  if (response.headers.location?.startsWith("/")) headers.location = options.basePath + response.headers.location
  if (response.headers["retry-after"] === undefined && response.status === 503) headers["retry-after"] = "1"
  if (response.headers["retry-after"] === undefined && hasCode(response, "idempotency-key-in-use")) headers["retry-after"] = "1"
  if (options.stopping()) headers.connection = "close"
  return Effect.succeed(HttpServerResponse.setHeaders(response, headers))
}

const hasCode = (response: HttpServerResponse.HttpServerResponse, code: string) =>
  response.status === 409 &&
  response.body._tag === "Uint8Array" &&
  new TextDecoder().decode(response.body.body).includes(`"code":"${code}"`)

const keep = (headers: HttpServerResponse.HttpServerResponse["headers"]) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith("content-"))) as Record<string, string>

const fromStatus = (
  response: HttpServerResponse.HttpServerResponse,
  request: HttpServerRequest.HttpServerRequest,
  options: EdgeOptions
) => {
  switch (response.status) {
    case 404:
    case 405:
      return notFound(request, options)
    case 413:
      return tooLarge(options)
    case 415:
      return toResponse(
        new UnsupportedMediaType({ detail: `${request.headers["content-type"] ?? "A body without content type"} is not understood here.` })
      )
    case 503:
      return toResponse(new ServerStopping({ detail: "The server is shutting down." }))
    default:
      return response.status < 500
        ? toResponse(new InvalidRequest({ detail: "The request cannot be understood.", errors: [] }))
        : toResponse(new InternalError({ detail: "An unexpected error happened; it has been reported." }))
  }
}

/** So that a person can name the request when they ask for help. */
const withRequestId = (response: HttpServerResponse.HttpServerResponse, { requestId }: RequestInfo) => {
  if (response.body._tag !== "Uint8Array") return response
  const problem = JSON.parse(new TextDecoder().decode(response.body.body)) as Record<string, unknown>
  return HttpServerResponse.setBody(
    response,
    HttpServerResponse.jsonUnsafe({ ...problem, requestId }, { contentType: "application/problem+json" }).body
  )
}

const account = (
  exit: Exit.Exit<HttpServerResponse.HttpServerResponse, unknown>,
  info: RequestInfo,
  request: HttpServerRequest.HttpServerRequest,
  seconds: number,
  running: number
) => {
  const status = Exit.isSuccess(exit) ? exit.value.status : 499
  // Only templates become labels: an address that nothing matches would make a new series for every scanner.
  const labels = { route: info.route ?? "none", method: knownMethods.has(request.method) ? request.method : "other" }
  const measured = Effect.andThen(
    Metric.update(Metric.withAttributes(requests, { ...labels, status: String(status) }), 1),
    Effect.andThen(Metric.update(Metric.withAttributes(durations, labels), seconds), Metric.update(inFlight, running))
  )
  if (seconds * 1000 < Duration.toMillis(slow) && status < 500) return measured
  return Effect.andThen(
    measured,
    Effect.annotateLogs(status >= 500 ? Effect.logError("request failed") : Effect.logInfo("slow request"), {
      method: request.method,
      route: info.route,
      status,
      durationMs: Math.round(seconds * 1e4) / 10,
      requestId: info.requestId,
      principal: info.principal
    })
  )
}

const knownMethods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
