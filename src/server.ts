import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { BoxesHttp } from "#inventory/boxes/boxes.http.ts"
import { DashboardHttp } from "#inventory/dashboard/dashboard.http.ts"
import { DashboardMetrics } from "#inventory/dashboard/dashboard.metrics.ts"
import { DocumentsHttp } from "#inventory/documents/documents.http.ts"
import { DocumentsJobs } from "#inventory/documents/documents.jobs.ts"
import { DuplicatesHttp } from "#inventory/duplicates/duplicates.http.ts"
import { LinkPreviewsHttp } from "#inventory/link-previews/link-previews.http.ts"
import { LinkPreviewsJobs } from "#inventory/link-previews/link-previews.jobs.ts"
import { LocationsHttp } from "#inventory/locations/locations.http.ts"
import { PartsHttp } from "#inventory/parts/parts.http.ts"
import { ProposalsHttp } from "#inventory/proposals/proposals.http.ts"
import { ProposalsJobs } from "#inventory/proposals/proposals.jobs.ts"
import { SearchHttp } from "#inventory/search/search.http.ts"
import { SellerLinksHttp } from "#inventory/sellers/seller-links.http.ts"
import { SellersHttp } from "#inventory/sellers/sellers.http.ts"
import { SellersJobs } from "#inventory/sellers/sellers.jobs.ts"
import { LedgerCheckJobs } from "#inventory/stock/ledger-check.jobs.ts"
import { StockHttp } from "#inventory/stock/stock.http.ts"
import { SuggestionsHttp } from "#inventory/suggestions/suggestions.http.ts"
import { SuggestionsJobs } from "#inventory/suggestions/suggestions.jobs.ts"
import { ExportHttp } from "#inventory/transfer/export.http.ts"
import { ImportHttp } from "#inventory/transfer/import.http.ts"
import { ImportWork } from "#inventory/transfer/import.jobs.ts"
import { TypesHttp } from "#inventory/types/types.http.ts"
import { Types } from "#inventory/types/types.service.ts"
import { AnswersJobs } from "#platform/ai/answers.jobs.ts"
import { OpenAiMetrics } from "#platform/ai/openai.metrics.ts"
import { OpenAi } from "#platform/ai/openai.service.ts"
import { ChangesHttp } from "#platform/changes/changes.http.ts"
import { AppConfig } from "#platform/config.ts"
import { type Connection, Db, layerClient } from "#platform/db/db.ts"
import { checkSchema, migrate } from "#platform/db/migrator.ts"
import { EventsHttp } from "#platform/events/events.http.ts"
import { Fetcher } from "#platform/fetcher/fetcher.service.ts"
import { edge } from "#platform/http/edge.ts"
import { Answers, Idempotent } from "#platform/http/idempotency.ts"
import { isForeign } from "#platform/http/origins.ts"
import { routed } from "#platform/http/routes.ts"
import { Validation } from "#platform/http/validation.ts"
import { JobsHttp } from "#platform/jobs/jobs.http.ts"
import { JobsLayer, WorkerLayer } from "#platform/jobs/jobs.layer.ts"
import { JobsMetrics } from "#platform/jobs/jobs.metrics.ts"
import { Media } from "#platform/media/media.service.ts"
import { ObjectsLayer, ObjectsMetricsLayer, SweeperJobsLayer } from "#platform/objects/objects.layer.ts"
import { HealthHttp } from "#platform/system/health.http.ts"
import { Lifecycle } from "#platform/system/lifecycle.ts"
import { ProbesHttp, SystemHttp } from "#platform/system/system.http.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { pushedGauges } from "#platform/telemetry/otlp.ts"

