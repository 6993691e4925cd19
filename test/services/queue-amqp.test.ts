import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Queue as Mailbox, Option, type Scope, Stream, Tracer } from "effect"
import { SqlClient } from "effect/sql"
import { deadLetters, deliveryLimit, queueOf } from "#platform/jobs/broker.ts"
import type { Consumer } from "#platform/jobs/queue.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { addJobs, states, work } from "../support/job-rows.ts"
import { eventually } from "../support/server-process.ts"
import { database, freshKind, running, startClient, startProcess, tokens } from "./broker.ts"

const onDatabase = <A, E>(test: Effect.Effect<A, E, SqlClient.SqlClient | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(database))

/** Takes offers until there were so many tokens, and settles none of them. */
const takeAll = (consumer: Consumer, kind: string, count: number) =>
  Effect.gen(function* () {
    let taken = 0
    while (taken < count) {
      const offer = yield* consumer.next({ kinds: [kind], limit: 1 })
      assert.deepStrictEqual([offer.kinds, offer.limit], [[kind], 1])
      yield* offer.settle(1)
      taken++
    }
    return taken
  })

const waitingFor = (kind: string) => waitingIn(queueOf(kind))

const waitingIn = (queue: string) =>
  Effect.flatMap(running, ({ use }) =>
    Effect.promise(() =>
      use(async (model) => {
        const channel = await model.createChannel()
        channel.on("error", () => {})
        return channel.checkQueue(queue).then(
          ({ messageCount }) => messageCount,
          () => 0
        )
      })
    )
  )

/** Messages as another program could send them. */
const sendForeign = (kind: string, bodies: ReadonlyArray<string | Buffer>, headers = {}) =>
  Effect.flatMap(running, ({ use }) =>
    Effect.promise(() =>
      use(async (model) => {
        const channel = await model.createConfirmChannel()
        for (const body of bodies) channel.sendToQueue(queueOf(kind), Buffer.from(body), { headers })
        await channel.waitForConfirms()
      })
    )
  )

describe("jobs by way of RabbitMQ", () => {
  it.live("are offered when their transaction is committed, and not when it is rolled back", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url } = yield* running
        const kind = freshKind()
        const sql = yield* SqlClient.SqlClient
        const { queue } = yield* startProcess(url)
        yield* Effect.exit(sql.withTransaction(Effect.andThen(addJobs(kind, 3), Effect.fail("rolled back"))))
        yield* sql.withTransaction(addJobs(kind, 2))
        const { next } = yield* queue.consume([kind])
        const offer = yield* next({ kinds: [kind], limit: 10 })
        assert.deepStrictEqual(offer.kinds, [kind])
        assert.isAtMost(offer.limit, 2)
        yield* Effect.forkScoped(work({ next }, [kind]))
        yield* eventually("both are done", states, (now) => now.succeeded === 2)
        assert.deepStrictEqual(yield* states, { succeeded: 2 })
        assert.strictEqual(yield* waitingFor(kind), 0)
      })
    )
  )

  it.live("are offered soon after a wake-up, and without one within seconds", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url } = yield* running
        const kind = freshKind()
        const wakeUps = yield* Mailbox.unbounded<void>()
        const { queue } = yield* startProcess(url, Stream.fromQueue(wakeUps))
        yield* Effect.forkScoped(work(yield* queue.consume([kind]), [kind]))
        yield* addJobs(kind, 1)
        yield* Mailbox.offer(wakeUps, undefined)
        yield* eventually("the first is done", states, (now) => now.succeeded === 1)
        yield* addJobs(kind, 1)
        yield* eventually("the second is done", states, (now) => now.succeeded === 2)
      })
    )
  )

  it.live("are offered when their time has come", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url } = yield* running
        const kind = freshKind()
        const sql = yield* SqlClient.SqlClient
        const { queue } = yield* startProcess(url, Stream.never)
        yield* Effect.forkScoped(work(yield* queue.consume([kind]), [kind]))
        yield* addJobs(kind, 5, { inMs: 400 })
        yield* addJobs(kind, 1, { inMs: 3_600_000 })
        yield* eventually("those that are due are done", states, (now) => now.succeeded === 5)
        const early = yield* sql`select id from jobs where started_at < run_at or published_at < run_at`
        assert.deepStrictEqual(early, [])
        assert.deepStrictEqual(yield* states, { queued: 1, succeeded: 5 })
      })
    )
  )

  it.live("are each claimed once by many workers and relays beside each other", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url } = yield* running
        const kinds = [freshKind(), freshKind(), freshKind()]
        for (let process = 0; process < 3; process++) {
          const { queue } = yield* startProcess(url)
          for (let worker = 0; worker < 2; worker++) yield* Effect.forkScoped(work(yield* queue.consume(kinds), kinds, 7))
        }
        const one = (n: number) => addJobs(kinds[n % kinds.length] ?? "", 25, { priority: n % 3 })
        yield* Effect.forEach(
          Array.from({ length: 32 }, (_, n) => n),
          one,
          { concurrency: "unbounded" }
        )
        yield* eventually("all are done", states, (now) => now.succeeded === 800, "40 seconds")
        assert.deepStrictEqual(yield* states, { succeeded: 800 })
      })
    )
  )

  it.live("are found again when their messages are lost", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url, use } = yield* running
        const kind = freshKind()
        const { queue } = yield* startProcess(url)
        yield* addJobs(kind, 1200)
        yield* eventually("all are published", waitingFor(kind), (count) => count === 1200)
        yield* Effect.promise(() => use(async (model) => void (await (await model.createChannel()).purgeQueue(queueOf(kind)))))
        yield* Effect.forkScoped(work(yield* queue.consume([kind]), [kind]))
        yield* eventually("all are done", states, (now) => now.succeeded === 1200, "40 seconds")
      })
    )
  )

  it.live("wait when the broker is away at the start, which is told without showing the password", () =>
    onDatabase(
      Effect.gen(function* () {
        const { port } = yield* running
        const closed = createServer().listen(0, "127.0.0.1")
        yield* Effect.promise(() => once(closed, "listening"))
        const free = (closed.address() as { readonly port: number }).port
        yield* Effect.promise(async () => void (await once(closed.close(), "close")))

        const kind = freshKind()
        const urls = [`guest:s3cret@127.0.0.1:${free}/`, `guest:s3cret@127.0.0.1:${port}/`, `guest:guest@127.0.0.1:${port}/n%6Fwhere`]
        const processes = yield* Effect.forEach(urls, (url) => startProcess(`amqp://${url}`), { concurrency: "unbounded" })
        yield* addJobs(kind, 1)
        const told = yield* Effect.forEach(processes, ({ queue }) =>
          Effect.match(queue.check, { onFailure: ({ detail }) => detail ?? "", onSuccess: () => "ok" })
        )
        assert.deepStrictEqual(told, [
          `Nothing listens at 127.0.0.1:${free}. Start RabbitMQ there, or mend AMQP_URL.`,
          `RabbitMQ at 127.0.0.1:${port} refuses the user of AMQP_URL. Check name, password and permissions (all on partwright.*, write on amq.default).`,
          `RabbitMQ at 127.0.0.1:${port} has no virtual host of the name in AMQP_URL, or does not let its user in. Make it with rabbitmqctl add_vhost and set_permissions, or mend AMQP_URL.`
        ])
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* sql`select published_at from jobs`, [{ published_at: null }])
      })
    )
  )
})

