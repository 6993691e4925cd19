import { isIP } from "node:net"
import { MIMEType } from "node:util"
import { Clock, Context, Duration, Effect, Exit, Layer, type Scope, Stream } from "effect"
import { AppConfig } from "../config.ts"
import { allowList } from "./allow-list.ts"
import { bodyOf } from "./body.ts"
import { type Exchange, exchange, header, type Limits } from "./exchange.ts"
import { counting, startMetrics } from "./fetcher.metrics.ts"
import { Network } from "./network.ts"
import { isPublic, networks } from "./public-address.ts"
import { parseTarget, type Target } from "./target.ts"
import { type Unreachable, unreachable } from "./unreachable.ts"

export interface FetchOptions extends Partial<Limits> {
  /** Of the body, as it is sent and as it is decoded. */
  readonly maxBytes: number
  /** For everything: names, redirects, and the body to its end, the time of who reads it included. */
  readonly timeout?: Duration.Input
  readonly maxRedirects?: number
}

export interface Fetched {
  /** Where the redirects led to, without its fragment. */
  readonly finalUrl: URL
  /** Any but those redirects: also 404, 500. See {@link successful}. */
  readonly status: number
  /** What the server says, not what the bytes are: `text/html`. */
  readonly mediaType: string | null
  readonly charset: string | null
  readonly headers: { readonly [name in (typeof keptHeaders)[number]]?: string }
  /** Decoded. Can be read once. */
  readonly body: Stream.Stream<Uint8Array, Unreachable>
}

const keptHeaders = ["content-disposition", "content-language", "etag", "last-modified", "retry-after"] as const

const redirects = new Set([301, 302, 303, 307, 308])

/** The only way to fetch an address that a person gave. */
export class Fetcher extends Context.Service<
  Fetcher,
  {
    /** GET. The connection lives as long as the scope. */
    readonly fetch: (address: string, options: FetchOptions) => Effect.Effect<Fetched, Unreachable, Scope.Scope>
  }
