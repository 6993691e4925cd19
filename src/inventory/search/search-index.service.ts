import { Context, Effect, Layer } from "effect"
import type { Transaction } from "#platform/db/db.ts"

/** PROVISIONAL until the real one of the search feature replaces this file. */
export class SearchIndex extends Context.Service<
  SearchIndex,
  {
    readonly refresh: (ids: ReadonlyArray<string>) => Effect.Effect<void, never, Transaction>
    readonly refreshType: (typeId: number) => Effect.Effect<void, never, Transaction>
    readonly refreshSeller: (sellerId: number) => Effect.Effect<void, never, Transaction>
  }
>()("inventory/SearchIndex") {
  static readonly layer = Layer.succeed(SearchIndex, { refresh: () => Effect.void, refreshType: () => Effect.void, refreshSeller: () => Effect.void })
}
