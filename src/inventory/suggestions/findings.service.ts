import { Context, Effect, Layer, Result, Stream } from "effect"
import { Db } from "#platform/db/db.ts"
import { StorageUnavailable } from "#platform/http/problems.ts"
import { Media } from "#platform/media/media.service.ts"
import type { Picture } from "#platform/media/media.ts"
import type { NewObject } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { type Captured, LinkCapture } from "../documents/capture.service.ts"
import { isVerifiedDatasheet } from "../documents/datasheet.ts"
import type { DocumentType } from "../proposals/output.ts"
import { Proposals } from "../proposals/proposals.service.ts"

/** An address that the model named. */
export interface Named {
  readonly url: string
  readonly title: string
  readonly documentType: DocumentType
}

export interface Found {
  /** Of the bytes; null for a page. */
  readonly mediaType: string | null
  readonly verified: boolean | null
  /** What is written there, as far as it is known. */
  readonly text: string | null
}

/** What is behind the addresses that a model names. */
export class Findings extends Context.Service<
  Findings,
  {
    /**
     * Fetches the addresses and keeps for the job's proposal what is there. What does not answer, or is something else than was said, is
     * left out. Begins transactions itself.
     */
    readonly keep: <A extends Named>(
      jobId: string,
      named: ReadonlyArray<A>,
      manufacturerCode: string | null
    ) => Effect.Effect<ReadonlyArray<A & Found>, StorageUnavailable>
    /** Whether a page is there. */
    readonly isPage: (url: string) => Effect.Effect<boolean>
  }
>()("inventory/Findings") {
  static readonly layerNoDeps = Layer.effect(
    Findings,
    Effect.gen(function* () {
      const capture = yield* LinkCapture
      const media = yield* Media
      const objects = yield* Objects
      const proposals = yield* Proposals
      const db = yield* Db

      const asObject = ({ bytes, mediaType }: Picture) =>
        objects.stage(Stream.make(bytes), { maxBytes: bytes.length }).pipe(
          Effect.catchTag("TooLarge", Effect.die),
          Effect.map((staged): NewObject => ({ staged, bucket: "images", mediaType }))
        )

      const nothing = {
        originalFilename: null,
        mediaType: null,
        size: null,
        width: null,
        height: null,
        pageCount: null
      }

      const store = Effect.fnUntraced(function* (
        jobId: string,
        { documentType, title, url, verified }: Named & Pick<Found, "verified">,
        found: Captured
      ) {
        const said = { wasSent: false, documentType, title, url, verified, object: null, preview: null } as const
        if (found.kind === "page") {
          const write = { ...nothing, ...said, kind: "link" } as const
          if (found.picture === null) return yield* db.transaction(proposals.keep(jobId, write))
          const picture = yield* asObject(found.picture)
          return yield* objects.store(picture, (preview) => proposals.keep(jobId, { ...write, preview }))
        }
        const { height, kind, mediaType, pageCount, width } = found.is
        const object: NewObject = { staged: found.staged, bucket: kind === "pdf" ? "docs" : "images", mediaType }
        yield* objects.store(object, (ref) =>
          proposals.keep(jobId, {
            ...said,
            kind,
            object: ref,
            originalFilename: found.filename,
            mediaType,
            size: found.staged.size,
            width,
            height,
            pageCount
          })
        )
      })

      const look = Effect.fnUntraced(function* (named: Named, manufacturerCode: string | null) {
        const captured = yield* capture.capture(named.url)
        if (!fits(named.documentType, captured)) return yield* Effect.fail("something else")
        const text = captured.kind === "file" && captured.is.kind === "pdf" ? yield* media.text(captured.staged.path) : null
        const isSheet = named.documentType === "datasheet"
        const mediaType = captured.kind === "file" ? captured.is.mediaType : null
        return { captured, found: { mediaType, text, verified: isSheet ? isVerifiedDatasheet(text, manufacturerCode) : null } }
      })

      return Findings.of({
        isPage: Effect.fn("Findings.isPage")((url) =>
          capture.capture(url).pipe(
            Effect.map(({ kind }) => kind === "page"),
            Effect.catch(() => Effect.succeed(false)),
            Effect.scoped
          )
        ),
        keep: Effect.fn("Findings.keep")(function* (jobId, named, manufacturerCode) {
          const looks = yield* Effect.forEach(named, (one) => Effect.result(look(one, manufacturerCode)), { concurrency: 5 })
          const kept = []
          const seen = new Set<string>()
          for (const [at, one] of named.entries()) {
            const result = looks[at]
            if (result === undefined) continue
            if (Result.isSuccess(result)) {
              // One document may have many addresses.
              const what = identityOf(result.success.captured)
              if (seen.has(what)) continue
              seen.add(what)
              const found = { ...one, ...result.success.found }
              yield* store(jobId, found, result.success.captured)
              kept.push(found)
            } else if (result.failure instanceof StorageUnavailable) return yield* result.failure
          }
          return kept
        }, Effect.scoped)
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([LinkCapture.layer, Proposals.layer]))
}

const identityOf = (found: Captured) => (found.kind === "file" ? found.staged.sha256 : found.finalUrl)

/** Whether what was found is what was said to be there. */
const fits = (type: DocumentType, found: Captured) => {
  switch (type) {
    case "datasheet":
      return found.kind === "file" && found.is.kind === "pdf"
    case "product-page":
      return found.kind === "page"
    case "pinout":
      return true
  }
}
