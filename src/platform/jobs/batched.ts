import { Cause, Deferred, Effect, Exit, Queue, type Scope } from "effect"
import { unavailable } from "../db/sql-errors.ts"

const most = 500
const pause = "500 millis"

/**
 * Work that many fibers ask for at once, done together: while one batch is under way the next one gathers. While the database is away it is
 * tried again, so it may be done twice when an answer is lost. When a batch fails for another reason, each is done by itself, and the one
 * that is to blame fails alone.
 */
export const batched = <In, Out>(
  work: (batch: ReadonlyArray<In>) => Effect.Effect<ReadonlyArray<Out>>
): Effect.Effect<(one: In) => Effect.Effect<Out>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const waiting = yield* Queue.unbounded<readonly [In, Deferred.Deferred<Out>]>()
    const done = (batch: ReadonlyArray<readonly [In, Deferred.Deferred<Out>]>): Effect.Effect<void> =>
      Effect.flatMap(Effect.exit(work(batch.map(([one]) => one))), (exit) => {
        if (Exit.isSuccess(exit)) {
          return Effect.forEach(batch, ([, deferred], n) => Deferred.succeed(deferred, exit.value[n] as Out), { discard: true })
        }
        if (unavailable(Cause.squash(exit.cause)) !== undefined) return Effect.andThen(Effect.sleep(pause), done(batch))
        return batch.length > 1
          ? Effect.forEach(batch, (one) => done([one]), { discard: true })
          : Effect.forEach(batch, ([, deferred]) => Deferred.failCause(deferred, exit.cause), { discard: true })
      })
    yield* Queue.takeBetween(waiting, 1, most).pipe(
      Effect.flatMap(done),
      Effect.forever,
      Effect.withTracerEnabled(false),
      Effect.forkScoped
    )
    return (one) =>
      Effect.gen(function* () {
        const deferred = yield* Deferred.make<Out>()
        yield* Queue.offer(waiting, [one, deferred])
        return yield* Deferred.await(deferred)
      })
  })
