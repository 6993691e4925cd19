import { randomUUIDv7 } from "node:crypto"
import { IncomingMessage } from "node:http"
import { ByteSize, Cause, Context, Duration, Effect, type Fiber, Tracer } from "effect"
import {
  HttpEffect,
  HttpIncomingMessage,
  HttpMiddleware,
  HttpPlatform,
  HttpRouter,
  HttpServerError,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import { account } from "./access-log.ts"
import { cors } from "./cors.ts"
import { RouteNotFound, toResponse } from "./problems.ts"
import { asProblem, failed, type RefusalOptions, refuseHead, tooLate } from "./refusals.ts"
import { CurrentRequest, type RequestInfo } from "./request.ts"

export interface EdgeOptions extends RefusalOptions {
  readonly basePath: string
  readonly requestTimeout: Duration.Duration
  readonly corsOrigins: ReadonlyArray<string>
  /** True once the process has begun to stop: answers then ask keep-alive clients to go elsewhere. */
  readonly stopping: () => boolean
}

type App<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

const securityHeaders = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cross-origin-resource-policy": "same-origin"
}

// The pages carry their scripts and styles in themselves; nothing may be loaded from elsewhere.
const pagePolicy =
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/**
 * Everything that is the same for every request, around the router: ids, limits, base path, CORS, security headers, compression,
 * metrics, access log; and a problem for every refusal and every failure, also those that the framework answers bare.
 * It runs for every request, so it is one function and not a stack of middleware: each layer would cost more than its work.
 */
export const edge = Effect.fnUntraced(function* <E, R>(app: App<E, R>, options: EdgeOptions) {
  const crossOrigin = cors(options.corsOrigins)
  const vary = crossOrigin === undefined ? "Accept-Encoding" : "Accept-Encoding, Origin"
  const limitMs = Duration.toMillis(options.requestTimeout)
  const compressed = Effect.andThen(negotiate(yield* HttpPlatform.HttpPlatform), app)
  const maxBodySize = ByteSize.bytes(options.maxBodyBytes)

  return Effect.withFiber<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest.HttpServerRequest>((fiber) => {
    const received = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
    const info: RequestInfo = { requestId: idOf(received), principal: "owner", route: null }
    const counted = account(fiber.context, received, info)
    const url = withoutBase(received.url, options.basePath)
    const request = url === undefined || url === received.url ? received : received.modify({ url })
    // The request's own frame puts the context back when it ends.
    fiber.setContext(
      fiber.context.pipe(
        Context.add(CurrentRequest, info),
        Context.add(HttpServerRequest.HttpServerRequest, request),
        Context.add(HttpIncomingMessage.MaxBodySize, maxBodySize)
      )
    )
    annotateSpan(fiber, info)

    const answer = (bare: HttpServerResponse.HttpServerResponse) => {
      const response = bare.status < 400 ? unasked(bare, request) : asProblem(bare, request, options, info.requestId)
      const headers: Record<string, string> = { ...response.headers, ...securityHeaders, "x-request-id": info.requestId ?? "" }
      headers["cache-control"] ??= "no-store"
      headers.vary = headers.vary === undefined ? vary : `${headers.vary}, ${vary}`
      if (headers["content-type"]?.startsWith("text/html")) headers["content-security-policy"] = pagePolicy
      if (headers.location?.startsWith("/")) headers.location = options.basePath + headers.location
      if (response.status === 503) headers["retry-after"] ??= "1"
      if (options.stopping()) headers.connection = "close"
      crossOrigin?.dress(headers, request)
      const dressed = HttpServerResponse.setHeaders(response, headers)
      const line = counted(response.status)
      return line === undefined ? Effect.succeed(dressed) : Effect.as(line, dressed)
    }

    const refusal =
      url === undefined
        ? toResponse(new RouteNotFound({ detail: `Everything is served under ${options.basePath}.` }))
        : refuseHead(request, options, crossOrigin)
    if (refusal !== undefined) return answer(refusal)

    // Effect.timeout would run every handler in a fiber of its own.
    let late = false
    const expire = () => {
      if (isArriving(request)) {
        timer = setTimeout(expire, limitMs)
        return
      }
      late = true
      fiber.interruptUnsafe()
    }
    let timer = setTimeout(expire, limitMs)
    const handled: App<E, R | HttpServerRequest.HttpServerRequest> = request.headers["accept-encoding"] === undefined ? app : compressed
    return Effect.matchCauseEffect(handled, {
      onSuccess: (response): App<never, never> => {
        clearTimeout(timer)
        info.route = routeOf(fiber)
        return answer(response)
      },
      onFailure: (cause): App<never, never> => {
        clearTimeout(timer)
        info.route = routeOf(fiber)
        if (late && Cause.hasInterrupts(cause)) return answer(tooLate(limitMs))
        if (isClientGone(cause)) return Effect.andThen(counted(499) ?? Effect.void, Effect.failCause(cause as Cause.Cause<never>))
        const { requestId } = info
        return Effect.flatMap(Effect.annotateLogs(failed(cause, request, options), { requestId }), answer)
      }
    })
  })
})

