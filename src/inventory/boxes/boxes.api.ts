import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams, SortParam } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { PreconditionFailed } from "#platform/http/problems.ts"
import { Box, BoxEdit, BoxNoInPath, BoxNotEmpty, BoxNotFound, BoxNumbersExhausted, BoxNumberTaken, NewBox, SlotsOccupied } from "./box.ts"

const params = { boxNo: BoxNoInPath }

export class BoxesApi extends HttpApiGroup.make("boxes")
  .add(
    HttpApiEndpoint.get("list", "/boxes", {
      query: { ...PageParams, sort: SortParam(["boxNo", "description"], "boxNo") },
      success: Page(Box),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Boxes with how full they are",
        description: "A slot is occupied while it holds stock. usagePercent has two decimals, rounded half up.",
        example: { path: "/api/boxes?limit=5" }
      })
    ),
    HttpApiEndpoint.post("create", "/boxes", {
      headers: IdempotencyHeader,
      payload: NewBox,
      success: Created(Box),
      error: [BoxNumberTaken, BoxNumbersExhausted]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Add a box with its slots",
          description:
            "Without boxNo it gets one more than the highest number ever used. A number once used is never given out again, also not after its box was deleted. designatedTypeIds are the types the box is meant for: slot suggestions prefer it for them and avoid it for others.",
          example: { path: "/api/boxes", body: { description: "Resistors 0603", capacity: 60, designatedTypeIds: [1] } }
        })
      ),
    HttpApiEndpoint.get("get", "/boxes/:boxNo", { params, success: Versioned(Box), error: BoxNotFound }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One box",
        description: "With how full it is. Its slots with what is in them are at /api/boxes/{boxNo}/locations.",
        example: { path: "/api/boxes/1" }
      })
    ),
    HttpApiEndpoint.patch("edit", "/boxes/:boxNo", {
      params,
      headers: IfMatch,
      payload: asMergePatch(BoxEdit),
      success: Versioned(Box),
      error: [BoxNotFound, SlotsOccupied, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change a box",
        description:
          "JSON merge patch. A larger capacity adds slots; a smaller one removes the slots above it, which must be empty. designatedTypeIds replaces the whole list, null empties it.",
        example: { path: "/api/boxes/1", body: { capacity: 80 } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/boxes/:boxNo", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [BoxNotFound, BoxNotEmpty, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Delete a box with its slots",
        description: "Only when it holds no stock. The history keeps its number, which is never given out again.",
        example: { path: "/api/boxes/2" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Boxes", description: "The numbered boxes that stock lies in." })) {}