>()("platform/Fetcher") {
  static readonly layerNoDeps = Layer.effect(
    Fetcher,
    Effect.gen(function* () {
      const { fetchAllowHosts } = yield* AppConfig
      const network = yield* Network
      const allowed = allowList(fetchAllowHosts)
      yield* startMetrics

      /** Every address of the target, once all of them are known to be fit. */
      const locate = Effect.fnUntraced(function* ({ host, port }: Target) {
        const addresses = isIP(host) === 0 ? yield* network.resolve(host) : [host]
        // A public address of this machine, or of its neighbours, is often shielded by a firewall that it stands behind itself.
        const own = networks(yield* network.own)
        const fits = (address: string) => allowed.hasAddress(address, port) || (isPublic(address) && !own.has(address))
        if (addresses.length > 0 && (allowed.hasName(host, port) || addresses.every(fits))) return addresses
        yield* Effect.logDebug(`${host} is not fetched from: it leads to ${addresses.join(", ") || "nothing"}`)
        return yield* unreachable(
          "no-host",
          `${host} cannot be found on the public internet. Check it; a host of your own network must be in FETCH_ALLOW_HOSTS.`
        )
      })

      const follow = Effect.fnUntraced(function* (address: string, options: Required<FetchOptions>, visiting: (host: string) => void) {
        const { namesPort } = allowed
        let target = yield* Effect.fromResult(parseTarget(address, { namesPort, what: "The address" }))
        for (let followed = 0; ; followed++) {
          visiting(target.host)
          const { host, port, secure, url } = target
          yield* Effect.annotateCurrentSpan({ "url.scheme": url.protocol.slice(0, -1), "server.address": host, "server.port": port })
          const addresses = yield* Effect.timeoutOrElse(locate(target), {
            duration: options.connectTimeout,
            orElse: () => Effect.fail(unreachable("timeout", `The name ${host} could not be looked up in time.`))
          })
          const answer: Exchange = yield* exchange(target, () => network.connect({ host, port, secure, addresses }), options)
          const status = answer.response.statusCode ?? 0
          if (!redirects.has(status)) return { target, answer, status, followed }

          const location = header(answer.response, "location")
          yield* answer.close
          if (location === undefined) return yield* unreachable("redirects", `${host} redirects without saying where to.`)
          if (followed === options.maxRedirects)
            return yield* unreachable("redirects", `${host} redirects on after ${options.maxRedirects} redirects.`)
          target = yield* Effect.fromResult(
            parseTarget(location, { base: url.href, namesPort, what: `The address that ${host} redirects to` })
          )
          if (secure && !target.secure)
            return yield* unreachable(
              "redirects",
              `${host} redirects from https to http, where anyone may change what is sent. Give the http address itself if that is no matter.`
            )
        }
      })

      return Fetcher.of({
        fetch: Effect.fn("Fetcher.fetch", { kind: "client" })(function* (address, given) {
          const options = { ...defaults, ...given }
          const count = yield* counting
          yield* Effect.addFinalizer(() => count("abandoned"))
          const since = yield* Clock.monotonicTimeNanos
          let host = "The address"
          const late = () =>
            unreachable("timeout", `${host} did not send everything within ${Duration.toSeconds(options.timeout)} seconds.`)

          const { body, response, status, target } = yield* Effect.gen(function* () {
            const { answer, followed, status, target } = yield* follow(address, options, (visited) => {
              host = visited
            })
            yield* Effect.annotateCurrentSpan({ "http.response.status_code": status, redirects: followed })
            const body = yield* Effect.fromResult(bodyOf(answer.response, target.host, options.maxBytes)).pipe(
              Effect.tapError(() => answer.close)
            )
            return { body, response: answer.response, status, target }
          }).pipe(
            Effect.timeoutOrElse({ duration: options.timeout, orElse: () => Effect.fail(late()) }),
            Effect.tapError(({ reason }) => Effect.andThen(Effect.annotateCurrentSpan("error.type", reason), count(reason)))
          )

          // Also while nobody reads: a body may not hold its connection for longer.
          const elapsed = Duration.nanos((yield* Clock.monotonicTimeNanos) - since)
          yield* Effect.suspend(() => body.abort(late())).pipe(
            Effect.delay(Duration.subtract(Duration.fromInputUnsafe(options.timeout), elapsed)),
            Effect.forkScoped
          )
          return {
            finalUrl: target.url,
            status,
            ...declaredType(header(response, "content-type")),
            headers: Object.fromEntries(
              keptHeaders.flatMap((name) => {
                const value = header(response, name)
                return value === undefined ? [] : [[name, value]]
              })
            ),
            body: body.stream.pipe(
              Stream.timeoutOrElse({
                duration: options.idleTimeout,
                orElse: () => Stream.fail(unreachable("timeout", `${target.host} stopped sending.`))
              }),
              Stream.tapError(({ reason }) => count(reason)),
              Stream.onExit((exit) => (Exit.isSuccess(exit) ? count("ok") : Effect.void))
            )
          }
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Network.layer))
}

const defaults = {
  timeout: Duration.seconds(30),
  connectTimeout: Duration.seconds(10),
  idleTimeout: Duration.seconds(15),
  maxRedirects: 5,
  accept: "*/*"
}

const declaredType = (text: string | undefined): Pick<Fetched, "mediaType" | "charset"> => {
  try {
    const type = new MIMEType(text ?? "")
    return { mediaType: type.essence, charset: type.params.get("charset") }
  } catch {
    return { mediaType: null, charset: null }
  }
}

/** Only an answer that is what was asked for: 200 to 299. */
export const successful = (fetched: Fetched): Effect.Effect<Fetched, Unreachable> =>
  fetched.status >= 200 && fetched.status < 300
    ? Effect.succeed(fetched)
    : Effect.fail(unreachable("error-status", `${fetched.finalUrl.hostname} answered with the status ${fetched.status}.`))
