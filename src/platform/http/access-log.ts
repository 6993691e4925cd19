import { type Context, Effect, Metric } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { RequestInfo } from "./request.ts"

const inFlight = Metric.gauge("http_requests_in_flight", { description: "Requests being answered now" })

const requests = (route: string, method: string, status: string) =>
  Metric.counter("http_requests_total", {
    description: "Requests answered, by route template, method and status",
    incremental: true,
    attributes: { route, method, status }
  })
const durations = (route: string, method: string) =>
  Metric.histogram("http_request_duration_seconds", {
    description: "Time from the request's head to the answer, by route template and method",
    boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    attributes: { route, method }
  })

interface Series {
  readonly requests: Metric.Counter<number>
  readonly durations: Metric.Histogram<number>
}

// Labels given with each update are sorted and joined into a key each time, which costs more than the rest of the edge together.
const series = new Map<string, Series>()
const seriesOf = (route: string, method: string, status: string): Series => {
  const key = `${status} ${method} ${route}`
  let found = series.get(key)
  if (found === undefined) {
    found = { requests: requests(route, method, status), durations: durations(route, method) }
    series.set(key, found)
  }
  return found
}

const knownMethods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

const slowSeconds = 0.5

let running = 0

/** Counts a request in. The result counts it out again and, when it was slow or failed, gives the line to be logged. */
export const account = (context: Context.Context<never>, request: HttpServerRequest.HttpServerRequest, info: RequestInfo) => {
  const since = performance.now()
  inFlight.updateUnsafe(++running, context)
  return (status: number): Effect.Effect<void> | undefined => {
    const seconds = (performance.now() - since) / 1000
    inFlight.updateUnsafe(--running, context)
    // Only templates and known methods become labels: every address a scanner tries would otherwise be a series of its own.
    const method = knownMethods.has(request.method) ? request.method : "other"
    const measured = seriesOf(info.route ?? "none", method, String(status))
    measured.requests.updateUnsafe(1, context)
    measured.durations.updateUnsafe(seconds, context)
    if (seconds < slowSeconds && status < 500) return undefined
    return Effect.annotateLogs(status >= 500 ? Effect.logError("request failed") : Effect.logInfo("slow request"), {
      method: request.method,
      route: info.route,
      status,
      durationMs: Math.round(seconds * 1e4) / 10,
      requestId: info.requestId,
      principal: info.principal
    })
  }
}
