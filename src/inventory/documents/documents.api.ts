import { Schema } from "effect"
import { Multipart } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { Disposition, RangeNotSatisfiable } from "#platform/http/download.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, IdempotencyKeyInUse, IdempotencyKeyReused, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { InvalidRequest, PayloadTooLarge, PreconditionFailed, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { formLimits } from "#platform/http/upload.ts"
import { UnsupportedMedia } from "#platform/media/media.ts"
import { Id4InPath, PartNotFound, PartRetired } from "../parts/part.ts"
import { LinkUnreachable, UnsupportedLinkContent } from "./capture.ts"
import {
  CoverChoice,
  Document,
  DocumentCopy,
  DocumentEdit,
  DocumentNotFound,
  NewLink,
  NoPreview,
  NotAnImage,
  ThumbnailSize
} from "./document.ts"

const ofPart = { params: { id4: Id4InPath } }
const byId = { params: { id: Schema.String.annotate({ description: "The id of a document" }) } }
const missing = [PartNotFound, PartRetired]

const Form = Schema.Struct({
  file: Multipart.SingleFileSchema,
  title: Schema.optionalKey(Schema.String.annotate({ description: "Default: the file name without its extension" }))
}).pipe(HttpApiSchema.asMultipartStream(formLimits))

const bytes = HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" })
const exampleId = "00000000-0000-7000-8000-000000000001"

export class DocumentsApi extends HttpApiGroup.make("documents")
  .add(
    HttpApiEndpoint.get("list", "/parts/:id4/documents", {
      ...ofPart,
      query: PageParams,
      success: Page(Document),
      error: [InvalidCursor, ...missing]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The documents of a part",
        description: "Oldest first.",
        example: { path: "/api/parts/ABCD/documents" }
      })
    ),
    HttpApiEndpoint.post("add", "/parts/:id4/documents", {
      ...ofPart,
      headers: IdempotencyHeader,
      payload: [Form, NewLink],
      success: Created(Document),
      error: [
        ...missing,
        InvalidRequest,
        PayloadTooLarge,
        UnsupportedMedia,
        UnreadableFile,
        LinkUnreachable,
        UnsupportedLinkContent,
        StorageUnavailable,
        IdempotencyKeyInUse,
        IdempotencyKeyReused
      ]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Attach a file or a link",
        description:
          "As multipart/form-data a file: JPEG, PNG or WebP up to 30 MiB, SVG up to 5 MiB, PDF up to 100 MiB; its bytes decide what it is. As JSON an address: a page becomes a link with its title and preview, a PDF or an image is stored. The first image of a part becomes its cover.",
        example: {
          path: "/api/parts/ABCD/documents",
          body: { url: "https://example.org/datasheet", title: "Data sheet", capture: false },
          form: { file: "@datasheet.pdf", title: "Data sheet" }
        }
      })
    ),
    HttpApiEndpoint.put("setCover", "/parts/:id4/cover", {
      ...ofPart,
      headers: IfMatch,
      payload: CoverChoice,
      success: Document,
      error: [DocumentNotFound, PreconditionFailed, ...missing]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Choose the picture of a part",
        description:
          "Any document of the part: of a PDF its first page is shown, of a link its preview. An edit of the part: its version is raised, and If-Match is about that.",
        example: { path: "/api/parts/ABCD/cover", body: { documentId: exampleId } }
      })
    ),
    HttpApiEndpoint.delete("removeCover", "/parts/:id4/cover", {
      ...ofPart,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [PreconditionFailed, ...missing]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Show no picture of a part",
        description: "The document stays.",
        example: { path: "/api/parts/ABCD/cover" }
      })
    ),
    HttpApiEndpoint.get("get", "/documents/:id", { ...byId, success: Versioned(Document), error: DocumentNotFound }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One document",
        description: "What it is and where its bytes are.",
        example: { path: `/api/documents/${exampleId}` }
      })
    ),
    HttpApiEndpoint.patch("edit", "/documents/:id", {
      ...byId,
      headers: IfMatch,
      payload: asMergePatch(DocumentEdit),
      success: Versioned(Document),
      error: [DocumentNotFound, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change the title of a document",
        description: "Its bytes never change: to replace a file, attach the new one and delete the old one.",
        example: { path: `/api/documents/${exampleId}`, body: { title: "Data sheet, revision C" } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/documents/:id", {
      ...byId,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [DocumentNotFound, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Delete a document",
        description: "When it was the cover, the oldest image that is left takes its place. Bytes that nothing uses any more are deleted.",
        example: { path: `/api/documents/${exampleId}` }
      })
    ),
    HttpApiEndpoint.get("content", "/documents/:id/content", {
      ...byId,
      query: Disposition,
      success: bytes,
      error: [DocumentNotFound, NoPreview, RangeNotSatisfiable, StorageUnavailable]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The bytes of a document",
        description: "In the media type that the bytes have. Answers Range, If-None-Match and HEAD. SVG is always sent as an attachment.",
        example: { path: `/api/documents/${exampleId}/content` }
      })
    ),
    HttpApiEndpoint.get("thumbnail", "/documents/:id/thumbnail", {
      ...byId,
      query: { size: ThumbnailSize },
      success: bytes,
      error: [DocumentNotFound, NoPreview, RangeNotSatisfiable, StorageUnavailable, UnreadableFile]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "A small picture of a document",
        description:
          "At most size × size pixels, never enlarged: WebP for those who accept it, else JPEG. Of a PDF its first page, of a link its preview.",
        example: { path: `/api/documents/${exampleId}/thumbnail?size=150` }
      })
    ),
    HttpApiEndpoint.post("copy", "/documents/:id/copy", {
      ...byId,
      headers: IdempotencyHeader,
      payload: DocumentCopy,
      success: Created(Document),
      error: [DocumentNotFound, NotAnImage, ...missing]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Attach a document to another part too",
          description: "The bytes are stored once; deleting either document leaves the other.",
          example: { path: `/api/documents/${exampleId}/copy`, body: { targetId4: "ABCE" } }
        })
      )
  )
  .annotateMerge(OpenApi.annotations({ title: "Documents", description: "Data sheets, pictures and links of parts." })) {}
