import type { Channel, ConsumeMessage } from "amqplib"
import { Duration, Effect, Latch, Layer, Metric, type Redacted, type Stream } from "effect"
import { startAtZero } from "../telemetry/metrics.ts"
import { type AmqpError, attempt, type Connection, channelOf, explain, pause } from "./amqp.ts"
import { Broker, declare, queueOf } from "./broker.ts"
import { type Consumer, type Offer, Queue } from "./queue.ts"
import { RelayRepo } from "./relay.repo.ts"
import { layerRelay } from "./relay.ts"

export interface AmqpOptions {
  /** As AMQP_URL: user, password, host, virtual host, and `?heartbeat=` in seconds. */
  readonly url: Redacted.Redacted
  /** Something was committed that may have made jobs. */
  readonly wakeUps: Stream.Stream<unknown>
  /** How many tokens of a kind a consumer may hold at once. */
  readonly prefetch?: (kind: string) => number
}

/** Jobs by way of RabbitMQ, which tells workers of them; what they are, and whose, stays in PostgreSQL. */
export const layerAmqp = (options: AmqpOptions) =>
  Layer.merge(layerQueue(options), layerRelay(options)).pipe(Layer.provide(Broker.layer(options)), Layer.provide(RelayRepo.layer))

/** What workers see of the broker. */
export const layerQueue = ({ prefetch = () => usualPrefetch }: Pick<AmqpOptions, "prefetch">) =>
  Layer.effect(
    Queue,
    Effect.gen(function* () {
      const broker = yield* Broker
      yield* startAtZero(redelivered)
      return Queue.of({
        engine: "rabbitmq",
        check: broker.check,
        consume: Effect.fnUntraced(function* (kinds) {
          const connection = yield* broker.connect
          return yield* consumer(connection, kinds, prefetch)
        })
      })
    })
  )

// At most half of the deliveries after which the broker buries a token: a busy worker gives back all but one of what it holds at worst
// once for each of them.
const usualPrefetch = 10

// Who does not want a kind for this long has no room for it: others shall have its tokens.
const keepsUnwanted = Duration.millis(100)
// A claim takes milliseconds. One that takes longer has met a database that is away, or its worker hangs.
const keepsUnsettled = 5000

// After a queue was deleted and made again at once, RabbitMQ 3 may take its consumers for those of the new one, and what it gives them
// is dropped on its way.
const looksEvery = Duration.seconds(2)

const redelivered = Metric.counter("queue_redelivered_total", {
  description: "Messages that the broker delivered again, because a worker had given them back or was gone",
  incremental: true
})

interface Held {
  readonly channel: Channel
  readonly message: ConsumeMessage
}

/** A kind as one consumer sees it. */
interface Lane {
  readonly kind: string
  /** In the order of their arrival. */
  readonly tokens: Array<Held>
  /** How many have arrived since the beginning. */
  delivered: number
  readonly wanted: Latch.Latch
  readonly unwanted: Latch.Latch
  /** When it was last wanted; infinite while it is. */
  wantedAt: number
  /** When something of it was last offered. */
  servedAt: number
}

const laneOf = (kind: string): Lane => ({
  kind,
  tokens: [],
  delivered: 0,
  wanted: Latch.makeUnsafe(false),
  unwanted: Latch.makeUnsafe(true),
  wantedAt: Number.NEGATIVE_INFINITY,
  servedAt: Number.NEGATIVE_INFINITY
})

