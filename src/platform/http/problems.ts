import { Schema } from "effect"
import { HttpServerResponse, ProblemDetails } from "effect/http"
import { HttpApiError } from "effect/http-api"
import { largestOfEachKind } from "../media/formats.ts"

/** Every problem class that was declared, by its code: what `/problems/<code>` explains. */
export const registry = new Map<string, Declaration>()

interface Declaration {
  readonly code: string
  readonly status: number
  readonly title: string
  readonly help: string
  /** Seconds after which the same request may succeed. */
  readonly retryAfter?: number
}

/**
 * A typed RFC 9457 error. Its type is `/problems/<code>`; `code` repeats the kebab for clients that switch on it.
 * `help` is what `/problems/<code>` tells a person: when it happens and what to do about it.
 * Once published, a code never changes its meaning.
 */
export const Problem =
  <Self = never>() =>
  <
    const Tag extends string,
    const Code extends string,
    const Status extends number,
    const Fields extends HttpApiError.ProblemExtensionFields = Record<never, never>
  >(
    tag: Tag,
    declaration: Declaration & { readonly code: Code; readonly status: Status },
    fields?: Fields
  ) => {
    if (registry.has(declaration.code)) throw new Error(`Two problems have the code ${declaration.code}`)
    registry.set(declaration.code, declaration)
    return HttpApiError.Problem<Self>()(
      tag,
      { type: `/problems/${declaration.code}` as const, status: declaration.status, title: declaration.title },
      {
        code: Schema.tag(declaration.code),
        /** Filled in at the edge, so that a person can name the request when they ask for help. */
        requestId: Schema.optionalKey(Schema.String),
        ...(fields as Fields)
      }
    )
  }

export const FieldProblem = Schema.Struct({
  in: Schema.Literals(["path", "query", "header", "body"]),
  /** RFC 6901, inside the part of the request that `in` names. */
  pointer: Schema.String,
  message: Schema.String
}).annotate({ identifier: "FieldProblem" })
export type FieldProblem = typeof FieldProblem.Type

export class InvalidRequest extends Problem<InvalidRequest>()(
  "InvalidRequest",
  {
    code: "invalid-request",
    status: 400,
    title: "The request does not fit its schema",
    help: "Each entry of errors names a part of the request, a pointer into it and what was expected there. Mend all of them and send the request again."
  },
  { errors: Schema.Array(FieldProblem) }
) {}

/** One field that does not fit, found by a rule that a schema cannot express (an unknown typeId, from = to). */
export const invalidField = (where: FieldProblem["in"], pointer: string, message: string) =>
  new InvalidRequest({ detail: `${pointer === "" ? where : `${where} ${pointer}`}: ${message}`, errors: [{ in: where, pointer, message }] })

export class MalformedJson extends Problem<MalformedJson>()("MalformedJson", {
  code: "malformed-json",
  status: 400,
  title: "The body is not JSON",
  help: "The body could not be read as JSON (RFC 8259) in UTF-8. Check quotes, commas and brackets."
}) {}

export class Forbidden extends Problem<Forbidden>()("Forbidden", {
  code: "forbidden",
  status: 403,
  title: "This is not allowed",
  help: "Whoever asks may not do this. For a page of another origin: list its origin in CORS_ORIGINS. Behind a proxy with a name of its own: set PUBLIC_URL to the address that people use."
}) {}

export class RouteNotFound extends Problem<RouteNotFound>()("RouteNotFound", {
  code: "route-not-found",
  status: 404,
  title: "Nothing is served at this address",
  help: "No route has this path. /docs lists every address; mind BASE_PATH when the server stands behind a proxy."
}) {}

export class MethodNotAllowed extends Problem<MethodNotAllowed>()(
  "MethodNotAllowed",
  {
    code: "method-not-allowed",
    status: 405,
    title: "This address does not answer that method",
    help: "The path exists, but not for this method. The Allow header lists the methods it answers."
  },
  { allow: Schema.Array(Schema.String) }
) {}

export class PayloadTooLarge extends Problem<PayloadTooLarge>()("PayloadTooLarge", {
  code: "payload-too-large",
  status: 413,
  title: "The body is too large",
  help: `The body is larger than MAX_BODY_BYTES (JSON) or MAX_UPLOAD_BYTES (files), or the file larger than its kind may be: ${largestOfEachKind}. Send less, or raise the limit in the configuration; those of the kinds are fixed.`
}) {}

export class UnsupportedMediaType extends Problem<UnsupportedMediaType>()("UnsupportedMediaType", {
  code: "unsupported-media-type",
  status: 415,
  title: "This content type is not understood here",
  help: "Send the body in one of the content types that the operation lists in /docs, usually application/json in UTF-8."
}) {}

