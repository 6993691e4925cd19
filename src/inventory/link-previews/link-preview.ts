import { Schema } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { webAddress } from "#platform/http/text.ts"

export const LinkPreviewId = Schema.String.pipe(Schema.brand("LinkPreviewId")).annotate({ identifier: "LinkPreviewId", format: "uuid" })

/** What is at an address, before anything of it is kept. */
export const LinkPreview = Schema.Struct({
  id: LinkPreviewId,
  title: Schema.String,
  kind: Schema.Literals(["webpage", "image", "pdf"]),
  /** Where redirects, or the frame that shows a PDF, have led to. */
  finalUrl: Schema.String,
  /** Null when there is nothing to see. */
  imageUrl: Schema.NullOr(Schema.String)
}).annotate({ identifier: "LinkPreview" })
export type LinkPreview = typeof LinkPreview.Type

export const PreviewRequest = Schema.Struct({ url: webAddress(2000) }).annotate({ identifier: "PreviewRequest" })

export class LinkPreviewNotFound extends Problem<LinkPreviewNotFound>()(
  "LinkPreviewNotFound",
  {
    code: "link-preview-not-found",
    status: 404,
    title: "There is no such preview",
    help: "A preview is kept for an hour, and its image only when its imageUrl is not null. POST /api/link-previews makes a new one."
  },
  { linkPreviewId: Schema.String }
) {}
