import { Effect, Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { int } from "#platform/http/text.ts"
import { Operation } from "../stock/stock.ts"
import { BoxUsage, defaultThreshold, LowPart, Stats, TypeUsage } from "./dashboard.ts"

export class DashboardApi extends HttpApiGroup.make("dashboard")
  .add(
    HttpApiEndpoint.get("stats", "/inventory/stats", { success: Stats }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The inventory in figures",
        description: "Counted at the moment of the request.",
        example: { path: "/api/inventory/stats" }
      })
    ),
    HttpApiEndpoint.get("activity", "/inventory/activity", {
      query: { limit: int(1, 100).pipe(Schema.withDecodingDefaultKey(Effect.succeed(20))) },
      success: Page(Operation),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The newest bookings",
        description: "GET /api/stock/operations pages through all of them.",
        example: { path: "/api/inventory/activity?limit=5" }
      })
    ),
    HttpApiEndpoint.get("storage", "/inventory/storage", {
      query: PageParams,
      success: Page(BoxUsage),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "How full the boxes are",
        description: "By box number. A slot is occupied when it holds stock.",
        example: { path: "/api/inventory/storage?limit=20" }
      })
    ),
    HttpApiEndpoint.get("lowStock", "/inventory/low-stock", {
      query: {
        ...PageParams,
        threshold: int(0, 1000)
          .annotate({ description: "For parts without a minQuantity of their own; 5 when absent" })
          .pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaultThreshold)))
      },
      success: Page(LowPart),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Parts that run out",
        description: "Stock at or below minQuantity, else at or below the threshold; parts at 0 included. Least first, then by label.",
        example: { path: "/api/inventory/low-stock?threshold=2&limit=20" }
      })
    ),
    HttpApiEndpoint.get("types", "/inventory/types", { query: PageParams, success: Page(TypeUsage), error: InvalidCursor }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Parts and pieces per type",
        description: "Types with the most parts first; types without parts are listed too.",
        example: { path: "/api/inventory/types?limit=10" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Dashboard", description: "Figures of the whole inventory, computed and never stored." })) {}
