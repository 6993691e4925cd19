import { lookup } from "node:dns"
import { connect, isIP, type LookupFunction, type Socket } from "node:net"
import { networkInterfaces } from "node:os"
import { connect as connectSecurely } from "node:tls"
import { Context, Effect, Fiber, Layer, Semaphore } from "effect"

export interface Destination {
  /** For the certificate. It is not looked up again. */
  readonly host: string
  readonly port: number
  readonly secure: boolean
  /** Where to connect to, and nowhere else: the first that answers. */
  readonly addresses: ReadonlyArray<string>
}

/** What the fetcher takes from the machine it runs on. */
export class Network extends Context.Service<
  Network,
  {
    /** Every address of a name; none when it has none. */
    readonly resolve: (name: string) => Effect.Effect<ReadonlyArray<string>>
    /** The networks that this machine is a member of, as address/prefix. */
    readonly own: Effect.Effect<ReadonlyArray<string>>
    /** Begins to connect. */
    readonly connect: (to: Destination) => Socket
  }
>()("platform/Network") {
  static readonly layer = Layer.effect(
    Network,
    Effect.gen(function* () {
      const turns = yield* Semaphore.make(lookupsAtOnce)
      return Network.of({
        resolve: (name) =>
          Effect.gen(function* () {
            // Who no longer waits leaves at once; the lookup cannot be stopped and keeps its turn to its end.
            const fiber = yield* Effect.forkDetach(turns.withPermits(1)(Effect.uninterruptible(addressesOf(name))))
            return yield* Effect.onInterrupt(Fiber.join(fiber), () => Effect.sync(() => fiber.interruptUnsafe()))
          }),
        own: Effect.sync(() =>
          Object.values(networkInterfaces())
            .flatMap((addresses) => addresses ?? [])
            .flatMap(({ cidr }) => cidr ?? [])
        ),
        connect: open
      })
    })
  )
}

// A lookup occupies one of libuv's four threads, on which files and passwords wait too. Names whose servers are silent may have two.
const lookupsAtOnce = 2

const addressesOf = (name: string) =>
  Effect.callback<ReadonlyArray<string>>((resume) =>
    lookup(name, { all: true, order: "verbatim" }, (error, found) =>
      resume(Effect.succeed(error === null ? found.map(({ address }) => address) : []))
    )
  )

const open = ({ addresses, host, port, secure }: Destination): Socket => {
  const options = { host, port, lookup: answering(addresses), autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 1000 }
  if (!secure) return connect(options)
  // An address is no server name (RFC 6066, 3); a final dot is no part of one.
  const servername = isIP(host) === 0 ? { servername: host.replace(/\.$/u, "") } : {}
  return connectSecurely({ ...options, ...servername, ALPNProtocols: ["http/1.1"] })
}

/** Not called for a host that is an address. */
const answering =
  (addresses: ReadonlyArray<string>): LookupFunction =>
  (_name, { all }, answer) => {
    const found = addresses.map((address) => ({ address, family: isIP(address) }))
    if (all === true) answer(null, found)
    else answer(null, found[0]?.address ?? "", found[0]?.family)
  }
