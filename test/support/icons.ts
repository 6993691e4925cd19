/** A picture of an icon: a PNG as it is, or a bitmap of these bits a pixel. */
export interface IconEntry {
  readonly picture: Uint8Array
  /** What the list says of it; not to be believed. */
  readonly says?: { readonly width: number; readonly height: number }
}

export const icon = (...entries: ReadonlyArray<IconEntry>): Buffer => {
  const head = Buffer.alloc(6 + 16 * entries.length)
  head.writeUInt16LE(1, 2)
  head.writeUInt16LE(entries.length, 4)
  let offset = head.length
  entries.forEach(({ picture, says }, n) => {
    const at = 6 + 16 * n
    head[at] = says?.width ?? 0
    head[at + 1] = says?.height ?? 0
    head.writeUInt32LE(picture.length, at + 8)
    head.writeUInt32LE(offset, at + 12)
    offset += picture.length
  })
  return Buffer.concat([head, ...entries.map(({ picture }) => picture)])
}

export type Pixel = readonly [red: number, green: number, blue: number, alpha: number]

/** As programs write it (BITMAPINFOHEADER, height doubled for the mask); `pixelAt` is asked once for each pixel. */
export const bitmap = (
  options: { readonly width: number; readonly height: number; readonly bits: 1 | 4 | 8 | 24 | 32; readonly noAlpha?: boolean },
  pixelAt: (x: number, y: number) => Pixel
): Buffer => {
  const { bits, height, width } = options
  const stride = 4 * Math.ceil((width * bits) / 32)
  const maskStride = 4 * Math.ceil(width / 32)
  const colours = bits > 8 ? 0 : 2 ** bits
  const bytes = Buffer.alloc(40 + 4 * colours + (stride + maskStride) * height)
  bytes.writeUInt32LE(40, 0)
  bytes.writeInt32LE(width, 4)
  bytes.writeInt32LE(2 * height, 8)
  bytes.writeUInt16LE(1, 12)
  bytes.writeUInt16LE(bits, 14)
  const palette = new Map<string, number>()
  const rows = 40 + 4 * colours
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [red, green, blue, alpha] = pixelAt(x, y)
      const row = rows + stride * (height - 1 - y)
      const bgr = [blue, green, red]
      if (bits === 32) bytes.set([...bgr, options.noAlpha === true ? 0 : alpha], row + 4 * x)
      else if (bits === 24) bytes.set(bgr, row + 3 * x)
      else {
        const key = bgr.join()
        const index = palette.get(key) ?? palette.size
        palette.set(key, index)
        bytes.set(bgr, 40 + 4 * index)
        bytes[row + Math.floor((x * bits) / 8)]! |= index << (8 - bits - ((x * bits) % 8))
      }
      if (alpha === 0) bytes[rows + stride * height + maskStride * (height - 1 - y) + (x >> 3)]! |= 1 << (7 - (x % 8))
    }
  return bytes
}
