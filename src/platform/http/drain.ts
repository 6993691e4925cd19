import type { IncomingMessage, Server, ServerResponse } from "node:http"
import { Server as NetServer, type Socket } from "node:net"
import { Effect, Latch, Schedule } from "effect"

const calm = 25
const patience = 1500
const atMost = 3000
const glance = 0.5
const linger = 1000

interface Connection {
  underWay: number
  bytes: number
  /** When something last happened on it. */
  at: number
}

/** How a server leaves without losing a request that was sent. Nothing is done to it before. */
export const drainable = (server: Server) => {
  const connections = new Map<Socket, Connection>()
  const doorClosed = Latch.makeUnsafe(true)
  let holding = false
  let arrivals = 0
  let lastArrival = 0

  server.on("connection", (socket: Socket) => {
    arrivals++
    lastArrival = performance.now()
    connections.set(socket, { underWay: 0, bytes: 0, at: lastArrival })
    socket.once("close", () => connections.delete(socket))
  })
  const onRequest = ({ socket }: IncomingMessage, response: ServerResponse) => {
    const connection = connections.get(socket)
    if (connection === undefined) return
    connection.underWay++
    response.once("close", () => {
      connection.underWay--
      connection.at = performance.now()
    })
  }
  server.on("request", onRequest)
  server.on("checkContinue", onRequest)
  server.on("checkExpectation", onRequest)

  // Closing the listening socket resets the connections that wait in its queue, although their clients may have sent a request
  // already. An answer that closes its connection makes a client come back, so under load the queue is never empty by itself:
  // requests wait until the door is closed, soon every client has one waiting, and nobody new arrives.
  const closeDoor = Effect.callback<void>((resume) => {
    holding = true
    doorClosed.closeUnsafe()
    const began = performance.now()
    const look = () => {
      const before = arrivals
      const since = performance.now()
      // Between a timer and an immediate lies one poll, which would have brought a connection from the queue. One that comes after it
      // is reset: what took longer than a glance does not count, be it other work of the poll or of the machine.
      setImmediate(() => {
        const now = performance.now()
        const nobodyCame = arrivals === before && now - since < glance
        const isCalm = now - Math.max(lastArrival, began) >= calm || now - began >= patience
        if (!(nobodyCame && isCalm) && now - began < atMost) return void setTimeout(look, 1)
        // http.Server.close would end idle connections at once, also one on which a request is on its way already.
        NetServer.prototype.close.call(server)
        holding = false
        doorClosed.openUnsafe()
        resume(Effect.void)
      })
    }
    look()
  })

  // A connection on which nothing happens, be it between two requests or before the first (browsers open such in advance).
  const closeQuiet = Effect.sync(() => {
    const now = performance.now()
    for (const [socket, connection] of connections) {
      if (connection.bytes !== socket.bytesRead || connection.underWay > 0) {
        connection.bytes = socket.bytesRead
        connection.at = now
      } else if (now - connection.at >= linger) socket.destroy()
    }
    return connections.size
  })

  return {
    /** Requests that have no answer yet. */
    underWay: () => [...connections.values()].reduce((sum, connection) => sum + connection.underWay, 0),
    /** Stops accepting, and completes when all that was sent is answered and every connection closed. */
    drain: Effect.suspend(() => (server.listening ? closeDoor : Effect.void)).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          const now = performance.now()
          for (const connection of connections.values()) connection.at = now
          return closeQuiet.pipe(Effect.repeat({ until: (left) => left === 0, schedule: Schedule.spaced("20 millis") }))
        })
      ),
      Effect.asVoid
    ),
    /** Whoever is still there is dropped. */
    drop: Effect.sync(() => server.closeAllConnections()),
    held: <A, E, R>(request: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() => (holding ? Effect.andThen(doorClosed.await, request) : request))
  }
}