const consumer = Effect.fnUntraced(function* (connection: Connection, kinds: ReadonlyArray<string>, prefetch: (kind: string) => number) {
  const lanes = new Map<string, Lane>(kinds.map((kind) => [kind, laneOf(kind)]))
  const arrived = Latch.makeUnsafe(false)
  const context = yield* Effect.context<never>()
  /** What was offered last and is not settled yet. */
  let offered: { readonly lane: Lane; readonly tokens: ReadonlyArray<Held>; readonly at: number } | undefined

  const isWanted = (lane: Lane) => {
    const now = performance.now()
    return lane.wantedAt + Duration.toMillis(keepsUnwanted) > now || (offered?.lane === lane && offered.at + keepsUnsettled > now)
  }

  const receive = (lane: Lane, channel: Channel) => (message: ConsumeMessage) => {
    if (!isToken(message)) return reject({ channel, message })
    if (message.fields.redelivered) redelivered.updateUnsafe(1, context)
    lane.delivered++
    lane.tokens.push({ channel, message })
    arrived.openUnsafe()
  }

  /** Takes tokens of the kind as long as it is wanted. With its end the broker has those again that were not settled. */
  const subscription = (lane: Lane) =>
    Effect.gen(function* () {
      const session = yield* connection.session
      yield* declare(session, lane.kind)
      const { channel, ended } = yield* channelOf(session)
      const deleted = Latch.makeUnsafe(false)
      const receiveHere = receive(lane, channel)
      let isOver = false
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          isOver = true
          lane.tokens.length = 0
          if (offered?.lane === lane) offered = undefined
        })
      )
      yield* attempt(() => channel.prefetch(Math.max(1, prefetch(lane.kind))))
      yield* attempt(() =>
        channel.consume(queueOf(lane.kind), (message) => {
          if (isOver) return
          if (message !== null) return receiveHere(message)
          session.declared.clear()
          deleted.openUnsafe()
        })
      )
      const unwanted = Effect.whileLoop({
        while: () => isWanted(lane),
        body: () => Effect.andThen(lane.unwanted.await, Effect.sleep(keepsUnwanted)),
        step: () => {}
      })
      /** There are messages, and room for them here, and yet none comes. */
      const forgotten = Effect.gen(function* () {
        for (let looks = 0, before = -1; looks < 2; before = lane.delivered) {
          yield* Effect.sleep(looksEvery)
          const isIdle = lane.delivered === before && lane.tokens.length === 0 && lane.wantedAt === Number.POSITIVE_INFINITY
          looks = isIdle && (yield* attempt(() => channel.checkQueue(queueOf(lane.kind)))).messageCount > 0 ? looks + 1 : 0
        }
        yield* Effect.logWarning(`RabbitMQ has messages for jobs of the kind ${lane.kind} and does not deliver them: asking anew`)
      })
      yield* Effect.raceAllFirst([unwanted, deleted.await, forgotten, Effect.flatMap(ended, Effect.fail)])
    }).pipe(Effect.scoped)

  yield* Effect.forEach(
    lanes.values(),
    (lane) => {
      let failures = 0
      const failed = (error: AmqpError) =>
        Effect.gen(function* () {
          // The end of the session is told by the connection.
          if (connection.current()?.isOpen()) {
            yield* Effect.logWarning(`no jobs of the kind ${lane.kind} at the moment: ${explain(error, { place: "its address" })}`)
          }
          yield* Effect.sleep(yield* pause(failures++))
        })
      return lane.wanted.await.pipe(
        Effect.andThen(subscription(lane)),
        Effect.andThen(
          Effect.sync(() => {
            failures = 0
          })
        ),
        Effect.catch(failed),
        Effect.forever
      )
    },
    { concurrency: "unbounded", discard: true }
  ).pipe(Effect.withTracerEnabled(false), Effect.forkScoped)

  const offer = (wanted: ReadonlyArray<Lane>, limit: number): Offer | undefined => {
    const lane = mostUrgent(wanted)
    if (lane === undefined) return undefined
    const tokens = lane.tokens.splice(0, limit)
    const mine = { lane, tokens, at: performance.now() }
    offered = mine
    lane.servedAt = mine.at
    return {
      kinds: [lane.kind],
      limit: tokens.length,
      settle: (claimed) =>
        Effect.sync(() => {
          if (offered !== mine) return
          offered = undefined
          // A claim that found nothing has shown that there is nothing for any of them. One that found some may have been content.
          const spent = claimed === 0 ? tokens.length : claimed
          tokens.slice(0, spent).forEach(acknowledge)
          lane.tokens.unshift(...tokens.slice(spent))
        })
    }
  }

  const takeBack = () => {
    if (offered === undefined) return
    offered.lane.tokens.unshift(...offered.tokens)
    offered = undefined
  }

  return {
    next: (wanted) =>
      Effect.suspend(() => {
        takeBack()
        const mine = wanted.kinds.flatMap((kind) => lanes.get(kind) ?? [])
        for (const lane of mine) {
          lane.wantedAt = Number.POSITIVE_INFINITY
          lane.unwanted.closeUnsafe()
          lane.wanted.openUnsafe()
        }
        const wait: Effect.Effect<Offer> = Effect.suspend(() => {
          const made = offer(mine, wanted.limit)
          if (made !== undefined) return Effect.succeed(made)
          arrived.closeUnsafe()
          return Effect.andThen(arrived.await, wait)
        })
        return Effect.ensuring(
          wait,
          Effect.sync(() => {
            const now = performance.now()
            for (const lane of mine) {
              lane.wantedAt = now
              lane.wanted.closeUnsafe()
              lane.unwanted.openUnsafe()
            }
          })
        )
      })
  } satisfies Consumer
})

/** The lane of the most urgent token; among equals the one that has waited longest to be served. */
const mostUrgent = (lanes: ReadonlyArray<Lane>) => {
  let best: Lane | undefined
  let most = -1
  for (const lane of lanes) {
    const priority = lane.tokens.reduce((highest, { message }) => Math.max(highest, Number(message.properties.priority) || 0), -1)
    if (priority > most || (priority === most && best !== undefined && lane.servedAt < best.servedAt)) [best, most] = [lane, priority]
  }
  return best
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u

const isToken = ({ content }: ConsumeMessage) => content.length === 36 && uuid.test(content.toString("latin1"))

// On a channel that has ended there is nothing to say: the broker has taken back what was not acknowledged.
const quietly = (say: () => void) => {
  try {
    say()
  } catch {}
}
const acknowledge = ({ channel, message }: Held) => quietly(() => channel.ack(message))
const reject = ({ channel, message }: Held) => quietly(() => channel.reject(message, false))
