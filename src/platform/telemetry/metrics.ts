import { monitorEventLoopDelay } from "node:perf_hooks"
import { Clock, Context, Duration, Effect, Layer, Metric, Semaphore } from "effect"
import { PrometheusMetrics } from "effect/observability"

/** Gauges that a feature computes from the database when someone looks. */
export interface Collector {
  readonly name: string
  readonly collect: Effect.Effect<void>
}

/** Before the name of every metric, in /metrics and in what is sent to a collector. */
export const prefix = "partwright"

export const cachedFor = Duration.seconds(15)
const collectWithin = Duration.seconds(5)

const collectFailures = Metric.counter("metrics_collect_failures_total", {
  description: "Times a gauge could not be computed from the database",
  incremental: true
})

export class Metrics extends Context.Service<
  Metrics,
  {
    /** Prometheus text. */
    readonly page: Effect.Effect<string>
    /** Computes the gauges of all collectors anew when they are older than 15 seconds. */
    readonly collect: Effect.Effect<void>
    readonly register: (collector: Collector) => Effect.Effect<void>
  }
>()("platform/Metrics") {
  static readonly layer = Layer.effect(
    Metrics,
    Effect.gen(function* () {
      const collectors: Array<Collector> = []
      yield* startAtZero(collectFailures)
      yield* observeProcess

      const collectOne = ({ collect, name }: Collector) =>
        collect.pipe(
          Effect.timeout(collectWithin),
          Effect.catchCause((cause) =>
            Effect.andThen(Metric.update(collectFailures, 1), Effect.logWarning(`the gauges of ${name} could not be computed`, cause))
          )
        )
      // One at a time: who looks meanwhile waits for the figures instead of getting none.
      const turn = yield* Semaphore.make(1)
      let collectedAt = Number.NEGATIVE_INFINITY
      const collect = turn
        .withPermits(1)(
          Effect.gen(function* () {
            const now = Number(yield* Clock.monotonicTimeNanos) / 1e6
            if (now - collectedAt < Duration.toMillis(cachedFor)) return
            yield* Effect.forEach(collectors, collectOne, { concurrency: "unbounded", discard: true })
            collectedAt = now
          })
        )
        .pipe(Effect.withTracerEnabled(false))

      return Metrics.of({
        page: Effect.andThen(collect, PrometheusMetrics.format({ prefix })),
        collect,
        register: (collector) =>
          Effect.sync(() => {
            collectors.push(collector)
            collectedAt = Number.NEGATIVE_INFINITY
          })
      })
    })
  )
}

/** A counter or histogram that is there with 0 from the start, so that a rate over it sees the first event. */
export const startAtZero = <Input, State>(metric: Metric.Metric<Input, State>, labels: ReadonlyArray<Record<string, string>> = [{}]) =>
  Effect.forEach(labels, (label) => Metric.value(Metric.withAttributes(metric, label)), { discard: true })

/**
 * A gauge with a series for each of the things that there are now: of one that is gone, the series goes too. Gives what sets all
 * of them, by the value of the label.
 */
export const gaugePerLabel = (name: string, label: string, options: { readonly description: string }) => {
  const gauge = Metric.gauge(name, options)
  return (values: ReadonlyMap<string, number>) =>
    Effect.gen(function* () {
      const registry = yield* Metric.MetricRegistry
      for (const [key, { attributes, id }] of registry) {
        if (id === name && !values.has(attributes?.[label] ?? "")) registry.delete(key)
      }
      for (const [value, amount] of values) yield* Metric.update(Metric.withAttributes(gauge, { [label]: value }), amount)
    })
}

const delayWindow = Duration.seconds(30)
const resolution = 10

/** What is read from the process itself, by whoever looks. */
const observeProcess = Effect.gen(function* () {
  const context = yield* Effect.context<never>()
  const observe = <Input, State>(metric: Metric.Metric<Input, State>, get: () => State) =>
    Effect.acquireRelease(
      Effect.sync(() => Metric.registerUnsafe(metric, context, { get, update: () => {}, modify: () => {} })),
      (registration) => Effect.sync(registration.remove)
    )

  const delay = monitorEventLoopDelay({ resolution })
  delay.enable()
  yield* Effect.addFinalizer(() => Effect.sync(() => delay.disable()))
  // The interval between two looks of the monitor is not delay.
  const worstNow = () => Math.max(0, delay.max / 1e9 - resolution / 1e3)
  let worstBefore = 0
  // Not reset by a reader, or a second one would not see what the first has seen.
  yield* Effect.sync(() => {
    worstBefore = worstNow()
    delay.reset()
  }).pipe(Effect.delay(delayWindow), Effect.forever, Effect.forkScoped)

  yield* observe(
    Metric.gauge("event_loop_delay_seconds", { description: "Largest delay of the event loop in the last 30 to 60 seconds" }),
    () => ({ value: Math.max(worstBefore, worstNow()) })
  )
  yield* observe(Metric.gauge("process_resident_memory_bytes", { description: "Resident memory of the process" }), () => ({
    value: process.memoryUsage.rss()
  }))
  yield* observe(
    Metric.counter("process_cpu_seconds_total", { description: "User and system time of the process since its start", incremental: true }),
    () => {
      const { system, user } = process.cpuUsage()
      return { count: (user + system) / 1e6, incremental: true }
    }
  )
})
