import { Cause, Clock, Deferred, Duration, Effect, Fiber, FiberSet, Latch, Layer, Semaphore, Stream } from "effect"
import { pause } from "./amqp.ts"
import { Broker, type Outcome, type Token } from "./broker.ts"
import { batch, RelayRepo } from "./relay.repo.ts"

export interface RelayOptions {
  /** Something was committed that may have made jobs. A wake-up that is lost costs a second. */
  readonly wakeUps: Stream.Stream<unknown>
}

const pollEvery = Duration.seconds(1)
const lookForLostEvery = Duration.seconds(5)
const lostAfterSeconds = 5

// Statement and confirmations take turns: while one batch waits for the disk of the broker, the next is marked.
const batchesAtOnce = 4

// A job that is due and yet was not marked is in the hands of a transaction.
const heldByOthers = 20

const endsWithin = Duration.seconds(7)

/**
 * Tells the broker of jobs that are due, once their transactions are committed. Any number of relays may run; when the broker is away,
 * jobs wait in the database.
 */
export const layerRelay = (options: RelayOptions) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const broker = yield* Broker
      const repo = yield* RelayRepo
      // Nobody asked for these statements; the messages have spans of their own.
      const untraced = Effect.withTracerEnabled(false)
      const woken = Latch.makeUnsafe(true)
      const stopping = Deferred.makeUnsafe<void>()
      const unlessStopping = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.raceFirst(Effect.asVoid(effect), Deferred.await(stopping))

      /** Kinds whose queues took no message, until when they are left alone. */
      const troubled = new Map<string, { readonly until: number; readonly failures: number }>()
      const leftAlone = (now: number) => [...troubled].filter(([, { until }]) => until > now).map(([kind]) => kind)

      const judge = (tokens: ReadonlyArray<Token>, outcomes: ReadonlyArray<Outcome>) =>
        Effect.gen(function* () {
          const failed = new Set<string>()
          const confirmed = new Set<string>()
          for (const [index, { kind }] of tokens.entries()) {
            // A broken connection says nothing about the queue.
            if (outcomes[index] === "confirmed") confirmed.add(kind)
            else if (outcomes[index] !== "lost") failed.add(kind)
          }
          for (const kind of confirmed) if (!failed.has(kind)) troubled.delete(kind)
          const now = yield* nowMs
          for (const kind of failed) {
            const failures = troubled.get(kind)?.failures ?? 0
            if (failures === 0)
              yield* Effect.logInfo(`RabbitMQ did not take all messages for jobs of the kind ${kind}: they are sent again`)
            troubled.set(kind, { until: now + Duration.toMillis(yield* pause(failures)), failures: failures + 1 })
          }
        })

      const publish = (tokens: ReadonlyArray<Token>) =>
        Effect.gen(function* () {
          const outcomes = yield* broker.publish(tokens)
          const unconfirmed = tokens.filter((_, index) => outcomes[index] !== "confirmed")
          if (unconfirmed.length === 0 && troubled.size === 0) return
          yield* judge(tokens, outcomes)
          // When this fails too, they are found as lost.
          if (unconfirmed.length > 0) yield* untraced(repo.unmark(unconfirmed.map(({ id }) => id)))
          if (outcomes.includes("lost")) yield* Effect.sleep("200 millis")
        }).pipe(Effect.catchCause(complain("jobs that were not published could not be released")))

      const underWay = yield* Semaphore.make(batchesAtOnce)
      const round = Effect.fnUntraced(function* (publishing: FiberSet.FiberSet) {
        // The permit before the mark: what is marked is not published by anybody else.
        yield* underWay.take(1)
        const marked = yield* untraced(repo.mark(leftAlone(yield* nowMs))).pipe(Effect.onError(() => underWay.release(1)))
        if (marked.length === 0) yield* underWay.release(1)
        else yield* FiberSet.run(publishing, Effect.ensuring(publish(marked), underWay.release(1)))
        return marked.length
      })

      const untilNext = Effect.gen(function* () {
        const now = yield* nowMs
        const inMs = (yield* untraced(repo.nextDue(leftAlone(now)))) ?? Number.POSITIVE_INFINITY
        const again = Math.min(...[...troubled.values()].map(({ until }) => (until > now ? until - now : Number.POSITIVE_INFINITY)))
        return Duration.millis(Math.min(Duration.toMillis(pollEvery), inMs > 0 ? inMs : heldByOthers, again))
      })

      const run = Effect.gen(function* () {
        const publishing = yield* FiberSet.make()
        // Runs before the set interrupts what is in it.
        yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(FiberSet.awaitEmpty(publishing), endsWithin)))
        while (!Deferred.isDoneUnsafe(stopping)) {
          yield* unlessStopping(broker.open)
          if (Deferred.isDoneUnsafe(stopping)) break
          woken.closeUnsafe()
          const marked = yield* Effect.catchCause(round(publishing), (cause) =>
            Effect.andThen(complain("jobs could not be published")(cause), Effect.as(unlessStopping(Effect.sleep(pollEvery)), 0))
          )
          if (marked === batch) continue
          const pollIn = yield* Effect.catchCause(untilNext, () => Effect.succeed(pollEvery))
          yield* unlessStopping(Effect.raceFirst(woken.await, Effect.sleep(pollIn)))
        }
      }).pipe(Effect.scoped)

      /** A message may be lost with its queue, or a relay may have ended between the mark and the message. */
      const findLost = Effect.gen(function* () {
        yield* broker.open
        const found = yield* Effect.forEach(yield* repo.kinds, (kind) =>
          Effect.flatMap(broker.waiting(kind), (waiting) =>
            waiting._tag === "Some" && waiting.value === 0 ? repo.unmarkLost(kind, lostAfterSeconds) : Effect.succeed(0)
          )
        )
        if (found.some((count) => count > 0)) yield* woken.open
      }).pipe(Effect.catchCause(complain("jobs whose messages were lost could not be looked for")))

      yield* Effect.acquireRelease(Effect.forkDetach(run), (fiber) =>
        Effect.andThen(
          Deferred.succeed(stopping, undefined),
          Effect.andThen(Effect.timeoutOption(Fiber.await(fiber), endsWithin), Fiber.interrupt(fiber))
        )
      )
      yield* Effect.forkScoped(Stream.runForEach(options.wakeUps, () => woken.open))
      yield* findLost.pipe(Effect.delay(lookForLostEvery), Effect.forever, untraced, Effect.forkScoped)
    })
  )

const nowMs = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

const complain =
  (what: string) =>
  (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
    Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.logWarning(what, cause)
