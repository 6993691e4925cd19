import { Context, Effect, Fiber, FiberSet, Layer, Option, type Scope, Stream } from "effect"
import type { Download } from "#platform/http/download.ts"
import type { UnreadableFile } from "#platform/http/problems.ts"
import { StorageUnavailable } from "#platform/http/problems.ts"
import { isMediaType } from "#platform/media/formats.ts"
import { Media } from "#platform/media/media.service.ts"
import type { ByteRange, StoredObject } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { DocumentNotFound, NoPreview } from "./document.ts"
import { Documents } from "./documents.service.ts"

export interface ThumbnailOptions {
  readonly size: number
  readonly format: "jpeg" | "webp"
}

type File = Download<StorageUnavailable, Scope.Scope>

/** What is seen of documents: their bytes, and small pictures that are made once and kept. */
export class Pictures extends Context.Service<
  Pictures,
  {
    readonly content: (id: string, attachment: boolean) => Effect.Effect<File, DocumentNotFound | NoPreview>
    readonly thumbnail: (
      id: string,
      options: ThumbnailOptions
    ) => Effect.Effect<File, DocumentNotFound | NoPreview | StorageUnavailable | UnreadableFile>
  }
>()("inventory/Pictures") {
  static readonly layerNoDeps = Layer.effect(
    Pictures,
    Effect.gen(function* () {
      const documents = yield* Documents
      const objects = yield* Objects
      const media = yield* Media
      const inBackground = yield* FiberSet.makeRuntime<
        never,
        StoredObject,
        DocumentNotFound | NoPreview | StorageUnavailable | UnreadableFile
      >()
      const underWay = new Map<string, Fiber.Fiber<StoredObject, DocumentNotFound | NoPreview | StorageUnavailable | UnreadableFile>>()

      const gone = (id: string) => new DocumentNotFound({ detail: "The document was deleted a moment ago.", documentId: id })

      const open = (id: string, object: StoredObject) => (range: ByteRange | undefined) =>
        objects.read(object, range).pipe(
          Effect.map(({ body }) => body),
          // The row was there, so the file must be; unless someone deletes both at this moment.
          Effect.catchTag("ObjectMissing", () =>
            Effect.flatMap(objects.find(object.id), (found) =>
              Effect.fail(
                new StorageUnavailable({
                  detail: Option.isSome(found)
                    ? `The file of the document ${id} is not in the store. Whoever runs the server can look with: partwright objects verify.`
                    : "The document was deleted a moment ago."
                })
              )
            )
          )
        )

      const objectOf = Effect.fnUntraced(function* (id: string, objectId: number) {
        const object = yield* objects.find(objectId)
        return Option.isSome(object) ? object.value : yield* gone(id)
      })

      const make = (id: string, sourceId: number, name: string, options: ThumbnailOptions) =>
        Effect.gen(function* () {
          const source = yield* objectOf(id, sourceId)
          const seen = source.mediaType
          if (!isMediaType(seen)) return yield* new NoPreview({ detail: `Nothing can be drawn of ${seen}.` })
          const original = yield* objects
            .stage(yield* open(id, source)(undefined), { maxBytes: source.size })
            .pipe(Effect.catchTag("TooLarge", Effect.die))
          const { bytes, mediaType } = yield* media.thumbnail(original.path, seen, options)
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

      return Pictures.of({
        content: Effect.fn("Pictures.content")(function* (id, attachment) {
          const { objectId, originalFilename, title } = yield* documents.kept(id)
          if (objectId === null) return yield* new NoPreview({ detail: `${title} is a link; open its url.` })
          const object = yield* objectOf(id, objectId)
          const { mediaType, sha256, size } = object
          return { size, mediaType, sha256, attachment, filename: originalFilename ?? title, immutable: true, open: open(id, object) }
        }),

        thumbnail: Effect.fn("Pictures.thumbnail")(function* (id, options) {
          const { objectId, previewId, title } = yield* documents.kept(id)
          const sourceId = objectId ?? previewId
          if (sourceId === null) return yield* new NoPreview({ detail: `The link ${title} has no preview.` })
          const name = `thumbnail-${options.size}.${options.format}`
          const known = yield* objects.variant(sourceId, name)
          const object = Option.isSome(known) ? known.value : yield* madeOnce(id, sourceId, name, options)
          const { mediaType, sha256, size } = object
          return { size, mediaType, sha256, attachment: false, filename: null, immutable: true, vary: "Accept", open: open(id, object) }
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(Documents.layer))
}
