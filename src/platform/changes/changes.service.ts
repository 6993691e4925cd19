import { Context, Effect, Layer } from "effect"
import { Db, type Transaction } from "../db/db.ts"
import type { InvalidCursor, Page, PageParams } from "../db/paging.ts"
import type { InvalidRequest } from "../http/problems.ts"
import { Announcer } from "./announcer.ts"
import type { Change, NewChange } from "./change.ts"
import { type ChangesFilter, ChangesRepo } from "./changes.repo.ts"

const IsDeferring = Context.Reference("platform/DeferringChanges", { defaultValue: () => false })

/** The append-only record of every write, for audit and for the event feed. */
export class Changes extends Context.Service<
  Changes,
  {
    /** Writes the change in the transaction it describes, so a change exists exactly when its write does. */
    readonly record: (...changes: ReadonlyArray<NewChange>) => Effect.Effect<void, never, Transaction>
    /**
     * What the effect records is written at its end, in its order. For a transaction that takes longer than moments: from its first
     * record to its commit it holds back the event feed of everybody.
     */
    readonly deferred: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | Transaction>
    /** Newest first. */
    readonly list: (filter: ChangesFilter, params: PageParams) => Effect.Effect<Page<Change>, InvalidCursor | InvalidRequest>
  }
>()("platform/Changes") {
  static readonly layer = Layer.effect(
    Changes,
    Effect.gen(function* () {
      const repo = yield* ChangesRepo
      const db = yield* Db
      const { announce } = yield* Announcer
      return Changes.of({
        record: (...changes) =>
          changes.length === 0
            ? Effect.void
            : Effect.flatMap(IsDeferring, (isDeferring) =>
                isDeferring
                  ? repo.insert(changes, "deferred_changes")
                  : Effect.andThen(repo.insert(changes, "changes"), db.afterCommit(announce))
              ),
        deferred: (effect) =>
          effect.pipe(
            Effect.provideService(IsDeferring, true),
            Effect.tap(() => Effect.andThen(repo.insertDeferred, db.afterCommit(announce)))
          ),
        list: Effect.fn("Changes.list")((filter, params) => repo.list(filter, params))
      })
    })
  ).pipe(Layer.provide([ChangesRepo.layer, Announcer.layer]))
}