const idOf = ({ headers }: HttpServerRequest.HttpServerRequest) => {
  const given = headers["x-request-id"]
  return given !== undefined && /^[\x21-\x7e]{1,64}$/u.test(given) ? given : randomUUIDv7()
}

const annotateSpan = (fiber: Fiber.Fiber<unknown, unknown>, { requestId }: RequestInfo) => {
  const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
  if (span?._tag === "Span" && requestId !== null) span.attribute("http.request.id", requestId)
}

const routeOf = (fiber: Fiber.Fiber<unknown, unknown>) => Context.getOrUndefined(fiber.context, HttpRouter.RouteContext)?.route.path ?? null

// The limit is one for our work; how long a body may take to arrive is the listener's (`listen.ts`).
const isArriving = ({ source }: HttpServerRequest.HttpServerRequest) => source instanceof IncomingMessage && !source.complete

const isClientGone = (cause: Cause.Cause<unknown>) =>
  Cause.hasInterruptsOnly(cause) && cause.reasons.some(({ annotations }) => annotations.has(HttpServerError.ClientAbort.key))

/** `/base/api/x` → `/api/x`; undefined when the address lies outside. Probes and metrics also answer at the root. */
const withoutBase = (url: string, basePath: string): string | undefined => {
  if (basePath === "") return url
  if (url === basePath || url.startsWith(`${basePath}/`) || url.startsWith(`${basePath}?`)) {
    const rest = url.slice(basePath.length)
    return rest.startsWith("/") ? rest : `/${rest}`
  }
  return /^\/(healthz|readyz|metrics)(\?|$)/u.test(url) ? url : undefined
}

const negotiated = HttpMiddleware.compression({ minSize: 1024 })

/** Registers the compressor for the answer of the current request. */
const negotiate = (platform: HttpPlatform.HttpPlatform["Service"]) =>
  negotiated(HttpEffect.withPreResponseHandler(Effect.succeed(HttpServerResponse.empty()), keepTag)).pipe(
    HttpEffect.withPreResponseHandler(leaveStreams),
    Effect.provideService(HttpPlatform.HttpPlatform, platform)
  )

// The word for "not to be compressed" is for the compressor, which is not there when nobody asked for it.
const unasked = (response: HttpServerResponse.HttpServerResponse, request: HttpServerRequest.HttpServerRequest) =>
  response.headers["content-encoding"] === "identity" && request.headers["accept-encoding"] === undefined
    ? HttpServerResponse.removeHeader(response, "content-encoding")
    : response

// A stream would sit in the compressor's buffer instead of arriving when it is sent.
const leaveStreams: HttpEffect.PreResponseHandler = (_, response) =>
  Effect.succeed(response.body._tag === "Stream" ? HttpServerResponse.setHeader(response, "content-encoding", "identity") : response)

// The tag names the version of an entity, not its bytes. The compressor makes it a weak one, which no If-Match would match.
const keepTag: HttpEffect.PreResponseHandler = (_, response) => {
  const { "content-encoding": encoding, etag } = response.headers
  return Effect.succeed(
    encoding !== undefined && etag?.startsWith("W/") ? HttpServerResponse.setHeader(response, "etag", etag.slice(2)) : response
  )
}
