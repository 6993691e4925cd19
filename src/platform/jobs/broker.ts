import type { ConfirmChannel } from "amqplib"
import {
  Cause,
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  Layer,
  Metric,
  Option,
  type Redacted,
  References,
  type Scope,
  Semaphore
} from "effect"
import { HttpTraceContext } from "effect/http"
import { QueueUnavailable } from "../http/problems.ts"
import { Metrics, startAtZero } from "../telemetry/metrics.ts"
import { addressOf, attempt, type Connection, channelOf, codeOf, explain, type Session, stayConnected } from "./amqp.ts"
import { spanOf } from "./trace-context.ts"

/** Permission to claim one due job of the kind. The job named is the one that it was made for, which nobody needs to heed. */
export interface Token {
  readonly id: string
  readonly kind: string
  readonly priority: number
  readonly traceContext: string | null
}

/**
 * How a publish ended. Confirmed: the broker has it on disk, in a queue. Lost: the connection broke and nobody knows. Undeclared: the
 * queue of the kind cannot be made.
 */
export type Outcome = "confirmed" | "returned" | "nacked" | "timeout" | "lost" | "undeclared"
const outcomes: ReadonlyArray<Outcome> = ["confirmed", "returned", "nacked", "timeout", "lost", "undeclared"]

export class Broker extends Context.Service<
  Broker,
  {
    /** Waits until messages can be published. */
    readonly open: Effect.Effect<void>
    /** Publishes all at once and waits for the broker's confirmations, 5 seconds at most. One outcome for each, in their order. */
    readonly publish: (tokens: ReadonlyArray<Token>) => Effect.Effect<ReadonlyArray<Outcome>>
    /** How many tokens of the kind wait for a worker; none when the broker does not say. */
    readonly waiting: (kind: string) => Effect.Effect<Option.Option<number>>
    readonly check: Effect.Effect<void, QueueUnavailable>
    /** A connection of its own for a consumer. */
    readonly connect: Effect.Effect<Connection, never, Scope.Scope>
  }
>()("platform/Broker") {
  static readonly layer = (options: { readonly url: Redacted.Redacted }) => Layer.effect(Broker, make(options.url))
}

export const queueOf = (kind: string) => `partwright.jobs.${kind}`
export const deadLetters = "partwright.jobs.dead"

// A flood of foreign messages must not fill the disk of the broker.
const keptDeadLetters = 10_000
const deliveryLimit = 1000

const publishWithin = Duration.seconds(5)
const startWithin = Duration.seconds(5)
const checkWithin = Duration.seconds(3)

const published = Metric.counter("queue_published_total", {
  description: "Messages published to the broker, by how that ended",
  incremental: true
})
const confirmed = Metric.histogram("queue_publish_duration_seconds", {
  description: "Time from sending a message to its confirmation by the broker",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
})
const dead = Metric.gauge("queue_dead_letters", { description: "Messages that no worker could read, kept in the queue of dead letters" })

