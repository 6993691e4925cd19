import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { queueOf } from "#platform/jobs/broker.ts"
import { addJobs, states, work } from "../support/job-rows.ts"
import { eventually } from "../support/server-process.ts"
import { severable } from "../support/severable.ts"
import { database, freshKind, running, startProcess } from "./broker.ts"
import type { RabbitMq } from "./rabbitmq.ts"

// Two beats without a sign of life, and a broker that hangs is given up.
const impatient = "?heartbeat=1"

interface Harm {
  readonly broker: RabbitMq
  readonly kind: string
  readonly cut: Effect.Effect<void>
  readonly mend: Effect.Effect<void>
  /** Waits until a person who looks is told this. */
  readonly told: (what: RegExp) => Effect.Effect<void>
}

/** Two processes with a worker each, under load before, during and after the harm: every job is claimed, once. */
const survives = (what: string, harm: (given: Harm) => Effect.Effect<void>) =>
  it.live(
    what,
    () =>
      Effect.gen(function* () {
        const broker = yield* running
        const kind = freshKind()
        const wire = yield* severable(broker)
        const url = `amqp://guest:guest@127.0.0.1:${wire.database.port}${impatient}`
        const { queue } = yield* startProcess(url)
        const other = yield* startProcess(url)
        for (const { consume } of [queue, other.queue]) yield* Effect.forkScoped(work(yield* consume([kind]), [kind]))

        let added = 0
        const add = (count: number) =>
          Effect.tap(addJobs(kind, count), () =>
            Effect.sync(() => {
              added += count
            })
          )
        yield* add(100)
        yield* eventually("the first are done", states, (now) => now.succeeded === 100)
        // A quorum queue that is younger than a second has no leader after its broker was killed.
        yield* Effect.sleep("1500 millis")

        const load = yield* Effect.forkChild(Effect.forever(Effect.andThen(add(10), Effect.sleep("50 millis"))))
        const told = (what: RegExp) =>
          Effect.asVoid(
            eventually(
              String(what),
              Effect.match(queue.check, { onFailure: ({ detail }) => detail ?? "", onSuccess: () => "" }),
              (detail) => what.test(detail),
              "40 seconds"
            )
          )
        yield* harm({ broker, kind, cut: wire.cut, mend: wire.mend, told })
        const before = added
        yield* eventually(
          "jobs are asked for all the time",
          Effect.sync(() => added),
          (now) => now > before + 100
        )
        yield* Fiber.interrupt(load)

        yield* eventually("all are done", states, (now) => now.succeeded === added, "40 seconds")
        assert.deepStrictEqual(yield* states, { succeeded: added })
        yield* eventually("all is well", Effect.option(queue.check), ({ _tag }) => _tag === "Some", "40 seconds")
      }).pipe(Effect.scoped, Effect.provide(database), Effect.ensuring(Effect.flatMap(running, (broker) => Effect.promise(broker.start)))),
    120_000
  )

describe("no job is lost and none is claimed twice when", () => {
  survives("the broker is stopped and started", ({ broker, told }) =>
    Effect.gen(function* () {
      yield* Effect.promise(broker.stop)
      yield* told(/^Nothing listens at 127\.0\.0\.1:\d+\. Start RabbitMQ|closed the connection|broke/u)
      yield* Effect.promise(broker.start)
    })
  )

  survives("the broker is killed", ({ broker, told }) =>
    Effect.gen(function* () {
      yield* Effect.promise(broker.kill)
      yield* told(/127\.0\.0\.1/u)
      yield* Effect.promise(broker.start)
    })
  )

  survives("the broker hangs", ({ broker, told }) =>
    Effect.gen(function* () {
      broker.signal("SIGSTOP")
      yield* told(/does not answer/u)
      broker.signal("SIGCONT")
    })
  )

  survives("the broker is short of memory", ({ broker, told }) =>
    Effect.gen(function* () {
      yield* Effect.promise(() => broker.alarm(true))
      yield* told(/takes no messages: it is short of memory/u).pipe(Effect.ensuring(Effect.promise(() => broker.alarm(false))))
    })
  )

  survives("the queue is deleted", ({ broker, kind }) =>
    Effect.promise(() =>
      broker.use(async (model) => {
        const channel = await model.createChannel()
        await channel.deleteQueue(queueOf(kind))
      })
    )
  )

  survives("an operator closes the connections", ({ broker }) => Effect.promise(broker.closeConnections))

  survives("the wire is cut", ({ cut, mend, told }) =>
    Effect.gen(function* () {
      yield* cut
      yield* told(/broke|closed/u)
      yield* mend
    })
  )

  survives("all of this happens in a row", ({ broker, cut, mend, kind }) =>
    Effect.gen(function* () {
      yield* cut
      yield* mend
      yield* Effect.promise(broker.closeConnections)
      yield* Effect.promise(broker.kill)
      yield* Effect.promise(broker.start)
      yield* Effect.promise(() => broker.use(async (model) => void (await (await model.createChannel()).deleteQueue(queueOf(kind)))))
      yield* cut
      yield* Effect.promise(broker.stop)
      yield* mend
      yield* Effect.promise(broker.start)
    })
  )
})

describe("a process", () => {
  it.live("leaves in time although the broker hangs", () =>
    Effect.gen(function* () {
      const broker = yield* running
      const kinds = Array.from({ length: 20 }, freshKind)
      yield* Effect.gen(function* () {
        const { queue } = yield* startProcess(broker.url)
        yield* Effect.forkScoped(work(yield* queue.consume(kinds), kinds))
        for (const kind of kinds) yield* addJobs(kind, 5)
        yield* eventually("all are done", states, (now) => now.succeeded === 100)
        broker.signal("SIGSTOP")
        yield* addJobs(kinds[0] ?? "", 5)
        const sql = yield* SqlClient.SqlClient
        yield* eventually("being published", sql`select 1 from jobs where state = 'queued' and published_at is not null`, isFull)
      }).pipe(Effect.scoped, Effect.timeout("20 seconds"))
      assert.deepStrictEqual(yield* states, { queued: 5, succeeded: 100 })
    }).pipe(Effect.provide(database), Effect.ensuring(Effect.flatMap(running, ({ signal }) => Effect.sync(() => signal("SIGCONT")))))
  )
})

const isFull = ({ length }: ReadonlyArray<unknown>) => length > 0
