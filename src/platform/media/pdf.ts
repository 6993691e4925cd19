import { type FileHandle, open, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { createCanvas } from "@napi-rs/canvas"
import {
  getDocument,
  PDFDataRangeTransport,
  type PDFDocumentProxy,
  type PDFPageProxy,
  VerbosityLevel
} from "pdfjs-dist/legacy/build/pdf.mjs"
import sharp from "sharp"
import { type Drawn, Refusal, unreadable } from "./decoding.ts"
import { maxPixels, scaledTo } from "./formats.ts"
import { encode } from "./image.ts"

const pdfjs = join(dirname(fileURLToPath(import.meta.resolve("pdfjs-dist/package.json"))), "/")

const damaged = "The PDF is damaged or cut off."

const reading = async <A>(path: string, use: (document: PDFDocumentProxy) => Promise<A>): Promise<A> => {
  const file = await open(path)
  const { size } = await file.stat()
  const bytes = new Ranges(file, size)
  const loading = getDocument({
    range: bytes,
    rangeChunkSize: 2 ** 18,
    disableAutoFetch: true,
    disableStream: true,
    cMapUrl: `${pdfjs}cmaps/`,
    cMapPacked: true,
    iccUrl: `${pdfjs}iccs/`,
    standardFontDataUrl: `${pdfjs}standard_fonts/`,
    wasmUrl: `${pdfjs}wasm/`,
    maxImageSize: maxPixels,
    enableXfa: false,
    verbosity: VerbosityLevel.ERRORS
  })
  const used = async () => {
    const document = await loading.promise
    if (document.numPages < 1) throw new Refusal("unreadable", "The PDF has no pages.")
    return use(document)
  }
  try {
    return await Promise.race([used().catch(verdict), bytes.failed])
  } finally {
    await loading.destroy().catch(() => {})
    await file.close()
  }
}

const verdict = (cause: unknown) => {
  const locked = cause instanceof Error && cause.name === "PasswordException"
  return unreadable(locked ? "The PDF can only be read with its password." : damaged)(cause)
}

/** Read where the reader looks: of a hundred megabytes its first page needs a few hundred kilobytes. */
class Ranges extends PDFDataRangeTransport {
  /** When the file cannot be read, which is no fault of the document. */
  readonly failed: Promise<never>
  readonly #fail: (cause: unknown) => void
  readonly #file: FileHandle

  constructor(file: FileHandle, size: number) {
    super(size, null)
    const { promise, reject } = Promise.withResolvers<never>()
    promise.catch(() => {})
    this.failed = promise
    this.#fail = reject
    this.#file = file
  }

  override requestDataRange(begin: number, end: number) {
    const chunk = new Uint8Array(end - begin)
    this.#file.read(chunk, 0, chunk.length, begin).then(() => this.onDataRange(begin, chunk), this.#fail)
  }
}

/** Proven by drawing its first page. */
export const inspectPdf = (path: string): Promise<number> =>
  whole(path).then(() =>
    reading(path, async (document) => {
      await drawn(await document.getPage(1), 256)
      return document.numPages
    })
  )

// The reader mends what it can and would show the first half of a file that was cut off. Its end is what is missing:
// readers look for the mark in the last 1024 bytes (ISO 32000-1, 7.5.5 and Adobe's notes on it), padding aside.
const whole = async (path: string) => {
  const file = await open(path)
  try {
    const { size } = await stat(path)
    const length = Math.min(size, 64 * 1024)
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length)
    // Not by a pattern: one that looks for blanks up to the end tries again from each of them.
    const end = buffer.toString("latin1").replaceAll("\0", " ").trimEnd()
    if (!end.slice(-1024).includes("%%EOF")) throw new Refusal("unreadable", damaged)
  } finally {
    await file.close()
  }
}

// Drawn at the size that is asked for, whatever its size on paper: lines and letters lose nothing by that.
const drawn = async (page: PDFPageProxy, size: number) => {
  const paper = page.getViewport({ scale: 1 })
  if (!(paper.width > 0 && paper.height > 0)) throw new Refusal("unreadable", "The first page of the PDF has no size.")
  const { height, width } = scaledTo(size, paper)
  const viewport = page.getViewport({ scale: size / Math.max(paper.width, paper.height) })
  const canvas = createCanvas(width, height)
  await page.render({ canvas: canvas as never, viewport, background: "white" }).promise
  return canvas
}

export const thumbnailOfPdf = (path: string, size: number, format: "jpeg" | "webp"): Promise<Drawn> =>
  reading(path, async (document) => {
    const canvas = await drawn(await document.getPage(1), size)
    const { height, width } = canvas
    return encode(sharp(canvas.data(), { raw: { width, height, channels: 4 } }), format)
  })

/** The words of the first pages, a line break after each line and page, cut at a whole character. */
export const textOfPdf = (path: string, pages: number, bytes: number): Promise<string> =>
  reading(path, async (document) => {
    let text = ""
    for (let number = 1; number <= Math.min(pages, document.numPages) && Buffer.byteLength(text) < bytes; number++) {
      const page = await document.getPage(number)
      const { items } = await page.getTextContent()
      text += items.map((item) => ("str" in item ? item.str + (item.hasEOL ? "\n" : "") : "")).join("") + "\n"
      page.cleanup()
    }
    // PostgreSQL takes neither NUL nor half a character.
    const clean = text.replaceAll("\0", " ").toWellFormed().trim()
    const utf8 = Buffer.from(clean)
    return utf8.length <= bytes ? clean : new TextDecoder().decode(utf8.subarray(0, bytes), { stream: true })
  })
