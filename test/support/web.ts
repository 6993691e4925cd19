import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { Context, Effect, Layer } from "effect"
import { freshDatabase } from "./postgres.ts"
import { worldOn } from "./world.ts"

type Page = (request: IncomingMessage, response: ServerResponse) => void

/** A small web on loopback: the outside world. */
export class Web extends Context.Service<Web, { readonly url: string; readonly pages: Map<string, Page>; readonly asked: Array<string> }>()(
  "test/Web"
) {
  static readonly layer = Layer.effect(
    Web,
    Effect.gen(function* () {
      const pages = new Map<string, Page>()
      const asked: Array<string> = []
      const server = createServer((request, response) => {
        asked.push(request.url ?? "")
        const page = pages.get(request.url ?? "")
        if (page === undefined) response.writeHead(404).end("nothing here")
        else page(request, response)
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () =>
          Effect.sync(() => {
            server.close()
            server.closeAllConnections()
          })
      )
      const address = server.address()
      return Web.of({ url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`, pages, asked })
    })
  )
}

export const sends =
  (content: string | Uint8Array, headers: Record<string, string> = {}): Page =>
  (_, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...headers }).end(content)
  }

/** Everything the server runs, and a web whose address it may fetch from. */
export const webbed = Layer.unwrap(
  Effect.gen(function* () {
    const { url } = yield* Web
    return worldOn(yield* freshDatabase(), { FETCH_ALLOW_HOSTS: new URL(url).host })
  })
).pipe(Layer.provideMerge(Web.layer))
