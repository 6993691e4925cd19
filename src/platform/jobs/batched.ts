import { Deferred, Effect, Queue, Schedule, type Scope } from "effect"

const most = 500

/**
 * Work that many fibers ask for at once, done together: while one batch is under way the next one gathers. It is tried until it succeeds,
 * which it may do twice when an answer is lost.
 */
export const batched = <In, Out>(
  work: (batch: ReadonlyArray<In>) => Effect.Effect<ReadonlyArray<Out>>
): Effect.Effect<(one: In) => Effect.Effect<Out>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const waiting = yield* Queue.unbounded<readonly [In, Deferred.Deferred<Out>]>()
    yield* Effect.gen(function* () {
      const batch = yield* Queue.takeBetween(waiting, 1, most)
      const done = yield* Effect.retry(Effect.sandbox(work(batch.map(([one]) => one))), Schedule.spaced("500 millis"))
      yield* Effect.forEach(batch, ([, deferred], n) => Deferred.succeed(deferred, done[n] as Out), { discard: true })
    }).pipe(Effect.orDie, Effect.forever, Effect.withTracerEnabled(false), Effect.forkScoped)
    return (one) =>
      Effect.gen(function* () {
        const deferred = yield* Deferred.make<Out>()
        yield* Queue.offer(waiting, [one, deferred])
        return yield* Deferred.await(deferred)
      })
  })
