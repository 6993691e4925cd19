import { Clock, Duration, Effect, Latch, Layer, Random, Ref, Stream } from "effect"
import { JobSignals } from "./job-signals.ts"
import { JobsRepo } from "./jobs.repo.ts"
import { Queue, type Wanted } from "./queue.ts"

const now = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)

// How long a job may lie unseen when its notification was lost.
const patience = Duration.seconds(2)

/** Jobs straight from their table: woken by the transactions that make them, and by the clock. */
export const layerPostgres = Layer.effect(
  Queue,
  Effect.gen(function* () {
    const repo = yield* JobsRepo
    const { wakeUps } = yield* JobSignals

    return Queue.of({
      engine: "postgres",
      check: Effect.void,
      consume: Effect.fnUntraced(function* (_kinds) {
        const woken = yield* Latch.make(true)
        yield* Effect.forkScoped(Stream.runForEach(wakeUps, () => woken.open))

        /** What was found out about the next job, for as long as nothing is claimed. */
        let next: { readonly kinds: ReadonlySet<string>; readonly at: number } | undefined
        /** Until a notification, the next job that is due, or the end of patience. */
        const somethingMayBeDue = ({ kinds }: Wanted) =>
          Effect.gen(function* () {
            const known = next
            if (known === undefined || !kinds.every((kind) => known.kinds.has(kind))) {
              // To its end: broken off, it would cost a connection, and what it finds serves whoever asks again.
              const inMs = yield* Effect.uninterruptible(Effect.catchCause(repo.nextDue(kinds), () => Effect.succeed(null)))
              const ms = Math.min(Duration.toMillis(patience), Math.max(inMs ?? Number.POSITIVE_INFINITY, 1))
              next = { kinds: new Set(kinds), at: (yield* now) + ms }
            }
            const ms = Math.max(0, (next?.at ?? 0) - (yield* now))
            yield* Effect.raceFirst(woken.await, Effect.sleep(Duration.millis(ms)))
          })

        const mayBeMore = yield* Ref.make(true)
        return {
          next: Effect.fnUntraced(function* (wanted) {
            if (!(yield* Ref.get(mayBeMore))) yield* somethingMayBeDue(wanted)
            next = undefined
            yield* woken.close
            // Until the claim has shown otherwise: whoever asked may be gone.
            yield* Ref.set(mayBeMore, true)
            return {
              // Otherwise a kind with an endless queue would keep the others waiting for ever.
              kinds: yield* Random.shuffle(wanted.kinds),
              limit: wanted.limit,
              settle: (claimed) => Ref.set(mayBeMore, claimed >= wanted.limit)
            }
          })
        }
      })
    })
  })
)
