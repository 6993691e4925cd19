import { Context, type Effect } from "effect"
import type { AiBudgetExhausted, AiNotConfigured, AiProviderError, AiStatus, Answered, Ask } from "./ask.ts"

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
>()("platform/OpenAi") {}
