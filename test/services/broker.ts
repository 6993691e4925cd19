import { randomUUID } from "node:crypto"
import { Context, Effect, Layer, Redacted, Stream } from "effect"
import { inject } from "vitest"
import { layerClient } from "#platform/db/db.ts"
import { Broker } from "#platform/jobs/broker.ts"
import { layerAmqp, layerQueue } from "#platform/jobs/queue.amqp.ts"
import { Queue } from "#platform/jobs/queue.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { freshDatabase } from "../support/postgres.ts"
import type { Engine } from "../support/workers.ts"
import { connectionOf } from "../support/world.ts"
import { rabbitmq } from "./rabbitmq.ts"

export const running = Effect.promise(() => rabbitmq(inject("rabbitmqHome")))

/** A virtual host that is nobody else's, as the environment of a server names it, with no more rights than a server needs. */
export const onVirtualHost = (name: string): Engine => {
  const made = Effect.gen(function* () {
    const { control, url } = yield* running
    yield* Effect.promise(() => control("add_vhost", name))
    const [configure, write, read] = ["^partwright\\.", "^(partwright\\.|amq\\.default$)", "^partwright\\."]
    yield* Effect.promise(() => control("set_permissions", "-p", name, "guest", configure, write, read))
    return { AMQP_URL: `${url}/${name}` }
  })
  return Effect.runSync(Effect.cached(made))
}

/** Its queue is nobody else's: all tests share one broker. */
export const freshKind = () => `test.${randomUUID().slice(0, 8)}`

/** A client of a database that is nobody else's. */
export const database = Layer.unwrap(
  Effect.map(freshDatabase("queue"), (database) => layerClient(connectionOf(database), { maxConnections: 6 }))
)

const url = (text: string) => Redacted.make(text)

/** A process with relay and queue, until the scope closes. */
export const startProcess = (at: string, wakeUps: Stream.Stream<unknown> = Stream.tick("20 millis")) =>
  Effect.map(Layer.build(Layer.fresh(layerAmqp({ url: url(at), wakeUps }).pipe(Layer.provideMerge(Metrics.layer)))), (services) => ({
    queue: Context.get(services, Queue),
    metrics: Context.get(services, Metrics)
  }))

/** One that publishes only what the test tells it, so that nothing that is lost comes again. */
export const startClient = (at: string) =>
  Effect.map(
    Layer.build(Layer.fresh(layerQueue({}).pipe(Layer.provideMerge(Broker.layer({ url: url(at) })), Layer.provide(Metrics.layer)))),
    (services) => ({ queue: Context.get(services, Queue), broker: Context.get(services, Broker) })
  )

export const tokens = (kind: string, count: number) =>
  Array.from({ length: count }, () => ({ id: randomUUID(), kind, priority: 1, traceContext: null }))
