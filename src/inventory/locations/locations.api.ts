import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { int } from "#platform/http/text.ts"
import { BoxNoInPath, BoxNotFound } from "../boxes/box.ts"
import { BoxNo, LocationNotFound } from "../boxes/slot.ts"
import { Id4InAnyCase, PartNotFound, PartRetired } from "../parts/part.ts"
import { TypeId } from "../types/type.ts"
import { Location, LocNoInPath } from "./location.ts"
import { Suggestion } from "./suggestion.ts"

export class LocationsApi extends HttpApiGroup.make("locations")
  .add(
    HttpApiEndpoint.get("ofBox", "/boxes/:boxNo/locations", {
      params: { boxNo: BoxNoInPath },
      query: PageParams,
      success: Page(Location),
      error: [BoxNotFound, InvalidCursor]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The slots of a box",
        description: "In slot order, each with the parts in it and their quantities.",
        example: { path: "/api/boxes/1/locations?limit=20" }
      })
    ),
    HttpApiEndpoint.get("list", "/locations", {
      query: {
        ...PageParams,
        boxNo: Schema.optional(BoxNo),
        free: Schema.optional(
          Schema.Boolean.annotate({ description: "Only slots that hold nothing; false: only slots that hold something" })
        )
      },
      success: Page(Location),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Slots with what is in them",
        description: "All slots of all boxes, in slot order.",
        example: { path: "/api/locations?free=true&limit=10" }
      })
    ),
    HttpApiEndpoint.get("suggest", "/locations/suggest", {
      query: {
        typeId: Schema.optional(TypeId),
        id4: Schema.optional(Id4InAnyCase),
        limit: Schema.optional(int(1, 50).annotate({ description: "Slots to suggest, 5 when absent" }))
      },
      success: Schema.Struct({ items: Schema.Array(Suggestion) }),
      error: [PartNotFound, PartRetired]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Where to put something",
        description:
          "For a part, for a type, or for anything. Best first: slots that hold the part (same-part), then free slots of boxes that hold the type (same-type, most of it first), of boxes designated for it (designated), of boxes designated for nothing (first-free), of all others (last-resort). Reserves nothing.",
        example: { path: "/api/locations/suggest?typeId=1&limit=3" }
      })
    ),
    HttpApiEndpoint.get("get", "/locations/:boxNo/:locNo", {
      params: { boxNo: BoxNoInPath, locNo: LocNoInPath },
      success: Location,
      error: LocationNotFound
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One slot",
        description: "With the parts in it and their quantities.",
        example: { path: "/api/locations/1/1" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Slots", description: "The numbered slots of the boxes and what lies in them." })) {}
