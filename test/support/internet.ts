import { createServer as createWebServer, type RequestListener, type ServerResponse } from "node:http"
import { createServer as createSecureServer } from "node:https"
import { type AddressInfo, createServer, isIP, type Server, type Socket } from "node:net"
import { Context, Effect, Layer } from "effect"
import { type Destination, Network } from "#platform/fetcher/network.ts"

/** Names and addresses of an internet that is all on loopback. What is connected to is written down; nothing leaves the machine. */
export class Internet extends Context.Service<
  Internet,
  {
    /** Gives a name its addresses: one list for each time it is looked up, the last one for ever. */
    readonly name: (name: string, ...answers: ReadonlyArray<ReadonlyArray<string>>) => void
    /** Has the server on this port of loopback stand at a public address. */
    readonly place: (address: string, port: number) => void
    readonly silence: (name: string) => void
    readonly own: (...networks: ReadonlyArray<string>) => void
    readonly lookups: Array<string>
    readonly connections: Array<Destination>
  }
>()("test/Internet") {
  static readonly layer = Layer.effectContext(
    Effect.gen(function* () {
      const real = yield* Network
      const names = new Map<string, Array<ReadonlyArray<string>>>()
      const silent = new Set<string>()
      const places = new Map<string, number>()
      let own: ReadonlyArray<string> = []
      const lookups: Array<string> = []
      const connections: Array<Destination> = []
      const network = Network.of({
        resolve: (name) =>
          Effect.suspend(() => {
            lookups.push(name)
            const answers = names.get(name) ?? [[]]
            return silent.has(name) ? Effect.never : Effect.succeed((answers.length > 1 ? answers.shift() : answers[0]) ?? [])
          }),
        own: Effect.sync(() => own),
        connect: (to) => {
          connections.push(to)
          const port = to.addresses.map((address) => places.get(address)).find((found) => found !== undefined)
          if (port === undefined) throw new Error(`Nothing is placed at ${to.addresses.join(", ")}`)
          // Nothing listens on the second address of loopback.
          const addresses = to.addresses.map((address) => (places.get(address) === port ? "127.0.0.1" : "127.0.0.2"))
          return real.connect({ ...to, host: isIP(to.host) === 0 ? to.host : "127.0.0.1", addresses, port })
        }
      })
      const internet = Internet.of({
        name: (name, ...answers) => void names.set(name, [...answers]),
        place: (address, port) => void places.set(address, port),
        silence: (name) => void silent.add(name),
        own: (...networks) => {
          own = networks
        },
        lookups,
        connections
      })
      return Context.make(Network, network).pipe(Context.add(Internet, internet))
    })
  ).pipe(Layer.provide(Network.layer))
}

interface Listening {
  readonly port: number
  /** Those that are open. */
  readonly sockets: Set<Socket>
  /** How many there ever were. */
  readonly accepted: () => number
}

const listening = <S extends Server>(server: S) =>
  Effect.gen(function* () {
    const sockets = new Set<Socket>()
    let accepted = 0
    server.on("connection", (socket: Socket) => {
      accepted++
      sockets.add(socket)
      socket.on("error", () => {}).on("close", () => sockets.delete(socket))
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.sync(() => {
          server.close()
          for (const socket of sockets) socket.destroy()
        })
    )
    return { port: (server.address() as AddressInfo).port, sockets, accepted: () => accepted } satisfies Listening
  })

/** A web server on loopback until the scope closes. */
export const webServer = (listener: RequestListener) => Effect.suspend(() => listening(createWebServer(listener)))

/** The same with a certificate and its key. */
export const secureServer = (pem: string, listener: RequestListener) =>
  Effect.suspend(() => listening(createSecureServer({ cert: pem, key: pem }, listener)))

/** A server that says exactly these bytes to whatever is asked, and then what `next` does. */
export const rawServer = (bytes: string | Uint8Array, next: (socket: Socket) => void = (socket) => void socket.end()) =>
  Effect.suspend(() =>
    listening(
      createServer((socket) => {
        socket.once("data", () => socket.write(bytes, () => next(socket)))
      })
    )
  )

/** Writes for as long as anybody reads. */
export const forEver = (to: Socket | ServerResponse, chunk: string | Uint8Array) => {
  const on = () => {
    while (!to.destroyed && to.write(chunk));
  }
  to.on("drain", on)
  on()
}
