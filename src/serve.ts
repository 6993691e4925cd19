import { Clock, Duration, Effect, Exit, Layer, Scope } from "effect"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { address, layer as Listening } from "#platform/http/listen.ts"
import { Lifecycle } from "#platform/system/lifecycle.ts"
import { httpTracing, layer as Otlp } from "#platform/telemetry/otlp.ts"
import { Application, serve } from "./server.ts"

/**
 * The server's whole life: start everything, listen, wait for a signal, stop in order. Fails when the embedded database dies and
 * cannot be started again. The configuration and the logger are there already.
 */
export const server = (signal: Effect.Effect<string>) =>
  Effect.gen(function* () {
    const config = yield* AppConfig
    const since = yield* Clock.currentTimeNanos
    const scope = yield* Scope.make()
    const { connection, embedded, failed } = yield* connect("server").pipe(Scope.provide(scope))

    const App = Application(connection).pipe(Layer.provideMerge(Otlp))
    const Server = serve.pipe(Layer.provideMerge(Listening.pipe(Layer.provideMerge(App))), Layer.provide(httpTracing))
    const context = yield* Layer.build(Server).pipe(
      Scope.provide(scope),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
    const { beginStop } = yield* Effect.provide(Lifecycle, context)

    const url = config.publicUrl ?? (yield* Effect.provide(address, context)) + config.basePath
    const elapsed = Duration.nanos((yield* Clock.currentTimeNanos) - since)
    yield* banner(url, embedded ? "embedded PostgreSQL 18" : "PostgreSQL at DATABASE_URL", elapsed)
    if (config.authAllowOpenNetwork) yield* Effect.logWarning("AUTH_ALLOW_OPEN_NETWORK: everyone who reaches this server is its owner")

    const reason = yield* Effect.raceFirst(signal, failed).pipe(Effect.exit)
    yield* Effect.logInfo(Exit.isSuccess(reason) ? `stopping after ${reason.value}` : "stopping: the database is gone")
    yield* beginStop
    yield* Effect.sleep(config.shutdownDelay)
    yield* Scope.close(scope, Exit.void).pipe(
      Effect.timeoutOrElse({ duration: config.shutdownGrace, orElse: () => Effect.logError("some parts did not stop in time") })
    )
    yield* Effect.logInfo("stopped")
    if (Exit.isFailure(reason)) return yield* Effect.failCause(reason.cause)
  })

const banner = Effect.fnUntraced(function* (url: string, database: string, elapsed: Duration.Duration) {
  const { dataDir } = yield* AppConfig
  const lines = [
    `Partwright is ready after ${Math.round(Duration.toMillis(elapsed))} ms`,
    `  database  ${database}`,
    `  data      ${dataDir}`,
    `  API       ${url}/api`,
    `  docs      ${url}/docs`
  ]
  yield* Effect.sync(() => process.stderr.write(`${lines.join("\n")}\n`))
})
