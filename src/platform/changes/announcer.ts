import { Context, Effect, Layer } from "effect"
import { announcing } from "../db/announcing.ts"

/** The channel on which processes tell each other. No payload: changes were committed. Otherwise an event that is not stored. */
export const channel = "partwright_events"

/** Wakes the feeds of all processes. When that is lost, they look by themselves within a second. */
export class Announcer extends Context.Service<Announcer, { readonly announce: Effect.Effect<void> }>()("platform/Announcer") {
  static readonly layer = Layer.effect(
    Announcer,
    Effect.map(announcing(channel), (announce) => Announcer.of({ announce }))
  )
}
