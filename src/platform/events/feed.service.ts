import { PgClient } from "@effect/sql-pg"
import {
  Cause,
  Context,
  Data,
  Duration,
  Effect,
  Layer,
  Metric,
  Option,
  PubSub,
  Queue,
  Schedule,
  Schema,
  Scope,
  Semaphore,
  Stream
} from "effect"
import { channel } from "../changes/announcer.ts"
import { Topic } from "../changes/topic.ts"
import { listenOn } from "../db/listening.ts"
import { Lifecycle } from "../system/lifecycle.ts"
import { startAtZero } from "../telemetry/metrics.ts"
import {
  type Event,
  eventFrame,
  type Frame,
  heartbeatFrame,
  isAfter,
  isVisibleTo,
  openingFrame,
  type Position,
  resetFrame,
  shutdownFrame
} from "./event.ts"
import { type Epoch, type EventPage, EventsRepo } from "./events.repo.ts"

const clientsNow = Metric.gauge("event_feed_clients", { description: "Clients that are connected to the event feed now" })
const slowClients = Metric.counter("event_feed_slow_clients_total", {
  description: "Clients that were disconnected because they did not keep up",
  incremental: true
})
const lag = Metric.gauge("event_feed_lag_seconds", {
  description:
    "Age of the last event when it was sent, or of the oldest one that is held back by others who record changes; 0 while nobody listens"
})

export const FeedSettings = Context.Reference("platform/FeedSettings", {
  defaultValue: () => ({
    heartbeat: Duration.seconds(15),
    /** How often it looks without being told to. */
    poll: Duration.seconds(1),
    /** How many pages of events a client may be behind before it is disconnected. They are kept once for all clients. */
    backlog: 512
  })
})

const pageSize = 64
// Between two looks: what is committed meanwhile goes out together.
const pace = Duration.millis(10)
const longestWaitWhileHeld = Duration.millis(250)
// Whoever has not read the end of its stream by then does not read.
const farewell = Duration.seconds(1)

export interface Listener {
  readonly principal: string
  /** Undefined for all. */
  readonly topics: ReadonlySet<Topic> | undefined
  /** The last event the client has; undefined begins now. */
  readonly from: Position | undefined
  /** Ends the connection of a client that does not read. */
  readonly cut: () => void
}

/** The client names an event that did not happen yet. */
export class FromTheFuture extends Data.TaggedError("FromTheFuture")<Record<never, never>> {}

/** What goes to all clients at once. `n` counts by one, so that a client sees when it missed some. */
interface Message {
  readonly n: number
  readonly frames: ReadonlyArray<Frame>
  /** All frames together: what a client gets that wants every topic. */
  readonly bytes: Uint8Array
  readonly isLast: boolean
}

interface Client {
  readonly cut: () => void
  /** The last message that it took; undefined while it still reads the table. */
  taken: number | undefined
}

const Unstored = Schema.fromJsonString(
  Schema.Struct({
    topic: Topic,
    action: Schema.String,
    at: Schema.String,
    principal: Schema.String,
    requestId: Schema.NullOr(Schema.String),
    entity: Schema.String,
    id: Schema.String,
    said: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
  })
)
const decodeUnstored = Schema.decodeUnknownOption(Unstored)

