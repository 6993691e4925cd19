import type { HttpServerRequest } from "effect/http"

const allowedHeaders = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-api-key, x-request-id"
const exposedHeaders = "allow, etag, idempotency-replayed, location, retry-after, x-request-id"

/**
 * The headers of the Fetch standard for the browser origins in the list, which are compared exactly. Any other origin gets the
 * plain answer, and its browser keeps it from the page. Undefined without a list: then nothing varies by origin.
 */
export const cors = (origins: ReadonlyArray<string>) => {
  if (origins.length === 0) return undefined
  const allowed = new Set(origins)
  return {
    dress: (headers: Record<string, string>, request: HttpServerRequest.HttpServerRequest) => {
      const origin = request.headers.origin
      if (origin === undefined || !allowed.has(origin)) return
      headers["access-control-allow-origin"] = origin
      headers["access-control-expose-headers"] = exposedHeaders
    },
    preflight: (request: HttpServerRequest.HttpServerRequest, methods: string): Record<string, string> => {
      const origin = request.headers.origin
      if (origin === undefined || !allowed.has(origin) || request.headers["access-control-request-method"] === undefined) return {}
      return {
        "access-control-allow-methods": methods,
        "access-control-allow-headers": allowedHeaders,
        "access-control-max-age": "600"
      }
    }
  }
}
