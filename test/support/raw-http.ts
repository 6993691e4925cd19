import { connect, type Socket } from "node:net"
import { Effect } from "effect"

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: the assertions say what a body is
  readonly body: any
}

/** A connection that says exactly what it is told, also what no HTTP client would. */
export const rawConnection = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      // A server that has answered may reset the connection while this side still talks.
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** The next answer on the connection, without its 100 Continue. Undefined when the connection ends first. */
export const nextAnswer = (socket: Socket) =>
  Effect.callback<RawAnswer | undefined>((resume) => {
    let received = Buffer.alloc(0)
    const onData = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      const answer = parse(received)
      if (answer !== undefined) done(answer)
    }
    const onEnd = () => done(undefined)
    const done = (answer: RawAnswer | undefined) => {
      socket.off("data", onData).off("close", onEnd)
      resume(Effect.succeed(answer))
    }
    socket.on("data", onData).on("close", onEnd)
  })

const parse = (received: Buffer): RawAnswer | undefined => {
  const end = received.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const [statusLine = "", ...lines] = received.subarray(0, end).toString("latin1").split("\r\n")
  const status = Number(statusLine.split(" ")[1])
  if (status === 100) return parse(received.subarray(end + 4))
  const headers = new Headers(lines.map((line) => line.split(/:\s*/u, 2) as [string, string]).map(([name, value]) => [name, value]))
  const length = status === 204 || status === 304 ? 0 : Number(headers.get("content-length") ?? 0)
  const content = received.subarray(end + 4)
  if (content.length < length) return undefined
  const text = content.subarray(0, length).toString()
  const json = headers.get("content-type")?.includes("json") === true && text !== ""
  return { status, headers, text, body: json ? JSON.parse(text) : undefined }
}

/** Sends the bytes on a connection of their own and waits for the answer. */
export const exchange = (port: number, bytes: string | Uint8Array) =>
  Effect.gen(function* () {
    const socket = yield* rawConnection(port)
    socket.write(bytes)
    return yield* nextAnswer(socket)
  }).pipe(Effect.scoped)
