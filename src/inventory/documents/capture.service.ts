import { open } from "node:fs/promises"
import { Context, Duration, Effect, Layer, Option, type Scope } from "effect"
import { Fetcher, successful } from "#platform/fetcher/fetcher.service.ts"
import type { PayloadTooLarge, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { Media } from "#platform/media/media.service.ts"
import type { Inspected, Picture } from "#platform/media/media.ts"
import type { Staged } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { factsOf, isPage, isPdfAddress, LinkUnreachable, nameFrom, pageText, UnsupportedLinkContent, wordsOf } from "./capture.ts"

/** What was found at an address. */
export type Captured =
  | { readonly kind: "page"; readonly title: string; readonly finalUrl: string; readonly picture: Picture | null }
  | { readonly kind: "file"; readonly staged: Staged; readonly is: Inspected; readonly filename: string | null; readonly finalUrl: string }

export type CaptureRefused = LinkUnreachable | UnsupportedLinkContent | UnreadableFile | PayloadTooLarge | StorageUnavailable

/** Reads addresses that people give, through the guarded fetcher and nothing else. */
export class LinkCapture extends Context.Service<
  LinkCapture,
  {
    /** A page with its title and picture, or a PDF or an image, judged by the bytes. Within 30 seconds. */
    readonly capture: (url: string) => Effect.Effect<Captured, CaptureRefused, Scope.Scope>
    /** What is written there, on a page or in a PDF, at most so many characters. Within 30 seconds. */
    readonly text: (url: string, most: number) => Effect.Effect<{ readonly title: string | null; readonly text: string }, CaptureRefused>
    /** The icon of a site, at most as large; null when it has none that can be read. */
    readonly icon: (website: string, size: number) => Effect.Effect<Picture | null, LinkUnreachable | StorageUnavailable>
  }
>()("inventory/LinkCapture") {
  static readonly layerNoDeps = Layer.effect(
    LinkCapture,
    Effect.gen(function* () {
      const fetcher = yield* Fetcher
      const objects = yield* Objects
      const media = yield* Media

      const fetch = Effect.fnUntraced(
        function* (url: string, maxBytes: number) {
          const { body, charset, finalUrl, headers, mediaType } = yield* Effect.flatMap(
            fetcher.fetch(url, { maxBytes, timeout: within }),
            successful
          )
          return { staged: yield* objects.stage(body, { maxBytes }), finalUrl: finalUrl.href, mediaType, charset, headers }
        },
        Effect.catchTags({
          Unreachable: ({ sentence }) => Effect.fail(new LinkUnreachable({ detail: sentence })),
          TooLarge: ({ maxBytes }) =>
            Effect.fail(new LinkUnreachable({ detail: `What is there is larger than ${maxBytes / 2 ** 20} MiB.` }))
        })
      )
      const pictureAt = (url: string, size: number | undefined): Effect.Effect<Picture, unknown> =>
        Effect.gen(function* () {
          const { staged } = yield* fetch(url, largestPicture)
          const picture = yield* media.preview(staged.path, size)
          return picture.width * picture.height > 1 ? picture : yield* Effect.fail("counts visitors")
        }).pipe(Effect.scoped)

      const firstPicture = (urls: ReadonlyArray<string>, size?: number) =>
        Effect.gen(function* () {
          for (const url of urls) {
            const found = yield* Effect.option(pictureAt(url, size))
            if (Option.isSome(found)) return found.value
          }
          return null
        }).pipe(Effect.timeoutOrElse({ duration: picturesWithin, orElse: () => Effect.succeed(null) }))

      const read = (url: string, mayFollow: boolean): Effect.Effect<Captured, CaptureRefused, Scope.Scope> =>
        Effect.gen(function* () {
          const { charset, finalUrl, headers, mediaType, staged } = yield* fetch(url, largest)
          const beginning = yield* readBeginning(staged.path)
          const neither = new UnsupportedLinkContent({ detail: "At this address is neither a page, nor a PDF, nor an image." })
          if (staged.size === 0) return yield* neither
          if (!isPage(beginning, mediaType)) {
            const is = yield* media.inspect(staged.path, staged.size).pipe(Effect.catchTag("UnsupportedMedia", () => Effect.fail(neither)))
            return { kind: "file" as const, staged, is, filename: nameFrom(headers["content-disposition"] ?? null, finalUrl), finalUrl }
          }
          const facts = factsOf(pageText(beginning, charset), finalUrl)
          if (mayFollow && isPdfAddress(url) && facts.pdfFrame !== null) return yield* read(facts.pdfFrame, false)
          return {
            kind: "page" as const,
            title: facts.title ?? new URL(finalUrl).host,
            finalUrl,
            picture: yield* firstPicture(facts.images)
          }
        })

      const text = Effect.fnUntraced(function* (url: string, most: number) {
        const { charset, finalUrl, mediaType, staged } = yield* fetch(url, largest)
        const beginning = yield* readBeginning(staged.path)
        if (isPage(beginning, mediaType)) {
          const html = pageText(beginning, charset)
          return { title: factsOf(html, finalUrl).title, text: wordsOf(html, most) }
        }
        const neither = new UnsupportedLinkContent({ detail: "At this address is neither a page nor a PDF." })
        const { kind } = yield* media
          .inspect(staged.path, staged.size)
          .pipe(Effect.catchTag("UnsupportedMedia", () => Effect.fail(neither)))
        if (kind !== "pdf") return yield* neither
        return { title: null, text: (yield* media.text(staged.path)).slice(0, most).toWellFormed() }
      }, Effect.scoped)

      const inTime = Effect.timeoutOrElse({
        duration: within,
        orElse: () => Effect.fail(new LinkUnreachable({ detail: "The address did not answer within 30 seconds." }))
      })

      const icon = Effect.fnUntraced(function* (website: string, size: number) {
        const { charset, finalUrl, mediaType, staged } = yield* fetch(website, largestPicture)
        const beginning = yield* readBeginning(staged.path)
        const text = isPage(beginning, mediaType) ? pageText(beginning, charset) : ""
        return yield* firstPicture(factsOf(text, finalUrl).icons, size)
      }, Effect.scoped)

      return LinkCapture.of({
        icon: Effect.fn("LinkCapture.icon")(icon),
        text: Effect.fn("LinkCapture.text")((url, most) => inTime(text(url, most))),
        capture: Effect.fn("LinkCapture.capture")((url) => inTime(read(url, true)))
      })
    })
  )
  static readonly layer = this.layerNoDeps
}

const within = Duration.seconds(30)
/** A page is known without its picture. */
const picturesWithin = Duration.seconds(15)
const largest = 100 * 2 ** 20
const largestPicture = 10 * 2 ** 20
/** Pages say what they are at their beginning. */
const pageBytes = 2 * 2 ** 20

const readBeginning = (path: string) =>
  Effect.promise(async () => {
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(pageBytes), 0, pageBytes, 0)
      return new Uint8Array(buffer.subarray(0, bytesRead))
    } finally {
      await file.close()
    }
  })
