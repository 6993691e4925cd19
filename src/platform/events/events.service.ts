import { Context, DateTime, Effect, Layer } from "effect"
import type { Topic } from "../changes/topic.ts"
import { CurrentRequest } from "../http/request.ts"
import type { Event } from "./event.ts"
import { EventsRepo } from "./events.repo.ts"

/** What is worth telling whoever looks, and not worth keeping: how far a job is. */
export interface NewEvent {
  readonly topic: Topic
  readonly action: string
  readonly entity: string
  readonly id: string
  readonly principal?: string
  readonly requestId?: string | null
  /** What stands in the event besides. */
  readonly said?: Readonly<Record<string, unknown>>
}

// PostgreSQL takes payloads of less than 8000 bytes.
const mostBytes = 7999

/**
 * Events that are not stored, to the feed's clients of every process. Whoever is not connected at that moment never gets them, and
 * stored events of the same thing may come before or after. Inside a transaction they leave with its commit. Never fails: an event
 * is not worth the work that it tells of.
 */
export class Events extends Context.Service<Events, { readonly send: (event: NewEvent) => Effect.Effect<void> }>()("platform/Events") {
  static readonly layerNoDeps = Layer.effect(
    Events,
    Effect.gen(function* () {
      const repo = yield* EventsRepo
      return Events.of({
        send: Effect.fnUntraced(
          function* ({ said, ...event }) {
            const { principal, requestId } = yield* CurrentRequest
            const base: Event = { principal, requestId, ...event, at: DateTime.formatIso(yield* DateTime.now) }
            const whole = JSON.stringify({ ...base, said })
            yield* repo.notify(Buffer.byteLength(whole) <= mostBytes ? whole : JSON.stringify(base))
          },
          Effect.withTracerEnabled(false),
          Effect.catchCause((cause) => Effect.logDebug("an event was not sent", cause))
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(EventsRepo.layer))
}
