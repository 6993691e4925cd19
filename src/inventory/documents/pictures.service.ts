import { Context, Effect, Fiber, FiberSet, Layer, Option, RcMap, type Scope, Stream } from "effect"
import type { Download } from "#platform/http/download.ts"
import { StorageUnavailable, type UnreadableFile } from "#platform/http/problems.ts"
import { isMediaType } from "#platform/media/formats.ts"
import { Media } from "#platform/media/media.service.ts"
import type { StoredObject } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { opening } from "#platform/objects/opening.ts"
import { DocumentNotFound, NoPreview } from "./document.ts"
import { Documents } from "./documents.service.ts"

export interface ThumbnailOptions {
  readonly size: number
  readonly format: "jpeg" | "webp"
}

type File = Download<StorageUnavailable, Scope.Scope>

type Failure = DocumentNotFound | NoPreview | StorageUnavailable | UnreadableFile

/** Made after the upload, in both formats; others when they are asked for. */
const usual = [150, 300, 500].flatMap((size) => (["jpeg", "webp"] as const).map((format): ThumbnailOptions => ({ size, format })))

/** What is seen of documents: their bytes, and small pictures that are made once and kept. */
export class Pictures extends Context.Service<
  Pictures,
  {
    readonly content: (id: string, attachment: boolean) => Effect.Effect<File, DocumentNotFound | NoPreview>
    readonly thumbnail: (id: string, options: ThumbnailOptions) => Effect.Effect<File, Failure>
    /** Makes the thumbnails that most will ask for; answers how many there were not yet, none when nothing shows these bytes any more. */
    readonly prepare: (
      id: string,
      objectId: number,
      progress: (percent: number) => Effect.Effect<void>
    ) => Effect.Effect<number, NoPreview | StorageUnavailable | UnreadableFile>
  }
>()("inventory/Pictures") {
  static readonly layerNoDeps = Layer.effect(
    Pictures,
    Effect.gen(function* () {
      const documents = yield* Documents
      const objects = yield* Objects
      const media = yield* Media
      const inBackground = yield* FiberSet.makeRuntime<never, StoredObject, Failure>()
      const underWay = new Map<string, Fiber.Fiber<StoredObject, Failure>>()

      const gone = (id: string) => new DocumentNotFound({ detail: "The document was deleted a moment ago.", documentId: id })

      const open = (id: string) =>
        opening(objects, `the document ${id}`, () => new StorageUnavailable({ detail: "The document was deleted a moment ago." }))

      const objectOf = Effect.fnUntraced(function* (id: string, objectId: number) {
        const object = yield* objects.find(objectId)
        return Option.isSome(object) ? object.value : yield* gone(id)
      })

      /** Files that something is drawn of just now, fetched once for all of its sizes. */
      const originals = yield* RcMap.make({
        lookup: Effect.fnUntraced(function* (objectId: number) {
          const source = yield* objectOf(String(objectId), objectId)
          const { mediaType, size } = source
          if (!isMediaType(mediaType)) return yield* new NoPreview({ detail: `Nothing can be drawn of ${mediaType}.` })
          const body = yield* open(`with the object ${objectId}`)(source)(undefined)
          const { path } = yield* objects.stage(body, { maxBytes: size }).pipe(Effect.catchTag("TooLarge", Effect.die))
          return { path, mediaType }
        })
      })

      const make = (id: string, sourceId: number, name: string, options: ThumbnailOptions) =>
        Effect.gen(function* () {
          const original = yield* RcMap.get(originals, sourceId).pipe(Effect.catchTag("DocumentNotFound", () => gone(id)))
          const { bytes, mediaType } = yield* media.thumbnail(original.path, original.mediaType, options)
          const staged = yield* objects.stage(Stream.make(bytes), { maxBytes: bytes.length }).pipe(Effect.catchTag("TooLarge", Effect.die))
          yield* objects.storeVariant(sourceId, name, { staged, bucket: "images", mediaType })
          const made = yield* objects.variant(sourceId, name)
          return Option.isSome(made) ? made.value : yield* gone(id)
        }).pipe(Effect.scoped)

      /** Whoever asks for what is just being made waits for it; whoever goes away does not take it from the others. */
      const madeOnce = (id: string, sourceId: number, name: string, options: ThumbnailOptions) =>
        Effect.suspend(() => {
          const key = `${sourceId}/${name}`
          const fiber =
            underWay.get(key) ??
            inBackground(
              Effect.ensuring(
                make(id, sourceId, name, options),
                Effect.sync(() => underWay.delete(key))
              )
            )
          underWay.set(key, fiber)
          return Fiber.join(fiber)
        })

      const prepare = Effect.fnUntraced(function* (id: string, objectId: number, progress: (percent: number) => Effect.Effect<void>) {
        let made = 0
        for (const [n, options] of usual.entries()) {
          const name = nameOf(options)
          if (Option.isNone(yield* objects.variant(objectId, name))) {
            // Kept from here on: what is drawn next is drawn of the same file.
            yield* RcMap.get(originals, objectId)
            yield* madeOnce(id, objectId, name, options)
            made++
          }
          yield* progress((100 * (n + 1)) / usual.length)
        }
        return made
      }, Effect.scoped)

      return Pictures.of({
        content: Effect.fn("Pictures.content")(function* (id, attachment) {
          const { objectId, originalFilename, title } = yield* documents.kept(id)
          if (objectId === null) return yield* new NoPreview({ detail: `${title} is a link; open its url.` })
          const object = yield* objectOf(id, objectId)
          const { mediaType, sha256, size } = object
          return { size, mediaType, sha256, attachment, filename: originalFilename ?? title, immutable: true, open: open(id)(object) }
        }),

        thumbnail: Effect.fn("Pictures.thumbnail")(function* (id, options) {
          const { objectId, previewId, title } = yield* documents.kept(id)
          const sourceId = objectId ?? previewId
          if (sourceId === null) return yield* new NoPreview({ detail: `The link ${title} has no preview.` })
          const name = nameOf(options)
          const known = yield* objects.variant(sourceId, name)
          const object = Option.isSome(known) ? known.value : yield* madeOnce(id, sourceId, name, options)
          const { mediaType, sha256, size } = object
          return { size, mediaType, sha256, attachment: false, filename: null, immutable: true, vary: "Accept", open: open(id)(object) }
        }),

        prepare: Effect.fn("Pictures.prepare")((id, objectId, progress) =>
          Effect.catchTag(prepare(id, objectId, progress), "DocumentNotFound", () => Effect.succeed(0))
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Documents.layer))
}

const nameOf = ({ format, size }: ThumbnailOptions) => `thumbnail-${size}.${format}`
