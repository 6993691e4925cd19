import { connect, createServer, type Socket } from "node:net"
import { Context, Effect, Layer } from "effect"
import { Work } from "../../src/server.ts"
import { type Database, freshDatabase } from "./postgres.ts"
import { worldOn } from "./world.ts"

export class Wire extends Context.Service<
  Wire,
  {
    readonly cut: Effect.Effect<void>
    readonly mend: Effect.Effect<void>
    /** The database beside the wire. */
    readonly straight: Database
  }
>()("test/Wire") {}

/** A server whose connections to the database can be cut. */
export const severableWorld = (name: string, env: Record<string, string> = {}, work: typeof Work = Work) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const straight = yield* freshDatabase(name)
      const { cut, database, mend } = yield* severable(straight)
      return worldOn(database, env, work).pipe(Layer.merge(Layer.succeed(Wire, { cut, mend, straight })))
    })
  )

/** A server, such as the database, behind a wire that can be cut: connections break, new ones are refused, until it is mended. */
export const severable = <Place extends Pick<Database, "host" | "port">>(database: Place) =>
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
      database: { ...database, host: "127.0.0.1", port },
      cut: Effect.sync(() => {
        isCut = true
        for (const socket of sockets) socket.destroy()
      }),
      mend: Effect.sync(() => {
        isCut = false
      })
    }
  })
