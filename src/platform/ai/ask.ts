import type { Effect, Schema } from "effect"
import { Problem } from "../http/problems.ts"

/** What the model is shown. It is data: nothing in it is followed, whatever it says. */
export type Input =
  | {
      readonly type: "text"
      /** What the text is: "description", "page 2 of the data sheet". Ours, not a person's. */
      readonly label?: string
      readonly text: string
      /** It changes with time, and what is asked stays the same question: an answer that is known counts. */
      readonly passing?: boolean
    }
  | { readonly type: "image"; readonly bytes: Uint8Array; readonly mediaType: "image/jpeg" | "image/png" | "image/webp" }

/** Something that the model may look up. It must only read: the model decides when it runs, and with what. */
export interface Tool<out R> {
  /** Letters, digits, `_` and `-`. */
  readonly name: string
  readonly description: string
  readonly parameters: Schema.Codec<never, unknown>
  readonly run: (args: never) => Effect.Effect<unknown, never, R>
}

/** `run` gets arguments that fit `parameters`; what does not is told to the model. It answers what JSON can hold, `{error}` included. */
export const tool = <Args, R = never>(declaration: {
  readonly name: string
  readonly description: string
  readonly parameters: Schema.Codec<Args, unknown>
  readonly run: (args: Args) => Effect.Effect<unknown, never, R>
}): Tool<R> => declaration as unknown as Tool<R>

export interface Ask<A, R = never> {
  /** `area.what`, for metrics and traces. One of those that were declared with `startPurposes`. */
  readonly purpose: string
  /** Ours, fixed in the source: nothing that a person, a page or a data sheet has written. */
  readonly instructions: string
  readonly input: ReadonlyArray<Input>
  /** The provider is told of it as JSON schema, but only what this decodes is an answer. An object; optional keys become nullable. */
  readonly answer: Schema.Codec<A, unknown>
  /** Letters, digits, `_` and `-`. */
  readonly answerName: string
  readonly tools?: ReadonlyArray<Tool<R>>
  /** Thinking included. 8192 when not given. */
  readonly maxOutputTokens?: number
  /** Asks anew although the answer is known. The new one takes the place of the old. */
  readonly fresh?: boolean
}

export interface Usage {
  /** Of all calls, tries that failed included, as far as the provider told. */
  readonly inputTokens: number
  readonly outputTokens: number
  /** What was counted against the budget; null when the price of the model is not known. */
  readonly costUsd: number | null
}

export interface Answered<A> {
  readonly value: A
  /** As the provider names what has answered. */
  readonly model: string
  /** All 0 when cached. */
  readonly usage: Usage
  readonly cached: boolean
}

export interface AiStatus {
  readonly configured: boolean
  readonly model: string
  /** Null: none is set. */
  readonly budgetUsd: number | null
  /** In this calendar month, UTC: what calls have cost, and the most that those under way can cost. */
  readonly spentUsd: number
}

export class AiNotConfigured extends Problem<AiNotConfigured>()("AiNotConfigured", {
  code: "ai-not-configured",
  status: 503,
  retryAfter: 3600,
  title: "No language model is configured",
  help: "Proposals need a language model. Set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server of your own, and start again. Everything else works without."
}) {}

export class AiBudgetExhausted extends Problem<AiBudgetExhausted>()("AiBudgetExhausted", {
  code: "ai-budget-exhausted",
  status: 503,
  retryAfter: 3600,
  title: "The monthly budget for the language model is used up",
  help: "A call could cost more than is left of AI_MONTHLY_BUDGET_USD, so it was not made. Raise the budget, or wait for the first of next month (UTC). Everything else works meanwhile."
}) {}

export class AiProviderError extends Problem<AiProviderError>()("AiProviderError", {
  code: "ai-provider-error",
  status: 502,
  title: "The language model gave no usable answer",
  help: "The provider of the language model refused, failed, took too long, or answered what cannot be used; detail says which. Nothing was changed. Check OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL if it says so, else try again later."
}) {}
