import { Effect, Layer } from "effect"
import { jobHandler } from "#platform/jobs/handlers.ts"
import { textKind, thumbnailsKind } from "./document-jobs.ts"
import { DocumentTexts } from "./document-texts.service.ts"
import { Pictures } from "./pictures.service.ts"

/** What is made of documents after they were attached. */
export const DocumentsJobs = Layer.merge(
  jobHandler(
    thumbnailsKind,
    Effect.fnUntraced(function* ({ documentId, objectId }, run) {
      return { made: yield* (yield* Pictures).prepare(documentId, objectId, run.progress) }
    })
  ),
  jobHandler(
    textKind,
    Effect.fnUntraced(function* ({ objectId }, run) {
      return yield* (yield* DocumentTexts).read(objectId, run)
    })
  )
).pipe(Layer.provide([Pictures.layer, DocumentTexts.layer]))
