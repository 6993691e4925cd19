import { createServer, type Server } from "node:http"
import type { Duplex } from "node:stream"
import { NodeHttpServer } from "@effect/platform-node"
import { Duration, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { AppConfig } from "../config.ts"
import { BadRequest, HeadersTooLarge, RequestTimeout } from "./problems.ts"

/** Requests that never reach the router because HTTP itself is broken get a problem too, not Node's bare status line. */
const refuseBroken = (error: Error & { readonly code?: string }, socket: Duplex) => {
  if (socket.destroyed || !socket.writable) return
  const problem =
    error.code === "HPE_HEADER_OVERFLOW"
      ? new HeadersTooLarge({ detail: "Request line and headers together may have 16 KiB." })
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? new RequestTimeout({ detail: "The request did not arrive in time." })
        : new BadRequest({ detail: "The request breaks HTTP/1.1 (RFC 9112)." })
  const { code, detail, status, title, type } = problem
  const body = JSON.stringify({ type, title, status, detail, code })
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n${body}`
  )
}

export const makeServer = (): Server => {
  const server = createServer({ headersTimeout: 15_000, requestTimeout: 300_000, keepAliveTimeout: 65_000, maxHeaderSize: 16_384 })
  server.on("clientError", refuseBroken)
  return server
}

/** The listening socket. Provide it to whatever serves; give it the whole application as a dependency, see `server.ts`. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { host, port, shutdownGrace } = yield* AppConfig
    return NodeHttpServer.layer(makeServer, {
      host,
      port,
      gracefulShutdownTimeout: Duration.millis(Duration.toMillis(shutdownGrace) * 0.6)
    })
  })
)

export const address = Effect.map(HttpServer.HttpServer, (server) => HttpServer.formatAddress(server.address))
