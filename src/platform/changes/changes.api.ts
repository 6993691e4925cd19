import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "../db/paging.ts"
import { operation } from "../http/endpoint.ts"
import { InstantInput, text } from "../http/text.ts"
import { Change } from "./change.ts"

export class ChangesApi extends HttpApiGroup.make("changes")
  .add(
    HttpApiEndpoint.get("list", "/changes", {
      query: {
        ...PageParams,
        topic: Schema.optional(text(100)),
        entity: Schema.optional(text(100)),
        entityId: Schema.optional(text(200)),
        principal: Schema.optional(text(255)),
        from: Schema.optional(InstantInput),
        to: Schema.optional(InstantInput)
      },
      success: Page(Change),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Who changed what, newest first",
        description: "Every committed write with its state before and after. from is inclusive, to exclusive.",
        example: { path: "/api/changes?entity=part&limit=10" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Changes", description: "The append-only record of every write." })) {}
