import { Effect, Layer, Redacted, References } from "effect"
import { FetchHttpClient, HttpMiddleware } from "effect/http"
import { Otlp } from "effect/observability"
import { AppConfig } from "../config.ts"
import { version } from "../version.ts"

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
    }).pipe(Layer.provide(FetchHttpClient.layer))
  })
)

/** Probes and scrapes are not traced, and a span is named by method; its route is an attribute. */
export const quietProbes = HttpMiddleware.layerTracerDisabledForUrls(["/healthz", "/readyz", "/metrics"])
