import { Clock, Effect, Metric } from "effect"
import { startAtZero } from "../telemetry/metrics.ts"
import { type Reason, reasons } from "./unreachable.ts"

const requestsTotal = Metric.counter("fetcher_requests_total", {
  description: "Addresses of people fetched, redirects included, by outcome",
  incremental: true
})
const duration = Metric.histogram("fetcher_duration_seconds", {
  description: "Time from asking for an address to the last byte of its body",
  boundaries: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
})

/** `abandoned`: the caller had seen enough, or was interrupted. */
type Outcome = "ok" | "abandoned" | Reason
const outcomes: ReadonlyArray<Outcome> = ["ok", "abandoned", ...reasons.filter((reason) => reason !== "error-status")]

export const startMetrics = Effect.andThen(
  startAtZero(
    requestsTotal,
    outcomes.map((outcome) => ({ outcome }))
  ),
  startAtZero(duration)
)

/** Counts one fetch: the first outcome it is told. */
export const counting = Effect.map(Clock.monotonicTimeNanos, (since) => {
  let counted = false
  return (outcome: Outcome) =>
    Effect.suspend(() => {
      if (counted) return Effect.void
      counted = true
      return Effect.flatMap(Clock.monotonicTimeNanos, (until) =>
        Effect.andThen(
          Metric.update(Metric.withAttributes(requestsTotal, { outcome }), 1),
          Metric.update(duration, Number(until - since) / 1e9)
        )
      )
    })
})
