import { Context, Effect, Layer, Option, type Scope, Stream } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { isUuid, uuidv7 } from "#platform/db/uuid.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import type { InvalidRequest, PayloadTooLarge, PreconditionFailed, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { Media } from "#platform/media/media.service.ts"
import type { Inspected, Picture, UnsupportedMedia } from "#platform/media/media.ts"
import type { NewObject, ObjectRef, Staged } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import type { PartNotFound, PartRetired } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import { LinkCapture } from "./capture.service.ts"
import type { LinkUnreachable, UnsupportedLinkContent } from "./capture.ts"
import {
  type Document,
  type DocumentCopy,
  type DocumentEdit,
  type DocumentId,
  DocumentNotFound,
  type NewLink,
  NotAnImage,
  titleOf
} from "./document.ts"
import { textKind, thumbnailsKind } from "./document-jobs.ts"
import { DocumentTextsRepo } from "./document-texts.repo.ts"
import { DocumentsRepo, type Kept, type NewDocument, objectsOf } from "./documents.repo.ts"

type Missing = PartNotFound | PartRetired

/** A file that arrived: its bytes, what it was called, and the title that a person gave it. */
export interface Upload {
  readonly staged: Staged
  readonly filename: string | null
  readonly title: string | null
}

/** Something that must be committed with a new document: the answer kept under an Idempotency-Key. */
export type Within<A, E> = (written: Effect.Effect<Document, never, Transaction>) => Effect.Effect<A, E, Transaction>

/** A document to be, on objects that are there. */
export type Attached = Omit<NewDocument, "id" | "id4" | "isCover" | "object" | "preview"> & {
  readonly objectId: number | null
  readonly previewId: number | null
}

type Refused = Missing | StorageUnavailable
type FileRefused = UnsupportedMedia | UnreadableFile | PayloadTooLarge

/** Data sheets, pictures and addresses of parts. */
export class Documents extends Context.Service<
  Documents,
  {
    readonly list: (id4: string, params: PageParams) => Effect.Effect<Page<Document>, InvalidCursor | InvalidRequest | Missing>
    readonly get: (id: string) => Effect.Effect<Document, DocumentNotFound>
    /** The document with the objects that it is made of. */
    readonly kept: (id: string) => Effect.Effect<Kept, DocumentNotFound>
    /** Begins transactions itself, after the file is stored: never inside another one. */
    readonly upload: <A, E>(id4: string, upload: Upload, within: Within<A, E>) => Effect.Effect<A, E | Refused | FileRefused>
    /** Asks the address what it is, and keeps what it answers; with `capture: false` the address alone. */
    readonly link: <A, E>(
      id4: string,
      link: NewLink,
      within: Within<A, E>
    ) => Effect.Effect<A, E | Refused | FileRefused | LinkUnreachable | UnsupportedLinkContent, Scope.Scope>
    readonly edit: (id: string, edit: DocumentEdit, ifMatch: IfMatch) => Effect.Effect<Document, DocumentNotFound | PreconditionFailed>
    readonly remove: (id: string, ifMatch: IfMatch) => Effect.Effect<void, DocumentNotFound | PreconditionFailed>
    readonly copy: (id: string, copy: DocumentCopy) => Effect.Effect<Document, DocumentNotFound | NotAnImage | Missing>
    /**
     * Gives a part, which the caller has locked, documents on objects that are there, which the caller holds. The one at `cover` becomes
     * the cover; without it the first image does when the part has none.
     */
    readonly attach: (
      id4: string,
      files: ReadonlyArray<Attached>,
      cover: number | undefined
    ) => Effect.Effect<ReadonlyArray<Document>, never, Transaction>
    /** A cover that is chosen is an edit of the part, and `ifMatch` its version. */
    readonly setCover: (
      id4: string,
      id: string,
      ifMatch: IfMatch
    ) => Effect.Effect<Document, DocumentNotFound | Missing | PreconditionFailed>
    readonly removeCover: (id4: string, ifMatch: IfMatch) => Effect.Effect<void, Missing | PreconditionFailed>
  }
