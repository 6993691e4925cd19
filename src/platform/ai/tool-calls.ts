import { Effect, Result, type Schema } from "effect"
import { CallFailure } from "./call-failure.ts"
import type { Completion, ToolCall } from "./completion.ts"
import type { Message, Prompt } from "./prompt.ts"

interface Answer<A> {
  readonly _tag: "Answer"
  readonly value: A
  /** As the model has written it. */
  readonly content: string
  readonly model: string
}

interface Lookup {
  readonly _tag: "Lookup"
  readonly toolCalls: ReadonlyArray<ToolCall>
}

/** What the model wants: to answer, or to look something up. */
export const answerTo = <A>(
  { content, finishReason, isRefusal, model, toolCalls }: Completion,
  options: {
    readonly host: string
    readonly decode: (value: unknown) => Effect.Effect<A, Schema.SchemaError>
    readonly mayCall: boolean
  }
): Effect.Effect<Answer<A> | Lookup, CallFailure> => {
  const { decode, host, mayCall } = options
  const fail = (outcome: CallFailure["outcome"], detail: string) =>
    Effect.fail(new CallFailure({ outcome, detail, retryable: outcome === "unusable" }))
  if (isRefusal) return fail("refused", "The model refuses to answer this. Give it another photograph or text, or do it by hand.")
  if (finishReason === "content_filter") {
    return fail("filtered", `The content filter of ${host} has stopped the answer. Give it another photograph or text, or do it by hand.`)
  }
  if (finishReason === "length") {
    return fail("too-long", "The answer became longer than it may be. Give the model less at once, or choose another OPENAI_MODEL.")
  }
  if (toolCalls.length > 0) {
    if (mayCall) return Effect.succeed({ _tag: "Lookup", toolCalls })
    return Effect.fail(
      new CallFailure({
        outcome: "unusable",
        detail: "The model went on looking things up instead of answering. Try again, or choose another OPENAI_MODEL.",
        retryable: false
      })
    )
  }
  const unusable = (what: string) =>
    fail("unusable", `The model answered ${what}. Try again, or choose an OPENAI_MODEL that answers by a JSON schema.`)
  const json = parsed(content)
  if (Result.isFailure(json)) return unusable("no complete JSON")
  return decode(json.success).pipe(
    Effect.map((value) => ({ _tag: "Answer" as const, value, content, model })),
    Effect.catch(() => unusable("something else than what was asked for"))
  )
}

const parsed = (text: string) => Result.try((): unknown => JSON.parse(text))

const mostAtOnce = 16

/** The messages after which the model may go on: what it wanted to know, and what it is told. */
export const roundOf = <R>(
  toolCalls: ReadonlyArray<ToolCall>,
  tools: Prompt<unknown, R>["tools"]
): Effect.Effect<ReadonlyArray<Message>, never, R> => {
  const asked: Message = {
    role: "assistant",
    content: null,
    tool_calls: toolCalls.map(({ arguments: args, id, name }) => ({ type: "function", id, function: { name, arguments: args } }))
  }
  const answered = Effect.forEach(
    toolCalls,
    (call, at) =>
      Effect.map(
        at < mostAtOnce ? resultOf(call, tools) : Effect.succeed({ error: `not looked up: at most ${mostAtOnce} calls at once` }),
        (result): Message => ({ role: "tool", tool_call_id: call.id, content: JSON.stringify(result) ?? "null" })
      ),
    { concurrency: 3 }
  )
  return Effect.map(answered, (results) => [asked, ...results])
}

const resultOf = <R>({ arguments: args, name }: ToolCall, tools: Prompt<unknown, R>["tools"]): Effect.Effect<unknown, never, R> => {
  const declared = tools.get(name)
  if (declared === undefined) return Effect.succeed({ error: `there is no tool of this name, only ${[...tools.keys()].join(", ")}` })
  // A tool without parameters is called with nothing by some.
  const json = parsed(args.trim() === "" ? "{}" : args)
  if (Result.isFailure(json)) return Effect.succeed({ error: "the arguments are not JSON" })
  return declared.parameters.decode(json.success).pipe(
    Effect.matchEffect({
      onSuccess: (fitting) => declared.tool.run(fitting),
      onFailure: ({ message }) => Effect.succeed({ error: `the arguments do not fit: ${message}` })
    })
  )
}
