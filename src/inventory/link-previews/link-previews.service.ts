import { createHash } from "node:crypto"
import { Context, Effect, Layer, Option, type Scope, Stream } from "effect"
import { AppConfig } from "#platform/config.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import { isUuid, uuidv7 } from "#platform/db/uuid.ts"
import type { Download } from "#platform/http/download.ts"
import { previewSize } from "#platform/media/formats.ts"
import { Media } from "#platform/media/media.service.ts"
import { type CaptureRefused, LinkCapture } from "../documents/capture.service.ts"
import { titleOf } from "../documents/document.ts"
import { type LinkPreview, LinkPreviewId, LinkPreviewNotFound } from "./link-preview.ts"
import { LinkPreviewsRepo } from "./link-previews.repo.ts"

/** Something that must be committed with a new preview: the answer kept under an Idempotency-Key. */
export type Within<A, E> = (written: Effect.Effect<LinkPreview, never, Transaction>) => Effect.Effect<A, E, Transaction>

/** What is at addresses that nobody has attached yet, kept for an hour. */
export class LinkPreviews extends Context.Service<
  LinkPreviews,
  {
    /** Asks the address what it is. Begins a transaction itself, after everything is fetched: never inside another one. */
    readonly create: <A, E>(url: string, within: Within<A, E>) => Effect.Effect<A, E | CaptureRefused, Scope.Scope>
    readonly image: (id: string) => Effect.Effect<Download<LinkPreviewNotFound, never>, LinkPreviewNotFound>
    /** Removes all whose time is over; answers how many. */
    readonly expire: Effect.Effect<number>
  }
>()("inventory/LinkPreviews") {
  static readonly layerNoDeps = Layer.effect(
    LinkPreviews,
    Effect.gen(function* () {
      const repo = yield* LinkPreviewsRepo
      const capture = yield* LinkCapture
      const media = yield* Media
      const db = yield* Db
      const { basePath } = yield* AppConfig

      const notFound = (id: string) => new LinkPreviewNotFound({ detail: "No preview with an image has this id now.", linkPreviewId: id })
      const seen = <A>(id: string, found: Effect.Effect<Option.Option<A>>) =>
        Effect.flatMap(isUuid(id) ? found : Effect.succeedNone, Option.match({ onNone: () => notFound(id), onSome: Effect.succeed }))

      /** What is shown of the address, with the title that a document of it would have. */
      const look = Effect.fnUntraced(function* (url: string) {
        const found = yield* capture.capture(url)
        const { finalUrl } = found
        if (found.kind === "page") return { kind: "webpage" as const, title: found.title, finalUrl, picture: found.picture }
        const { kind, mediaType } = found.is
        const picture = yield* media.thumbnail(found.staged.path, mediaType, { size: previewSize, format: "webp" })
        return { kind, title: titleOf(found.filename), finalUrl, picture }
      })

      return LinkPreviews.of({
        create: Effect.fn("LinkPreviews.create")(function* (url, within) {
          const { picture, ...found } = yield* look(url)
          const id = LinkPreviewId.make(yield* uuidv7)
          const image = picture === null ? null : { bytes: picture.bytes, sha256: sha256(picture.bytes) }
          const imageUrl = image === null ? null : `${basePath}/api/link-previews/${id}/image`
          return yield* repo
            .removeExpired(fewExpired)
            .pipe(Effect.andThen(within(Effect.as(repo.insert({ ...found, id, image }), { ...found, id, imageUrl }))), db.transaction)
        }),

        image: Effect.fn("LinkPreviews.image")(function* (id) {
          const { sha256, size } = yield* seen(id, repo.find(id))
          return {
            size,
            mediaType: "image/webp",
            sha256,
            attachment: false,
            filename: null,
            immutable: true,
            open: (range) =>
              Effect.map(seen(id, repo.image(id)), ({ bytes }) =>
                Stream.make(range === undefined ? bytes : bytes.subarray(range.start, range.end + 1))
              )
          }
        }),

        expire: Effect.gen(function* () {
          let [removed, last] = [0, manyExpired]
          while (last === manyExpired) {
            last = yield* repo.removeExpired(manyExpired)
            removed += last
          }
          return removed
        }).pipe(Effect.withSpan("LinkPreviews.expire"))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([LinkPreviewsRepo.layer, LinkCapture.layer]))
}

// Two for each that comes: they cannot pile up while previews are made, whether or not the schedule runs.
const fewExpired = 2
const manyExpired = 500

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
