import { IncomingMessage } from "node:http"
import { Cause, Effect } from "effect"
import { HttpServerError, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { unavailable } from "../db/sql-errors.ts"
import type { cors } from "./cors.ts"
import {
  type AnyProblem,
  BadRequest,
  Forbidden,
  InternalError,
  InvalidRequest,
  MethodNotAllowed,
  membersOf,
  PayloadTooLarge,
  RequestTookTooLong,
  RouteNotFound,
  registry,
  ServerStopping,
  toResponse,
  UnsupportedMediaType
} from "./problems.ts"
import type { MethodsOf } from "./routes.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

export interface RefusalOptions {
  readonly maxBodyBytes: number
  readonly methodsOf: MethodsOf
  /** Whether a page of another origin sent the request. */
  readonly isForeign: (request: Request) => boolean
}

// The rest of such a request is not read, so its connection cannot carry another one.
const close = { connection: "close" }

const retryAfter = (seconds: number) => ({ "retry-after": String(seconds) })

/** What can be refused, or answered, by looking at the head of a request alone. Undefined for almost all requests. */
export const refuseHead = (request: Request, options: RefusalOptions, crossOrigin: ReturnType<typeof cors>): Response | undefined => {
  const { headers, method, url } = request
  // Broken text would be replaced without a word. A search takes it for blanks, as it does all that is no letter.
  if (url.includes("%") && !isPercentEncoded(url) && !/^\/api\/search(\?|$)/u.test(url))
    return toResponse(oneField(isPercentEncoded(pathOf(request)) ? "query" : "path", "Expected percent-encoded UTF-8"))
  const length = headers["content-length"]
  const type = headers["content-type"]
  if (headers.host === undefined && request.source instanceof IncomingMessage && request.source.httpVersion === "1.1")
    return toResponse(new BadRequest({ detail: "The Host header is missing." }), close)
  if (method === "GET" || method === "HEAD" || method === "OPTIONS" || method === "TRACE") {
    if ((length !== undefined && length !== "0") || headers["transfer-encoding"] !== undefined)
      return toResponse(oneField("body", `A ${method} request has no body`), close)
    if (method === "OPTIONS") return options204(request, options, crossOrigin)
    return undefined
  }
  if (options.isForeign(request)) {
    const detail = `A page of ${shortened(headers.origin ?? "another site")} may not change anything here. CORS_ORIGINS lists the origins that may.`
    return toResponse(new Forbidden({ detail }), close)
  }
  if (length !== undefined && Number(length) > options.maxBodyBytes && isJson(type)) return tooLarge(options)
  // Browsers send such a body for any page, and without asking first.
  if (type === undefined && ((length !== undefined && length !== "0") || headers["transfer-encoding"] !== undefined)) {
    return toResponse(new UnsupportedMediaType({ detail: "A body without content type is not understood here." }), close)
  }
  if (type !== undefined && /charset/iu.test(type) && !/charset="?utf-?8"?\s*(;|$)/iu.test(type))
    return toResponse(new UnsupportedMediaType({ detail: `Bodies are read as UTF-8, not as ${shortened(type)}.` }))
  const encoding = headers["content-encoding"]
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    const detail = `Bodies are read as they are, not as ${shortened(encoding)}.`
    return toResponse(new UnsupportedMediaType({ detail }), { "accept-encoding": "identity" })
  }
  return undefined
}

/** Whether the body is read whole, and so limited by MAX_BODY_BYTES. Files stream into their own limit. */
const isJson = (type: string | undefined) => type === undefined || /^[^;]*\bjson\b/iu.test(type)

const options204 = (request: Request, options: RefusalOptions, crossOrigin: ReturnType<typeof cors>) => {
  const methods = options.methodsOf(pathOf(request))
  if (methods.length === 0) return undefined
  const allow = listed(methods)
  return HttpServerResponse.empty({ status: 204, headers: { allow, ...crossOrigin?.preflight(request, allow) } })
}

