import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Result } from "effect"
import { SqlClient } from "effect/sql"
import type { Ask } from "#platform/ai/ask.ts"
import { OpenAi } from "#platform/ai/openai.service.ts"
import { AppConfig, type ConfigError, describe as describeConfig } from "#platform/config.ts"
import { aiWorld, another, type Fruit, Provider, pear, question } from "../support/ai.ts"
import { answer, inTurn, type Reply, rateLimited, serverError } from "../support/openai.ts"

// Only output costs anything, so that every call costs the same: a cent for a thousand tokens.
const prices = JSON.stringify({ "gpt-4.1-mini": { input: 0, output: 10 } })
const perCall = 0.08192
const full = { prompt_tokens: 10, completion_tokens: 8192 }
const allowing = (calls: number) => ({ AI_PRICES: prices, AI_MONTHLY_BUDGET_USD: (calls * perCall).toFixed(5) })

const scripted = (...replies: ReadonlyArray<Reply>) => Effect.map(Provider, ({ script }) => script(inTurn(...replies)))
const calls = Effect.map(Provider, ({ requests }) => requests.length)
const ask = (more: Partial<Ask<typeof Fruit.Type>> = {}) => OpenAi.use((ai) => ai.ask(question(more)))
const spent = Effect.map(
  OpenAi.use(({ status }) => status),
  ({ spentUsd }) => spentUsd
)
const nothingSpent = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`delete from ai_spending`)
const options = { excludeTestServices: true, timeout: "60 seconds" } as const

