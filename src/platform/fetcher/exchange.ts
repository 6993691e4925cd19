import { isUtf8 } from "node:buffer"
import { type IncomingMessage, request } from "node:http"
import type { Socket } from "node:net"
import { type Duration, Effect } from "effect"
import { version } from "../version.ts"
import type { Target } from "./target.ts"
import { type Unreachable, unreachable } from "./unreachable.ts"

export interface Limits {
  /** For the connection with its handshake. */
  readonly connectTimeout: Duration.Input
  /** For any silence: before the answer begins, and within its body. */
  readonly idleTimeout: Duration.Input
  readonly accept: string
}

export interface Exchange {
  readonly response: IncomingMessage
  /** Ends it at once, whatever is still on its way. */
  readonly close: Effect.Effect<void>
}

const maxHeaderBytes = 16 * 1024

/** Asks on a connection of its own that nothing else will use. It is closed with the scope. */
export const exchange = (target: Target, connect: () => Socket, { accept, connectTimeout, idleTimeout }: Limits) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const socket = connect()
      const close = Effect.sync(() => void socket.destroy())
      // A connection may fail at any time, also when nobody waits for anything.
      socket.on("error", () => {})
      return connected(socket, target).pipe(
        Effect.timeoutOrElse({ duration: connectTimeout, orElse: () => Effect.fail(silent(target)) }),
        Effect.andThen(
          Effect.timeoutOrElse(answered(socket, target, accept), { duration: idleTimeout, orElse: () => Effect.fail(silent(target)) })
        ),
        Effect.map((response): Exchange => ({ response, close })),
        Effect.onError(() => close)
      )
    }),
    ({ close }) => close,
    { interruptible: true }
  )

const silent = ({ host }: Target) => unreachable("timeout", `${host} did not answer in time.`)

const connected = (socket: Socket, { host, secure }: Target) =>
  Effect.callback<void, Unreachable>((resume) => {
    let reached = false
    socket
      .once("connect", () => {
        reached = true
        if (!secure) resume(Effect.void)
      })
      .once("secureConnect", () => resume(Effect.void))
      .once("close", () =>
        resume(
          Effect.fail(
            reached
              ? unreachable(
                  "no-answer",
                  `No secure connection to ${host} can be made: its certificate is not valid, or it speaks no HTTPS.`
                )
              : unreachable("no-answer", `${host} did not answer.`)
          )
        )
      )
  })

const answered = (socket: Socket, { host, url }: Target, accept: string) =>
  Effect.callback<IncomingMessage, Unreachable>((resume) => {
    const asked = request({
      // Without an agent: nobody's proxy, nobody's other connection.
      createConnection: () => socket,
      path: url.pathname + url.search,
      maxHeaderSize: maxHeaderBytes,
      headers: { host: url.host, "user-agent": `Partwright/${version}`, accept, "accept-encoding": "gzip, br" }
    })
    asked
      .on("response", (response) => {
        // What comes after the declared end of a body breaks the connection, not the body.
        response.on("error", () => {})
        resume(Effect.succeed(response))
      })
      .on("error", () => {})
      .on("close", () => resume(Effect.fail(unreachable("no-answer", `${host} does not answer as a web server does.`))))
      .end()
  })

/** Node reads headers as Latin-1, but names of files and paths come in UTF-8 as well. */
export const header = (response: IncomingMessage, name: string): string | undefined => {
  const value = response.headers[name]
  if (typeof value !== "string") return undefined
  const bytes = Buffer.from(value, "latin1")
  return isUtf8(bytes) ? bytes.toString() : value
}
