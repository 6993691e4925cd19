import { Deferred, Effect, Exit } from "effect"

/**
 * Work that many want at once and that is the same for all. Whoever asks while it runs gets the outcome of the next run, which all
 * who asked by then share: an answer is never older than its question, and one run at a time is enough for any number of callers.
 * A run outlives a caller who goes away.
 */
export const shared = <A, E, R>(work: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.scope, (scope): Effect.Effect<A, E, R> => {
    let busy = false
    let waiting: Deferred.Deferred<A, E> | undefined

    const runs: Effect.Effect<void, never, R> = Effect.suspend(() => {
      const outcome = waiting
      waiting = undefined
      busy = outcome !== undefined
      if (outcome === undefined) return Effect.void
      return Effect.andThen(
        Effect.onExit(work, (exit) => Deferred.done(outcome, exit)).pipe(Effect.exit),
        // Pollers who were just answered ask again at once. Without this pause they would all wait for two runs instead of one.
        Effect.suspend(() => (waiting === undefined ? runs : Effect.delay(runs, "2 millis")))
      )
    })

    return Effect.suspend(() => {
      waiting ??= Deferred.makeUnsafe()
      const outcome = Deferred.await(waiting)
      if (busy) return outcome
      busy = true
      const abandoned = Effect.suspend(() => (waiting === undefined ? Effect.void : Deferred.done(waiting, Exit.interrupt())))
      return Effect.andThen(
        Effect.forkIn(
          Effect.onInterrupt(runs, () => abandoned),
          scope
        ),
        outcome
      )
    })
  })