describe("R39: the budget", () => {
  layer(
    aiWorld(allowing(5)),
    options
  )((it) => {
    it.effect("lets exactly as many of 32 parallel asks of two replicas through as it allows", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        yield* scripted(answer(pear, { usage: full }))
        const here = yield* OpenAi
        const there = Context.get(yield* another(), OpenAi)
        const asked = yield* Effect.forEach(Array.from({ length: 32 }), (_, at) => Effect.result((at % 2 ? here : there).ask(question())), {
          concurrency: "unbounded"
        })
        const refused = asked.filter(Result.isFailure).map(({ failure }) => [failure.code, failure.status])
        assert.deepStrictEqual(
          refused,
          Array.from({ length: 27 }, () => ["ai-budget-exhausted", 503])
        )
        assert.strictEqual(yield* calls, 5)
        assert.closeTo(yield* spent, 5 * perCall, 1e-9)
        const [ready, another_] = yield* Effect.all([Effect.flip(here.ready), Effect.flip(there.ready)])
        assert.deepStrictEqual([ready.code, another_.code], ["ai-budget-exhausted", "ai-budget-exhausted"])
        assert.match(ready.detail ?? "", /^This month \$0\.41 of \$0\.41 are spent.*AI_MONTHLY_BUDGET_USD/u)
      }).pipe(Effect.scoped)
    )

    it.effect("counts what 32 parallel asks have cost once they are over, not what they could have cost", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        yield* scripted(answer(pear, { usage: { prompt_tokens: 10, completion_tokens: 100 } }))
        const asked = yield* Effect.forEach(Array.from({ length: 32 }), () => Effect.result(ask()), { concurrency: "unbounded" })
        const answered = asked.filter(Result.isSuccess)
        assert.isAtLeast(answered.length, 5)
        assert.strictEqual(yield* calls, answered.length)
        for (const { success } of answered) assert.closeTo(success.usage.costUsd ?? 0, 0.001, 1e-9)
        assert.closeTo(yield* spent, answered.length * 0.001, 1e-9)
        yield* OpenAi.use(({ ready }) => ready)
      })
    )

    it.effect("sets the most that a call can cost aside before it is made, and keeps that when nobody knows what it has cost", () =>
      Effect.gen(function* () {
        const { come } = yield* Provider
        for (const reply of [{ type: "hang" }, { type: "silence", text: '{"name"' }] as ReadonlyArray<Reply>) {
          yield* nothingSpent
          yield* scripted(reply)
          const asking = yield* Effect.forkChild(ask(), { startImmediately: true })
          yield* Effect.promise(() => come(1))
          // As it would be left by a process that is killed now.
          assert.closeTo(yield* spent, perCall, 1e-9)
          yield* Fiber.interrupt(asking)
          assert.closeTo(yield* spent, perCall, 1e-9)
        }
        yield* nothingSpent
        yield* scripted({ type: "cut", text: '{"name"' }, answer(pear, { usage: null }))
        yield* ask()
        assert.closeTo(yield* spent, 2 * perCall, 1e-9)
      })
    )

    it.effect("is not touched by calls that certainly cost nothing", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        yield* scripted(rateLimited(), serverError(), serverError(400))
        assert.strictEqual((yield* Effect.flip(ask())).code, "ai-provider-error")
        assert.deepStrictEqual([yield* calls, yield* spent], [3, 0])
      })
    )

    it.effect("counts a call for more than was set aside in full", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        yield* scripted(answer(pear, { usage: { prompt_tokens: 10, completion_tokens: 81_920 } }))
        yield* ask()
        assert.closeTo(yield* spent, 10 * perCall, 1e-9)
        assert.strictEqual((yield* Effect.flip(ask())).code, "ai-budget-exhausted")
      })
    )

    it.effect("does not believe tokens that cannot be", () =>
      Effect.gen(function* () {
        for (const completion_tokens of [-8192, 0.5, "100" as never, Number.MAX_SAFE_INTEGER, null as never]) {
          yield* nothingSpent
          yield* scripted(answer(pear, { usage: { prompt_tokens: 10, completion_tokens } }))
          yield* ask()
          assert.closeTo(yield* spent, perCall, 1e-9)
        }
      })
    )

    it.effect("is that of one calendar month", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        const sql = yield* SqlClient.SqlClient
        yield* sql`insert into ai_spending (month, nano_usd)
          select date_trunc('month', now() at time zone 'UTC')::date - make_interval(months => 1), 1000000000000`
        yield* scripted(answer(pear, { usage: full }))
        yield* ask()
        assert.closeTo(yield* spent, perCall, 1e-9)
      })
    )

    it.effect("is asked before every call: one that reaches it in the middle ends there", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        yield* scripted(answer({ name: 7 }, { usage: { prompt_tokens: 10, completion_tokens: 4 * 8192 + 1 } }), answer(pear))
        assert.strictEqual((yield* Effect.flip(ask())).code, "ai-budget-exhausted")
        assert.strictEqual(yield* calls, 1)
      })
    )

    it.effect("does not matter to an answer that is known", () =>
      Effect.gen(function* () {
        yield* nothingSpent
        yield* scripted(answer(pear, { usage: { prompt_tokens: 10, completion_tokens: 5 * 8192 } }))
        const known = question()
        const ai = yield* OpenAi
        yield* ai.ask(known)
        assert.strictEqual((yield* Effect.flip(ask())).code, "ai-budget-exhausted")
        const { cached, usage } = yield* ai.ask(known)
        assert.deepStrictEqual([cached, usage.costUsd], [true, 0])
      })
    )
  })

  layer(
    aiWorld({ AI_MONTHLY_BUDGET_USD: "0", AI_PRICES: JSON.stringify({ "gpt-4.1-mini": { input: 0, output: 0 } }) }),
    options
  )((it) => {
    it.effect("of 0 refuses everything, also what costs nothing", () =>
      Effect.gen(function* () {
        yield* scripted(answer(pear))
        const errors = [yield* Effect.flip(OpenAi.use(({ ready }) => ready)), yield* Effect.flip(ask())]
        for (const { code, detail } of errors) {
          assert.deepStrictEqual(
            [code, detail],
            ["ai-budget-exhausted", "AI_MONTHLY_BUDGET_USD is 0, so the language model is never asked."]
          )
        }
        assert.strictEqual(yield* calls, 0)
      })
    )
  })

  layer(
    aiWorld({ OPENAI_MODEL: "llava:13b" }),
    options
  )((it) => {
    it.effect("is not needed for a model whose price nobody knows", () =>
      Effect.gen(function* () {
        yield* scripted(answer(pear))
        yield* OpenAi.use(({ ready }) => ready)
        assert.deepStrictEqual((yield* ask()).usage, { inputTokens: 1000, outputTokens: 100, costUsd: null })
        assert.strictEqual(yield* spent, 0)
      })
    )
  })

  layer(
    aiWorld({}),
    options
  )((it) => {
    it.effect("sets aside more than any text or image can cost", () =>
      Effect.gen(function* () {
        const { come } = yield* Provider
        yield* scripted({ type: "hang" })
        const text = "Ω µ ± 🍐 ".repeat(500)
        const image = { type: "image", bytes: Uint8Array.from([1]), mediaType: "image/png" } as const
        const asking = yield* Effect.forkChild(ask({ input: [{ type: "text", text }, image, image], maxOutputTokens: 1000 }), {
          startImmediately: true
        })
        yield* Effect.promise(() => come(1))
        const tokens = Buffer.byteLength(text) + 2 * 48_169
        assert.isAbove(yield* spent, (tokens * 0.4 + 1000 * 1.6) / 1e6)
        yield* Fiber.interrupt(asking)
      })
    )
  })
})

