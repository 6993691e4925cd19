import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams, SortParam } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { PreconditionFailed } from "#platform/http/problems.ts"
import { NewType, PartType, TypeEdit, TypeIdInPath, TypeInUse, TypeNameTaken, TypeNotFound } from "./type.ts"

const params = { typeId: TypeIdInPath }

export class TypesApi extends HttpApiGroup.make("types")
  .add(
    HttpApiEndpoint.get("list", "/types", {
      query: { ...PageParams, sort: SortParam(["name"], "name") },
      success: Page(PartType),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Types of parts, by name",
        description: "The starter types and those that people made, each with the number of its parts.",
        example: { path: "/api/types?limit=5" }
      })
    ),
    HttpApiEndpoint.post("create", "/types", {
      headers: IdempotencyHeader,
      payload: NewType,
      success: Created(PartType),
      error: TypeNameTaken
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Add a type",
          description: "The name must be unique, ignoring case. Aliases are other words that search finds its parts by.",
          example: { path: "/api/types", body: { name: "Geiger Tube", group: "Sensors", aliases: ["gm tube"], reference: "V" } }
        })
      ),
    HttpApiEndpoint.get("get", "/types/:typeId", { params, success: Versioned(PartType), error: TypeNotFound }).annotateMerge(
      operation({ role: "viewer", summary: "One type", description: "With the number of its parts.", example: { path: "/api/types/1" } })
    ),
    HttpApiEndpoint.patch("edit", "/types/:typeId", {
      params,
      headers: IfMatch,
      payload: asMergePatch(TypeEdit),
      success: Versioned(PartType),
      error: [TypeNotFound, TypeNameTaken, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change a type",
        description: "JSON merge patch: absent fields stay, null empties. A renamed starter type keeps its new name for good.",
        example: { path: "/api/types/1", body: { aliases: ["res", "r"] } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/types/:typeId", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [TypeNotFound, TypeInUse, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Delete a type",
        description: "Only when no part has it. A deleted starter type does not come back.",
        example: { path: "/api/types/104" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Types", description: "The categories of parts." })) {}
