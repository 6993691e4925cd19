import { Context, Effect, Latch, Layer, Metric } from "effect"

const shuttingDown = Metric.gauge("shutting_down", { description: "1 from the first signal to stop on, 0 before" })

/** Where the process is in its life. Probes, the edge and background work look here. */
export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    /** True from the first signal on. */
    readonly stopping: () => boolean
    readonly beginStop: Effect.Effect<void>
    /** Completes when the process begins to stop. */
    readonly stopped: Effect.Effect<void>
    /** The time that load balancers have to notice is over: whatever never ends by itself ends now. */
    readonly beginDrain: Effect.Effect<void>
    /** Completes when that begins: what streams and background fibers wait for. */
    readonly draining: Effect.Effect<void>
  }
>()("platform/Lifecycle") {
  static readonly layer = Layer.effect(
    Lifecycle,
    Effect.gen(function* () {
      const latch = yield* Latch.make(false)
      const drain = yield* Latch.make(false)
      let stopping = false
      yield* Metric.update(shuttingDown, 0)
      return Lifecycle.of({
        stopping: () => stopping,
        beginStop: Effect.suspend(() => {
          stopping = true
          return Effect.andThen(Metric.update(shuttingDown, 1), latch.open)
        }).pipe(Effect.asVoid),
        stopped: latch.await,
        beginDrain: Effect.asVoid(drain.open),
        draining: drain.await
      })
    })
  )
}
