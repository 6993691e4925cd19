import { assert, layer } from "@effect/vitest"
import { Effect, Layer, References, Schema } from "effect"
import { tool } from "#platform/ai/ask.ts"
import { startPurposes } from "#platform/ai/calls.metrics.ts"
import { OpenAiMetrics } from "#platform/ai/openai.metrics.ts"
import { OpenAi } from "#platform/ai/openai.service.ts"
import { AppConfig } from "#platform/config.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { layer as Otlp } from "#platform/telemetry/otlp.ts"
import { aiWorld, key, Provider, question } from "../support/ai.ts"
import { read } from "../support/exposition.ts"
import { answer, badKey, inTurn, type Reply, rateLimited, tools } from "../support/openai.ts"
import { collector } from "../support/otlp.ts"
import { Http, world } from "../support/world.ts"

const scripted = (...replies: ReadonlyArray<Reply>) => Effect.map(Provider, ({ script }) => script(inTurn(...replies)))
const ask = (more: Parameters<typeof question<never>>[0] = {}) => OpenAi.use((ai) => ai.ask(question<never>(more)))

const secret = { type: "text", label: "description", text: "hidden-question" } as const
const lookUp = tool({
  name: "look_up",
  description: "Looks up.",
  parameters: Schema.Struct({ query: Schema.String }),
  run: () => Effect.succeed({ found: "hidden-result" })
})

layer(aiWorld({ AI_MONTHLY_BUDGET_USD: "5" }), { excludeTestServices: true, timeout: "60 seconds" })("R44: of the language model", (it) => {
  it.effect("traces tell the model, the tokens, the cost and the time, and nothing of what was asked and answered", () =>
    Effect.gen(function* () {
      const receiver = yield* collector
      const telemetry = Layer.provide(Otlp, AppConfig.fromEnv({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }))
      yield* Effect.gen(function* () {
        const good = answer({ name: "hidden-answer", count: 1 })
        yield* scripted(rateLimited(), tools({ name: "look_up", arguments: { query: "hidden-arguments" } }), good)
        const asked = { ...question({ input: [secret], tools: [lookUp], instructions: "hidden-instructions" }) }
        const ai = yield* OpenAi
        yield* ai.ask(asked)
        yield* ai.ask(asked)
        for (const reply of [
          badKey(key),
          { type: "refusal", text: "hidden-refusal" },
          { type: "content", text: "hidden-half" },
          { type: "content", text: '{"name": ["hidden-answer"]}' },
          { type: "raw", text: "data: hidden-garbage\n\n" },
          { type: "raw", text: 'data: {"error": {"message": "hidden-error", "code": "hidden-code"}}\n\n' },
          { type: "cut", text: "hidden-beginning" }
        ] as ReadonlyArray<Reply>) {
          yield* scripted(reply)
          yield* Effect.flip(ask({ input: [secret], fresh: true }))
        }
      }).pipe(Effect.provide(telemetry, { local: true }), Effect.provideService(References.MinimumLogLevel, "Trace"))

      assert.notMatch(receiver.text(), /hidden-/u)
      const spans = receiver.spans()
      const [first, second] = spans.filter(({ name }) => name === "OpenAi.ask")
      assert.deepInclude(first?.attributes, { "ai.purpose": "test.fruit", "gen_ai.request.model": "gpt-4.1-mini", "ai.cached": false })
      assert.strictEqual(Number(first?.attributes["gen_ai.usage.input_tokens"]), 2000)
      assert.strictEqual(Number(first?.attributes["gen_ai.usage.output_tokens"]), 200)
      assert.closeTo(Number(first?.attributes["ai.cost_usd"]), (2000 * 0.4 + 200 * 1.6) / 1e6, 1e-9)
      assert.strictEqual(second?.attributes["ai.cached"], true)
      const calls = spans.filter(({ name, parentSpanId }) => name === "OpenAi.call" && parentSpanId === first?.spanId)
      assert.deepStrictEqual(
        calls.map(({ attributes, kind, status }) => [attributes["ai.outcome"], kind, status]),
        [
          ["rate-limited", 3, 2],
          ["ok", 3, 1],
          ["ok", 3, 1]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("metrics are there from the start and count calls, tokens, cost and time by purpose", () =>
    Effect.gen(function* () {
      const { page } = yield* Metrics
      const find = Effect.fnUntraced(function* (name: string, labels: Record<string, string> = {}) {
        const { faults, series } = read(yield* page)
        assert.deepStrictEqual(faults, [])
        return series.find(
          (one) => one.name === `partwright_${name}` && Object.entries(labels).every(([label, value]) => one.labels[label] === value)
        )?.value
      })
      const purpose = "test.metrics"
      const names = [
        ["openai_requests_total", { purpose, outcome: "ok" }],
        ["openai_requests_total", { purpose, outcome: "cached" }],
        ["openai_requests_total", { purpose, outcome: "rate-limited" }],
        ["openai_requests_total", { purpose, outcome: "over-budget" }],
        ["openai_tokens_total", { purpose, direction: "input" }],
        ["openai_tokens_total", { purpose, direction: "output" }],
        ["openai_cost_usd_total", { purpose }],
        ["openai_request_duration_seconds_count", { purpose }]
      ] as const
      yield* startPurposes([purpose])
      for (const [name, labels] of names) assert.strictEqual(yield* find(name, labels), 0, name)
      assert.strictEqual(yield* find("openai_budget_usd"), 5)

      yield* scripted(rateLimited(), answer({ name: "pear", count: 1 }))
      const asked = question({ purpose })
      const ai = yield* OpenAi
      yield* ai.ask(asked)
      yield* ai.ask(asked)
      const expected = [1, 1, 1, 0, 1000, 100, (1000 * 0.4 + 100 * 1.6) / 1e6, 2]
      for (const [at, [name, labels]] of names.entries()) assert.closeTo((yield* find(name, labels)) ?? -1, expected[at]!, 1e-9, name)
    }).pipe(Effect.provide(OpenAiMetrics.pipe(Layer.provideMerge(Metrics.layer))))
  )
})

layer(world({ OPENAI_API_KEY: key, OPENAI_BASE_URL: "http://127.0.0.1:2/v1", AI_MONTHLY_BUDGET_USD: "5" }), {
  excludeTestServices: true,
  timeout: "60 seconds"
})("R44: a server whose language model cannot be reached", (it) => {
  it.effect("is ready, shows its budget, and says what is configured", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      assert.strictEqual((yield* send("GET", "/readyz")).status, 200)
      const { series } = read((yield* send("GET", "/metrics")).text)
      const value = (name: string) => series.find((one) => one.name === name)?.value
      assert.deepStrictEqual([value("partwright_openai_budget_usd"), value("partwright_openai_spent_usd")], [5, 0])
      const { body } = yield* send("GET", "/api/system/health")
      assert.deepStrictEqual(body.ai, { configured: true, model: "gpt-5.4-mini", budgetUsd: 5, spentUsd: 0 })
      assert.notInclude(JSON.stringify(body), key)
    })
  )
})
