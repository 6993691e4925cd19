import { HttpApi, OpenApi } from "effect/http-api"
import { BoxesApi } from "#inventory/boxes/boxes.api.ts"
import { DashboardApi } from "#inventory/dashboard/dashboard.api.ts"
import { DocumentsApi } from "#inventory/documents/documents.api.ts"
import { DuplicatesApi } from "#inventory/duplicates/duplicates.api.ts"
import { LinkPreviewsApi } from "#inventory/link-previews/link-previews.api.ts"
import { LocationsApi } from "#inventory/locations/locations.api.ts"
import { PartsApi } from "#inventory/parts/parts.api.ts"
import { ProposalsApi } from "#inventory/proposals/proposals.api.ts"
import { SearchApi } from "#inventory/search/search.api.ts"
import { SellerLinksApi } from "#inventory/sellers/seller-links.api.ts"
import { SellersApi } from "#inventory/sellers/sellers.api.ts"
import { StockApi } from "#inventory/stock/stock.api.ts"
import { SuggestionsApi } from "#inventory/suggestions/suggestions.api.ts"
import { ExportApi } from "#inventory/transfer/export.api.ts"
import { ImportApi } from "#inventory/transfer/import.api.ts"
import { TypesApi } from "#inventory/types/types.api.ts"
import { ChangesApi } from "#platform/changes/changes.api.ts"
import { EventsApi } from "#platform/events/events.api.ts"
import { complete } from "#platform/http/openapi.ts"
import { Validation } from "#platform/http/validation.ts"
import { JobsApi } from "#platform/jobs/jobs.api.ts"
import { SystemApi } from "#platform/system/health.api.ts"

/** Everything that is served under /api. */
export class Api extends HttpApi.make("partwright")
  .add(
    PartsApi,
    DuplicatesApi,
    DocumentsApi,
    LinkPreviewsApi,
    SellerLinksApi,
    SellersApi,
    StockApi,
    TypesApi,
    BoxesApi,
    LocationsApi,
    SearchApi,
    DashboardApi,
    ExportApi,
    ImportApi,
    SuggestionsApi,
    ProposalsApi,
    ChangesApi,
    JobsApi,
    EventsApi,
    SystemApi
  )
  .prefix("/api")
  .middleware(Validation)
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error" })
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error" })
  .annotateMerge(
    OpenApi.annotations({
      title: "Partwright",
      version: "1.0.0",
      description:
        "One self-hosted backend for everything a workshop buys, stores, makes and prints. Times are UTC; lists page with cursors; every refusal is an RFC 9457 problem whose code /problems/{code} explains."
    })
  ) {}

/** The same API with its OpenAPI document completed: what is served and published. */
export const DocumentedApi = Api.annotate(OpenApi.Transform, complete(Api))
