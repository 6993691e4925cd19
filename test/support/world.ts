import { NodeHttpServer, NodeServices } from "@effect/platform-node"
import { Context, Effect, Layer, Metric, type Scope } from "effect"
import { HttpEffect, type HttpServerRequest } from "effect/http"
import { AppConfig } from "#platform/config.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { Application, httpApp, Work } from "../../src/server.ts"
import { scratchFolder } from "./files.ts"
import { type Database, freshDatabase } from "./postgres.ts"

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // A body is whatever the test expects it to be; the assertions say what.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly body: any
  readonly text: string
}

export interface SendOptions {
  readonly headers?: Record<string, string>
  /** A body sent as it is, not as JSON. */
  readonly raw?: string | Uint8Array
}

/** The whole HTTP stack without a port, over a real database of its own: a request in, what a client would see out. */
export class Http extends Context.Service<
  Http,
  {
    readonly send: (method: string, path: string, body?: unknown, options?: SendOptions) => Effect.Effect<Answer>
    readonly fetch: (request: Request) => Effect.Effect<Response>
  }
>()("test/Http") {}

const makeHttp = Layer.effect(
  Http,
  Effect.gen(function* () {
    const services = yield* Effect.context<never>()
    const handler = HttpEffect.toWebHandlerWith<never, HttpServerRequest.HttpServerRequest | Scope.Scope>(services)(yield* httpApp)
    const fetch = (request: Request) => Effect.promise(() => handler(request))
    const send = Effect.fnUntraced(function* (method: string, path: string, body?: unknown, options: SendOptions = {}) {
      const content = options.raw ?? (body === undefined ? undefined : JSON.stringify(body))
      const response = yield* fetch(
        new Request(`http://test${path}`, {
          method,
          headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...options.headers },
          ...(content === undefined ? {} : { body: content })
        } as RequestInit)
      )
      const endless = response.headers.get("content-type") === "text/event-stream"
      const text = yield* Effect.promise(() => (endless ? beginning(response) : response.text()))
      const json = response.headers.get("content-type")?.includes("json") === true
      return { status: response.status, headers: response.headers, text, body: json && text !== "" ? JSON.parse(text) : undefined }
    })
    return Http.of({ send, fetch })
  })
).pipe(Layer.provide(NodeHttpServer.layerHttpServices))

/** Of an answer that never ends. */
const beginning = async (response: Response) => {
  const reader = response.body?.getReader()
  const first = await reader?.read()
  await reader?.cancel()
  return new TextDecoder().decode(first?.value)
}

/** Everything the server runs, on a fresh database; give environment variables for what a test wants otherwise, or other work. */
export const world = (env: Record<string, string> = {}, work: typeof Work = Work) =>
  Layer.unwrap(Effect.map(freshDatabase(), (database) => worldOn(database, env, work)))

/** The same on a database that the test has made. */
export const worldOn = (database: Database, env: Record<string, string> = {}, work: typeof Work = Work) =>
  Layer.unwrap(
    Effect.map(scratchFolder, (folder) =>
      makeHttp.pipe(
        Layer.provideMerge(work),
        Layer.provideMerge(QueueLayer),
        Layer.provideMerge(Application(connectionOf(database))),
        Layer.provideMerge(AppConfig.fromEnv({ DATA_DIR: folder, ...env })),
        Layer.provideMerge(NodeServices.layer),
        // Each world counts for itself, whatever others of the same process have counted.
        Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
      )
    )
  )

export const connectionOf = ({ database, host, password, port, username }: Database) => ({ host, port, username, database, password })
