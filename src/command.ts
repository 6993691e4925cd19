import { Effect, Layer } from "effect"
import { connect } from "#platform/db/connect.ts"
import { Application } from "./server.ts"

/**
 * Runs a command's work on the application: beside a running server on the database it holds, otherwise on one that is started
 * for the time of the command. The services a command needs are given as their layers.
 */
export const onApplication =
  <Services, E2, R2>(services: Layer.Layer<Services, E2, R2>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const { connection } = yield* connect("command")
      return yield* Effect.provide(effect, services.pipe(Layer.provideMerge(Application(connection))))
    }).pipe(Effect.scoped)