describe("an address", () => {
  it.live("may have letters of all kinds in user, password and virtual host", () =>
    Effect.gen(function* () {
      const { control, host, port } = yield* running
      const [user, password, vhost] = [`jörg ${randomUUID()}`, "p@ß:wörd/?#%41", `work/shop ${randomUUID()}`]
      yield* Effect.promise(() => control("add_vhost", vhost))
      yield* Effect.promise(() => control("add_user", user, password))
      const kind = freshKind()
      const { broker } = yield* startClient(
        `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${encodeURIComponent(vhost)}`
      )
      const check = Effect.match(broker.check, { onFailure: ({ detail }) => detail ?? "", onSuccess: () => "ok" })
      assert.match(yield* check, /^RabbitMQ at .* has no virtual host of the name in AMQP_URL, or does not let its user in/u)
      yield* Effect.promise(() =>
        control("set_permissions", "-p", vhost, user, "^partwright\\.", "^(partwright\\..*|amq\\.default)$", "^partwright\\.")
      )
      yield* eventually("let in", check, (told) => told === "ok")
      assert.deepStrictEqual(yield* broker.publish(tokens(kind, 1)), ["confirmed"])
    }).pipe(Effect.scoped)
  )
})

describe("a message that", () => {
  it.live("was given back too often is buried, and its job done all the same", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url } = yield* running
        const kind = freshKind()
        const { queue } = yield* startProcess(url)
        yield* addJobs(kind, 1)
        const before = yield* waitingIn(deadLetters)
        // The first delivery and those that are allowed after it.
        for (let n = 0; n <= deliveryLimit; n++) {
          yield* Effect.scoped(Effect.flatMap(queue.consume([kind]), ({ next }) => next({ kinds: [kind], limit: 1 })))
        }
        yield* eventually("it is buried", waitingIn(deadLetters), (count) => count > before)
        yield* Effect.forkScoped(work(yield* queue.consume([kind]), [kind]))
        yield* eventually("the job is done", states, (now) => now.succeeded === 1, "40 seconds")
      })
    )
  )

  it.live("is a duplicate, stale or foreign makes nothing happen; one that is malformed goes to the dead letters", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url, use } = yield* running
        const kind = freshKind()
        const { metrics, queue } = yield* startProcess(url)
        const ids = yield* addJobs(kind, 20)
        yield* eventually("all are published", waitingFor(kind), (count) => count === 20)
        const malformed = ["", "{}", "x".repeat(36), Buffer.alloc(36), `${randomUUID()} `, "y".repeat(200_000)]
        yield* sendForeign(kind, malformed)
        yield* sendForeign(kind, [...ids, ...ids, ...Array.from({ length: 30 }, () => randomUUID())], {
          traceparent: "nonsense",
          more: [1]
        })
        yield* Effect.forkScoped(work(yield* queue.consume([kind]), [kind]))
        yield* eventually("all are done", states, (now) => now.succeeded === 20)
        yield* addJobs(kind, 5)
        yield* eventually("also what comes later", states, (now) => now.succeeded === 25)
        assert.deepStrictEqual(yield* states, { succeeded: 25 })
        yield* eventually("nothing is left", waitingFor(kind), (count) => count === 0)
        yield* eventually("the malformed are buried", waitingIn(deadLetters), (count) => count >= malformed.length)
        assert.match(yield* metrics.page, /^partwright_queue_dead_letters [1-9]\d*$/mu)

        const buried = yield* Effect.promise(() =>
          use(async (model) => {
            const channel = await model.createChannel()
            const bodies: Array<string> = []
            while (bodies.length < malformed.length) {
              const message = await channel.get(deadLetters)
              if (message === false) continue
              if (message.properties.headers?.["x-death"]?.[0]?.queue === queueOf(kind)) bodies.push(message.content.toString("latin1"))
            }
            await channel.close()
            return bodies
          })
        )
        assert.deepStrictEqual(buried.toSorted(), malformed.map((body) => Buffer.from(body).toString("latin1")).toSorted())
      })
    )
  )

  it.live("is published carries the trace of the request, in a span of its own", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url, use } = yield* running
        const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]
        const get = (kind: string) =>
          Effect.promise(() =>
            use(async (model) => {
              const channel = await model.createChannel()
              const message = await channel.get(queueOf(kind), { noAck: true })
              return message === false ? undefined : (message.properties.headers?.traceparent as string)
            })
          )
        const kind = freshKind()
        const publish = Effect.scoped(
          Effect.flatMap(startClient(url), ({ broker }) =>
            broker.publish([{ id: randomUUID(), kind, priority: 1, traceContext: `00-${traceId}-${spanId}-01` }])
          )
        )
        const spans: Array<Tracer.NativeSpan> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            spans.push(span)
            return span
          }
        })
        assert.deepStrictEqual(yield* Effect.withTracer(publish, tracer), ["confirmed"])
        const [span] = spans.filter(({ kind }) => kind === "producer")
        assert.deepStrictEqual(
          [span?.name, span?.traceId, Option.getOrUndefined(span?.parent ?? Option.none())?.spanId, span?.status._tag],
          [`publish ${kind}`, traceId, spanId, "Ended"]
        )
        assert.strictEqual(yield* get(kind), `00-${traceId}-${span?.spanId}-01`)

        yield* Effect.withTracerEnabled(publish, false)
        assert.strictEqual(yield* get(kind), `00-${traceId}-${spanId}-01`)
      })
    )
  )
})

