import { isUtf8 } from "node:buffer"
import { Effect, Layer, Schema, type SchemaAST, SchemaIssue, type Types } from "effect"
import { HttpRouter, HttpServerRequest } from "effect/http"
import { type HttpApiEndpoint, HttpApiError, HttpApiMiddleware } from "effect/http-api"
import { type FieldProblem, InvalidRequest, MalformedJson } from "./problems.ts"

/**
 * Refuses what does not fit its endpoint. The framework alone stops at the first thing that does not fit, takes any query where none
 * is declared and any body where none is expected, and replaces broken UTF-8 silently. Here, once something is wrong, the whole
 * request is looked at again, so that all its problems are told at once.
 */
export class Validation extends HttpApiMiddleware.Service<Validation>()("platform/Validation", {
  error: [InvalidRequest, MalformedJson]
}) {
  static readonly layer = Layer.succeed(Validation, (app, { endpoint }) => {
    const handled = (body: Body) =>
      Effect.catch(app, (error): Effect.Effect<never, Types.unhandled | InvalidRequest | MalformedJson, HttpRouter.Provided> => {
        if (!HttpApiError.HttpApiSchemaError.is(error)) return Effect.fail(error)
        // Our own answer does not fit its schema: a bug.
        if (error.kind === "Body" || error.kind === "ResponseHeaders") return Effect.die(error.cause)
        return refuse(endpoint, body, error.kind === "Payload" ? error.cause.issue : undefined)
      })
    const withBody = (body: Body) =>
      body === "unread"
        ? handled(body)
        : Effect.flatMap(readable(body), (isReadable) => (isReadable ? handled(body) : refuse(endpoint, body)))
    const expected = bodyOf(endpoint)
    return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const body = expected === "mixed" ? (isJson(request) ? "json" : "unread") : expected
      if (endpoint.query !== undefined) return withBody(body)
      return Effect.flatMap(HttpServerRequest.ParsedSearchParams, (query) =>
        Object.keys(query).length === 0 ? withBody(body) : refuse(endpoint, body)
      )
    })
  })
}

/** What an endpoint does with a body: reads JSON, expects none, or something that is not looked at here: a file, a GET. */
type Body = "json" | "none" | "unread"

const bodyOf = ({ method, payload }: HttpApiEndpoint.Top): Body | "mixed" => {
  if (method === "GET") return "unread"
  if (payload.size === 0) return "none"
  const json = [...payload.values()].filter(({ encoding }) => encoding._tag === "Json")
  return json.length === payload.size ? "json" : json.length === 0 ? "unread" : "mixed"
}

const isJson = ({ headers }: HttpServerRequest.HttpServerRequest) => /^[^;]*\bjson\b/iu.test(headers["content-type"] ?? "application/json")

const bytesOf = (request: HttpServerRequest.HttpServerRequest) =>
  Effect.map(Effect.orDie(request.arrayBuffer), (buffer) => new Uint8Array(buffer))

/** Whether the body can be looked at as what it should be. Its bytes are kept for the handler. */
const readable = (body: Body) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    Effect.map(bytesOf(request), (bytes) => (body === "json" ? isUtf8(bytes) : isNothing(bytes)))
  )

// Some clients cannot send a POST without a body.
const isNothing = (bytes: Uint8Array) => bytes.length === 0 || /^\s*(\{\s*\})?\s*$/u.test(new TextDecoder().decode(bytes))

const refuse = Effect.fnUntraced(function* (endpoint: HttpApiEndpoint.Top, body: Body, issue?: SchemaIssue.Issue) {
  const request = yield* HttpServerRequest.HttpServerRequest
  const errors = yield* problemsOfHead(endpoint, request)
  if (body === "unread") {
    if (issue !== undefined) errors.push(...toldOf("body", issue))
  } else {
    const inBody = yield* problemsOfBody(endpoint, request)
    if (inBody instanceof MalformedJson && errors.length === 0) return yield* inBody
    errors.push(...(inBody instanceof MalformedJson ? [fieldProblem("body", [], inBody.detail ?? inBody.title)] : inBody))
  }
  return yield* new InvalidRequest({ detail: summary(errors), errors })
})

