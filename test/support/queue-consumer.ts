import { Effect, Layer, Redacted } from "effect"
import { Broker } from "#platform/jobs/broker.ts"
import { layerQueue } from "#platform/jobs/queue.amqp.ts"
import { Queue } from "#platform/jobs/queue.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"

/** A process that takes an offer, says so, and does nothing with it until it is killed. */
const [url = "", kind = ""] = process.argv.slice(2)

await Effect.gen(function* () {
  const queue = yield* Queue
  const { next } = yield* queue.consume([kind])
  const offer = yield* next({ kinds: [kind], limit: 100 })
  process.stdout.write(`${offer.limit}\n`)
  return yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.provide(layerQueue({}).pipe(Layer.provide(Broker.layer({ url: Redacted.make(url) })), Layer.provide(Metrics.layer))),
  Effect.runPromise
)