export class UnreadableFile extends Problem<UnreadableFile>()(
  "UnreadableFile",
  {
    code: "unreadable-file",
    status: 422,
    title: "The file cannot be read",
    help: "The file is empty, damaged, cut off, protected by a password, or takes too much time or memory to read; an image may have 100 megapixels. Nothing of it was used. Of a table, line and column, counted from 1, say where it went wrong. Open it in another program, export it anew and send that."
  },
  { line: Schema.optionalKey(Schema.Int), column: Schema.optionalKey(Schema.Int) }
) {}

export class HeadersTooLarge extends Problem<HeadersTooLarge>()("HeadersTooLarge", {
  code: "headers-too-large",
  status: 431,
  title: "The request headers are too large",
  help: "Request line and headers together may have 16 KiB. Shorten the address or the cookies."
}) {}

export class RequestTimeout extends Problem<RequestTimeout>()("RequestTimeout", {
  code: "request-timeout",
  status: 408,
  title: "The request took too long to arrive",
  help: "The request was not complete within the time limit. Send it again over a faster connection."
}) {}

export class ExpectationFailed extends Problem<ExpectationFailed>()("ExpectationFailed", {
  code: "expectation-failed",
  status: 417,
  title: "The Expect header cannot be met",
  help: "Only Expect: 100-continue is understood. Send the request without the header."
}) {}

export class BadRequest extends Problem<BadRequest>()("BadRequest", {
  code: "bad-request",
  status: 400,
  title: "This is not a proper HTTP request",
  help: "Request line, headers or chunks break RFC 9112, so nothing of the request was read. Mend the client, or the proxy before this server."
}) {}

export class PreconditionFailed extends Problem<PreconditionFailed>()(
  "PreconditionFailed",
  {
    code: "precondition-failed",
    status: 412,
    title: "Someone changed it in the meantime",
    help: "The If-Match header names another version than the current one. Read the entity again, apply your change to what it is now, and send that version."
  },
  { current: Schema.String }
) {}

export class TooManyRequests extends Problem<TooManyRequests>()("TooManyRequests", {
  code: "too-many-requests",
  status: 429,
  title: "Too many requests",
  help: "Wait as long as Retry-After says, then try again."
}) {}

export class InternalError extends Problem<InternalError>()("InternalError", {
  code: "internal-error",
  status: 500,
  title: "Something is wrong on the server",
  help: "A defect. Nothing was changed by this request. It was reported once with the requestId of this answer; tell it to whoever runs the server."
}) {}

export class DatabaseUnavailable extends Problem<DatabaseUnavailable>()("DatabaseUnavailable", {
  code: "database-unavailable",
  status: 503,
  title: "The database does not answer",
  help: "The database is away, overloaded or restarting. Nothing was changed, or the outcome is unknown when the connection broke at the very end: send the request again with the same Idempotency-Key."
}) {}

export class StorageUnavailable extends Problem<StorageUnavailable>()("StorageUnavailable", {
  code: "storage-unavailable",
  status: 503,
  title: "The store of files does not answer",
  help: "Where the bytes of documents and images are kept is away, full, overloaded or refuses this server; detail says which. Nothing was changed. Send the request again with the same Idempotency-Key."
}) {}

export class QueueUnavailable extends Problem<QueueUnavailable>()("QueueUnavailable", {
  code: "queue-unavailable",
  status: 503,
  title: "The message queue cannot be reached",
  help: "The message broker does not answer. Jobs that are asked for meanwhile are kept and run as soon as it is back.",
  retryAfter: 2
}) {}

export class ServerStopping extends Problem<ServerStopping>()("ServerStopping", {
  code: "server-stopping",
  status: 503,
  title: "The server is shutting down",
  help: "This process is stopping. Send the request again; another replica or the restarted server answers it."
}) {}

export class RequestTookTooLong extends Problem<RequestTookTooLong>()("RequestTookTooLong", {
  code: "request-took-too-long",
  status: 503,
  title: "The request could not be answered in time",
  help: "The work was stopped at the time limit of one request and rolled back. Try again later or ask for less at once."
}) {}

export type AnyProblem = {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail?: string
}

/** The members of a problem in the order a reader wants them. */
export const membersOf = ({ code, detail, status, title, type, ...extensions }: AnyProblem) => ({
  type,
  title,
  status,
  code,
  detail: detail ?? title,
  ...extensions
})

/** A problem as an answer, outside the declared errors of an endpoint. */
export const toResponse = (problem: AnyProblem, headers?: Record<string, string>) => {
  const response = HttpServerResponse.jsonUnsafe(membersOf(problem), { status: problem.status, contentType: ProblemDetails.contentType })
  return headers === undefined ? response : HttpServerResponse.setHeaders(response, headers)
}
