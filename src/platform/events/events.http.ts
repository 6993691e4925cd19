import { IncomingMessage } from "node:http"
import { Effect, Layer } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import type { Topic } from "../changes/topic.ts"
import { invalidField } from "../http/problems.ts"
import { CurrentRequest } from "../http/request.ts"
import { parsePosition } from "./event.ts"
import { Feed } from "./feed.service.ts"

const answer = {
  contentType: "text/event-stream",
  headers: {
    "cache-control": "no-store",
    // Proxies that collect answers would hold events back (nginx reads this header).
    "x-accel-buffering": "no",
    "content-encoding": "identity" // streams are not compressed: the edge takes this off again
  }
}

const cutOf =
  ({ source }: HttpServerRequest.HttpServerRequest) =>
  () =>
    void (source instanceof IncomingMessage && source.socket.destroy())

export const EventsHttp = HttpApiBuilder.group(
  Api,
  "events",
  Effect.fn(function* (handlers) {
    const feed = yield* Feed
    return handlers.handleAll({
      stream: Effect.fnUntraced(function* ({ headers, query, request }) {
        const { principal } = yield* CurrentRequest
        if (request.method === "HEAD")
          return HttpServerResponse.empty({ status: 200, headers: { ...answer.headers, "content-type": answer.contentType } })
        // A browser repeats the address of its first request; the header is what it has received since.
        const given = headers["last-event-id"] ?? query.lastEventId
        const events = yield* feed
          .open({
            principal,
            topics: query.topics === undefined ? undefined : new Set(query.topics.split(",") as ReadonlyArray<Topic>),
            from: given === undefined ? undefined : parsePosition(given),
            cut: cutOf(request)
          })
          .pipe(
            Effect.catchTag("FromTheFuture", () =>
              headers["last-event-id"] === undefined
                ? invalidField("query", "/lastEventId", "Expected the id of an event that has happened")
                : invalidField("header", "/last-event-id", "Expected the id of an event that has happened")
            )
          )
        return HttpServerResponse.stream(events, answer)
      })
    })
  })
).pipe(Layer.provide(Feed.layer))
