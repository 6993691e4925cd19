import { availableParallelism } from "node:os"
import { Context, Effect, Layer } from "effect"
import { AppConfig } from "#platform/config.ts"
import { PayloadTooLarge, UnreadableFile } from "#platform/http/problems.ts"
import { type Limits, makeDecoders } from "./decoders.ts"
import type { Refusal } from "./decoding.ts"
import { type MediaType, previewSize, renditionSize } from "./formats.ts"
import { type Inspected, type Picture, UnsupportedMedia } from "./media.ts"

/** What a file is and what it looks like. Every file is read in a process of its own, within limits of time and memory. */
export class Media extends Context.Service<
  Media,
  {
    /** The type by the bytes alone, proven by decoding them. */
    readonly inspect: (path: string, size: number) => Effect.Effect<Inspected, UnsupportedMedia | UnreadableFile | PayloadTooLarge>
    /** Fits into a square of `size` pixels and is never enlarged; of a PDF it is the first page. */
    readonly thumbnail: (
      path: string,
      mediaType: MediaType,
      options: { readonly size: number; readonly format: "jpeg" | "webp" }
    ) => Effect.Effect<Picture, UnreadableFile>
    /** A small WebP of an image of unknown kind, icons of sites among them; its dimensions are those of the image when it is small itself. */
    readonly preview: (path: string, size?: number) => Effect.Effect<Picture, UnsupportedMedia | UnreadableFile | PayloadTooLarge>
    /** The words on the first 50 pages of a PDF, at most 200 KB of UTF-8. */
    readonly text: (path: string) => Effect.Effect<string, UnreadableFile>
    /** How many decoding processes there are now. */
    readonly decoders: Effect.Effect<number>
  }
>()("platform/Media") {
  static readonly layerWith = (limits: Partial<Limits> = {}) =>
    Layer.effect(
      Media,
      Effect.gen(function* () {
        const { jobConcurrency } = yield* AppConfig
        const decoders = yield* makeDecoders({
          // Memory is what a decoder may need most: a hundred megapixels of a progressive JPEG are 700 MB.
          parallel: Math.min(jobConcurrency, availableParallelism(), 4),
          wait: "30 seconds",
          time: "20 seconds",
          memory: 2 ** 30,
          idle: "30 seconds",
          ...limits
        })
        return Media.of({
          inspect: Effect.fn("Media.inspect")((path, size) => Effect.mapError(decoders.answer({ ask: "inspect", path, size }), problem)),
          thumbnail: Effect.fn("Media.thumbnail")(function* (path, mediaType, { format, size }) {
            if (!(Number.isInteger(size) && size >= 1 && size <= renditionSize)) return yield* Effect.die(new RangeError(`size ${size}`))
            const drawn = yield* Effect.mapError(decoders.answer({ ask: "thumbnail", path, mediaType, size, format }), unreadable)
            return { ...drawn, mediaType: `image/${format}` as const }
          }),
          preview: Effect.fn("Media.preview")(function* (path, size = previewSize) {
            const drawn = yield* Effect.mapError(decoders.answer({ ask: "preview", path, size }), problem)
            return { ...drawn, mediaType: "image/webp" as const }
          }),
          text: Effect.fn("Media.text")((path) =>
            Effect.mapError(decoders.answer({ ask: "text", path, pages: 50, bytes: 200_000 }), unreadable)
          ),
          decoders: decoders.count
        })
      })
    )

  static readonly layer = this.layerWith()
}

const unreadable = ({ message }: Refusal) => new UnreadableFile({ detail: message })

const problem = (refusal: Refusal) => {
  switch (refusal.because) {
    case "unsupported":
      return new UnsupportedMedia({ detail: refusal.message })
    case "too-large":
      return new PayloadTooLarge({ detail: refusal.message })
    case "unreadable":
      return unreadable(refusal)
  }
}
