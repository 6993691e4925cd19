import { monitorEventLoopDelay } from "node:perf_hooks"
import { Clock, Context, Duration, Effect, Layer, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"

/** Gauges that a feature computes from the database when someone looks. */
export interface Collector {
  readonly name: string
  readonly collect: Effect.Effect<void>
}

const cachedFor = Duration.seconds(15)

const eventLoopDelay = Metric.gauge("event_loop_delay_seconds", { description: "Largest delay of the event loop since the scrape before" })
const resident = Metric.gauge("process_resident_memory_bytes", { description: "Resident memory of the process" })
const cpu = Metric.gauge("process_cpu_seconds", { description: "User and system time of the process since its start" })
const collectFailures = Metric.counter("metrics_collect_failures_total", {
  description: "Times a gauge could not be computed from the database",
  incremental: true
})

export class Metrics extends Context.Service<
  Metrics,
  {
    /** Prometheus text. Business gauges are computed anew when they are older than 15 seconds. */
    readonly page: Effect.Effect<string>
    readonly register: (collector: Collector) => Effect.Effect<void>
  }
>()("platform/Metrics") {
  static readonly layer = Layer.effect(
    Metrics,
    Effect.gen(function* () {
      const collectors: Array<Collector> = []
      const delay = monitorEventLoopDelay({ resolution: 10 })
      delay.enable()
      yield* Effect.addFinalizer(() => Effect.sync(() => delay.disable()))
      yield* Metric.update(collectFailures, 0)

      let collectedAt = Number.NEGATIVE_INFINITY
      const collect = Effect.gen(function* () {
        const now = Number(yield* Clock.currentTimeNanos) / 1e6
        if (now - collectedAt < Duration.toMillis(cachedFor)) return
        collectedAt = now
        yield* Effect.forEach(
          collectors,
          ({ collect, name }) =>
            collect.pipe(
              Effect.timeout("5 seconds"),
              Effect.catchCause((cause) =>
                Effect.andThen(Metric.update(collectFailures, 1), Effect.logWarning(`the gauges of ${name} could not be computed`, cause))
              )
            ),
          { discard: true }
        )
      })
      const ofProcess = Effect.suspend(() => {
        const usage = process.cpuUsage()
        // The resolution itself is not delay.
        const worst = Math.max(0, delay.max / 1e9 - 0.01)
        delay.reset()
        return Effect.all(
          [
            Metric.update(eventLoopDelay, Number.isFinite(worst) ? worst : 0),
            Metric.update(resident, process.memoryUsage.rss()),
            Metric.update(cpu, (usage.user + usage.system) / 1e6)
          ],
          { discard: true }
        )
      })

      return Metrics.of({
        page: Effect.andThen(collect, Effect.andThen(ofProcess, PrometheusMetrics.format({ prefix: "partwright" }))),
        register: (collector) => Effect.sync(() => void collectors.push(collector))
      })
    })
  )
}

/** A counter that is there with 0 from the start, so that a rate over it sees the first event. */
export const startAtZero = (counter: Metric.Counter<number>, labels: ReadonlyArray<Record<string, string>> = [{}]) =>
  Effect.forEach(labels, (label) => Metric.update(Metric.withAttributes(counter, label), 0), { discard: true })
