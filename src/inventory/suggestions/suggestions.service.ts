import { stat } from "node:fs/promises"
import { Context, Effect, Layer, Option } from "effect"
import type { AiBudgetExhausted, AiNotConfigured, Input } from "#platform/ai/ask.ts"
import { OpenAi } from "#platform/ai/openai.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import {
  type InvalidRequest,
  invalidField,
  type PayloadTooLarge,
  StorageUnavailable,
  type UnreadableFile
} from "#platform/http/problems.ts"
import type { Job } from "#platform/jobs/job.ts"
import { type Completed, JobFailure, type JobRun } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { isMediaType, type MediaType, renditionSize } from "#platform/media/formats.ts"
import { Media } from "#platform/media/media.service.ts"
import { UnsupportedMedia } from "#platform/media/media.ts"
import type { Staged } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { opening } from "#platform/objects/opening.ts"
import { type DocumentNotFound, titleOf } from "../documents/document.ts"
import { Documents } from "../documents/documents.service.ts"
import type { Id4, Part, PartNotFound, PartRetired } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Parts } from "../parts/parts.service.ts"
import type { ProposalKind, Proposed } from "../proposals/output.ts"
import type { ProposalId } from "../proposals/proposal.ts"
import { Proposals } from "../proposals/proposals.service.ts"
import { cut } from "./legible.ts"
import { type AskRefused, type Done, Questions } from "./questions.service.ts"
import { type SuggestionInput, suggestionKinds } from "./suggestion.ts"

/** A photo that arrived. */
export interface Photo {
  readonly staged: Staged
  readonly filename: string | null
}

/** Something that must be committed with a new job: the answer kept under an Idempotency-Key. */
export type Within<A, E> = (made: Effect.Effect<Job, never, Transaction>) => Effect.Effect<A, E, Transaction>

type WordsRefused = AiNotConfigured | AiBudgetExhausted | PartNotFound | PartRetired
type PhotoRefused =
  | WordsRefused
  | InvalidRequest
  | DocumentNotFound
  | UnsupportedMedia
  | UnreadableFile
  | PayloadTooLarge
  | StorageUnavailable

type Words = Omit<SuggestionInput, "documentId">

/** The language model's part: looks at what people have, and proposes. Writes nothing but proposals. */
export class Suggestions extends Context.Service<
  Suggestions,
  {
    /** Asks for a job about words, or about a part. */
    readonly request: <A, E>(kind: ProposalKind, input: Words, within: Within<A, E>) => Effect.Effect<A, E | WordsRefused>
    /** Asks for a job about a photo. Begins transactions itself, after the photo is stored: never inside another one. */
    readonly requestPhoto: <A, E>(
      kind: "photo" | "part",
      input: SuggestionInput,
      photo: Photo | null,
      within: Within<A, E>
    ) => Effect.Effect<A, E | PhotoRefused>
    /** The work of the job. */
    readonly run: (
      kind: ProposalKind,
      input: SuggestionInput,
      run: JobRun<{ readonly proposalId: ProposalId }>
    ) => Effect.Effect<
      Completed,
      AskRefused | JobFailure | PartNotFound | PartRetired | DocumentNotFound | StorageUnavailable | UnreadableFile
    >
    /** What can be read in a photo, without a proposal: to try model and key. */
    readonly look: (path: string) => Effect.Effect<Done<"photo">, AskRefused | UnsupportedMedia | UnreadableFile | PayloadTooLarge>
  }