const make = Effect.gen(function* () {
  const repo = yield* EventsRepo
  const client = yield* PgClient.PgClient
  const { draining } = yield* Lifecycle
  const { backlog, heartbeat, poll } = yield* FeedSettings
  const sent = yield* PubSub.sliding<Message>(backlog)
  const wakes = yield* Queue.sliding<void>(1)
  const clients = new Set<Client>()
  const context = yield* Effect.context<never>()

  yield* Effect.all([Metric.update(clientsNow, 0), Metric.update(lag, 0), startAtZero(slowClients)])

  // Guards `epoch` and `position` while the database is asked about them.
  const lock = yield* Semaphore.make(1)
  let epoch: Epoch | undefined
  let position: Position | undefined
  let n = 0
  let ended = false

  const isAnyoneLive = () => clients.values().some(({ taken }) => taken !== undefined)
  const disconnectSlow = (slow: Client) => {
    if (!clients.delete(slow)) return
    slowClients.updateUnsafe(1, context)
    slow.cut()
  }

  const publish = (frames: ReadonlyArray<Frame>, isLast = false) => {
    if (frames.length === 0) return
    n++
    // Not publishUnsafe, which does not slide: once a client is behind by the whole backlog, nobody would get anything.
    Effect.runSync(PubSub.publish(sent, { n, frames, bytes: joined(frames), isLast }))
    for (const one of clients) if (one.taken !== undefined && n - one.taken > backlog) disconnectSlow(one)
  }

  const currentEpoch = Effect.gen(function* () {
    epoch ??= yield* repo.epoch
    return epoch
  })

  const newest = (here: Epoch) => Effect.flatMap(repo.settled, (settled) => repo.latest(here, settled))

  /** Sends whatever can be read. Answers whether that was something, and how long the oldest change is held back that cannot. */
  const advance = Effect.gen(function* () {
    if (!isAnyoneLive() || position === undefined) {
      yield* Metric.update(lag, 0)
      return { moved: false, held: null }
    }
    const here = yield* currentEpoch
    const settled = yield* repo.settled
    let moved = false
    for (let atEnd = false; !atEnd; ) {
      const page: EventPage = yield* repo.after(position, here, settled, pageSize)
      atEnd = page.atEnd
      if (page.last === undefined) break
      moved = true
      position = page.last
      publish(framesOf(page))
      yield* Metric.update(lag, page.age)
    }
    const held = yield* repo.held(here, settled)
    if (held !== null) yield* Metric.update(lag, held)
    return { moved, held }
  })

  /** From here on the client gets what is sent; everything up to the answered place was sent before. */
  const join = (one: Client) =>
    lock.withPermits(1)(
      Effect.gen(function* () {
        const here = yield* currentEpoch
        if (isAnyoneLive()) yield* advance
        else position = yield* newest(here)
        const subscription = yield* PubSub.subscribe(sent)
        one.taken = n
        return { subscription, at: position ?? here.start }
      })
    )

  /** After a new connection: the database may be another one, a copy or an older state of the one before. */
  const lookWhereWeAre = lock.withPermits(1)(
    Effect.gen(function* () {
      const here = yield* repo.epoch
      const isOther = epoch !== undefined && epoch.start.epoch !== here.start.epoch
      if (isOther) {
        position = yield* newest(here)
        publish([resetFrame(position)])
      }
      epoch = here
    })
  )

  const onNotification = (payload: string) => {
    if (payload === "") return void Queue.offerUnsafe(wakes, undefined)
    const event = Option.getOrUndefined(decodeUnstored(payload)) as Event | undefined
    if (event !== undefined && isAnyoneLive()) publish([eventFrame(event)])
  }

  // Told once for each outage, however often it is tried.
  const troubles = new Set<string>()
  const troubled = (what: string, cause: Cause.Cause<unknown>) =>
    Effect.suspend(() => {
      if (troubles.has(what)) return Effect.void
      troubles.add(what)
      return Effect.logWarning(what, cause)
    })

  const noEar = "the event feed does not hear of new changes until the database is back"
  yield* Effect.scoped(
    Effect.gen(function* () {
      const payloads = yield* listenOn(channel)
      yield* lookWhereWeAre
      troubles.delete(noEar)
      Queue.offerUnsafe(wakes, undefined)
      yield* Effect.forever(Effect.map(payloads, (all) => all.forEach(onNotification)))
    })
  ).pipe(
    Effect.provideService(PgClient.PgClient, client),
    Effect.catchCause((cause) => troubled(noEar, cause)),
    Effect.repeat(Schedule.spaced("250 millis")),
    Effect.withTracerEnabled(false),
    Effect.forkScoped
  )

  const blind = "the event feed cannot read changes"
  yield* Effect.gen(function* () {
    let wait: Duration.Duration = poll
    for (;;) {
      yield* Effect.timeoutOption(Queue.take(wakes), wait)
      const { held, moved } = yield* lock
        .withPermits(1)(advance)
        .pipe(
          Effect.tap(() => Effect.sync(() => troubles.delete(blind))),
          Effect.catchCause((cause) => Effect.as(troubled(blind, cause), { moved: false, held: 0 }))
        )
      // Nobody tells when a transaction that holds changes back is rolled back.
      wait = held === null ? poll : moved ? pace : Duration.min(Duration.times(Duration.max(wait, pace), 2), longestWaitWhileHeld)
      yield* Effect.sleep(pace)
    }
  }).pipe(Effect.withTracerEnabled(false), Effect.forkScoped)

  yield* Effect.sync(() => publish([heartbeatFrame(position)])).pipe(Effect.delay(heartbeat), Effect.forever, Effect.forkScoped)

  yield* Effect.gen(function* () {
    yield* draining
    ended = true
    publish([shutdownFrame], true)
    yield* Effect.sleep(farewell)
    for (const { cut } of clients) cut()
  }).pipe(Effect.forkScoped)

  // Clients that come back after a restart do so together; they must not take all connections of the pool.
  const catchingUp = yield* Semaphore.make(2)
  const read = (from: Position, here: Epoch, upTo?: Position) =>
    (upTo === undefined ? repo.settled : Effect.succeed(upTo.seq)).pipe(
      Effect.flatMap((settled) => repo.after(from, here, settled, pageSize)),
      catchingUp.withPermits(1),
      Effect.withTracerEnabled(false)
    )

  const open = Effect.fnUntraced(function* ({ cut, from, principal, topics }: Listener) {
    const mayHave = isVisibleTo(principal)
    const isEverything = topics === undefined
    const chosen = (frames: ReadonlyArray<Frame>) =>
      frames.filter((frame) => mayHave(frame) && (frame.topic === null || isEverything || topics.has(frame.topic)))
    const ofMessage = ({ bytes, frames }: Message) => {
      const left = chosen(frames)
      return left.length === frames.length ? [bytes] : left.map((frame) => frame.bytes)
    }

    const one: Client = { cut, taken: undefined }
    yield* Effect.acquireRelease(
      Effect.suspend(() => Metric.update(clientsNow, clients.add(one).size)),
      () =>
        Effect.suspend(() => {
          clients.delete(one)
          return Metric.update(clientsNow, clients.size)
        })
    )
    const scope = yield* Effect.scope
    const joining = join(one).pipe(Effect.provideService(Scope.Scope, scope), Effect.withTracerEnabled(false))

    const here = yield* currentEpoch
    const found = from === undefined ? "now" : from.epoch === here.start.epoch ? yield* repo.look(from, here) : "gone"
    if (found === "future") return yield* new FromTheFuture()
    const isResumed = from !== undefined && found === "there"

    let live = isResumed ? undefined : yield* joining
    let reached = isResumed ? from : (live?.at as Position)
    let isOver = false
    let first: ReadonlyArray<Uint8Array> | undefined = [
      openingFrame(reached).bytes,
      ...(found === "gone" ? [resetFrame(reached).bytes] : [])
    ]

    /** From the table: what the client missed. When there is no more, or it is of another epoch, it goes over to what is sent. */
    const past = Effect.gen(function* () {
      const now = yield* currentEpoch
      const isOther = reached.epoch !== now.start.epoch
      const page: EventPage | undefined = isOther ? undefined : yield* read(reached, now, live?.at)
      reached = page?.last ?? reached
      const bytes = page === undefined ? [] : chosen(framesOf(page)).map((frame) => frame.bytes)
      if (page !== undefined && !page.atEnd) return bytes
      if (live !== undefined) {
        reached = live.at
        return bytes
      }
      live = yield* joining
      if (live.at.epoch === reached.epoch) return bytes
      reached = live.at
      return [...bytes, resetFrame(reached).bytes]
    })

    const present = (subscription: PubSub.Subscription<Message>) =>
      // At most so many at once: each client's socket keeps a copy of its own.
      Effect.map(PubSub.takeBetween(subscription, 1, 16), (messages) => {
        const bytes: Array<Uint8Array> = []
        for (const message of messages) {
          if (message.n !== (one.taken ?? 0) + 1) {
            disconnectSlow(one)
            isOver = true
            return bytes
          }
          one.taken = message.n
          bytes.push(...ofMessage(message))
          isOver ||= message.isLast
        }
        return bytes
      })

    const next: Effect.Effect<ReadonlyArray<Uint8Array>> = Effect.suspend(() => {
      if (first !== undefined) {
        const opening = first
        first = undefined
        return Effect.succeed(opening)
      }
      // A process that stops has its last message sent already when this client comes to what is sent.
      if (ended && (live === undefined || one.taken === n)) {
        isOver = true
        return Effect.succeed([shutdownFrame.bytes])
      }
      if (live !== undefined && !isAfter(live.at, reached)) return present(live.subscription)
      // The client comes back for the rest.
      return Effect.catchCause(past, (cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        isOver = true
        return Effect.as(Effect.logWarning("a client of the event feed is cut off: what it missed cannot be read", cause), [])
      })
    })
    const pull: Effect.Effect<readonly [Uint8Array, ...ReadonlyArray<Uint8Array>], Cause.Done> = Effect.suspend(() =>
      isOver ? Cause.done() : Effect.flatMap(next, (bytes) => (isFilled(bytes) ? Effect.succeed(bytes) : pull))
    )
    return Stream.fromPull(Effect.succeed(pull))
  })

  return Feed.of({ open })
})

const isFilled = <A>(all: ReadonlyArray<A>): all is readonly [A, ...ReadonlyArray<A>] => all.length > 0

const joined = (frames: ReadonlyArray<Frame>): Uint8Array =>
  frames.length === 1 ? frames[0]!.bytes : Buffer.concat(frames.map(({ bytes }) => bytes))

const framesOf = ({ events }: EventPage) => events.map(({ event, position }) => eventFrame(event, position))

/** The committed changes as they come, for any number of clients at the price of one reader. */
export class Feed extends Context.Service<
  Feed,
  {
    /** The bytes of an event stream. The client counts as connected until the scope closes. */
    readonly open: (listener: Listener) => Effect.Effect<Stream.Stream<Uint8Array>, FromTheFuture, Scope.Scope>
  }
>()("platform/Feed") {
  static readonly layer = Layer.effect(Feed, make).pipe(Layer.provide(EventsRepo.layer))
}
