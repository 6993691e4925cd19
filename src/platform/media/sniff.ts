import { open, readFile, stat } from "node:fs/promises"
import { fileTypeFromFile } from "file-type"
import { Refusal } from "./decoding.ts"
import { formats, isMediaType, type MediaType, maxBytes } from "./formats.ts"
import { isIcon } from "./icon.ts"

const accepted = "JPEG, PNG, WebP and SVG images and PDF files are accepted"

/** The type of a file by its bytes; refused when it is none that is accepted or the file is too large for it. */
export const sniff = async (path: string, size: number): Promise<MediaType> => {
  if (size === 0) throw new Refusal("unreadable", "The file is empty.")
  const mediaType = await mediaTypeOf(path)
  const { maxBytes: most, name } = formats[mediaType]
  if (size > most)
    throw new Refusal(
      "too-large",
      `${name.startsWith("SVG") ? "An" : "A"} ${name} may have ${most / 2 ** 20} MiB; this one has ${(Math.ceil((10 * size) / 2 ** 20) / 10).toFixed(1)} MiB.`
    )
  return mediaType
}

const mediaTypeOf = async (path: string): Promise<MediaType> => {
  const head = await headOf(path)
  // Before the library, which calls a PDF that Illustrator can edit PostScript.
  if (head.subarray(0, 5).toString("latin1") === "%PDF-") return "application/pdf"
  const found = (await fileTypeFromFile(path))?.mime
  const mediaType = found === "image/apng" ? "image/png" : found
  if (mediaType !== undefined && isMediaType(mediaType)) return mediaType
  if ((found === undefined || found === "application/xml") && isSvg(head.toString("latin1"))) return "image/svg+xml"
  throw new Refusal(
    "unsupported",
    found === undefined ? `The file is of no known kind: ${accepted}.` : `The file is ${found}: ${accepted}.`
  )
}

/** How large a file that begins so may be; of an unknown kind as large as the largest, it is refused for its kind when it is there. */
export const largestOf = (head: Uint8Array): number => {
  const latin1 = Buffer.from(head.buffer, head.byteOffset, Math.min(head.byteLength, headLength)).toString("latin1")
  if (latin1.startsWith("\u00ff\u00d8\u00ff")) return formats["image/jpeg"].maxBytes
  if (latin1.startsWith("\u0089PNG")) return formats["image/png"].maxBytes
  if (latin1.startsWith("RIFF") && latin1.startsWith("WEBP", 8)) return formats["image/webp"].maxBytes
  return isSvg(latin1) ? formats["image/svg+xml"].maxBytes : maxBytes
}

// Comments and entity declarations before the root of an SVG take a few kilobytes at most.
const headLength = 64 * 1024

const headOf = async (path: string) => {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headLength), 0, headLength, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** The bytes of an ICO, undefined for everything else. Sites have their pictures in it; it is not accepted as a file. */
export const iconAt = async (path: string): Promise<Uint8Array | undefined> => {
  if (!isIcon(await headOf(path))) return undefined
  if ((await stat(path)).size > largestIcon) throw new Refusal("too-large", `An icon may have ${largestIcon / 2 ** 20} MiB.`)
  return readFile(path)
}

const largestIcon = 5 * 2 ** 20

/** Whether the root element of an XML document is `svg`. That the rest of it is well-formed, the renderer shows. */
export const isSvg = (latin1: string): boolean => {
  let at = latin1.startsWith("\u00ef\u00bb\u00bf") ? 3 : 0
  const skipTo = (end: string, from: number) => {
    const found = latin1.indexOf(end, from)
    at = found === -1 ? latin1.length : found + end.length
  }
  while (at < latin1.length) {
    if (/\s/u.test(latin1.charAt(at))) at++
    else if (latin1.startsWith("<?", at)) skipTo("?>", at)
    else if (latin1.startsWith("<!--", at)) skipTo("-->", at + 4)
    else if (latin1.startsWith("<!DOCTYPE", at)) {
      const bracket = latin1.indexOf("[", at)
      const end = latin1.indexOf(">", at)
      if (bracket !== -1 && bracket < end) skipTo("]", bracket)
      skipTo(">", at)
    } else return /^<svg[\s/>]/u.test(latin1.slice(at, at + 5))
  }
  return false
}
