import { connect, createServer, type Socket } from "node:net"
import { Effect } from "effect"
import type { Database } from "./postgres.ts"

/** The database behind a wire that can be cut: connections break, new ones are refused, until it is mended. */
export const severable = (database: Database) =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    let isCut = false
    const keep = (socket: Socket) => {
      sockets.add(socket)
      socket.on("error", () => {}).on("close", () => sockets.delete(socket))
      return socket
    }
    const server = createServer((client) => {
      if (isCut) return void client.resetAndDestroy()
      const { host, port } = database
      const there = keep(host.startsWith("/") ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host))
      keep(client).pipe(there).pipe(client)
      client.on("close", () => there.destroy())
      there.on("close", () => client.destroy())
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    return {
      database: { ...database, host: "127.0.0.1", port } satisfies Database,
      cut: Effect.sync(() => {
        isCut = true
        for (const socket of sockets) socket.destroy()
      }),
      mend: Effect.sync(() => {
        isCut = false
      })
    }
  })
