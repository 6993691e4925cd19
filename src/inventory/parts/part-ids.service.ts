import { Context, Effect, Layer } from "effect"
import { PartNotFound, PartRetired, type RetiredPart } from "./part.ts"
import { PartIdsRepo } from "./part-ids.repo.ts"

type Missing = PartNotFound | PartRetired

/** Which labels are in use, which were; for features that hang something on a part and need no more of it. */
export class PartIds extends Context.Service<
  PartIds,
  {
    readonly require: (id4: string) => Effect.Effect<void, Missing>
    /** Why there is no such part. */
    readonly missing: (id4: string) => Effect.Effect<never, Missing>
    /** Why there are no such parts. */
    readonly reasons: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, Missing>>
    readonly existing: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlySet<string>>
    readonly retired: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<RetiredPart>>
  }
>()("inventory/PartIds") {
  static readonly layer = Layer.effect(
    PartIds,
    Effect.gen(function* () {
      const repo = yield* PartIdsRepo
      const retired = (ids: ReadonlyArray<string>) => (ids.length === 0 ? Effect.succeed([]) : repo.retired(ids))
      const reasons = Effect.fn("PartIds.reasons")((ids: ReadonlyArray<string>) =>
        Effect.map(retired(ids), (found) => {
          const byId = new Map(found.map((part) => [part.id4, part]))
          return new Map(ids.map((id4): [string, Missing] => [id4, reason(id4, byId.get(id4))]))
        })
      )
      const missing = Effect.fn("PartIds.missing")((id4: string) =>
        Effect.flatMap(retired([id4]), ([part]) => Effect.fail(reason(id4, part)))
      )
      return PartIds.of({
        missing,
        reasons,
        require: Effect.fn("PartIds.require")((id4) =>
          Effect.flatMap(repo.existing([id4]), (known) => (known.has(id4) ? Effect.void : missing(id4)))
        ),
        existing: (ids) => (ids.length === 0 ? Effect.succeed(new Set<string>()) : repo.existing(ids)),
        retired
      })
    })
  ).pipe(Layer.provide(PartIdsRepo.layer))
}

const reason = (id4: string, part: RetiredPart | undefined): Missing =>
  part === undefined
    ? new PartNotFound({ detail: `No part has the label ${id4 || "you gave"}.`, id4 })
    : new PartRetired({
        detail: `${id4} was "${[...part.description].slice(0, 100).join("")}", deleted on ${part.retiredAt.slice(0, 10)}.`,
        ...part
      })
