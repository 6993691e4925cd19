import { connect, createServer, type Socket } from "node:net"
import { Transform } from "node:stream"
import { setTimeout as pause } from "node:timers/promises"
import { Effect } from "effect"

const allowance = 100_000
const piece = 8192

/** A wire to a port of this machine. On demand it holds what is under way, and then lets it through drop by drop. */
export const slowWire = (port: number) =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    const waiting: Array<{ readonly resume: () => void; readonly of: Transform }> = []
    let mode: "fast" | "held" | "slow" = "fast"
    let holds = 0

    const direction = () => {
      let since = 0
      let length = 0
      return new Transform({
        async transform(chunk: Buffer, _, done) {
          if (since !== holds) [since, length] = [holds, 0]
          length += chunk.length
          if (mode === "held" && length > allowance) await new Promise<void>((resume) => waiting.push({ resume, of: this }))
          if (mode !== "slow") return done(null, chunk)
          for (let at = 0; at < chunk.length; at += piece) {
            await pause(1)
            this.push(chunk.subarray(at, at + piece))
          }
          done()
        }
      })
    }
    const server = createServer((client) => {
      const there = connect(port, "127.0.0.1")
      for (const socket of [client, there]) {
        sockets.add(socket)
        socket.on("error", () => {}).on("close", () => sockets.delete(socket))
      }
      const [to, fro] = [direction(), direction()]
      client.pipe(to).pipe(there).pipe(fro).pipe(client)
      for (const socket of [client, there]) {
        socket.on("close", () => {
          for (const end of [client, there, to, fro]) end.destroy()
        })
      }
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
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      /** Every connection passes a little more each way, and then nothing. */
      hold: () => {
        mode = "held"
        holds++
      },
      /** How many are waiting, without those that were given up. */
      held: () => waiting.filter(({ of }) => !of.destroyed).length,
      trickle: () => {
        mode = "slow"
        for (const { resume } of waiting.splice(0)) resume()
      }
    }
  })
