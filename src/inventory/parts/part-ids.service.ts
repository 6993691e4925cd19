import { Context, Effect, Layer } from "effect"
import { PartNotFound, PartRetired, type RetiredPart } from "./part.ts"
import { PartIdsRepo } from "./part-ids.repo.ts"

/** Which labels are in use, which were; for features that hang something on a part and need no more of it. */
export class PartIds extends Context.Service<
  PartIds,
  {
    readonly require: (id4: string) => Effect.Effect<void, PartNotFound | PartRetired>
    /** Why there is no such part. */
    readonly missing: (id4: string) => Effect.Effect<never, PartNotFound | PartRetired>
    readonly existing: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlySet<string>>
    readonly retired: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<RetiredPart>>
  }
>()("inventory/PartIds") {
  static readonly layer = Layer.effect(
    PartIds,
    Effect.gen(function* () {
      const repo = yield* PartIdsRepo
      const missing = Effect.fn("PartIds.missing")(function* (id4: string) {
        const [part] = yield* repo.retired([id4])
        if (part === undefined) return yield* new PartNotFound({ detail: `No part has the label ${id4 || "you gave"}.`, id4 })
        return yield* new PartRetired({
          detail: `${id4} was "${part.description.slice(0, 100)}", deleted on ${part.retiredAt.slice(0, 10)}.`,
          ...part
        })
      })
      return PartIds.of({
        missing,
        require: Effect.fn("PartIds.require")((id4) =>
          Effect.flatMap(repo.existing([id4]), (known) => (known.has(id4) ? Effect.void : missing(id4)))
        ),
        existing: (ids) => (ids.length === 0 ? Effect.succeed(new Set<string>()) : repo.existing(ids)),
        retired: (ids) => (ids.length === 0 ? Effect.succeed([]) : repo.retired(ids))
      })
    })
  ).pipe(Layer.provide(PartIdsRepo.layer))
}
