import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Topic } from "../changes/topic.ts"
import { operation } from "../http/endpoint.ts"
import { parsePosition } from "./event.ts"

const isTopic = Schema.is(Topic)

const Topics = Schema.String.annotate({ description: `Only these, separated by commas: ${Topic.literals.join(", ")}` }).check(
  Schema.makeFilter((s: string) => s.split(",").every((topic) => isTopic(topic)), {
    expected: `some of ${Topic.literals.join(", ")}, separated by commas`
  })
)

const eventId = (description: string) =>
  Schema.optional(
    Schema.String.annotate({ description }).check(
      Schema.makeFilter((s: string) => parsePosition(s) !== undefined, {
        expected: "the id of an event of this feed",
        toJsonSchema: () => [{ pattern: "^[0-9a-f]{8}(-[0-9a-z]{1,11}){2}-[0-9a-f]{8}$" }, true]
      })
    )
  )

export class EventsApi extends HttpApiGroup.make("events")
  .add(
    HttpApiEndpoint.get("stream", "/events", {
      query: {
        topics: Schema.optional(Topics),
        lastEventId: eventId("As the header, for browsers, which cannot set it on their first request; the header counts more")
      },
      headers: { "last-event-id": eventId("The id of the last event that was received: the stream goes on after it") },
      success: HttpApiSchema.StreamUint8Array({ contentType: "text/event-stream" })
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Everything that happens, as it happens",
        description: [
          "Server-sent events (HTML, 9.2): every committed change once, in an order that all readers share. `event` is topic.action, such as stock.booked;",
          "`data` is one line of JSON with at, principal, requestId, entity and id. updated adds `changed`, the names of the fields that changed;",
          "actions other than created, updated and deleted add what happened. Without Last-Event-ID the stream begins now.",
          "`event: reset` means that events were missed which are not kept any more, or that the database was restored: read anew what you show.",
          "`event: shutdown` comes before the server stops, and a comment every 15 seconds when nothing happens. A client that reads too slowly is disconnected.",
          "Events without an id, such as job.progress, are not stored and not sent again.",
          '\n\n```\nid: 5f0c1d2e-l3-2t-9b41c07a\nevent: part.updated\ndata: {"at":"2026-03-01T09:30:00.000Z","principal":"owner","requestId":"0195…","entity":"part","id":"ABCD","changed":["description"]}\n```'
        ].join(" "),
        example: { path: "/api/events?topics=part,stock" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Events", description: "The live feed." })) {}
