import { Context, Effect, Layer } from "effect"
import type { Transaction } from "#platform/db/db.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { DocumentsRepo, objectsOf } from "./documents.repo.ts"

/** What deleting a part does to its documents; apart from them, because parts stand below them. */
export class DocumentsOfParts extends Context.Service<
  DocumentsOfParts,
  {
    /** Holds the objects of a part's documents. To be called before the part is locked. */
    readonly lockObjectsOf: (id4: string) => Effect.Effect<void, never, Transaction>
    /** Removes all documents of a part that is being deleted. Recording the change is left to the caller. */
    readonly removeAllOf: (id4: string) => Effect.Effect<void, never, Transaction>
  }
>()("inventory/DocumentsOfParts") {
  static readonly layer = Layer.effect(
    DocumentsOfParts,
    Effect.gen(function* () {
      const repo = yield* DocumentsRepo
      const objects = yield* Objects
      return DocumentsOfParts.of({
        lockObjectsOf: Effect.fn("DocumentsOfParts.lockObjectsOf")((id4) => Effect.flatMap(repo.objectsOf([id4]), objects.lock)),
        removeAllOf: Effect.fn("DocumentsOfParts.removeAllOf")(function* (id4) {
          const documents = yield* repo.of(id4)
          if (documents.length === 0) return
          yield* repo.remove(documents.map(({ id }) => id))
          yield* objects.release(documents.flatMap(objectsOf))
        })
      })
    })
  ).pipe(Layer.provide(DocumentsRepo.layer))
}