describe("an offer that", () => {
  it.live("is interrupted on its way is made again", () =>
    Effect.gen(function* () {
      const { url } = yield* running
      const kind = freshKind()
      const { broker, queue } = yield* startClient(url)
      const consumer = yield* queue.consume([kind])
      assert.deepStrictEqual([...new Set(yield* broker.publish(tokens(kind, 20)))], ["confirmed"])
      for (let round = 0; round < 200; round++) {
        const waiting = yield* Effect.forkChild(consumer.next({ kinds: [kind], limit: 3 }), { startImmediately: true })
        for (let turn = 0; turn < round % 5; turn++) yield* Effect.yieldNow
        yield* Fiber.interrupt(waiting)
      }
      assert.strictEqual(yield* takeAll(consumer, kind, 20), 20)
      yield* eventually("no token is left", broker.waiting(kind), (left) => Option.getOrElse(left, () => 1) === 0)
    }).pipe(Effect.scoped)
  )

  it.live("is not settled is made again, and one that found less than it might have is kept", () =>
    Effect.gen(function* () {
      const { url } = yield* running
      const kind = freshKind()
      const { broker, queue } = yield* startClient(url)
      const { next } = yield* queue.consume([kind])
      yield* broker.publish(tokens(kind, 4))
      const all = Effect.repeat(next({ kinds: [kind], limit: 9 }), { until: ({ limit }) => limit === 4 })
      yield* all
      yield* Effect.flatMap(all, ({ settle }) => settle(3))
      const last = yield* next({ kinds: [kind], limit: 9 })
      assert.strictEqual(last.limit, 1)
      yield* last.settle(0)
      const more = yield* Effect.forkChild(next({ kinds: [kind], limit: 9 }), { startImmediately: true })
      yield* broker.publish(tokens(kind, 1))
      assert.strictEqual((yield* Fiber.join(more)).limit, 1)
    }).pipe(Effect.scoped)
  )

  it.live("a busy worker cannot take goes to another", () =>
    Effect.gen(function* () {
      const { url } = yield* running
      const kind = freshKind()
      const { broker, queue } = yield* startClient(url)
      const busy = yield* queue.consume([kind])
      yield* broker.publish(tokens(kind, 8))
      yield* takeAll(busy, kind, 1)
      const other = yield* queue.consume([kind])
      assert.strictEqual(yield* takeAll(other, kind, 7), 7)
    }).pipe(Effect.scoped)
  )

  it.live("was made to a process that was killed, or to one that left, is made to another", () =>
    Effect.gen(function* () {
      const { url } = yield* running
      const kind = freshKind()
      const { broker, queue } = yield* startClient(url)
      yield* broker.publish(tokens(kind, 6))
      const killed = spawn(process.execPath, ["test/support/queue-consumer.ts", url, kind], { stdio: ["ignore", "pipe", "inherit"] })
      const [offered] = yield* Effect.promise(() => once(killed.stdout, "data"))
      assert.isAtLeast(Number(offered), 1)
      killed.kill("SIGKILL")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const leaving = yield* queue.consume([kind])
          yield* Effect.repeat(leaving.next({ kinds: [kind], limit: 9 }), { until: ({ limit }) => limit === 6 })
        })
      )
      assert.strictEqual(yield* takeAll(yield* queue.consume([kind]), kind, 6), 6)
      const page = yield* Effect.provide(
        Metrics.use(({ page }) => page),
        Metrics.layer
      )
      assert.match(page, /^partwright_queue_redelivered_total [1-9]\d*$/mu)
    }).pipe(Effect.scoped)
  )
})