const make = Effect.fnUntraced(function* (url: Redacted.Redacted) {
  const address = addressOf(url)
  const metrics = yield* Metrics
  yield* startAtZero(
    published,
    outcomes.map((outcome) => ({ outcome }))
  )
  yield* startAtZero(confirmed)
  const connection = yield* stayConnected(address, "publish")
  yield* Effect.timeoutOrElse(connection.session, {
    duration: startWithin,
    orElse: () => Effect.logWarning(`${connection.trouble()} Jobs are kept and wait until it answers.`)
  })

  const open: Effect.Effect<void> = Effect.flatMap(connection.session, (session) =>
    session.blocked() === undefined
      ? Effect.void
      : Effect.andThen(
          Effect.raceFirst(session.unblocked, session.ended),
          Effect.suspend(() => open)
        )
  )

  const publishers = new WeakMap<Session, Publisher>()
  const turn = yield* Semaphore.make(1)
  /** The channel of the session, made anew when the broker has closed it. */
  const publisherOf = (session: Session) =>
    Effect.suspend(() => {
      const known = publishers.get(session)
      if (known !== undefined && !known.closed()) return Effect.succeed(known)
      return Effect.tap(
        Effect.map(
          attempt(() => session.model.createConfirmChannel()),
          publisher
        ),
        (made) => Effect.sync(() => publishers.set(session, made))
      )
    }).pipe(turn.withPermits(1))

  /** Kinds of which the log has told already. */
  const undeclared = new Set<string>()
  const publish = Effect.fnUntraced(function* (tokens: ReadonlyArray<Token>) {
    const session = connection.current()
    if (session === undefined) return tokens.map((): Outcome => "lost")
    const kinds = [...new Set(tokens.map(({ kind }) => kind))]
    const missing = new Set<string>()
    yield* Effect.forEach(
      kinds,
      (kind) =>
        Effect.catch(declare(session, kind), (error) => {
          // Without a connection nothing is known about the queue.
          if (!session.isOpen()) return Effect.void
          missing.add(kind)
          if (undeclared.has(kind)) return Effect.void
          undeclared.add(kind)
          return Effect.logWarning(`no queue for jobs of the kind ${kind}: ${explain(error, address)}`)
        }),
      { concurrency: "unbounded", discard: true }
    )
    for (const kind of kinds) if (!missing.has(kind)) undeclared.delete(kind)
    const outcomes = yield* Effect.flatMap(publisherOf(session), (publisher) =>
      send(
        publisher,
        tokens.filter(({ kind }) => !missing.has(kind))
      )
    ).pipe(Effect.orElseSucceed((): ReadonlyArray<Outcome> => []))
    let next = 0
    const all = tokens.map(({ kind }): Outcome => (missing.has(kind) ? "undeclared" : (outcomes[next++] ?? "lost")))
    // Deleted by somebody: it is made again with the next message.
    for (const [index, outcome] of all.entries()) if (outcome === "returned") session.declared.delete(tokens[index]?.kind ?? "")
    for (const outcome of new Set(all)) {
      const mine = Metric.withAttributes(published, { outcome })
      yield* Metric.update(mine, all.filter((other) => other === outcome).length)
    }
    return all
  })

  /** None when the broker does not say; nothing when there is no such queue. */
  const depth = (queue: string) =>
    Effect.suspend(() => {
      const session = connection.current()
      if (session === undefined || session.blocked() !== undefined) return Effect.succeedNone
      return Effect.scoped(Effect.flatMap(channelOf(session), ({ channel }) => attempt(() => channel.checkQueue(queue)))).pipe(
        Effect.map(({ messageCount }) => Option.some(messageCount)),
        Effect.catch((error) => {
          if (codeOf(error) !== notFound) return Effect.succeedNone
          session.declared.clear()
          return Effect.succeedSome(0)
        })
      )
    }).pipe(Effect.withTracerEnabled(false))

  yield* metrics.register({
    name: "dead letters",
    collect: Effect.flatMap(
      depth(deadLetters),
      Option.match({ onNone: () => Effect.void, onSome: (amount) => Metric.update(dead, amount) })
    )
  })

  const consumers = new Set<Connection>()
  const unavailable = (detail: string) => new QueueUnavailable({ detail })
  const checkOne = Effect.fnUntraced(function* ({ current, trouble }: Connection) {
    const session = current()
    if (session === undefined) return yield* unavailable(trouble())
    const blocked = session.blocked()
    if (blocked !== undefined) {
      return yield* unavailable(
        `RabbitMQ at ${address.place} takes no messages: ${shortOf(blocked)}. Give it more, or let it work off what it has.`
      )
    }
    yield* Effect.mapError(Effect.scoped(channelOf(session)), (error) => unavailable(explain(error, address)))
  })

  return Broker.of({
    open,
    publish,
    waiting: (kind) => depth(queueOf(kind)),
    check: Effect.suspend(() => Effect.forEach([connection, ...consumers], checkOne, { concurrency: "unbounded", discard: true })).pipe(
      Effect.timeoutOrElse({
        duration: checkWithin,
        orElse: () =>
          Effect.fail(unavailable(`RabbitMQ at ${address.place} does not answer. Look whether it runs, and for a firewall in between.`))
      }),
      Effect.withTracerEnabled(false)
    ),
    connect: Effect.acquireRelease(
      Effect.tap(stayConnected(address, "consume"), (made) => Effect.sync(() => consumers.add(made))),
      (made) => Effect.sync(() => consumers.delete(made))
    )
  })
})

const shortOf = (reason: string) =>
  /memory/u.test(reason) ? "it is short of memory" : /disk/u.test(reason) ? "it is short of disk" : "it is short of something"

