import { Effect, Schema } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { Instant, int, text, webAddress } from "#platform/http/text.ts"
import { Id4, Id4InAnyCase } from "../parts/part.ts"

export const DocumentId = Schema.String.pipe(Schema.brand("DocumentId")).annotate({ identifier: "DocumentId", format: "uuid" })
export type DocumentId = typeof DocumentId.Type

export const DocumentKind = Schema.Literals(["pdf", "image", "link"])
export type DocumentKind = typeof DocumentKind.Type

const nullable = <S extends Schema.Top>(schema: S) => Schema.NullOr(schema)

/** A data sheet, a picture or an address that belongs to a part. Its bytes never change. */
export const Document = Schema.Struct({
  id: DocumentId,
  partId4: Id4,
  kind: DocumentKind,
  title: Schema.String,
  /** As it was called where it came from, without folders. */
  originalFilename: nullable(Schema.String),
  url: nullable(Schema.String),
  mediaType: nullable(Schema.String),
  size: nullable(Schema.Int),
  /** Pixels, as it is seen upright; of a PDF null. */
  width: nullable(Schema.Int),
  height: nullable(Schema.Int),
  pageCount: nullable(Schema.Int),
  isCover: Schema.Boolean,
  /** Null for links. */
  contentUrl: nullable(Schema.String),
  /** Null when there is nothing to see. */
  thumbnailUrl: nullable(Schema.String),
  createdAt: Instant,
  updatedAt: Instant,
  version: Schema.Int
}).annotate({ identifier: "Document" })
export type Document = typeof Document.Type

export const Title = text(255)

/** The parts of an upload beside its file. */
export const UploadFields = Schema.Struct({ title: Schema.optionalKey(Title) })

export const NewLink = Schema.Struct({
  url: webAddress(2000),
  title: Schema.NullOr(Title).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null))),
  /** False keeps the address without asking it for anything. */
  capture: Schema.Boolean.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(true)))
}).annotate({ identifier: "NewLink" })
export type NewLink = typeof NewLink.Type

export const DocumentEdit = Schema.Struct({ title: Schema.optionalKey(Title) }).annotate({ identifier: "DocumentEdit" })
export type DocumentEdit = typeof DocumentEdit.Type

export const DocumentCopy = Schema.Struct({
  targetId4: Id4InAnyCase,
  setAsCover: Schema.Boolean.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(false)))
}).annotate({ identifier: "DocumentCopy" })
export type DocumentCopy = typeof DocumentCopy.Type

export const CoverChoice = Schema.Struct({ documentId: DocumentId }).annotate({ identifier: "CoverChoice" })

export const ThumbnailSize = int(1, 1000)

export class DocumentNotFound extends Problem<DocumentNotFound>()(
  "DocumentNotFound",
  {
    code: "document-not-found",
    status: 404,
    title: "There is no such document",
    help: "No document has this id, or it does not belong to that part. GET /api/parts/{id4}/documents lists those of a part."
  },
  { documentId: Schema.String }
) {}

export class NotAnImage extends Problem<NotAnImage>()("NotAnImage", {
  code: "not-an-image",
  status: 409,
  title: "Only an image can become the cover this way",
  help: "setAsCover is for images. Copy the document without it, or choose another one."
}) {}

export class NoPreview extends Problem<NoPreview>()("NoPreview", {
  code: "no-preview",
  status: 404,
  title: "There is nothing to see of this document",
  help: "A link without a preview image has no thumbnail and no content. Open its url instead."
}) {}

// Neither what steers a terminal nor what turns the direction of a text around: `exe.gpj` read as `jpg.exe`.
/** Control characters and marks that turn the direction of what follows. */
export const unseen = /[\p{Cc}\p{Cs}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu

/** The name that a file came with: no folders, nothing unseen, at most 255 characters; null when nothing is left. */
export const fileName = (name: string): string | null => {
  const last = name.replaceAll(unseen, "").split(/[/\\]/u).at(-1)?.trim() ?? ""
  return last === "" || /^\.+$/u.test(last) ? null : shortened(last)
}

/** Of a name that is too long the ending stays, which says what the file is. */
const shortened = (name: string) => {
  const characters = [...name]
  if (characters.length <= 255) return name
  const ending = /\.[^.]{1,10}$/u.exec(name)?.[0] ?? ""
  return `${characters.slice(0, 254 - [...ending].length).join("")}…${ending}`
}

/** What a document without a title is called. */
export const titleOf = (name: string | null): string => name?.replace(/(?<=.)\.[^.]{1,10}$/u, "").trim() || name || "Document"
