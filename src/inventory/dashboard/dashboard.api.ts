import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams, SortParam } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { InvalidRequest } from "#platform/http/problems.ts"
import { int } from "#platform/http/text.ts"
import { PartRow } from "../parts/part.ts"
import { Operation } from "../stock/stock.ts"
import { BoxUsage, Stats, TypeUsage } from "./dashboard.ts"

export class DashboardApi extends HttpApiGroup.make("dashboard")
  .add(
    HttpApiEndpoint.get("stats", "/inventory/stats", { success: Stats }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The inventory in figures",
        description:
          "Computed when asked. operations7d and operations30d count bookings of the last 7 and 30 times 24 hours; lowStock counts what /api/inventory/low-stock lists without a threshold.",
        example: { path: "/api/inventory/stats" }
      })
    ),
    HttpApiEndpoint.get("activity", "/inventory/activity", {
      query: { ...PageParams, limit: Schema.optional(int(1, 100).annotate({ description: "Items per page, 20 when absent" })) },
      success: Page(Operation),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "What happened last",
        description: "The newest bookings. GET /api/stock/operations filters them.",
        example: { path: "/api/inventory/activity?limit=5" }
      })
    ),
    HttpApiEndpoint.get("storage", "/inventory/storage", {
      query: { ...PageParams, sort: SortParam(["boxNo", "description"], "boxNo") },
      success: Page(BoxUsage),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "How full the boxes are",
        description: "A slot is occupied while it holds stock. usagePercent has two decimals, rounded half up.",
        example: { path: "/api/inventory/storage?limit=5" }
      })
    ),
    HttpApiEndpoint.get("lowStock", "/inventory/low-stock", {
      query: {
        ...PageParams,
        threshold: Schema.optional(int(0, 1000).annotate({ description: "For parts without a minQuantity of their own; 5 when absent" }))
      },
      success: Page(PartRow),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Parts that run out, the lowest first",
        description:
          "Parts at or below their own minQuantity, and parts without one at or below the threshold. Parts that are used up are among them.",
        example: { path: "/api/inventory/low-stock?threshold=10&limit=5" }
      })
    ),
    HttpApiEndpoint.get("partsWithoutDocuments", "/inventory/parts-without-documents", {
      query: PageParams,
      success: Page(PartRow),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Parts without a data sheet, picture or link",
        description: "In the order of their labels.",
        example: { path: "/api/inventory/parts-without-documents?limit=5" }
      })
    ),
    HttpApiEndpoint.get("types", "/inventory/types", {
      query: PageParams,
      success: Page(TypeUsage),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "How much there is of each type",
        description: "Types without parts too; those with most parts first, then by name. Parts without a type are not in this list.",
        example: { path: "/api/inventory/types?limit=5" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Dashboard", description: "The state of the inventory in figures and short lists." })) {}