/** The queue of a kind, and where what cannot be read goes. */
export const declare = (session: Session, kind: string) =>
  session.declared.has(kind)
    ? Effect.void
    : Effect.scoped(
        Effect.gen(function* () {
          const { channel } = yield* channelOf(session)
          yield* attempt(() => channel.assertExchange(deadLetters, "fanout", { durable: true }))
          yield* assertQueue(session, deadLetters, { "x-max-length": keptDeadLetters, "x-overflow": "drop-head" })
          yield* attempt(() => channel.bindQueue(deadLetters, deadLetters, ""))
          yield* assertQueue(session, queueOf(kind), { "x-delivery-limit": deliveryLimit, "x-dead-letter-exchange": deadLetters })
          session.declared.add(kind)
        })
      )

const alreadyOtherwise = 406
const notFound = 404

const assertQueue = (session: Session, name: string, properties: Record<string, unknown>) =>
  Effect.scoped(
    Effect.flatMap(channelOf(session), ({ channel }) =>
      attempt(() => channel.assertQueue(name, { durable: true, arguments: { "x-queue-type": "quorum", ...properties } }))
    )
  ).pipe(
    Effect.asVoid,
    // Made by another version, or by an operator: as good as ours.
    Effect.catchIf(
      (error) => codeOf(error) === alreadyOtherwise,
      () => Effect.logWarning(`the queue ${name} has other properties than ours; it is used as it is`)
    )
  )

interface Publisher {
  readonly channel: ConfirmChannel
  /** The ids of messages that came back, until their confirmations, which follow, are there. */
  readonly returned: Set<string>
  readonly closed: () => boolean
}

const publisher = (channel: ConfirmChannel): Publisher => {
  const returned = new Set<string>()
  let closed = false
  channel
    .on("error", () => {})
    .on("close", () => {
      closed = true
    })
    .on("return", ({ properties }) => void returned.add(String(properties.messageId)))
  return { channel, returned, closed: () => closed }
}

const isNack = (error: unknown) => error instanceof Error && error.message === "message nacked"

const send = ({ channel, returned }: Publisher, tokens: ReadonlyArray<Token>) =>
  Effect.gen(function* () {
    const spans = yield* Effect.forEach(tokens, spanFor)
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const outcomes: Array<Outcome> = tokens.map(() => "timeout")
    const since = clock.monotonicTimeNanosUnsafe()
    const ended = Effect.callback<void>((resume) => {
      let open = tokens.length
      if (open === 0) return resume(Effect.void)
      const settle = (index: number, outcome: Outcome) => {
        outcomes[index] = outcome
        confirmed.updateUnsafe(Number(clock.monotonicTimeNanosUnsafe() - since) / 1e9, context)
        if (--open === 0) resume(Effect.void)
      }
      for (const [index, { id, kind, priority, traceContext }] of tokens.entries()) {
        const span = spans[index]
        const traceparent = span === undefined ? traceContext : HttpTraceContext.toHeaders(span).traceparent
        const options = {
          mandatory: true,
          persistent: true,
          messageId: id,
          priority,
          contentType: "text/plain",
          ...(traceparent === null ? {} : { headers: { traceparent } })
        }
        try {
          channel.publish("", queueOf(kind), Buffer.from(id), options, (error: unknown) => {
            const wasReturned = returned.delete(id)
            settle(index, error === null ? (wasReturned ? "returned" : "confirmed") : isNack(error) ? "nacked" : "lost")
          })
        } catch {
          settle(index, "lost")
        }
      }
    })
    yield* Effect.timeoutOption(ended, publishWithin)
    const now = clock.currentTimeNanosUnsafe()
    for (const [index, span] of spans.entries()) {
      const outcome = outcomes[index]
      span?.end(now, outcome === "confirmed" ? Exit.void : Exit.failCause(Cause.fail(outcome)))
    }
    return outcomes
  })

/** Under the span that asked for the job; none when nobody listens, or it was asked for without one. */
const spanFor = ({ id, kind, traceContext }: Token) =>
  Effect.gen(function* () {
    const parent = spanOf(traceContext)
    if (parent === undefined || !parent.sampled || !(yield* References.TracerEnabled)) return undefined
    return yield* Effect.makeSpan(`publish ${kind}`, {
      kind: "producer",
      parent,
      attributes: { "messaging.system": "rabbitmq", "messaging.destination.name": queueOf(kind), "messaging.message.id": id }
    })
  })
