import { Cause, Context, Effect, Exit, Layer, Option } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db } from "#platform/db/db.ts"
import { StorageUnavailable, type UnreadableFile } from "#platform/http/problems.ts"
import type { Completed, JobRun } from "#platform/jobs/job-kind.ts"
import { Media } from "#platform/media/media.service.ts"
import type { ObjectRef, StoredObject } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { opening } from "#platform/objects/opening.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import type { TextState } from "./document.ts"
import { DocumentTextsRepo } from "./document-texts.repo.ts"
import { DocumentsRepo } from "./documents.repo.ts"

interface Read {
  readonly words: number
}

/** What is written in PDFs: read once for all documents that show the same bytes, and found by search. */
export class DocumentTexts extends Context.Service<
  DocumentTexts,
  {
    /** Reads the bytes unless that is done, or nothing shows them any more. */
    readonly read: (objectId: number, run: JobRun<Read>) => Effect.Effect<Read | Completed, StorageUnavailable | UnreadableFile>
    /** The beginning of what is written in the oldest PDF of a part that was read; none when there is none. */
    readonly ofPart: DocumentTextsRepo["Service"]["ofPart"]
  }
>()("inventory/DocumentTexts") {
  static readonly layerNoDeps = Layer.effect(
    DocumentTexts,
    Effect.gen(function* () {
      const texts = yield* DocumentTextsRepo
      const documents = yield* DocumentsRepo
      const objects = yield* Objects
      const media = yield* Media
      const index = yield* SearchIndex
      const changes = yield* Changes
      const db = yield* Db

      const contentOf = Effect.fnUntraced(function* (object: StoredObject) {
        const gone = () => new StorageUnavailable({ detail: "The document was deleted a moment ago." })
        const body = yield* opening(objects, `the object ${object.id}`, gone)(object)(undefined)
        const { path } = yield* objects.stage(body, { maxBytes: object.size }).pipe(Effect.catchTag("TooLarge", Effect.die))
        return yield* media.text(path)
      }, Effect.scoped)

      /** Every document that shows the bytes has another state from now on. */
      const settled = Effect.fnUntraced(function* ({ id }: ObjectRef, textState: typeof TextState.Type) {
        const shown = yield* documents.showing(id)
        yield* changes.record(
          ...shown.map((document) => ({
            topic: "document" as const,
            action: "updated",
            entity: "document",
            entityId: document.id,
            before: { textState: "queued" },
            after: { textState }
          }))
        )
      })

      const giveUp = (objectId: number) =>
        db.transaction(
          Effect.gen(function* () {
            const held = yield* objects.hold(objectId)
            if (Option.isNone(held) || !(yield* texts.giveUp(held.value))) return
            yield* settled(held.value, "failed")
          })
        )

      const read = Effect.fnUntraced(function* (objectId: number, run: JobRun<Read>) {
        const state = yield* texts.state(objectId)
        const object = yield* objects.find(objectId)
        if (Option.isNone(state) || state.value.state === "done" || Option.isNone(object)) return { words: 0 }
        const content = yield* contentOf(object.value)
        const words = yield* index.wordsOf(content)
        return yield* db.transaction(
          Effect.gen(function* () {
            const held = yield* objects.hold(objectId)
            if (Option.isNone(held)) return yield* run.complete({ words: 0 })
            yield* texts.keep(held.value, content)
            yield* index.writeText(objectId, words)
            yield* settled(held.value, "done")
            return yield* run.complete({ words: words.length })
          })
        )
      })

      return DocumentTexts.of({
        ofPart: texts.ofPart,
        read: Effect.fn("DocumentTexts.read")((objectId, run) =>
          Effect.onExit(read(objectId, run), (exit) =>
            Exit.isFailure(exit) && !Cause.hasInterrupts(exit.cause) && (run.isLastAttempt || isFinal(exit.cause))
              ? giveUp(objectId)
              : Effect.void
          )
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([DocumentTextsRepo.layer, DocumentsRepo.layer, SearchIndex.layer, Changes.layer])
  )
}

/** The file is at fault, so nothing is tried again. */
const isFinal = (cause: Cause.Cause<StorageUnavailable | UnreadableFile>) =>
  cause.reasons.some((reason) => Cause.isFailReason(reason) && reason.error._tag === "UnreadableFile")