describe("R39: the configuration of the language model", () => {
  const read = (env: Record<string, string>) => AppConfig.use(Effect.succeed).pipe(Effect.provide(AppConfig.fromEnv(env)))
  const refused = (env: Record<string, string>) =>
    Effect.flip(read(env)).pipe(
      Effect.map((error) => (error as ConfigError).problems.map(({ variable }) => variable)),
      Effect.orDie
    )

  it.effect("is nothing at all, or a key, an address, a model, prices and a budget", () =>
    Effect.gen(function* () {
      assert.include(yield* read({}), { openaiApiKey: null, openaiBaseUrl: null, openaiModel: "gpt-5.4-mini", aiMonthlyBudgetUsd: null })
      const AI_PRICES = '{"llava:13b": {"input": 0, "output": 0.5}}'
      const env = {
        OPENAI_API_KEY: "hidden-key",
        OPENAI_BASE_URL: "http://127.0.0.1:11434/v1/",
        OPENAI_MODEL: "llava:13b",
        AI_PRICES,
        AI_MONTHLY_BUDGET_USD: "2.50"
      }
      const shown = describeConfig(yield* read(env))
      assert.include(shown, {
        OPENAI_API_KEY: "<redacted>",
        OPENAI_BASE_URL: "http://127.0.0.1:11434/v1",
        OPENAI_MODEL: "llava:13b",
        AI_MONTHLY_BUDGET_USD: 2.5
      })
      assert.deepStrictEqual(JSON.parse(String(shown.AI_PRICES)), JSON.parse(AI_PRICES))
    })
  )

  it.effect("is refused when it is nonsense", () =>
    Effect.gen(function* () {
      for (const AI_PRICES of [
        "{",
        "[]",
        "7",
        '{"m": 1}',
        '{"m": {"input": 1}}',
        '{"m": {"input": -1, "output": 1}}',
        '{"m": {"input": "1", "output": 1}}',
        '{"m": {"input": 1, "output": 1, "image": 1}}',
        '{"m": {"input": 1e400, "output": 1}}'
      ]) {
        assert.deepStrictEqual(yield* refused({ AI_PRICES }), ["AI_PRICES"], AI_PRICES)
      }
      for (const AI_MONTHLY_BUDGET_USD of ["-1", "five", "1e3", "5 USD", "1000001", "0.0000001"]) {
        assert.deepStrictEqual(yield* refused({ AI_MONTHLY_BUDGET_USD }), ["AI_MONTHLY_BUDGET_USD"], AI_MONTHLY_BUDGET_USD)
      }
      assert.deepStrictEqual(yield* refused({ OPENAI_MODEL: "gpt 5" }), ["OPENAI_MODEL"])
      assert.deepStrictEqual(yield* refused({ OPENAI_BASE_URL: "https://key@api.example.org/v1" }), ["OPENAI_BASE_URL"])
    })
  )

  it.effect("names a price when it sets a budget", () =>
    Effect.gen(function* () {
      const AI_MONTHLY_BUDGET_USD = "5"
      for (const OPENAI_MODEL of ["llava:13b", "constructor", "gpt-4.1-mini-preview"]) {
        assert.deepStrictEqual(yield* refused({ OPENAI_MODEL, AI_MONTHLY_BUDGET_USD }), ["AI_PRICES"], OPENAI_MODEL)
        yield* read({ OPENAI_MODEL })
        yield* read({ OPENAI_MODEL, AI_MONTHLY_BUDGET_USD, AI_PRICES: JSON.stringify({ [OPENAI_MODEL]: { input: 1, output: 2 } }) })
      }
      yield* read({ AI_MONTHLY_BUDGET_USD })
      yield* read({ OPENAI_MODEL: "gpt-5.4-mini-2026-03-17", AI_MONTHLY_BUDGET_USD })
    })
  )
})
