import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams, SortParam } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { PreconditionFailed } from "#platform/http/problems.ts"
import { NewSeller, Seller, SellerEdit, SellerIdInPath, SellerInUse, SellerNameTaken, SellerNotFound } from "./seller.ts"

const params = { sellerId: SellerIdInPath }

export class SellersApi extends HttpApiGroup.make("sellers")
  .add(
    HttpApiEndpoint.get("list", "/sellers", {
      query: { ...PageParams, sort: SortParam(["name", "createdAt"], "name") },
      success: Page(Seller),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Sellers, by name",
        description: "Each with the number of parts that have a link to it.",
        example: { path: "/api/sellers?limit=5" }
      })
    ),
    HttpApiEndpoint.post("create", "/sellers", {
      headers: IdempotencyHeader,
      payload: NewSeller,
      success: Created(Seller),
      error: SellerNameTaken
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Add a seller",
          description: "The name must be unique, ignoring case.",
          example: { path: "/api/sellers", body: { name: "Bolt & Nut Trading", website: "https://bolts.example" } }
        })
      ),
    HttpApiEndpoint.get("get", "/sellers/:sellerId", { params, success: Versioned(Seller), error: SellerNotFound }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One seller",
        description: "With the number of parts that have a link to it; GET /api/parts?sellerId= lists them.",
        example: { path: "/api/sellers/1" }
      })
    ),
    HttpApiEndpoint.patch("edit", "/sellers/:sellerId", {
      params,
      headers: IfMatch,
      payload: asMergePatch(SellerEdit),
      success: Versioned(Seller),
      error: [SellerNotFound, SellerNameTaken, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change a seller",
        description: "JSON merge patch: absent fields stay, null empties. Parts show and are found by the new name at once.",
        example: { path: "/api/sellers/1", body: { website: "https://shop.example" } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/sellers/:sellerId", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [SellerNotFound, SellerInUse, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Delete a seller",
        description: "Only when no part has a link to it.",
        example: { path: "/api/sellers/1" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Sellers", description: "Who parts are bought from." })) {}
