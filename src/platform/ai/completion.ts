import { Duration, Effect, Option, Schema } from "effect"
import type OpenAiClient from "openai"
import { CallFailure, failureOf } from "./call-failure.ts"
import type { Tokens } from "./prices.ts"
import type { Body } from "./prompt.ts"

export interface ToolCall {
  readonly id: string
  readonly name: string
  /** JSON, if the model is right. */
  readonly arguments: string
}

/** What the model has said, complete, and nothing of it looked at yet. */
export interface Completion {
  readonly content: string
  readonly isRefusal: boolean
  readonly toolCalls: ReadonlyArray<ToolCall>
  readonly finishReason: string
  /** As the provider names it. */
  readonly model: string
}

/** What is known of the price of a call, at any moment of it. */
export interface Meter {
  used: Tokens | "nothing" | "unknown"
}

export interface CallLimits {
  /** Between two parts of an answer, and before the first. */
  readonly idle: Duration.Duration
  readonly call: Duration.Duration
}

const Nullish = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

const Chunk = Schema.Struct({
  model: Nullish(Schema.String),
  choices: Nullish(
    Schema.Array(
      Schema.Struct({
        index: Nullish(Schema.Number),
        delta: Nullish(
          Schema.Struct({
            content: Nullish(Schema.String),
            refusal: Nullish(Schema.String),
            tool_calls: Nullish(
              Schema.Array(
                Schema.Struct({
                  index: Nullish(Schema.Number),
                  id: Nullish(Schema.String),
                  function: Nullish(Schema.Struct({ name: Nullish(Schema.String), arguments: Nullish(Schema.String) }))
                })
              )
            )
          })
        ),
        finish_reason: Nullish(Schema.String)
      })
    )
  ),
  usage: Schema.optional(Schema.Unknown)
})
const decodeChunk = Schema.decodeUnknownOption(Chunk)

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e9 }))
const decodeUsage = Schema.decodeUnknownOption(Schema.Struct({ prompt_tokens: Count, completion_tokens: Count }))

// An answer has some kilobytes. A server that never ends shall not fill the memory.
const mostCharacters = 4_000_000
const mostToolCalls = 64

/** Puts the chunks of a stream together. */
export const assembly = (requested: string) => {
  let content = ""
  let isRefusal = false
  let finishReason: string | undefined
  let model = requested
  let characters = 0
  const toolCalls = new Map<number, { id: string; name: string; arguments: string }>()
  let usage: Tokens | undefined

  return {
    /** False when it is no chunk, or too much. */
    add: (raw: unknown): boolean => {
      const chunk = Option.getOrUndefined(decodeChunk(raw))
      if (chunk === undefined) return false
      if (/^[\w.:/@-]{1,100}$/u.test(chunk.model ?? "")) model = chunk.model ?? model
      const counted = Option.getOrUndefined(decodeUsage(chunk.usage))
      if (counted !== undefined) usage = { input: counted.prompt_tokens, output: counted.completion_tokens }
      for (const { delta, finish_reason, index } of chunk.choices ?? []) {
        if ((index ?? 0) !== 0) continue
        finishReason = finish_reason ?? finishReason
        content += delta?.content ?? ""
        isRefusal ||= (delta?.refusal ?? "") !== ""
        characters += (delta?.content ?? "").length
        for (const part of delta?.tool_calls ?? []) {
          // Some servers send calls whole and without numbers.
          const at = part.index ?? (typeof part.id === "string" ? toolCalls.size : toolCalls.size - 1)
          const call = toolCalls.get(at) ?? { id: "", name: "", arguments: "" }
          call.id = part.id ?? call.id
          call.name += part.function?.name ?? ""
          call.arguments += part.function?.arguments ?? ""
          characters += (part.function?.name ?? "").length + (part.function?.arguments ?? "").length
          toolCalls.set(at, call)
        }
      }
      return characters <= mostCharacters && toolCalls.size <= mostToolCalls
    },
    usage: () => usage,
    /** Undefined while the model has not said that it is at its end. */
    complete: (): Completion | undefined =>
      finishReason === undefined
        ? undefined
        : {
            content,
            isRefusal,
            toolCalls: [...toolCalls].toSorted(([a], [b]) => a - b).map(([at, call]) => ({ ...call, id: call.id || `call_${at}` })),
            finishReason,
            model
          }
  }
}

/** One call. The connection ends with it, whether it is interrupted, fails or succeeds. */
export const complete = (client: () => Promise<OpenAiClient>, body: Body, host: string, limits: CallLimits, meter: Meter) =>
  Effect.tryPromise({
    try: async (interrupted) => {
      const controller = new AbortController()
      const abort = () => controller.abort()
      interrupted.addEventListener("abort", abort, { once: true })
      let reason: CallFailure | undefined
      const stop = (failure: CallFailure) => {
        reason ??= failure
        abort()
      }
      const seconds = (duration: Duration.Duration) => `${Duration.toSeconds(duration)} seconds`
      const late = setTimeout(
        () => stop(timeout(`${host} did not complete its answer within ${seconds(limits.call)}.`)),
        Duration.toMillis(limits.call)
      )
      const silent = setTimeout(() => stop(timeout(`${host} sent nothing for ${seconds(limits.idle)}.`)), Duration.toMillis(limits.idle))
      const answer = assembly(body.model)
      try {
        const sdk = await client()
        meter.used = "unknown"
        const chunks = await sdk.chat.completions.create(body, { signal: controller.signal })
        for await (const chunk of chunks) {
          silent.refresh()
          if (!answer.add(chunk)) throw broken(host)
          meter.used = answer.usage() ?? meter.used
        }
        return answer.complete() ?? (await Promise.reject(reason ?? broken(host)))
      } catch (error) {
        // What comes after the model's last word is of no consequence.
        const completion = answer.complete()
        if (completion !== undefined && !(error instanceof CallFailure)) return completion
        const failure = reason ?? failureOf(error, host)
        if (failure.free === true) meter.used = "nothing"
        throw failure
      } finally {
        clearTimeout(late)
        clearTimeout(silent)
        interrupted.removeEventListener("abort", abort)
        abort()
      }
    },
    catch: (error) => failureOf(error, host)
  })

const timeout = (detail: string) => new CallFailure({ outcome: "timeout", detail: `${detail} Try again later.`, retryable: true })

const broken = (host: string) =>
  new CallFailure({ outcome: "broken", detail: `The answer of ${host} broke off or makes no sense. Try again later.`, retryable: true })
