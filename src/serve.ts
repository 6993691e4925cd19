import { Clock, Context, Duration, Effect, Exit, Fiber, Layer, Option, Scope } from "effect"
import { HttpServer } from "effect/http"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { Listener, layer as Listening } from "#platform/http/listen.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { jobsShareOfGrace, Runner } from "#platform/jobs/runner.ts"
import { Lifecycle } from "#platform/system/lifecycle.ts"
import { httpTracing, layer as Otlp } from "#platform/telemetry/otlp.ts"
import { Application, serve, serveProbes, Work } from "./server.ts"

/** `serve` does everything; of `api`, which answers, and `worker`, which runs jobs, there may be any number. */
export type ServerRole = "serve" | "api" | "worker"

interface Scopes {
  readonly telemetry: Scope.Closeable
  readonly database: Scope.Closeable
  readonly application: Scope.Closeable
}

/**
 * The server's whole life: start everything, listen, wait for a signal, stop in order. Fails when the embedded database dies and
 * cannot be started again. The configuration and the logger are there already.
 */
export const server = (role: ServerRole) => (signal: Effect.Effect<string>) =>
  Effect.gen(function* () {
    const { authAllowOpenNetwork, shutdownDelay, shutdownGrace } = yield* AppConfig
    const since = yield* now
    const scopes: Scopes = { telemetry: yield* Scope.make(), database: yield* Scope.make(), application: yield* Scope.make() }

    const started = yield* Effect.raceFirst(Effect.exit(start(role, scopes)), Effect.as(signal, undefined))
    if (started === undefined || Exit.isFailure(started)) {
      yield* Effect.forEach([scopes.application, scopes.database, scopes.telemetry], (scope) => Scope.close(scope, Exit.void))
      return started === undefined ? undefined : yield* started
    }
    const { context, failed, listener } = started.value
    yield* banner(role, started.value, (yield* now) - since)
    if (authAllowOpenNetwork) yield* Effect.logWarning("AUTH_ALLOW_OPEN_NETWORK: everyone who reaches this server is its owner")

    const reason = yield* Effect.exit(Effect.raceFirst(signal, failed))

    const { beginDrain, beginStop } = yield* Effect.provide(Lifecycle, context)
    yield* beginStop
    const grace = Duration.toMillis(shutdownGrace) - Duration.toMillis(shutdownDelay)
    const served = (yield* now) + Duration.toMillis(shutdownDelay)
    // What a step does not need is left to the ones after it.
    const by = (share: number) => served + share * grace
    yield* Effect.logInfo(`stopping after ${Exit.isSuccess(reason) ? reason.value : "the end of the database"}`)
    // Jobs end while requests are still served, and may take as long as those.
    const runner = Context.getOption(context, Runner)
    const jobsEnd = Option.isNone(runner) ? Effect.void : runner.value.stop(Duration.millis(by(jobsShareOfGrace) - (yield* now)))
    const jobs = yield* Effect.forkDetach(step("every job has ended or waits again", by(0.65), jobsEnd))
    yield* Effect.sleep(shutdownDelay)
    yield* beginDrain
    yield* step("every request is answered", by(0.6), listener.drain)
    if (listener.underWay() > 0) yield* Effect.logWarning(`${listener.underWay()} requests took too long and are interrupted`)
    yield* Fiber.await(jobs)
    yield* step("the application has ended", by(0.75), Scope.close(scopes.application, Exit.void))
    yield* step("the database is released", by(0.9), Scope.close(scopes.database, Exit.void))
    yield* step("telemetry is sent", by(1), Scope.close(scopes.telemetry, Exit.void))
    yield* Effect.logInfo("stopped")
    if (Exit.isFailure(reason)) return yield* Effect.failCause(reason.cause)
  })

/** Telemetry, database, migrations, the application, and only then the socket. Each part ends with its scope. */
const start = Effect.fnUntraced(function* (role: ServerRole, scopes: Scopes) {
  const telemetry = yield* Layer.build(Otlp).pipe(Scope.provide(scopes.telemetry))
  return yield* Effect.gen(function* () {
    const { connection, embedded, failed } = yield* connect(role === "worker" ? "command" : "server", { shared: role !== "serve" }).pipe(
      Scope.provide(scopes.database)
    )
    const application = QueueLayer.pipe(Layer.provideMerge(Application(connection, role === "serve" ? "migrate" : "check")))
    const Below = Listening.pipe(Layer.provideMerge(application))
    const Working = Listening.pipe(Layer.provideMerge(Work), Layer.provideMerge(application))
    const Served = {
      serve: serve.pipe(Layer.provideMerge(Working)),
      api: serve.pipe(Layer.provideMerge(Below)),
      worker: serveProbes.pipe(Layer.provideMerge(Working))
    }[role].pipe(Layer.provide(httpTracing))
    const context = yield* Layer.build(Served).pipe(Scope.provide(scopes.application))
    return { context, embedded, failed, listener: yield* Effect.provide(Listener, context) }
  }).pipe(Effect.provide(telemetry))
})

/** What does not end in time is left behind: the process is about to exit. */
const step = Effect.fnUntraced(function* (what: string, deadline: number, ending: Effect.Effect<void>) {
  const since = yield* now
  const fiber = yield* Effect.forkDetach(ending)
  const ended = yield* Effect.timeoutOption(Fiber.await(fiber), Duration.millis(Math.max(0, deadline - since)))
  const durationMs = Math.round((yield* now) - since)
  if (ended._tag === "None") yield* Effect.logWarning(`not in time: ${what}`).pipe(Effect.annotateLogs({ durationMs }))
  else if (Exit.isFailure(ended.value)) yield* Effect.logError(`failed: ${what}`, ended.value.cause)
  else yield* Effect.logInfo(what).pipe(Effect.annotateLogs({ durationMs }))
})

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

const banner = Effect.fnUntraced(function* (
  role: ServerRole,
  { context, embedded }: { readonly context: Context.Context<HttpServer.HttpServer>; readonly embedded: boolean },
  milliseconds: number
) {
  const { basePath, dataDir, publicUrl } = yield* AppConfig
  const { address } = yield* Effect.provide(HttpServer.HttpServer, context)
  const url = (role === "worker" ? null : publicUrl) ?? HttpServer.formatAddress(address) + basePath
  const lines = [
    `Partwright is ready after ${Math.round(milliseconds)} ms${role === "serve" ? "" : ` as ${role}`}`,
    `  database  ${embedded ? "embedded PostgreSQL 18" : "PostgreSQL at DATABASE_URL"}`,
    `  data      ${dataDir}`,
    ...(role === "worker" ? [`  metrics   ${url}/metrics`] : [`  API       ${url}/api`, `  docs      ${url}/docs`])
  ]
  yield* Effect.sync(() => process.stderr.write(`${lines.join("\n")}\n`))
})
