import { Context, type Effect, type Scope } from "effect"
import type { QueueUnavailable } from "../http/problems.ts"

/** What a worker could start now: never empty. */
export interface Wanted {
  readonly kinds: ReadonlyArray<string>
  readonly limit: number
}

/** A reason to believe that there are due jobs of these kinds, and how many to claim at most. Not which: the claim takes the most urgent. */
export interface Offer {
  readonly kinds: ReadonlyArray<string>
  readonly limit: number
  /** After the claim: how many there were. Without it the offer is made again, here or to another worker. */
  readonly settle: (claimed: number) => Effect.Effect<void>
}

export interface Consumer {
  /**
   * Waits until there may be due jobs of the wanted kinds. May be interrupted and called again with other wishes at any moment, and loses
   * no offer by that.
   */
  readonly next: (wanted: Wanted) => Effect.Effect<Offer>
}

/**
 * How workers learn that there is something to claim. The rows of PostgreSQL are the truth: an offer that is lost, made twice or foreign
 * loses, doubles and invents no job.
 */
export class Queue extends Context.Service<
  Queue,
  {
    /** Offers of these kinds until the scope ends; what was offered and not settled by then goes to other workers. */
    readonly consume: (kinds: ReadonlyArray<string>) => Effect.Effect<Consumer, never, Scope.Scope>
    /** Whether jobs can travel now. */
    readonly check: Effect.Effect<void, QueueUnavailable>
    readonly engine: "postgres" | "rabbitmq"
  }
>()("platform/Queue") {}