>()("inventory/Documents") {
  static readonly layerNoDeps = Layer.effect(
    Documents,
    Effect.gen(function* () {
      const repo = yield* DocumentsRepo
      const objects = yield* Objects
      const media = yield* Media
      const capture = yield* LinkCapture
      const partIds = yield* PartIds
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes
      const texts = yield* DocumentTextsRepo
      const jobs = yield* Jobs

      const notFound = (id: string) => new DocumentNotFound({ detail: "No document has this id.", documentId: id })
      const kept = Effect.fn("Documents.kept")((id: string) =>
        Effect.flatMap(
          isUuid(id) ? repo.find(id) : Effect.succeedNone,
          Option.match({ onNone: () => Effect.fail(notFound(id)), onSome: Effect.succeed })
        )
      )
      const lockPart = Effect.fnUntraced(function* (id4: string) {
        const found = yield* repo.lockParts([id4])
        if (!found.has(id4)) yield* partIds.missing(id4)
      })
      const change = (action: string, id: string, before: Document | null, after: Document | null): NewChange => ({
        topic: "document",
        action,
        entity: "document",
        entityId: id,
        before,
        after
      })

      /** The part is held, and so are the objects. */
      const insert = Effect.fnUntraced(function* (document: Omit<NewDocument, "id" | "isCover">, cover: boolean | "when-first") {
        const id = yield* uuidv7
        const isCover = cover === "when-first" ? document.kind === "image" && !(yield* repo.hasCover(document.id4)) : cover
        if (isCover) yield* repo.setCover(document.id4, null)
        yield* repo.insert({ ...document, id, isCover })
        yield* index.refresh([document.id4])
        const inserted = asDocument(yield* Effect.orDie(kept(id)))
        yield* changes.record(change("created", id, null, inserted))
        return inserted
      })

      /** Asks for what is made of the bytes that the document shows, once for all documents that show them. */
      const derive = Effect.fnUntraced(function* ({ id, textState }: Document, shown: ObjectRef | null) {
        if (shown === null) return
        const options = { key: String(shown.id), entity: { type: "document", id } }
        const source = { documentId: id, objectId: shown.id }
        yield* jobs.enqueue(thumbnailsKind, source, options)
        if (textState === "queued") yield* jobs.enqueue(textKind, source, options)
      })

      const storeFile = <A, E>(
        id4: string,
        file: Upload & { readonly is: Inspected; readonly url: string | null },
        within: Within<A, E>
      ): Effect.Effect<A, E | Refused> =>
        objects.store(objectOf(file.staged, file.is), (object) =>
          Effect.gen(function* () {
            yield* lockPart(id4)
            const { height, kind, mediaType, pageCount, width } = file.is
            if (kind === "pdf") yield* texts.want(object)
            return yield* within(
              insert(
                {
                  id4,
                  kind,
                  title: file.title ?? titleOf(file.filename),
                  originalFilename: file.filename,
                  url: file.url,
                  object,
                  preview: null,
                  mediaType,
                  size: file.staged.size,
                  width,
                  height,
                  pageCount
                },
                "when-first"
              ).pipe(Effect.tap((document) => derive(document, object)))
            )
          })
        )

      const storeLink = <A, E>(
        id4: string,
        link: { readonly url: string; readonly title: string; readonly preview: NewObject | null },
        within: Within<A, E>
      ): Effect.Effect<A, E | Refused> => {
        const write = (preview: ObjectRef | null) =>
          Effect.gen(function* () {
            yield* lockPart(id4)
            const nothing = {
              originalFilename: null,
              object: null,
              mediaType: null,
              size: null,
              width: null,
              height: null,
              pageCount: null
            }
            return yield* within(
              insert({ ...nothing, id4, kind: "link", title: link.title, url: link.url, preview }, "when-first").pipe(
                Effect.tap((document) => derive(document, preview))
              )
            )
          })
        return link.preview === null ? db.transaction(write(null)) : objects.store(link.preview, write)
      }

      const asObject = ({ bytes, mediaType }: Picture) =>
        objects.stage(Stream.make(bytes), { maxBytes: bytes.length }).pipe(
          Effect.catchTag("TooLarge", Effect.die),
          Effect.map((staged): NewObject => ({ staged, bucket: "images", mediaType }))
        )

      /** Takes all locks in the global order, as the document is then. */
      const locked = Effect.fnUntraced(function* (id: string, ifMatch: IfMatch) {
        const seen = yield* kept(id)
        yield* objects.lock(objectsOf(seen))
        yield* repo.lockParts([seen.partId4])
        const document = yield* kept(id)
        yield* checkVersion(ifMatch, document.version)
        return document
      })

      return Documents.of({
        kept,
        get: Effect.fn("Documents.get")((id) => Effect.map(kept(id), asDocument)),
        list: Effect.fn("Documents.list")((id4, params) => Effect.andThen(partIds.require(id4), repo.list(id4, params))),

        upload: Effect.fn("Documents.upload")(function* (id4, upload, within) {
          const is = yield* media.inspect(upload.staged.path, upload.staged.size)
          return yield* storeFile(id4, { ...upload, is, url: null }, within)
        }),

        link: Effect.fn("Documents.link")(function* (id4, { capture: wanted, title, url }, within) {
          yield* partIds.require(id4)
          if (!wanted) return yield* storeLink(id4, { url, title: title ?? new URL(url).host, preview: null }, within)
          const found = yield* capture.capture(url)
          if (found.kind === "page") {
            const preview = found.picture === null ? null : yield* asObject(found.picture)
            return yield* storeLink(id4, { url, title: title ?? found.title, preview }, within)
          }
          return yield* storeFile(id4, { ...found, title, url }, within)
        }),

        edit: Effect.fn("Documents.edit")((id, { title }, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(id, ifMatch)
              if (title === undefined) return asDocument(before)
              yield* repo.retitle(id, title)
              yield* index.refresh([before.partId4])
              const after = asDocument(yield* Effect.orDie(kept(id)))
              yield* changes.record(change("updated", id, asDocument(before), after))
              return after
            })
          )
        ),

        remove: Effect.fn("Documents.remove")((id, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const document = yield* locked(id, ifMatch)
              yield* repo.remove([id])
              if (document.isCover) {
                yield* repo.setCover(document.partId4, Option.getOrNull(yield* repo.oldestImage(document.partId4)))
              }
              yield* objects.release(objectsOf(document))
              yield* index.refresh([document.partId4])
              yield* changes.record(change("deleted", id, asDocument(document), null))
            })
          )
        ),

        copy: Effect.fn("Documents.copy")((id, { setAsCover, targetId4 }) =>
          db.transaction(
            Effect.gen(function* () {
              const source = yield* kept(id)
              if (setAsCover && source.kind !== "image") {
                return yield* new NotAnImage({
                  detail: `${source.title} is a ${source.kind}, and a cover that is set while copying is an image.`
                })
              }
              const held = (object: number | null) => (object === null ? Effect.succeedNone : objects.hold(object))
              const [object, preview] = [yield* held(source.objectId), yield* held(source.previewId)]
              yield* lockPart(targetId4)
              // Its objects are only gone when it was deleted itself a moment ago.
              yield* kept(id)
              const { height, kind, mediaType, originalFilename, pageCount, size, title, url, width } = source
              return yield* insert(
                {
                  id4: targetId4,
                  kind,
                  title,
                  originalFilename,
                  url,
                  object: Option.getOrNull(object),
                  preview: Option.getOrNull(preview),
                  mediaType,
                  size,
                  width,
                  height,
                  pageCount
                },
                setAsCover
              )
            })
          )
        ),

        attach: Effect.fn("Documents.attach")((id4, files, cover) =>
          Effect.forEach(
            files,
            Effect.fnUntraced(function* (
              { height, kind, mediaType, objectId, originalFilename, pageCount, previewId, size, title, url, width },
              at
            ) {
              const held = (object: number | null) =>
                object === null ? Effect.succeed(null) : Effect.map(objects.hold(object), Option.getOrThrow)
              const [object, preview] = [yield* held(objectId), yield* held(previewId)]
              if (kind === "pdf" && object !== null) yield* texts.want(object)
              const document = yield* insert(
                { id4, kind, title, originalFilename, url, object, preview, mediaType, size, width, height, pageCount },
                cover === at || (cover === undefined && "when-first")
              )
              yield* derive(document, object ?? preview)
              return document
            })
          )
        ),

        setCover: Effect.fn("Documents.setCover")((id4, id, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              yield* lockPart(id4)
              yield* checkVersion(ifMatch, yield* repo.partVersion(id4))
              const document = yield* kept(id)
              if (document.partId4 !== id4) return yield* notFound(id)
              if (document.isCover) return asDocument(document)
              yield* repo.setCover(id4, id)
              yield* repo.raisePart(id4)
              const after = asDocument(yield* Effect.orDie(kept(id)))
              yield* changes.record(coverChange(id4, after.id))
              return after
            })
          )
        ),

        removeCover: Effect.fn("Documents.removeCover")((id4, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              yield* lockPart(id4)
              yield* checkVersion(ifMatch, yield* repo.partVersion(id4))
              if (!(yield* repo.hasCover(id4))) return
              yield* repo.setCover(id4, null)
              yield* repo.raisePart(id4)
              yield* changes.record(coverChange(id4, null))
            })
          )
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([DocumentsRepo.layer, DocumentTextsRepo.layer, LinkCapture.layer, PartIds.layer, SearchIndex.layer, Changes.layer])
  )
}

const asDocument = ({ objectId: _, previewId: __, ...document }: Kept): Document => document

const objectOf = (staged: Staged, { kind, mediaType }: Inspected): NewObject => ({
  staged,
  bucket: kind === "pdf" ? "docs" : "images",
  mediaType
})

const coverChange = (id4: string, cover: DocumentId | null): NewChange => ({
  topic: "part",
  action: "updated",
  entity: "part",
  entityId: id4,
  after: { coverDocumentId: cover }
})
