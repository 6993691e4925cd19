import { Problem } from "#platform/http/problems.ts"
import type { Dimensions, Kind, MediaType } from "./formats.ts"

export class UnsupportedMedia extends Problem<UnsupportedMedia>()("UnsupportedMedia", {
  code: "unsupported-media",
  status: 415,
  title: "This kind of file is not kept",
  help: "JPEG, PNG, WebP and SVG images and PDF files are accepted. The content of the file decides, not its name or the type that came with it. Convert the file and send it again."
}) {}

export class DecodersBusy extends Problem<DecodersBusy>()("DecodersBusy", {
  code: "decoders-busy",
  status: 503,
  title: "Too many files are being read",
  help: "Every file is looked at before it is kept, and others were waiting for that already. Nothing was changed. Send the request again in a moment.",
  retryAfter: 10
}) {}

/** What a file turned out to be. */
export interface Inspected {
  readonly kind: Kind
  readonly mediaType: MediaType
  /** In pixels, as it is seen (after EXIF orientation); a PDF has none. */
  readonly width: number | null
  readonly height: number | null
  /** Of a PDF. */
  readonly pageCount: number | null
}

export interface Picture extends Dimensions {
  readonly bytes: Uint8Array
  readonly mediaType: "image/jpeg" | "image/webp"
}
