import { randomUUIDv7 } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Data, Duration, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { AppConfig } from "../config.ts"
import { drainable } from "./drain.ts"
import { BadRequest, ExpectationFailed, HeadersTooLarge, MethodNotAllowed, membersOf, RequestTimeout } from "./problems.ts"

type Refused = BadRequest | ExpectationFailed | HeadersTooLarge | MethodNotAllowed | RequestTimeout

const wire = (problem: Refused, method?: string) => {
  const requestId = randomUUIDv7()
  const body = JSON.stringify({ ...membersOf(problem), requestId })
  return {
    body: method === "HEAD" ? "" : body,
    headers: {
      "content-type": "application/problem+json",
      "content-length": String(Buffer.byteLength(body)),
      "x-content-type-options": "nosniff",
      "x-request-id": requestId,
      "cache-control": "no-store",
      ...(problem instanceof MethodNotAllowed ? { allow: problem.allow.join(", ") } : {}),
      connection: "close"
    }
  }
}

/** What Node could not make a request of gets a problem too, not Node's bare status line. */
const refuse = (socket: Duplex, problem: Refused) => {
  const { body, headers } = wire(problem)
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n${head.join("")}\r\n${body}`)
  // The client may still be sending; destroying the socket at once would reset the connection and take the answer with it.
  setTimeout(() => socket.destroy(), 500).unref()
}

type ClientError = Error & { readonly code?: string; readonly rawPacket?: Buffer }

const refuseBroken = (error: ClientError, socket: Duplex & { readonly _httpMessage?: ServerResponse | null }) => {
  // Part of an answer is under way: anything written now would be taken for more of it.
  if (!socket.writable || socket._httpMessage?.headersSent === true) return void socket.destroy()
  refuse(socket, problemOf(error))
}

const problemOf = ({ code, rawPacket }: ClientError): Refused => {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return new HeadersTooLarge({ detail: "Request line and headers together may have 16 KiB." })
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new RequestTimeout({ detail: "The request did not arrive in time." })
    case "HPE_INVALID_METHOD": {
      const method = /^([A-Z-]{1,20}) [^ ]+ HTTP\/1\.[01]\r\n/u.exec(rawPacket?.toString("latin1") ?? "")?.[1]
      return method === undefined ? new BadRequest({ detail: "The request breaks HTTP/1.1 (RFC 9112)." }) : notAnswered(method)
    }
    default:
      return new BadRequest({ detail: "The request breaks HTTP/1.1 (RFC 9112)." })
  }
}

const notAnswered = (method: string) => {
  const allow = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
  return new MethodNotAllowed({ detail: `No address answers ${method}.`, allow })
}

export const makeServer = (limits: Pick<ServerOptions, "headersTimeout" | "requestTimeout" | "connectionsCheckingInterval">): Server => {
  const server = createServer({
    ...limits,
    keepAliveTimeout: 65_000,
    maxHeaderSize: 16_384,
    // The edge refuses it, as a problem.
    requireHostHeader: false,
    // Nothing here is upgraded, and a request that asks for it is an ordinary one (RFC 9110, 7.8).
    shouldUpgradeCallback: () => false
  })
  server.on("clientError", refuseBroken)
  server.on("connect", (_: IncomingMessage, socket: Duplex) => refuse(socket, notAnswered("CONNECT")))
  server.on("checkExpectation", (request: IncomingMessage, response: ServerResponse) => {
    const problem = new ExpectationFailed({ detail: "Only Expect: 100-continue is understood." })
    const { body, headers } = wire(problem, request.method)
    response.writeHead(problem.status, headers).end(body)
  })
  return server
}

/** The way out of the listening socket, see `drain.ts`. */
export class Listener extends Context.Service<
  Listener,
  {
    /** Requests that have no answer yet. */
    readonly underWay: () => number
    /** Stops accepting, and completes when all that was sent is answered and every connection closed. */
    readonly drain: Effect.Effect<void>
  }
>()("platform/Listener") {}

/**
 * The listening socket. Provide it to whatever serves; give it the whole application as a dependency, see `server.ts`. Requests
 * that are still under way when its scope closes are interrupted: to answer them, `drain` first.
 */
export const layer = Layer.effectContext(
  Effect.gen(function* () {
    const { host, port, requestTimeout } = yield* AppConfig
    // To arrive, a request may take five times as long as to be answered: files come over slow networks.
    const arrival = Duration.toMillis(requestTimeout) * 5
    const node = makeServer({
      requestTimeout: arrival,
      headersTimeout: Math.min(15_000, arrival),
      connectionsCheckingInterval: Math.min(5000, arrival / 10)
    })
    const { drain, drop, held, underWay } = drainable(node)
    const server = yield* NodeHttpServer.make(() => node, { host, port, disablePreemptiveShutdown: true }).pipe(
      Effect.catchTag("ServeError", ({ cause }) => cannotListen(host, port, cause))
    )
    // The interrupted have their answers written by now; the server's own finalizer would wait for clients that do not read them.
    yield* Effect.addFinalizer(() => Effect.andThen(Effect.ignore(Effect.timeout(drain, "500 millis")), drop))
    return Context.make(Listener, { drain, underWay }).pipe(
      Context.add(
        HttpServer.HttpServer,
        HttpServer.make({ address: server.address, serve: (app, middleware) => server.serve(held(app), middleware!) })
      )
    )
  })
)

export class CannotListen extends Data.TaggedError("CannotListen")<{ readonly message: string }> {}

const cannotListen = (host: string, port: number, cause: unknown) => {
  const { code, message } = cause as NodeJS.ErrnoException
  const reasons: Record<string, string> = {
    EADDRINUSE: `Port ${port} of ${host} is taken by another program. Stop that one, or set PORT.`,
    EACCES: `Port ${port} of ${host} is reserved. Set PORT to one above 1023.`,
    EADDRNOTAVAIL: `${host} is no address of this machine. Set HOST to one that is.`,
    ENOTFOUND: `${host} is no address of this machine. Set HOST to one that is.`
  }
  return Effect.fail(new CannotListen({ message: reasons[code ?? ""] ?? `The server cannot listen on ${host}:${port}: ${message}` }))
}
