import { readFile } from "node:fs/promises"
import sharp, { type Sharp } from "sharp"
import { type Drawn, Refusal, unreadable } from "./decoding.ts"
import { type Dimensions, fitInto, type MediaType, maxPixels } from "./formats.ts"
import { pictureInIcon } from "./icon.ts"

// One picture at a time is decoded here: a cache would hold memory for nothing.
sharp.cache(false)
sharp.concurrency(1)
sharp.block({ operation: ["VipsForeignLoad"] })
sharp.unblock({
  operation: ["VipsForeignLoadJpeg", "VipsForeignLoadPng", "VipsForeignLoadWebp", "VipsForeignLoadSvg"]
})

const damaged = "The image is damaged or cut off."

/**
 * An SVG comes as bytes: one read by its path may draw the files beside it, one without a path nothing but itself.
 * Its scripts are never run.
 */
const input = async (path: string, mediaType: MediaType) => (mediaType === "image/svg+xml" ? await readFile(path) : path)

const options = { limitInputPixels: maxPixels, sequentialRead: true } as const

/** Its dimensions as seen, known from its header alone. */
const dimensions = async (source: string | Buffer): Promise<Dimensions> => {
  const { autoOrient, height, width } = await sharp(source, { ...options, limitInputPixels: false })
    .metadata()
    .catch(unreadable(damaged))
  if (width < 1 || height < 1) throw new Refusal("unreadable", "The image has no size.")
  if (width * height > maxPixels) {
    const megapixels = Math.ceil((width * height) / 1_000_000)
    throw new Refusal("unreadable", `The image has ${megapixels} megapixels (${width} × ${height}); at most 100 can be kept.`)
  }
  return autoOrient
}

/** Proven by decoding every pixel. */
export const inspectImage = async (path: string, mediaType: MediaType): Promise<Dimensions> => {
  const source = await input(path, mediaType)
  const seen = await dimensions(source)
  const decode = (failOn: "warning" | "error") =>
    sharp(source, { ...options, failOn })
      .resize(32, 32, { fit: "fill" })
      .raw()
      .toBuffer()
  await decode("warning")
    .catch(async (cause) => ((await isPadded(path, cause)) ? decode("error") : unreadable(damaged)(cause)))
    .catch(unreadable(damaged))
  return seen
}

// Cameras leave zeros between the data and the last marker of a JPEG: the decoder warns, though every pixel is there. The same
// warning with anything else in that place is of data that lost its way long before.
const isPadded = async (path: string, warning: unknown) => {
  const [, count] = /(\d+) extraneous bytes before marker 0xd9/u.exec(String(warning)) ?? []
  if (count === undefined) return false
  const bytes = await readFile(path)
  const end = bytes.lastIndexOf(Buffer.from("ffd9", "hex"))
  return bytes.subarray(Math.max(0, end - Number(count)), end).every((byte) => byte === 0)
}

export const thumbnailOfImage = async (path: string, mediaType: MediaType, size: number, format: "jpeg" | "webp"): Promise<Drawn> =>
  thumbnailOf(await input(path, mediaType), size, format)

const thumbnailOf = async (source: string | Buffer, size: number, format: "jpeg" | "webp") => {
  const { height, width } = fitInto(size, await dimensions(source))
  const picture = sharp(source, { ...options, failOn: "error" })
    .autoOrient()
    .resize(width, height, { fit: "fill" })
  return await encode(picture, format).catch(unreadable(damaged))
}

/** Of the largest picture in an ICO. */
export const thumbnailOfIcon = async (bytes: Uint8Array, size: number, format: "jpeg" | "webp"): Promise<Drawn> => {
  const picture = pictureInIcon(bytes)
  if (picture === undefined) throw new Refusal("unreadable", "There is no picture in the icon that can be read.")
  if ("png" in picture) return thumbnailOf(Buffer.from(picture.png), size, format)
  const { height, pixels, width } = picture
  return encode(sharp(pixels, { raw: { width, height, channels: 4 } }), format)
}

/** Metadata is left behind; what is transparent becomes white. */
export const encode = async (picture: Sharp, format: "jpeg" | "webp"): Promise<Drawn> => {
  const opaque = picture.flatten({ background: "white" })
  const { data, info } = await (format === "jpeg" ? opaque.jpeg({ quality: 85 }) : opaque.webp({ quality: 85 })).toBuffer({
    resolveWithObject: true
  })
  return { bytes: data, width: info.width, height: info.height }
}
