import { Effect, Layer, Metric } from "effect"
import { Metrics } from "../telemetry/metrics.ts"
import { OpenAi } from "./openai.service.ts"

const budget = Metric.gauge("openai_budget_usd", { description: "What a calendar month may cost; absent when nothing limits it" })
const spent = Metric.gauge("openai_spent_usd", {
  description: "What this calendar month has cost, with the most that calls under way can cost"
})

export const OpenAiMetrics = Layer.effectDiscard(
  Effect.gen(function* () {
    const { status } = yield* OpenAi
    const { register } = yield* Metrics
    yield* register({
      name: "the language model",
      collect: Effect.flatMap(status, ({ budgetUsd, spentUsd }) =>
        Effect.andThen(Metric.update(spent, spentUsd), budgetUsd === null ? Effect.void : Metric.update(budget, budgetUsd))
      )
    })
  })
)
