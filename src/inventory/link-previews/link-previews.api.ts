import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { RangeNotSatisfiable } from "#platform/http/download.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, IdempotencyKeyInUse, IdempotencyKeyReused } from "#platform/http/idempotency.ts"
import { PayloadTooLarge, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { LinkUnreachable, UnsupportedLinkContent } from "../documents/capture.ts"
import { LinkPreview, LinkPreviewNotFound, PreviewRequest } from "./link-preview.ts"

export class LinkPreviewsApi extends HttpApiGroup.make("linkPreviews")
  .add(
    HttpApiEndpoint.post("create", "/link-previews", {
      headers: IdempotencyHeader,
      payload: PreviewRequest,
      success: LinkPreview.pipe(HttpApiSchema.status(201)),
      error: [
        LinkUnreachable,
        UnsupportedLinkContent,
        UnreadableFile,
        PayloadTooLarge,
        StorageUnavailable,
        IdempotencyKeyInUse,
        IdempotencyKeyReused
      ]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Look what is at an address",
        description:
          "As attaching the link would: a page with its title and picture, or an image or a PDF, judged by the bytes. Nothing is attached; the preview is kept for an hour.",
        // Reserved for examples: nothing will ever answer there.
        example: { path: "/api/link-previews", body: { url: "https://shop.example/relay-12v" } }
      })
    ),
    HttpApiEndpoint.get("image", "/link-previews/:id/image", {
      params: { id: Schema.String.annotate({ description: "The id of a preview" }) },
      success: HttpApiSchema.StreamUint8Array({ contentType: "image/webp" }),
      error: [LinkPreviewNotFound, RangeNotSatisfiable]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The image of a preview",
        description:
          "WebP, at most 1000 × 1000 pixels: the picture of a page, an image itself, the first page of a PDF. Answers Range, If-None-Match and HEAD.",
        example: { path: "/api/link-previews/00000000-0000-7000-8000-000000000001/image" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Link previews", description: "What is at an address, before it is attached." })) {}
