import { connect, type Socket } from "node:net"
import { Effect } from "effect"
import { nextAnswer, type RawAnswer, rawConnection } from "./raw-http.ts"

export interface Call {
  readonly method: string
  readonly path: string
  readonly body?: unknown
}

export interface Outcomes {
  readonly answers: Array<{ readonly call: Call; readonly answer: RawAnswer }>
  /** Requests that were sent on an open connection and got no answer. */
  readonly lost: Array<string>
}

const bytesOf = ({ body, method, path }: Call) => {
  const content = body === undefined ? "" : JSON.stringify(body)
  const headers = body === undefined ? [] : ["content-type: application/json", `content-length: ${Buffer.byteLength(content)}`]
  return [`${method} ${path} HTTP/1.1`, "host: test", ...headers, "", content].join("\r\n")
}

/** One request on a connection of its own; dies when it is not answered. */
export const ask = (port: number, call: Call) =>
  Effect.gen(function* () {
    const socket = yield* rawConnection(port)
    socket.write(bytesOf(call))
    const answer = yield* nextAnswer(socket)
    return answer ?? (yield* Effect.die(new Error(`no answer to ${call.method} ${call.path}`)))
  }).pipe(Effect.scoped)

/** Undefined when the connection is refused: the only way in which a server may go away. */
const open = (port: number) =>
  Effect.callback<Socket | undefined>((resume) => {
    const socket = connect(port, "127.0.0.1")
    socket.setNoDelay(true)
    socket.once("connect", () => resume(Effect.succeed(socket)))
    socket.on("error", () => resume(Effect.succeed(undefined)))
  })

/**
 * A client that asks for one thing after another, on one connection as long as the server keeps it, until it is refused or its
 * request is lost. `pause` is its time to think between an answer and the next request.
 */
export const client = (port: number, next: (n: number) => Call, outcomes: Outcomes, pause: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    let socket = yield* open(port)
    for (let n = 0; socket !== undefined; n++) {
      const call = next(n)
      const sent = socket.writable && socket.write(bytesOf(call))
      const answer = sent ? yield* nextAnswer(socket) : undefined
      if (answer === undefined) {
        outcomes.lost.push(`${call.method} ${call.path} after ${n} answers`)
        socket.destroy()
        return
      }
      outcomes.answers.push({ call, answer })
      yield* pause
      if (answer.headers.get("connection") === "close" || socket.destroyed || socket.readableEnded) {
        socket.destroy()
        socket = yield* open(port)
      }
    }
  })

export const outcomes = (): Outcomes => ({ answers: [], lost: [] })
