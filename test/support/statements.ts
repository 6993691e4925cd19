import { Context, Effect, Layer, Tracer } from "effect"

/** Counts what the database is asked. Provide it below `world()`; nothing else may run meanwhile. */
export class Statements extends Context.Service<
  Statements,
  { readonly during: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<number, E, R> }
>()("test/Statements") {
  static readonly layer = Layer.unwrap(
    Effect.sync(() => {
      let count = 0
      const tracer = Tracer.make({
        span: (options) => {
          if (options.kind === "client") count++
          return new Tracer.NativeSpan(options)
        }
      })
      const during = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend(() => {
          const before = count
          return Effect.map(effect, () => count - before)
        })
      return Layer.merge(Layer.succeed(Tracer.Tracer, tracer), Layer.succeed(Statements, { during }))
    })
  )
}
