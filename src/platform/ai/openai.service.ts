import { Cause, Clock, Context, Duration, Effect, Exit, Layer, Option, Redacted } from "effect"
import type OpenAiClient from "openai"
import { AppConfig } from "../config.ts"
import { Transaction } from "../db/db.ts"
import { AnswersRepo } from "./answers.repo.ts"
import { AiBudgetExhausted, AiNotConfigured, AiProviderError, type AiStatus, type Answered, type Ask } from "./ask.ts"
import { boundedFetch } from "./bounded-fetch.ts"
import { CallFailure } from "./call-failure.ts"
import { countCall, countOutcome } from "./calls.metrics.ts"
import { type CallLimits, type Completion, complete, type Meter } from "./completion.ts"
import { fromUsd, nanoUsd, priceOf, type Tokens, toUsd } from "./prices.ts"
import { type Body, type Message, type Prompt, promptOf, sizeOf } from "./prompt.ts"
import { type Reservation, SpendingRepo } from "./spending.repo.ts"
import { answerTo, roundOf } from "./tool-calls.ts"

export interface Patience extends CallLimits {
  /** Before the second try of a call, the third … When they are used up the call has failed. */
  readonly pauses: ReadonlyArray<Duration.Duration>
  /** For one ask, with all its calls, pauses and tools. */
  readonly whole: Duration.Duration
}

const patient: Patience = {
  idle: Duration.seconds(60),
  call: Duration.seconds(180),
  pauses: [Duration.seconds(4), Duration.seconds(8)],
  whole: Duration.seconds(300)
}

/** How often the model may look something up before it has to answer. */
const mostRounds = 8

const officialUrl = "https://api.openai.com/v1"

/** What the calls of one ask have used together. */
interface Total {
  input: number
  output: number
  nanoUsd: number
}

