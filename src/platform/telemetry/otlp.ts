import { Effect, Layer, Metric, Redacted, References, Schedule } from "effect"
import { FetchHttpClient, HttpMiddleware, UrlParams } from "effect/http"
import { Otlp } from "effect/observability"
import { AppConfig } from "../config.ts"
import { version } from "../version.ts"
import { cachedFor, Metrics, prefix } from "./metrics.ts"

/**
 * Traces, logs and metrics to an OpenTelemetry collector, when one is configured. As JSON: the protobuf encoder takes more than
 * half as much CPU again and stalls the event loop.
 */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { otelServiceName, otlpEndpoint } = yield* AppConfig
    // Spans that nobody receives cost a fifth of a request's CPU.
    if (otlpEndpoint === null) return Layer.succeed(References.TracerEnabled, false)
    return Otlp.layerJson({
      baseUrl: Redacted.value(otlpEndpoint),
      resource: { serviceName: otelServiceName, serviceVersion: version },
      loggerMergeWithExisting: true,
      compression: "gzip",
      shutdownTimeout: "3 seconds"
    }).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provide(Layer.effect(Metric.MetricRegistry, Effect.map(Metric.MetricRegistry, withPrefix)))
    )
  })
)

/** What computes the gauges for a collector, to which nobody comes and asks for them. */
export const pushedGauges = Layer.effectDiscard(
  Effect.gen(function* () {
    const { otlpEndpoint } = yield* AppConfig
    const { collect } = yield* Metrics
    if (otlpEndpoint !== null) yield* collect.pipe(Effect.repeat(Schedule.spaced(cachedFor)), Effect.forkScoped)
  })
)

/** The same metrics under the names that /metrics gives them. */
const withPrefix = (registry: Metric.MetricRegistry): Metric.MetricRegistry =>
  new (class extends Map {
    override values() {
      return new Map([...registry].map(([key, metric]) => [key, { ...metric, id: `${prefix}_${metric.id}` }])).values()
    }
  })()

/** Probes and scrapes are not traced, and no span shows what a key in an address is. A span is named by method; its route is an attribute. */
export const httpTracing = Layer.merge(
  HttpMiddleware.layerTracerDisabledForUrls(["/healthz", "/readyz", "/metrics"]),
  Layer.effect(
    UrlParams.CurrentRedactedNames,
    Effect.map(UrlParams.CurrentRedactedNames, (names) => [...names, "api_key", "access_token"])
  )
)
