// Also read by the decoding process, which must start fast: nothing is imported here.

export type Kind = "image" | "pdf"

const MiB = 2 ** 20

/** What is accepted, judged by the bytes alone, and how large it may be. */
export const formats = {
  "image/jpeg": { kind: "image", name: "JPEG image", maxBytes: 30 * MiB },
  "image/png": { kind: "image", name: "PNG image", maxBytes: 30 * MiB },
  "image/webp": { kind: "image", name: "WebP image", maxBytes: 30 * MiB },
  "image/svg+xml": { kind: "image", name: "SVG image", maxBytes: 5 * MiB },
  "application/pdf": { kind: "pdf", name: "PDF", maxBytes: 100 * MiB }
} as const satisfies Record<string, { readonly kind: Kind; readonly name: string; readonly maxBytes: number }>

export type MediaType = keyof typeof formats

export const isMediaType = (type: string): type is MediaType => Object.hasOwn(formats, type)

/** No accepted file is larger. */
export const maxBytes = Math.max(...Object.values(formats).map((format) => format.maxBytes))

/** The same for people: "JPEG image 30 MiB, … PDF 100 MiB". */
export const largestOfEachKind = Object.values(formats)
  .map((format) => `${format.name} ${format.maxBytes / MiB} MiB`)
  .join(", ")

export const maxPixels = 100_000_000

/** The side of the square that a photo fits into when something else than a person looks at it: the text on a bag stays legible. */
export const renditionSize = 2048

/** The side of the square that the preview of a web page fits into. */
export const previewSize = 1000

export interface Dimensions {
  readonly width: number
  readonly height: number
}

/** Scaled to touch a square from the inside, aspect kept; dimensions are rounded half up, and at least 1. */
export const scaledTo = (size: number, { height, width }: Dimensions): Dimensions => {
  const longer = Math.max(width, height)
  // One division: with two, 0.5 would come out as a little less now and then.
  const scaled = (side: number) => Math.max(1, Math.floor((2 * side * size + longer) / (2 * longer)))
  return { width: scaled(width), height: scaled(height) }
}

/** As `scaledTo`, but what is smaller than the square keeps its dimensions. */
export const fitInto = (size: number, of: Dimensions): Dimensions =>
  Math.max(of.width, of.height) <= size ? { width: of.width, height: of.height } : scaledTo(size, of)