/** The answer to a failed request: a problem that someone raised, an outage, or a defect that is reported here, once. */
export const failed = (cause: Cause.Cause<unknown>, request: Request, options: RefusalOptions): Effect.Effect<Response> => {
  if (Cause.hasInterruptsOnly(cause))
    return Effect.succeed(toResponse(new ServerStopping({ detail: "The server is shutting down." }), retryAfter(2)))
  for (const reason of cause.reasons) {
    const error = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    const outage = unavailable(error)
    if (outage !== undefined) return Effect.as(Effect.logWarning("database unavailable", cause), toResponse(outage, retryAfter(1)))
    const temporary = temporaryOf(error)
    if (temporary !== undefined) return Effect.succeed(temporary)
    if (!(error instanceof HttpServerError.HttpServerError)) continue
    if (error.reason._tag === "RouteNotFound") return Effect.succeed(notServed(request, options))
    if (error.reason._tag === "RequestParseError") {
      return Effect.succeed(
        error.reason.reason === "BodyTooLarge"
          ? tooLarge(options)
          : toResponse(new BadRequest({ detail: "The body ended before it was complete." }), close)
      )
    }
  }
  return Effect.flatMap(HttpServerError.causeResponse(cause), ([response]) =>
    response.status < 500
      ? Effect.succeed(response)
      : Effect.as(
          Effect.logError("unexpected failure", cause),
          toResponse(new InternalError({ detail: "An unexpected error happened; it has been reported." }))
        )
  )
}

/** A problem that nobody can do anything about but come back is not in the types of all that may meet it. */
const temporaryOf = (error: unknown) => {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined
  const declared = registry.get(String(error.code))
  return declared?.status === 503 ? toResponse(error as AnyProblem, retryAfter(declared.retryAfter ?? 1)) : undefined
}

export const tooLate = (limitMs: number) =>
  toResponse(new RequestTookTooLong({ detail: `The work took longer than ${limitMs / 1000} s and was stopped.` }), retryAfter(5))

/** Bare refusals of the framework become problems, and every problem names its request, so that a person can ask about it. */
export const asProblem = (response: Response, request: Request, options: RefusalOptions, requestId: string | null): Response => {
  const isProblem = response.headers["content-type"]?.startsWith("application/problem+json") === true
  const problem = isProblem ? response : fromStatus(response.status, request, options)
  if (problem.body._tag !== "Uint8Array") return problem
  const members = JSON.parse(problem.body.text ?? new TextDecoder().decode(problem.body.body))
  const named = HttpServerResponse.setBody(
    problem,
    HttpServerResponse.jsonUnsafe({ ...membersOf(members), requestId }, { contentType: "application/problem+json" }).body
  )
  const wait = registry.get(members.code)?.retryAfter
  return wait === undefined ? named : HttpServerResponse.setHeader(named, "retry-after", String(wait))
}

const fromStatus = (status: number, request: Request, options: RefusalOptions) => {
  switch (status) {
    case 404:
    case 405:
      return notServed(request, options)
    case 413:
      return tooLarge(options)
    case 415: {
      const type = request.headers["content-type"]
      return toResponse(
        new UnsupportedMediaType({
          detail: `${type === undefined ? "A body without content type" : shortened(type)} is not understood here.`
        })
      )
    }
    default:
      return status < 500
        ? toResponse(new BadRequest({ detail: "The request cannot be understood." }))
        : toResponse(new InternalError({ detail: "An unexpected error happened; it has been reported." }))
  }
}

const notServed = (request: Request, options: RefusalOptions) => {
  const path = pathOf(request)
  if (!isPercentEncoded(path)) return toResponse(oneField("path", "Expected percent-encoded UTF-8"))
  const methods = options.methodsOf(path)
  // With the right method it is a parameter that the router finds too long: then nothing has this path.
  if (methods.length === 0 || methods.includes(request.method))
    return toResponse(new RouteNotFound({ detail: `Nothing is served at ${shortened(path)}.` }))
  const allow = listed(methods)
  return toResponse(
    new MethodNotAllowed({ detail: `${shortened(path)} answers ${allow}, not ${request.method}.`, allow: allow.split(", ") }),
    {
      allow
    }
  )
}

const tooLarge = (options: RefusalOptions) =>
  toResponse(new PayloadTooLarge({ detail: `The body may have ${options.maxBodyBytes} bytes.` }), close)

const oneField = (where: "path" | "query" | "body", message: string) =>
  new InvalidRequest({ detail: `${message}.`, errors: [{ in: where, pointer: "", message }] })

const listed = (methods: ReadonlyArray<string>) => [...methods, "OPTIONS"].toSorted().join(", ")

const pathOf = (request: Request) => request.url.split("?", 1)[0] ?? ""

const isPercentEncoded = (path: string) => {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}

const shortened = (text: string) => (text.length > 200 ? `${text.slice(0, 199)}…` : text)
