import { Effect, Metric } from "effect"
import { startAtZero } from "../telemetry/metrics.ts"
import { type Outcome, outcomes } from "./call-failure.ts"
import { type Tokens, toUsd } from "./prices.ts"

const requests = Metric.counter("openai_requests_total", {
  description: "Calls of the language model by outcome; those spared by the cache and refused by the budget too",
  incremental: true
})
const tokens = Metric.counter("openai_tokens_total", { description: "Tokens that the provider has counted", incremental: true })
const cost = Metric.counter("openai_cost_usd_total", {
  description: "What was counted against the budget, in US dollars; of calls without a known end the most that they can have cost",
  incremental: true
})
const duration = Metric.histogram("openai_request_duration_seconds", {
  description: "Time of one call of the language model",
  boundaries: [0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180]
})
/** Whoever asks declares its purposes when it is built, so that their metrics are there with 0 from the start. */
export const startPurposes = (purposes: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.forEach(
    purposes,
    (purpose) =>
      Effect.all([
        startAtZero(
          requests,
          outcomes.map((outcome) => ({ purpose, outcome }))
        ),
        startAtZero(tokens, [
          { purpose, direction: "input" },
          { purpose, direction: "output" }
        ]),
        startAtZero(cost, [{ purpose }]),
        startAtZero(duration, [{ purpose }])
      ]),
    { discard: true }
  )

export const countOutcome = (purpose: string, outcome: Outcome) => Metric.update(Metric.withAttributes(requests, { purpose, outcome }), 1)

export const countCall = (
  purpose: string,
  call: { readonly outcome: Outcome; readonly seconds: number; readonly tokens: Tokens; readonly nanoUsd: number }
) =>
  Effect.all(
    [
      countOutcome(purpose, call.outcome),
      Metric.update(Metric.withAttributes(tokens, { purpose, direction: "input" }), call.tokens.input),
      Metric.update(Metric.withAttributes(tokens, { purpose, direction: "output" }), call.tokens.output),
      Metric.update(Metric.withAttributes(cost, { purpose }), toUsd(call.nanoUsd)),
      Metric.update(Metric.withAttributes(duration, { purpose }), call.seconds)
    ],
    { discard: true }
  )
