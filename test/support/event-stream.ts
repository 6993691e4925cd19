import { Effect } from "effect"

/** One block of an event stream, and when it came. */
export interface Block {
  readonly id?: string
  readonly event?: string
  readonly retry?: string
  readonly comment?: string
  // biome-ignore lint/suspicious/noExplicitAny: the assertions say what an event holds
  readonly data?: any
}

export const blockOf = (text: string): Block => {
  const block: Record<string, unknown> = {}
  for (const line of text.split("\n")) {
    const [, name = "", value = ""] = /^([^:]*): ?(.*)$/u.exec(line) ?? []
    block[name === "" ? "comment" : name] = name === "data" ? JSON.parse(value) : value
  }
  return block
}

export interface EventReader {
  readonly status: number
  readonly headers: Headers
  /** The next block of any kind; undefined at the end of the stream. */
  readonly next: Effect.Effect<Block | undefined>
  /** The next event; what is no event is passed over. */
  readonly event: Effect.Effect<Block>
  readonly events: (count: number) => Effect.Effect<ReadonlyArray<Block>>
  /** Of everything that was read so far, the id that a client would resume at. */
  readonly lastId: () => string
  readonly leave: Effect.Effect<void>
}

/** Reads an answer as a browser does, until the scope closes. Nothing is read from the connection before someone asks for it. */
export const eventReader = (answer: Effect.Effect<Response>) =>
  Effect.gen(function* () {
    const response = yield* answer
    const reader = response.body!.getReader()
    const decoder = new TextDecoder()
    const blocks: Array<Block> = []
    let rest = ""
    let lastId = ""
    let isOver = false
    const leave = Effect.promise(() => reader.cancel().catch(() => {}))
    yield* Effect.addFinalizer(() => leave)

    const more = Effect.promise(async () => {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }))
      if (done) {
        isOver = true
        return
      }
      rest += decoder.decode(value, { stream: true })
      const whole = rest.split("\n\n")
      rest = whole.pop() ?? ""
      blocks.push(...whole.map(blockOf))
    })
    const next: Effect.Effect<Block | undefined> = Effect.suspend(() => {
      const block = blocks.shift()
      if (block === undefined) return isOver ? Effect.succeed(undefined) : Effect.andThen(more, next)
      lastId = block.id ?? lastId
      return Effect.succeed(block)
    })
    const event: Effect.Effect<Block> = Effect.flatMap(next, (block) =>
      block === undefined ? Effect.die(new Error("the stream has ended")) : block.event === undefined ? event : Effect.succeed(block)
    )
    return {
      status: response.status,
      headers: response.headers,
      next,
      event,
      events: (count) => Effect.forEach(Array.from({ length: count }), () => event),
      lastId: () => lastId,
      leave
    } satisfies EventReader
  })

/** The feed of a server that listens on a port. */
export const feedOf = (port: number, query = "", headers: Record<string, string> = {}) =>
  eventReader(Effect.promise(() => fetch(`http://127.0.0.1:${port}/api/events${query}`, { headers })))