>()("inventory/Suggestions") {
  static readonly layerNoDeps = Layer.effect(
    Suggestions,
    Effect.gen(function* () {
      const openai = yield* OpenAi
      const parts = yield* Parts
      const partIds = yield* PartIds
      const documents = yield* Documents
      const proposals = yield* Proposals
      const questions = yield* Questions
      const objects = yield* Objects
      const media = yield* Media
      const jobs = yield* Jobs
      const db = yield* Db

      const partOf = (id4: string) => Effect.flatMap(partIds.require(id4), () => parts.get(id4 as Id4))

      /** Of the kinds that a model is shown. */
      const inspect = (path: string, size: number) =>
        Effect.filterOrElse(
          Effect.catchTag(media.inspect(path, size), "UnsupportedMedia", () => Effect.fail(noPhoto)),
          ({ mediaType }) => isPhoto(mediaType),
          () => Effect.fail(noPhoto)
        )

      /** As the model sees it: no metadata, upright, no larger than it can make use of. */
      const picture = (path: string, mediaType: MediaType) =>
        Effect.map(
          media.thumbnail(path, mediaType, { size: renditionSize, format: "jpeg" }),
          ({ bytes }): Input => ({
            type: "image",
            bytes,
            mediaType: "image/jpeg"
          })
        )

      const stored = Effect.fnUntraced(function* (objectId: number, mediaType: string, what: string) {
        const gone = () => new StorageUnavailable({ detail: `The image of ${what} was deleted a moment ago.` })
        const object = Option.getOrUndefined(yield* objects.find(objectId))
        if (object === undefined || !isMediaType(mediaType)) return yield* gone()
        const body = yield* opening(objects, what, gone)(object)(undefined)
        const { path } = yield* objects.stage(body, { maxBytes: object.size }).pipe(Effect.catchTag("TooLarge", Effect.die))
        return yield* picture(path, mediaType)
      }, Effect.scoped)

      /** The photo that was sent, or that a part has; null when it is about words alone. */
      const photoOf = Effect.fnUntraced(function* (jobId: string, { documentId }: SuggestionInput) {
        if (documentId !== undefined) {
          const { mediaType, objectId } = yield* documents.kept(documentId)
          return objectId === null || mediaType === null ? null : yield* stored(objectId, mediaType, "the document")
        }
        const sent = Option.getOrUndefined(yield* proposals.photoOf(jobId))
        if (sent === undefined || sent.objectId === null || sent.mediaType === null) return null
        return yield* stored(sent.objectId, sent.mediaType, "the request")
      })

      const targetOf = Effect.fnUntraced(function* ({ documentId, id4 }: SuggestionInput) {
        const target = documentId === undefined ? id4 : (yield* documents.kept(documentId)).partId4
        return target === undefined ? null : yield* partOf(target)
      })

      const work = Effect.fnUntraced(function* (kind: ProposalKind, jobId: string, input: SuggestionInput, part: Part | null) {
        switch (kind) {
          case "tags":
            return yield* questions.tags(input, part)
          case "type":
            return yield* questions.type(input, part)
          case "datasheet":
            return yield* questions.datasheet(jobId, input, part)
          case "photo": {
            const photo = yield* photoOf(jobId, input)
            if (photo === null) return yield* photoGone
            return yield* questions.photo(input, photo)
          }
          case "part":
            return yield* questions.part(jobId, input, yield* photoOf(jobId, input))
          case "cleanup":
            if (part === null) return yield* Effect.die(new Error("a cleanup of nothing"))
            return yield* questions.cleanup(jobId, input, part)
        }
      })

      const enqueue = (kind: ProposalKind, input: SuggestionInput, target: string | undefined) =>
        jobs.enqueue(suggestionKinds[kind], { input }, target === undefined ? {} : { entity: { type: "part", id: target } })

      const requestPhoto = <A, E>(kind: "photo" | "part", input: SuggestionInput, photo: Photo | null, within: Within<A, E>) =>
        Effect.gen(function* () {
          yield* openai.ready
          const target = yield* Effect.gen(function* () {
            if (input.documentId === undefined) return undefined
            const document = yield* documents.kept(input.documentId)
            if (document.kind === "image" && isPhoto(document.mediaType)) return document.partId4
            return yield* invalidField("body", "/documentId", `${document.title} is no photo`)
          })
          if (photo === null) return yield* db.transaction(within(enqueue(kind, input, target)))
          const is = yield* inspect(photo.staged.path, photo.staged.size)
          return yield* objects.store({ staged: photo.staged, bucket: "images", mediaType: is.mediaType }, (object) =>
            Effect.gen(function* () {
              let isNew = false
              const answer = yield* within(
                Effect.gen(function* () {
                  isNew = true
                  const job = yield* enqueue(kind, input, target)
                  yield* proposals.keep(job.id, {
                    wasSent: true,
                    kind: "image",
                    documentType: null,
                    title: titleOf(photo.filename ?? "Photo"),
                    originalFilename: photo.filename,
                    url: null,
                    object,
                    preview: null,
                    mediaType: is.mediaType,
                    size: photo.staged.size,
                    width: is.width,
                    height: is.height,
                    pageCount: null,
                    verified: null
                  })
                  return job
                })
              )
              // The same request came again: perhaps nothing needs its photo any more.
              if (!isNew) yield* objects.release([object.id])
              return answer
            })
          )
        })

      return Suggestions.of({
        request: (kind, input, within) =>
          Effect.gen(function* () {
            yield* openai.ready
            if (input.id4 !== undefined) yield* partIds.require(input.id4)
            return yield* db.transaction(within(enqueue(kind, input, input.id4)))
          }).pipe(Effect.withSpan("Suggestions.request")),
        requestPhoto: (kind, input, photo, within) =>
          requestPhoto(kind, input, photo, within).pipe(Effect.withSpan("Suggestions.requestPhoto")),

        run: Effect.fn("Suggestions.run")(
          function* (kind, input, run) {
            yield* proposals.restart(run.id)
            const part = yield* targetOf(input)
            yield* run.progress(10, "asking")
            const { output, usage } = yield* work(kind, run.id, input, part)
            const photo = Option.getOrUndefined(yield* proposals.photoOf(run.id))
            const { fresh: _, id4: __, text, ...about } = input
            return yield* proposals.propose(
              {
                proposed: { kind, output } as Proposed,
                jobId: run.id,
                part,
                input: {
                  ...about,
                  ...(text === undefined ? {} : { text: cut(text, 500, { lines: true }) ?? "" }),
                  ...(photo === undefined ? {} : { image: photo.originalFilename })
                },
                usage
              },
              run.complete
            )
          },
          // The photo stays for another try, which finds everything else itself.
          (work, _kind, _input, run) => Effect.tapError(work, () => Effect.catchCause(proposals.restart(run.id), () => Effect.void))
        ),

        look: Effect.fn("Suggestions.look")(function* (path) {
          const { size } = yield* Effect.promise(() => stat(path))
          const { mediaType } = yield* inspect(path, size)
          return yield* questions.photo({}, yield* picture(path, mediaType))
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([Parts.layer, PartIds.layer, Documents.layer, Proposals.layer, Questions.layer])
  )
}

const isPhoto = (mediaType: string | null): mediaType is "image/jpeg" | "image/png" | "image/webp" =>
  mediaType === "image/jpeg" || mediaType === "image/png" || mediaType === "image/webp"

const noPhoto = new UnsupportedMedia({ detail: "A photo is a JPEG, PNG or WebP image." })
const photoGone = new JobFailure({ code: "photo-gone", detail: "The photo is not kept any more. Send it again." })