/** What a schema says of something that was read by other means than a declared payload: the texts of a form. */
export const invalidBody = (issue: SchemaIssue.Issue) => {
  const errors = toldOf("body", issue)
  return new InvalidRequest({ detail: summary(errors), errors })
}

const problemsOfHead = Effect.fnUntraced(function* (endpoint: HttpApiEndpoint.Top, request: HttpServerRequest.HttpServerRequest) {
  const { params } = yield* HttpRouter.RouteContext
  const query = yield* HttpServerRequest.ParsedSearchParams
  return [
    ...(yield* problems("path", endpoint.params, params)),
    ...(endpoint.query === undefined
      ? Object.keys(query).map((name) => fieldProblem("query", [name], unknown))
      : yield* problems("query", Schema.toCodecArrayFromSingle(endpoint.query), query)),
    ...(yield* problems("header", endpoint.headers, request.headers, { errors: "all" }))
  ]
})

// To find all that is wrong in a body of one megabyte can take a third of a second, in which nobody else is served.
const searchedBytes = 256 * 1024

const problemsOfBody = Effect.fnUntraced(function* (endpoint: HttpApiEndpoint.Top, request: HttpServerRequest.HttpServerRequest) {
  const bytes = yield* bytesOf(request)
  if (endpoint.payload.size === 0) return isNothing(bytes) ? [] : [fieldProblem("body", [], "This operation takes no body")]
  if (!isUtf8(bytes)) return new MalformedJson({ detail: "The body is not UTF-8." })
  const accepted = endpoint.payload.get((request.headers["content-type"] ?? "application/json").split(";")[0]?.trim().toLowerCase() ?? "")
  if (accepted === undefined) return []
  const text = new TextDecoder().decode(bytes)
  if (text.trim() === "") return [fieldProblem("body", [], "Expected a JSON body")]
  const json = parsed(text)
  if (json instanceof MalformedJson) return json
  const schema = Schema.Union(accepted.schemas as ReadonlyArray<Schema.Top>)
  return yield* problems("body", schema, json, bytes.length > searchedBytes ? { onExcessProperty: "error" } : undefined)
})

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return new MalformedJson({ detail: "The body is not JSON." })
  }
}

const problems = (
  where: FieldProblem["in"],
  schema: Schema.Top | undefined,
  input: unknown,
  options: SchemaAST.ParseOptions = { errors: "all", onExcessProperty: "error" }
) =>
  schema === undefined
    ? Effect.succeed([])
    : Effect.match(Schema.decodeUnknownEffect(schema as Schema.Codec<unknown>)(input, options), {
        onSuccess: () => [],
        onFailure: ({ issue }) => toldOf(where, issue)
      })

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const toldOf = (where: FieldProblem["in"], issue: SchemaIssue.Issue) =>
  format(issue)
    .issues.slice(0, 100)
    .map(({ message, path = [] }) =>
      fieldProblem(
        where,
        path.map((step) => (typeof step === "object" ? step.key : step)),
        message === unexpected ? unknown : message
      )
    )

/** What the formatter says of a key that no schema has. */
const unexpected = "Expected no excess property"
const unknown = "Unknown field or parameter"

const fieldProblem = (where: FieldProblem["in"], path: ReadonlyArray<PropertyKey>, message: string): FieldProblem => ({
  in: where,
  pointer: path.map((step) => `/${escaped(step)}`).join(""),
  message
})

// RFC 6901; what cannot be shown is not echoed.
const escaped = (step: PropertyKey) =>
  String(step)
    .replaceAll("~", "~0")
    .replaceAll("/", "~1")
    .replaceAll(/\p{Cc}|\p{Cs}/gu, "\uFFFD")

const summary = (errors: ReadonlyArray<FieldProblem>) => {
  const [first] = errors
  if (first === undefined) return "The request does not fit its schema."
  const pointer = first.pointer.length > 100 ? `${first.pointer.slice(0, 99)}…` : first.pointer
  const others = errors.length === 1 ? "" : ` (and ${errors.length - 1} more)`
  return `${first.in}${pointer === "" ? "" : ` ${pointer}`}: ${first.message}${others}`
}