const make = Effect.fnUntraced(function* (patience: Patience) {
  const config = yield* AppConfig
  const spending = yield* SpendingRepo
  const answers = yield* AnswersRepo
  const model = config.openaiModel
  const baseUrl = config.openaiBaseUrl ?? officialUrl
  const { host } = new URL(baseUrl)
  const configured = config.openaiApiKey !== null || config.openaiBaseUrl !== null
  const price = priceOf(model, config.aiPrices)
  const budget = config.aiMonthlyBudgetUsd === null ? null : fromUsd(config.aiMonthlyBudgetUsd)

  let client: Promise<OpenAiClient> | undefined
  // Fifteen megabytes that most processes never need.
  const connect = () => {
    client ??= import("openai").then(
      ({ default: Client }) =>
        new Client({
          baseURL: baseUrl,
          // The client insists on a key, of which a server that needs none need not hear.
          apiKey: config.openaiApiKey === null ? "none" : Redacted.value(config.openaiApiKey),
          ...(config.openaiApiKey === null ? { defaultHeaders: { authorization: null } } : {}),
          // It would take them from the environment.
          organization: null,
          project: null,
          adminAPIKey: null,
          webhookSecret: null,
          logLevel: "off",
          fetch: boundedFetch(mostBytes, host),
          // The budget must hear of every try.
          maxRetries: 0,
          timeout: Duration.toMillis(patience.call)
        })
    )
    return client
  }

  const exhausted = Effect.map(
    spending.spent,
    (spent) =>
      new AiBudgetExhausted({
        detail:
          budget === 0
            ? "AI_MONTHLY_BUDGET_USD is 0, so the language model is never asked."
            : `This month ${dollars(spent)} of ${dollars(budget ?? 0)} are spent or set aside for calls under way, too much for another call. Raise AI_MONTHLY_BUDGET_USD, or wait for the first of next month (UTC).`
      })
  )

  const reserve = Effect.fnUntraced(function* (purpose: string, most: Tokens) {
    if (price === null) return null
    const reservation = yield* spending.reserve(nanoUsd(most, price), budget)
    if (Option.isSome(reservation)) return reservation.value
    yield* countOutcome(purpose, "over-budget")
    return yield* yield* exhausted
  })

  const costOf = (used: Meter["used"], reservation: Reservation | null) => {
    if (reservation === null || price === null || used === "nothing") return 0
    return used === "unknown" ? reservation.nanoUsd : nanoUsd(used, price)
  }

  // What cannot be settled stays reserved, which is more than it has cost.
  const settle = (reservation: Reservation | null, cost: number) =>
    reservation === null || cost === reservation.nanoUsd
      ? Effect.void
      : Effect.catchCause(spending.settle(reservation, cost), (cause) =>
          Effect.logWarning("the cost of a call of the language model could not be settled", cause)
        )

  /** One call, with what it costs. */
  const call = <A, R, B>(
    ask: Ask<A, R>,
    prompt: Prompt<A, R>,
    body: Body,
    inputTokens: number,
    total: Total,
    judge: (completion: Completion) => Effect.Effect<B, CallFailure>
  ) =>
    Effect.acquireUseRelease(
      Effect.all([
        reserve(ask.purpose, { input: inputTokens, output: prompt.maxOutputTokens }),
        Clock.monotonicTimeNanos,
        Effect.sync((): Meter => ({ used: "nothing" }))
      ]),
      ([, , meter]) => Effect.flatMap(complete(connect, body, host, patience, meter), judge),
      ([reservation, since, meter], exit) =>
        Effect.gen(function* () {
          const cost = costOf(meter.used, reservation)
          const tokens = typeof meter.used === "string" ? { input: 0, output: 0 } : meter.used
          const outcome = outcomeOf(exit)
          total.input += tokens.input
          total.output += tokens.output
          total.nanoUsd += cost
          yield* settle(reservation, cost)
          const seconds = Number((yield* Clock.monotonicTimeNanos) - since) / 1e9
          yield* countCall(ask.purpose, { outcome, seconds, tokens, nanoUsd: cost })
          yield* Effect.annotateCurrentSpan({
            "ai.outcome": outcome,
            "gen_ai.usage.input_tokens": tokens.input,
            "gen_ai.usage.output_tokens": tokens.output,
            "ai.cost_usd": toUsd(cost)
          })
        })
    ).pipe(
      Effect.withSpan("OpenAi.call", {
        kind: "client",
        attributes: { "gen_ai.operation.name": "chat", "gen_ai.request.model": model, "server.address": host }
      })
    )

  /** As often as it may go better. */
  const tried = <A, E>(once: Effect.Effect<A, E | CallFailure>, tries = 0): Effect.Effect<A, E | CallFailure> =>
    Effect.catch(once, (failure) => {
      const pause = patience.pauses[tries]
      if (!(failure instanceof CallFailure) || !failure.retryable || pause === undefined) return Effect.fail(failure)
      // Nothing is to be waited for when the model itself was wrong.
      const wait = failure.outcome === "unusable" ? Duration.zero : (failure.retryAfter ?? pause)
      return Effect.andThen(Effect.sleep(wait), tried(once, tries + 1))
    })

  const converse = Effect.fnUntraced(function* <A, R>(ask: Ask<A, R>, prompt: Prompt<A, R>, total: Total) {
    const first = prompt.body()
    const messages: Array<Message> = [...first.messages]
    let inputTokens = prompt.inputTokens
    for (let round = 0; ; round++) {
      const isLast = prompt.tools.size > 0 && round === mostRounds
      const body = { ...first, messages: [...messages], ...(isLast ? { tool_choice: "none" as const } : {}) }
      const turn = yield* tried(
        call(ask, prompt, body, inputTokens, total, (completion) =>
          answerTo(completion, { host, decode: prompt.answer.decode, mayCall: prompt.tools.size > 0 && !isLast })
        )
      )
      if (turn._tag === "Answer") return turn
      const said = yield* roundOf(turn.toolCalls, prompt.tools)
      messages.push(...said)
      inputTokens += sizeOf(said)
    }
  })

  /** An answer to the same question; one that has become unreadable is none. */
  const recall = <A, R>(prompt: Prompt<A, R>) =>
    Effect.flatMap(
      answers.find(prompt.hash),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: ({ answer, model }) =>
          Effect.try((): unknown => JSON.parse(answer)).pipe(
            Effect.flatMap(prompt.answer.decode),
            Effect.map((value) => ({ value, model })),
            Effect.option
          )
      })
    )

  const notConfigured = new AiNotConfigured({
    detail: "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set, so there is no language model to ask."
  })

  return OpenAi.of({
    ask: Effect.fn("OpenAi.ask")(function* <A, R>(ask: Ask<A, R>) {
      if (Option.isSome(yield* Effect.serviceOption(Transaction))) yield* Effect.die(new Error("OpenAi.ask inside a transaction"))
      yield* Effect.annotateCurrentSpan({ "ai.purpose": ask.purpose, "gen_ai.request.model": model })
      if (!configured) return yield* notConfigured
      const prompt = promptOf(ask, { baseUrl, model })
      const known = ask.fresh === true ? Option.none() : yield* recall(prompt)
      yield* Effect.annotateCurrentSpan("ai.cached", Option.isSome(known))
      if (Option.isSome(known)) {
        yield* countOutcome(ask.purpose, "cached")
        return { ...known.value, usage: { inputTokens: 0, outputTokens: 0, costUsd: 0 }, cached: true }
      }
      const total: Total = { input: 0, output: 0, nanoUsd: 0 }
      const answer = yield* converse(ask, prompt, total).pipe(
        Effect.timeoutOrElse({
          duration: patience.whole,
          orElse: () =>
            Effect.fail(
              new AiProviderError({
                detail: `${host} gave no answer within ${Duration.toSeconds(patience.whole)} seconds, with all tries. Try again later.`
              })
            )
        }),
        Effect.catchTag("CallFailure", ({ detail }) => Effect.fail(new AiProviderError({ detail }))),
        Effect.ensuring(
          Effect.suspend(() =>
            Effect.annotateCurrentSpan({
              "gen_ai.usage.input_tokens": total.input,
              "gen_ai.usage.output_tokens": total.output,
              "ai.cost_usd": toUsd(total.nanoUsd)
            })
          )
        )
      )
      yield* answers.store(prompt.hash, answer.model, answer.content)
      const usage = { inputTokens: total.input, outputTokens: total.output, costUsd: price === null ? null : toUsd(total.nanoUsd) }
      return { value: answer.value, model: answer.model, usage, cached: false }
    }),

    ready: Effect.gen(function* () {
      if (!configured) return yield* notConfigured
      if (budget !== null && (budget === 0 || (yield* spending.spent) >= budget)) return yield* yield* exhausted
    }).pipe(Effect.withSpan("OpenAi.ready")),

    status: Effect.map(spending.spent, (spent) => ({
      configured,
      model,
      budgetUsd: config.aiMonthlyBudgetUsd,
      spentUsd: toUsd(spent)
    }))
  })
})