/** Every feature's handlers. */
const Handlers = Layer.mergeAll(
  PartsHttp,
  DuplicatesHttp,
  DocumentsHttp,
  LinkPreviewsHttp,
  SellerLinksHttp,
  SearchHttp,
  DashboardHttp,
  DashboardMetrics,
  SellersHttp,
  StockHttp,
  TypesHttp,
  BoxesHttp,
  LocationsHttp,
  ExportHttp,
  ImportHttp,
  SuggestionsHttp,
  ProposalsHttp,
  ChangesHttp,
  EventsHttp,
  HealthHttp,
  JobsHttp,
  JobsMetrics,
  ObjectsMetricsLayer,
  OpenAiMetrics,
  pushedGauges
)

const Routes = Layer.mergeAll(
  HttpApiBuilder.layer(Api).pipe(
    Layer.provide(Handlers),
    Layer.provide([Idempotent.layer, Validation.layer]),
    Layer.provide(Answers.layer)
  ),
  SystemHttp
)

const site = Effect.fnUntraced(function* <E, R>(routes: Layer.Layer<never, E, R>) {
  const { authAllowOpenNetwork, basePath, corsOrigins, maxBodyBytes, publicUrl, requestTimeout } = yield* AppConfig
  const { stopping } = yield* Lifecycle
  const { app, methodsOf } = yield* routed(routes)
  return yield* edge(app, {
    basePath,
    corsOrigins,
    maxBodyBytes,
    requestTimeout,
    methodsOf,
    stopping,
    isForeign: isForeign({ corsOrigins, publicUrl, openNetwork: authAllowOpenNetwork })
  })
})

/** The whole HTTP side as one effect per request: built once, served by a socket or, in tests, called directly. */
export const httpApp = site(Routes)

/** Of a process that only works: what watches it. */
const workerApp = site(ProbesHttp)

/** The client alone, without a look at the schema. */
export const Client = (connection: Connection) =>
  Layer.unwrap(Effect.map(AppConfig, ({ databasePoolMax }) => layerClient(connection, { maxConnections: databasePoolMax })))

const prepared = Effect.fnUntraced(function* (schema: "migrate" | "check") {
  if (schema === "migrate") yield* migrate
  else yield* checkSchema
})

/** The database, ready: connected, its schema the one of this version, which only some may make it. */
export const Database = (connection: Connection, schema: "migrate" | "check" = "migrate") =>
  Layer.unwrap(
    Effect.map(AppConfig, ({ databasePoolMax }) => {
      const Connected = Client(connection)
      const Migrated = Layer.effectDiscard(prepared(schema)).pipe(Layer.provide(Connected))
      return Db.layerNoDeps({ maxConnections: databasePoolMax }).pipe(Layer.provide(Migrated), Layer.provideMerge(Connected))
    })
  )

const Starters = Layer.effectDiscard(Effect.flatMap(Types, (types) => types.sync)).pipe(Layer.provide(Types.layer))

/** Files and what is made of them; addresses that people give are read through the guarded fetcher. */
const Files = Layer.mergeAll(ObjectsLayer, Media.layer, Fetcher.layer)

/** What every role and every command stands on. */
export const Application = (connection: Connection, schema?: "migrate" | "check") =>
  Layer.mergeAll(Starters, Metrics.layer, Lifecycle.layer, Files, JobsLayer, OpenAi.layer).pipe(
    Layer.provideMerge(Database(connection, schema))
  )

/** Every feature's jobs and schedules, and what runs them. */
export const Work = WorkerLayer(
  Layer.mergeAll(
    SweeperJobsLayer,
    LedgerCheckJobs,
    LinkPreviewsJobs,
    DocumentsJobs,
    SellersJobs,
    ImportWork,
    SuggestionsJobs,
    ProposalsJobs,
    AnswersJobs
  )
)

/**
 * Serves once everything is built. The socket must depend on the whole application: it would otherwise open while migrations
 * still run, and requests in that window would hang.
 */
export const serve = Layer.unwrap(Effect.map(httpApp, (app) => HttpServer.serve(app))).pipe(Layer.provide(NodeHttpServer.layerHttpServices))

export const serveProbes = Layer.unwrap(Effect.map(workerApp, (app) => HttpServer.serve(app))).pipe(
  Layer.provide(NodeHttpServer.layerHttpServices)
)
