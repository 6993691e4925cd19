import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import sharp from "sharp"
import { AppConfig } from "#platform/config.ts"
import { pictureInIcon } from "#platform/media/icon.ts"
import { Media } from "#platform/media/media.service.ts"
import { blackPng, image } from "../support/files.ts"
import { bitmap, icon, type Pixel } from "../support/icons.ts"

const folder = mkdtempSync(join(tmpdir(), "partwright-icons-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const red: Pixel = [255, 0, 0, 255]
const blue: Pixel = [0, 0, 255, 255]
const nothing: Pixel = [0, 0, 0, 0]

const flag = (width: number, height: number, bits: 1 | 4 | 8 | 24 | 32) => bitmap({ width, height, bits }, () => red)

const Side = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 }))
const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const Place = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 }))

const pixelsOf = (bytes: Uint8Array) => {
  const picture = pictureInIcon(bytes)
  assert.isDefined(picture)
  assert.isTrue("pixels" in picture)
  return picture as Extract<typeof picture, { pixels: Uint8Array }>
}

describe("an icon", () => {
  it.prop(
    "has the pixels that were drawn, in every depth, upright and with its mask",
    [Side, Side, Schema.Literals([1, 4, 8, 24, 32]), Schema.Boolean, Schema.Array(Schema.Boolean)],
    ([width, height, bits, noAlpha, dots]) => {
      const drawn = Array.from({ length: width * height }, (_, n) => (dots[n % (dots.length || 1)] === true ? red : nothing))
      // Where nothing has an alpha, the mask is meant.
      const bytes = icon({ picture: bitmap({ width, height, bits, noAlpha }, (x, y) => drawn[y * width + x]!) })
      const read = pixelsOf(bytes)
      assert.deepStrictEqual([read.width, read.height], [width, height])
      assert.deepStrictEqual([...read.pixels], drawn.flat())
    }
  )

  it("shows its largest picture, whatever its list says, and of equal ones the one with most colours", () => {
    const png = blackPng(48, 48)
    const small = { picture: flag(16, 16, 32), says: { width: 255, height: 255 } }
    assert.deepStrictEqual(pictureInIcon(icon(small, { picture: png, says: { width: 1, height: 1 } })), { png })
    assert.strictEqual(pixelsOf(icon(small, { picture: flag(32, 16, 8) }, { picture: flag(8, 8, 32) })).width, 32)
    const better = bitmap({ width: 16, height: 16, bits: 24 }, () => blue)
    assert.deepStrictEqual([...pixelsOf(icon({ picture: flag(16, 16, 4) }, { picture: better })).pixels.subarray(0, 4)], [...blue])
  })

  it("is read without its last mask and beside entries that are none", () => {
    const whole = flag(8, 8, 32)
    assert.strictEqual(pixelsOf(icon({ picture: whole.subarray(0, 40 + 4 * 64) })).width, 8)
    assert.strictEqual(pixelsOf(icon({ picture: Buffer.from("GIF89a") }, { picture: whole }, { picture: Buffer.alloc(0) })).width, 8)
  })

  it("has no picture when none fits into it", () => {
    const broken = (at: number, value: number, bytes = flag(8, 8, 32)) => {
      bytes.writeInt32LE(value, at)
      return icon({ picture: bytes })
    }
    const outside = icon({ picture: flag(8, 8, 32) })
    outside.writeUInt32LE(0xffff_ffff, 6 + 12)
    for (const [what, bytes] of [
      ["nothing", Buffer.alloc(0)],
      ["a head alone", icon()],
      ["a cursor", icon({ picture: flag(8, 8, 32) }).fill(2, 2, 3)],
      ["a list that is cut off", icon({ picture: flag(8, 8, 32) }).subarray(0, 21)],
      ["a picture beyond the end", outside],
      ["a picture that is cut off", icon({ picture: flag(8, 8, 32).subarray(0, 200) })],
      ["a bitmap of 2 147 483 647 columns", broken(4, 2 ** 31 - 1)],
      ["a bitmap of -8 columns", broken(4, -8)],
      ["a bitmap from above", broken(8, -16)],
      ["a bitmap without rows", broken(8, 0)],
      ["a bitmap of half a row", broken(8, 15)],
      ["a compressed bitmap", broken(16, 1)],
      ["a bitmap of 16 bits", broken(12, (16 << 16) | 1)],
      ["a bitmap of a million colours", broken(32, 1_000_000, flag(8, 8, 8))],
      ["a bitmap with a header of its own size", broken(0, 124)]
    ] as const)
      assert.isUndefined(pictureInIcon(bytes), what)
  })

  it.prop("may hold any bytes whatever", [Schema.Array(Schema.Tuple([Place, Byte])), Place], ([mutations, length]) => {
    const bytes = icon({ picture: flag(16, 16, 32) }, { picture: flag(9, 7, 8) }, { picture: blackPng(20, 20) })
    for (const [at, value] of mutations) bytes[at % bytes.length] = value
    const picture = pictureInIcon(bytes.subarray(0, bytes.length - (length % 100)))
    if (picture !== undefined && "pixels" in picture) assert.strictEqual(picture.pixels.length, 4 * picture.width * picture.height)
  })

  it("does not make its reader work for every entry of a list without end", () => {
    // Every entry of 65 535 names the same large bitmap.
    const many = Buffer.alloc(6 + 16 * 65_535)
    many.writeUInt16LE(1, 2)
    many.writeUInt16LE(65_535, 4)
    for (let n = 0; n < 65_535; n++) {
      many.writeUInt32LE(300_000, 6 + 16 * n + 8)
      many.writeUInt32LE(many.length, 6 + 16 * n + 12)
    }
    const since = performance.now()
    assert.strictEqual(pixelsOf(Buffer.concat([many, flag(256, 256, 32)])).width, 256)
    assert.isBelow(performance.now() - since, 1000)
  })
})

