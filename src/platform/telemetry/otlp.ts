import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpMiddleware } from "effect/http"
import { Otlp } from "effect/observability"
import { AppConfig } from "../config.ts"

/**
 * Traces, logs and metrics to an OpenTelemetry collector, when one is configured. As JSON: the protobuf encoder takes more than
 * half as much CPU again and stalls the event loop.
 */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { otelServiceName, otlpEndpoint } = yield* AppConfig
    if (otlpEndpoint === null) return Layer.empty
    return Otlp.layerJson({
      baseUrl: Redacted.value(otlpEndpoint),
      resource: { serviceName: otelServiceName, serviceVersion: "0.1.0" },
      loggerMergeWithExisting: true,
      compression: "gzip",
      shutdownTimeout: "3 seconds"
    }).pipe(Layer.provide(FetchHttpClient.layer))
  })
)

/** Probes and scrapes are not traced, and a span is named by method; its route is an attribute. */
export const quietProbes = HttpMiddleware.layerTracerDisabledForUrls(["/healthz", "/readyz", "/metrics"])