const outcomeOf = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return "ok"
  const failure = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  return failure instanceof CallFailure ? failure.outcome : "interrupted"
}

// A token is some 300 bytes in a stream, and an answer has at most some thousands of them.
const mostBytes = 8 * 2 ** 20

const dollars = (nano: number) => `$${toUsd(nano).toFixed(2)}`

/** The only way to the language model: any server that speaks the Chat Completions protocol. */
export class OpenAi extends Context.Service<
  OpenAi,
  {
    /**
     * Takes up to five minutes. Interruption ends the call at the provider too. Never inside a transaction, which would stay open
     * all that time.
     */
    readonly ask: <A, R = never>(ask: Ask<A, R>) => Effect.Effect<Answered<A>, AiProviderError | AiBudgetExhausted | AiNotConfigured, R>
    /** Whether asking makes sense now; for endpoints, before they enqueue. */
    readonly ready: Effect.Effect<void, AiNotConfigured | AiBudgetExhausted>
    readonly status: Effect.Effect<AiStatus>
  }
>()("platform/OpenAi") {
  static readonly layerWith = (patience: Partial<Patience>) =>
    Layer.effect(OpenAi, make({ ...patient, ...patience })).pipe(Layer.provide([SpendingRepo.layer, AnswersRepo.layer]))

  static readonly layer = this.layerWith({})
}