describe("a queue", () => {
  it.live("with other properties than ours is used as it is", () =>
    Effect.gen(function* () {
      const { url, use } = yield* running
      const kind = freshKind()
      yield* Effect.promise(() =>
        use(async (model) => {
          const channel = await model.createChannel()
          await channel.assertQueue(queueOf(kind), { durable: true, maxLength: 1000 })
        })
      )
      const { broker, queue } = yield* startClient(url)
      assert.deepStrictEqual([...new Set(yield* broker.publish(tokens(kind, 3)))], ["confirmed"])
      assert.strictEqual(yield* takeAll(yield* queue.consume([kind]), kind, 3), 3)
    }).pipe(Effect.scoped)
  )

  it.live("that is full, or cannot be made, does not keep the others waiting", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url, use } = yield* running
        const [full, kind, impossible] = [freshKind(), freshKind(), `test.${"x".repeat(250)}`]
        yield* Effect.promise(() =>
          use(async (model) => {
            const channel = await model.createChannel()
            await channel.assertQueue(queueOf(full), { durable: true, maxLength: 5, overflow: "reject-publish" })
          })
        )
        const { metrics, queue } = yield* startProcess(url)
        yield* addJobs(full, 10, { priority: 2 })
        yield* addJobs(impossible, 3, { priority: 2 })
        yield* addJobs(kind, 700)
        yield* Effect.forkScoped(work(yield* queue.consume([kind]), [kind]))
        yield* eventually("the others are done", states, (now) => now.succeeded === 700)
        assert.match(yield* metrics.page, /^partwright_queue_published_total\{outcome="nacked"\} [1-9]/mu)
        yield* Effect.forkScoped(work(yield* queue.consume([full]), [full]))
        yield* eventually("also those of the full queue", states, (now) => now.succeeded === 710, "40 seconds")
        assert.deepStrictEqual(yield* states, { queued: 3, succeeded: 710 })
      })
    )
  )
})

describe("a relay that ends", () => {
  it.live("has told the broker of all that it had taken", () =>
    onDatabase(
      Effect.gen(function* () {
        const { url } = yield* running
        const kind = freshKind()
        const sql = yield* SqlClient.SqlClient
        yield* addJobs(kind, 3000)
        yield* Effect.scoped(
          Effect.andThen(
            startProcess(url),
            eventually("it has begun", sql`select id from jobs where published_at is not null limit 1`, ({ length }) => length === 1)
          )
        )
        const [taken] = yield* sql<{ readonly count: number }>`select count(*)::int as count from jobs where published_at is not null`
        assert.strictEqual(yield* waitingFor(kind), taken?.count)
      })
    )
  )
})