layer(Media.layer.pipe(Layer.provide(AppConfig.fromEnv({}))), { excludeTestServices: true, timeout: "30 seconds" })("an icon", (it) => {
  let files = 0
  const put = (bytes: Uint8Array) => {
    const path = join(folder, String(++files))
    writeFileSync(path, bytes)
    return path
  }
  const preview = (bytes: Uint8Array) => Effect.flatMap(Media, (media) => media.preview(put(bytes)))

  it.effect("is seen as a small WebP, transparent parts white", () =>
    Effect.gen(function* () {
      const half = bitmap({ width: 20, height: 10, bits: 32 }, (x) => (x < 10 ? red : nothing))
      const { bytes, height, mediaType, width } = yield* preview(icon({ picture: half }))
      assert.deepStrictEqual([width, height, mediaType], [20, 10, "image/webp"])
      const { data } = yield* Effect.promise(() => sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true }))
      const at = (x: number) => [...data.subarray(3 * (5 * 20 + x), 3 * (5 * 20 + x) + 3)].map((value) => (value > 128 ? 1 : 0)).join("")
      assert.deepStrictEqual([at(3), at(16)], ["100", "111"])
      const png = yield* image({ width: 1200, height: 600 })
      const large = yield* preview(icon({ picture: half }, { picture: png }))
      assert.deepStrictEqual([large.width, large.height], [1000, 500])
    })
  )

  it.effect("with a damaged or gigantic PNG, or none at all, is refused", () =>
    Effect.gen(function* () {
      const png = Buffer.from(yield* image({ width: 300, height: 300 }))
      for (const [what, bytes, code] of [
        ["cut off", icon({ picture: png.subarray(0, 100) }), "unreadable-file"],
        ["400 megapixels", icon({ picture: blackPng(20_000, 20_000) }), "unreadable-file"],
        ["no picture", icon({ picture: Buffer.alloc(100) }), "unreadable-file"],
        ["too many bytes", Buffer.concat([icon({ picture: png }), Buffer.alloc(5 * 2 ** 20)]), "payload-too-large"]
      ] as const)
        assert.strictEqual((yield* Effect.flip(preview(bytes))).code, code, what)
    })
  )

  it.effect("is no file that is kept", () =>
    Effect.gen(function* () {
      const media = yield* Media
      const bytes = icon({ picture: flag(16, 16, 32) })
      assert.strictEqual((yield* Effect.flip(media.inspect(put(bytes), bytes.length))).code, "unsupported-media")
    })
  )
})
