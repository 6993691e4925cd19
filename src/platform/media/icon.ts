import type { Dimensions } from "./formats.ts"

/** The largest picture in an ICO: a PNG as it is, or the pixels of a bitmap, four bytes each (red, green, blue, alpha). */
export type IconPicture = { readonly png: Uint8Array } | (Dimensions & { readonly pixels: Uint8Array })

/** More than any real icon has. */
const mostEntries = 64
/** A bitmap in an icon has at most 256; larger pictures are PNGs. */
const longestSide = 256

export const isIcon = (bytes: Uint8Array) =>
  bytes.length >= 22 && bytes[0] === 0 && bytes[1] === 0 && bytes[2] === 1 && bytes[3] === 0 && (bytes[4] !== 0 || bytes[5] !== 0)

/**
 * Reads an ICO: a list of places, at each a PNG or a bitmap without its file header. The sizes in the list are not believed, only those in
 * the pictures themselves. Undefined when there is no picture that can be read.
 */
export const pictureInIcon = (bytes: Uint8Array): IconPicture | undefined => {
  if (!isIcon(bytes)) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries = Math.min(view.getUint16(4, true), mostEntries, Math.floor((bytes.length - 6) / 16))
  const found = Array.from({ length: entries }, (_, n) => {
    const entry = 6 + 16 * n
    const [length, offset] = [view.getUint32(entry + 8, true), view.getUint32(entry + 12, true)]
    const picture = bytes.subarray(offset, offset + length)
    return pngIn(picture) ?? bitmapIn(picture)
  }).filter((picture) => picture !== undefined)
  const [best] = found.toSorted((a, b) => b.width * b.height - a.width * a.height || b.bits - a.bits)
  return best?.read()
}

interface Entry extends Dimensions {
  readonly bits: number
  readonly read: () => IconPicture
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

const pngIn = (png: Uint8Array): Entry | undefined => {
  if (png.length < 33 || signature.some((byte, at) => png[at] !== byte)) return undefined
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength)
  return { width: view.getUint32(16), height: view.getUint32(20), bits: 32, read: () => ({ png }) }
}

/** BITMAPINFOHEADER, colours, rows from the bottom up, then a mask of one bit a pixel; rows and mask rows end at multiples of 4 bytes. */
const bitmapIn = (bitmap: Uint8Array): Entry | undefined => {
  if (bitmap.length < 40) return undefined
  const view = new DataView(bitmap.buffer, bitmap.byteOffset, bitmap.byteLength)
  const [headerSize, width, twice, bits, compression, used] = [
    view.getUint32(0, true),
    view.getInt32(4, true),
    view.getInt32(8, true),
    view.getUint16(14, true),
    view.getUint32(16, true),
    view.getUint32(32, true)
  ]
  // The height counts the rows of the mask too.
  const height = twice / 2
  const fits = (side: number) => Number.isInteger(side) && side >= 1 && side <= longestSide
  if (headerSize !== 40 || compression !== 0 || !fits(width) || !fits(height) || ![1, 4, 8, 24, 32].includes(bits)) return undefined

  const colours = bits > 8 ? 0 : used === 0 ? 2 ** bits : used
  const rows = headerSize + 4 * colours
  const stride = 4 * Math.ceil((width * bits) / 32)
  const mask = rows + stride * height
  const maskStride = 4 * Math.ceil(width / 32)
  if (colours > 2 ** bits || mask > bitmap.length) return undefined

  const byte = (at: number) => bitmap[at] ?? 0
  const rowOf = (y: number) => rows + stride * (height - 1 - y)
  const isMasked = (x: number, y: number) => (byte(mask + maskStride * (height - 1 - y) + (x >> 3)) >> (7 - (x % 8))) % 2 === 1
  /** Where blue, green, red and perhaps alpha of a pixel stand. */
  const colourAt = (x: number, y: number) => {
    const at = rowOf(y) + Math.floor((x * bits) / 8)
    if (bits > 8) return at
    return headerSize + 4 * ((byte(at) >> (8 - bits - ((x * bits) % 8))) % 2 ** bits)
  }
  const read = () => {
    const pixels = new Uint8Array(4 * width * height)
    // Old programs leave the alpha of 32 bits at 0 and mean the mask.
    const hasAlpha = bits === 32 && bitmap.subarray(rows, mask).some((value, at) => at % 4 === 3 && value > 0)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const at = colourAt(x, y)
        const alpha = hasAlpha ? byte(at + 3) : isMasked(x, y) ? 0 : 255
        pixels.set([byte(at + 2), byte(at + 1), byte(at), alpha], 4 * (y * width + x))
      }
    return { width, height, pixels }
  }
  return { width, height, bits, read }
}
