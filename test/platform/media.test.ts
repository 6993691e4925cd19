import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { gzipSync } from "node:zlib"
import { afterAll, assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schedule, Schema } from "effect"
import sharp from "sharp"
import { AppConfig } from "#platform/config.ts"
import { fitInto, type MediaType, scaledTo } from "#platform/media/formats.ts"
import { Media } from "#platform/media/media.service.ts"
import type { Inspected } from "#platform/media/media.ts"
import { blackPng, largePdf } from "../support/files.ts"
import { bombOf, encrypted, line, pagesOf, pdfOf } from "../support/pdf.ts"

const folder = mkdtempSync(join(tmpdir(), "partwright-media-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
const put = (bytes: Uint8Array | string, name = "file") => {
  const path = join(folder, `${++files}-${name}`)
  writeFileSync(path, bytes)
  return path
}

const plain = (width: number, height: number) => sharp({ create: { width, height, channels: 3, background: "#204060" } })
const grey = (width: number, height: number) =>
  sharp(Buffer.alloc(width * height), { raw: { width, height, channels: 1 }, limitInputPixels: false })

/** Hard to compress, so that what is cut off is missed. */
const noise = (width = 200, height = 150) =>
  sharp(Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 2_654_435_761) >>> 24)), {
    raw: { width, height, channels: 3 }
  })

const svg = (inside: string, attributes = 'width="100" height="50"') =>
  `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ${attributes}>${inside}</svg>`

const inspect = Effect.fnUntraced(function* (bytes: Uint8Array | string, name?: string) {
  const path = put(bytes, name)
  return yield* (yield* Media).inspect(path, statSync(path).size)
})

const refusal = Effect.fnUntraced(function* (bytes: Uint8Array | string, name?: string) {
  const { code, detail, status } = yield* Effect.flip(inspect(bytes, name))
  return { status, code, detail: detail ?? "" }
})

const thumbnail = Effect.fnUntraced(function* (
  bytes: Uint8Array | string,
  mediaType: MediaType,
  size: number,
  format: "jpeg" | "webp" = "jpeg"
) {
  return yield* (yield* Media).thumbnail(put(bytes), mediaType, { size, format })
})

const image = (mediaType: MediaType, width: number, height: number): Inspected => ({
  kind: "image",
  mediaType,
  width,
  height,
  pageCount: null
})
const pdf = (pageCount: number): Inspected => ({ kind: "pdf", mediaType: "application/pdf", width: null, height: null, pageCount })

const promise = <A>(run: () => Promise<A>) => Effect.promise(run)

/** Which of four colours a pixel is nearest to. */
const colourAt = (bytes: Uint8Array, x: number, y: number) =>
  promise(async () => {
    const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
    const [red = 0, green = 0, blue = 0] = data.subarray((y * info.width + x) * info.channels)
    if (red > 200 && green > 200 && blue > 200) return "white"
    if (red > 150 && green < 100 && blue < 100) return "red"
    if (blue > 150 && green < 100 && red < 100) return "blue"
    return "black"
  })

const World = Media.layer.pipe(Layer.provide(AppConfig.fromEnv({})))

layer(World, { excludeTestServices: true, timeout: "30 seconds" })("a file", (it) => {
  it.effect("is known by its bytes, whatever its name", () =>
    Effect.gen(function* () {
      const jpeg = yield* promise(() => plain(60, 40).jpeg().toBuffer())
      const png = yield* promise(() => plain(1, 1).png().toBuffer())
      const webp = yield* promise(() => plain(1, 5000).webp().toBuffer())
      assert.deepStrictEqual(yield* inspect(jpeg, "a.pdf"), image("image/jpeg", 60, 40))
      assert.deepStrictEqual(yield* inspect(png, "a.exe"), image("image/png", 1, 1))
      assert.deepStrictEqual(yield* inspect(webp, "a"), image("image/webp", 1, 5000))
      assert.deepStrictEqual(yield* inspect(svg(""), "a.txt"), image("image/svg+xml", 100, 50))
      assert.deepStrictEqual(yield* inspect(pagesOf([line("One"), "", ""]), "a.png"), pdf(3))
    })
  )

  it.effect("may be any variant of an accepted format", () =>
    Effect.gen(function* () {
      const alpha = sharp({ create: { width: 30, height: 20, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0.5 } } })
      for (const [variant, made, mediaType] of [
        ["a progressive JPEG", plain(30, 20).jpeg({ progressive: true }), "image/jpeg"],
        ["a JPEG of inks", plain(30, 20).toColourspace("cmyk").jpeg(), "image/jpeg"],
        ["a grey JPEG", plain(30, 20).greyscale().jpeg(), "image/jpeg"],
        ["an interlaced PNG with alpha", alpha.clone().png({ progressive: true }), "image/png"],
        ["a PNG of 16 bits", plain(30, 20).toColourspace("rgb16").png(), "image/png"],
        ["a PNG with a palette", plain(30, 20).png({ palette: true }), "image/png"],
        ["a lossless WebP with alpha", alpha.clone().webp({ lossless: true }), "image/webp"]
      ] as const) {
        const bytes = yield* promise(() => made.toBuffer())
        assert.deepStrictEqual(yield* inspect(bytes), image(mediaType, 30, 20), variant)
        const { height, width } = yield* thumbnail(bytes, mediaType, 15)
        assert.deepStrictEqual([width, height], [15, 10], variant)
      }
      // Zeros between the data and the last marker, as cameras leave them; with anything else there, data has been lost.
      for (const progressive of [false, true]) {
        const jpeg = yield* promise(() => noise().jpeg({ progressive }).toBuffer())
        const padded = Buffer.concat([jpeg.subarray(0, -2), Buffer.alloc(40), jpeg.subarray(-2)])
        assert.deepStrictEqual(yield* inspect(padded), image("image/jpeg", 200, 150))
        const strange = Buffer.concat([jpeg.subarray(0, -2), Buffer.alloc(40, 0x55), jpeg.subarray(-2)])
        if (progressive) assert.strictEqual((yield* refusal(strange)).code, "unreadable-file")
      }
    })
  )

  it.effect("may be an SVG as any program writes it", () =>
    Effect.gen(function* () {
      const illustrator = `<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://127.0.0.1:9/svg11.dtd" [ <!ENTITY ns "http://www.w3.org/2000/svg"> ]><svg xmlns="&ns;" width="10" height="20"/>`
      assert.deepStrictEqual(yield* inspect(illustrator), image("image/svg+xml", 10, 20))
      assert.deepStrictEqual(yield* inspect(`\ufeff<!-- ${"x".repeat(4000)} <html> -->\n${svg("")}`), image("image/svg+xml", 100, 50))
      assert.deepStrictEqual(yield* inspect(svg("", 'viewBox="0 0 64 32"')), image("image/svg+xml", 64, 32))
    })
  )

  it.effect("may be a PDF that is protected, but opens without a password", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* inspect(encrypted("")), pdf(1))
      assert.deepStrictEqual(yield* refusal(encrypted("secret")), {
        status: 422,
        code: "unreadable-file",
        detail: "The PDF can only be read with its password."
      })
    })
  )

  it.effect("of another kind is refused, whatever its name", () =>
    Effect.gen(function* () {
      const html = "<!DOCTYPE html><html><body><svg xmlns='http://www.w3.org/2000/svg'></svg><script>1</script></body></html>"
      const gif = yield* promise(() => plain(3, 3).gif().toBuffer())
      const tiff = yield* promise(() => plain(3, 3).tiff().toBuffer())
      for (const [what, bytes, name] of [
        ["a GIF", gif, "a.png"],
        ["a TIFF", tiff, "a.jpg"],
        ["HTML", html, "a.png"],
        ["HTML that names svg first", `<!-- <svg> -->${html}`, "a.svg"],
        ["XML", '<?xml version="1.0"?><part><svg/></part>', "a.svg"],
        ["a program", Buffer.concat([Buffer.from("7f454c4602010100", "hex"), Buffer.alloc(200)]), "a.pdf"],
        ["a ZIP", Buffer.concat([Buffer.from("504b0304140000000000", "hex"), Buffer.alloc(200)]), "a.pdf"],
        ["text", "These are just words.", "a.pdf"],
        ["text about a PDF", "I saw %PDF-1.7 once", "a.pdf"],
        ["a compressed SVG", gzipSync(svg("")), "a.svg"],
        ["one byte", "x", "a.pdf"],
        ["an endless comment", `<!--${"x".repeat(100_000)}`, "a.svg"]
      ] as const) {
        const { code, detail, status } = yield* refusal(bytes, name)
        assert.deepStrictEqual([status, code], [415, "unsupported-media"], what)
        assert.match(detail, /JPEG, PNG, WebP and SVG images and PDF files are accepted\.$/u, what)
      }
    })
  )

  it.effect("that is empty, damaged or cut off is refused", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* refusal("")).detail, "The file is empty.")
      const good = {
        jpeg: yield* promise(() => noise().jpeg().toBuffer()),
        progressive: yield* promise(() => noise().jpeg({ progressive: true }).toBuffer()),
        png: yield* promise(() => noise().png().toBuffer()),
        webp: yield* promise(() => noise().webp().toBuffer()),
        lossless: yield* promise(() => noise().webp({ lossless: true }).toBuffer()),
        svg: Buffer.from(svg('<rect width="10" height="10"/>'.repeat(50))),
        pdf: pagesOf(Array.from({ length: 20 }, (_, n) => line(`Page ${n}`)))
      }
      for (const [name, bytes] of Object.entries(good)) {
        assert.isTrue((yield* Effect.result(inspect(bytes)))._tag === "Success", name)
        for (const kept of [0.2, 0.5, 0.9, 0.99]) {
          const { code } = yield* refusal(bytes.subarray(0, Math.floor(bytes.length * kept)))
          assert.strictEqual(code, "unreadable-file", `${name}, ${kept} of it`)
        }
      }
      for (const name of ["jpeg", "png", "svg"] as const) {
        const bytes = Buffer.from(good[name])
        const middle = Math.floor(bytes.length / 2)
        // A JPEG has no checksum: only what is no code at all can be noticed.
        bytes.fill(name === "jpeg" ? 0xff : 0, middle, middle + 100)
        assert.strictEqual((yield* refusal(bytes)).code, "unreadable-file", `${name} with a hole`)
      }
      for (const [what, bytes] of [
        ["a PDF without pages", pdfOf(["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 0 /Kids [] >>"])],
        ["a PDF without a catalogue", pdfOf(["<< >>"])],
        ["a PDF of garbage", Buffer.from(`%PDF-1.4\n${"garbage ".repeat(500)}\n%%EOF`)],
        ["a PDF whose pages are themselves", pdfOf(["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [2 0 R] >>"])],
        ["the head of a PNG", Buffer.concat([good.png.subarray(0, 33), Buffer.alloc(500)])],
        ["an SVG without size", svg("", 'width="0" height="0"')]
      ] as const) {
        const { code, status } = yield* refusal(bytes)
        assert.deepStrictEqual([status, code], [422, "unreadable-file"], what)
      }
    })
  )

  it.effect("is too large at the limit of its kind", () =>
    Effect.gen(function* () {
      const media = yield* Media
      const MiB = 2 ** 20
      const path = put(yield* promise(() => plain(4, 4).png().toBuffer()))
      assert.strictEqual((yield* media.inspect(path, 30 * MiB)).width, 4)
      const { code, detail, status } = yield* Effect.flip(media.inspect(path, 31 * MiB))
      assert.deepStrictEqual([status, code, detail], [413, "payload-too-large", "A PNG image may have 30 MiB; this one has 31.0 MiB."])
      assert.strictEqual((yield* refusal(svg(`<!--${" ".repeat(5 * MiB)}-->`))).code, "payload-too-large")
      assert.strictEqual((yield* inspect(pagesOf([""]), "a.pdf")).pageCount, 1)
      assert.strictEqual((yield* Effect.flip(media.inspect(put(pagesOf([""])), 100 * MiB + 1))).code, "payload-too-large")
    })
  )

  it.effect("with 90 megapixels is kept, with 110 refused", () =>
    Effect.gen(function* () {
      const ninety = yield* promise(() => grey(10_000, 9_000).jpeg().toBuffer())
      assert.deepStrictEqual(yield* inspect(ninety), image("image/jpeg", 10_000, 9_000))
      const { height, width } = yield* thumbnail(ninety, "image/jpeg", 500)
      assert.deepStrictEqual([width, height], [500, 450])
      const more = blackPng(11_000, 10_000)
      const large = "The image has 110 megapixels (11000 × 10000); at most 100 can be kept."
      assert.strictEqual((yield* refusal(more)).detail, large)
      assert.strictEqual((yield* Effect.flip(thumbnail(more, "image/png", 100))).detail, large)
      assert.strictEqual((yield* refusal(svg("", 'width="50000" height="50000"'))).code, "unreadable-file")
    })
  )

  it.effect("is seen as its orientation says", () =>
    Effect.gen(function* () {
      const corner = (background: string) =>
        sharp({ create: { width: 20, height: 10, channels: 3, background } })
          .png()
          .toBuffer()
      const [red, blue] = yield* promise(() => Promise.all([corner("red"), corner("blue")]))
      const stored = sharp({ create: { width: 40, height: 20, channels: 3, background: "white" } }).composite([
        { input: red, left: 0, top: 0 },
        { input: blue, left: 20, top: 0 }
      ])
      // Exif 2.32, tag 274: where the stored upper left and upper right corners are seen.
      const corners = ["", "left top, right top", "right top, left top", "right bottom, left bottom", "left bottom, right bottom"]
      corners.push("left top, left bottom", "right top, right bottom", "right bottom, right top", "left bottom, left top")
      for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
        const bytes = yield* promise(() =>
          stored.clone().withMetadata({ orientation }).jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer()
        )
        const [width, height] = orientation < 5 ? [40, 20] : [20, 40]
        assert.deepStrictEqual(yield* inspect(bytes), image("image/jpeg", width!, height!), `${orientation}`)
        const small = yield* thumbnail(bytes, "image/jpeg", 30)
        assert.deepStrictEqual([small.width, small.height], orientation < 5 ? [30, 15] : [15, 30], `${orientation}`)
        const place = Effect.fnUntraced(function* (colour: string) {
          for (const across of ["left", "right"])
            for (const down of ["top", "bottom"]) {
              const x = across === "left" ? 2 : small.width - 3
              const y = down === "top" ? 2 : small.height - 3
              if ((yield* colourAt(small.bytes, x, y)) === colour) return `${across} ${down}`
            }
          return "nowhere"
        })
        assert.strictEqual(`${yield* place("red")}, ${yield* place("blue")}`, corners[orientation], `${orientation}`)
      }
    })
  )
})

/** The rule in whole numbers: side × size / longer side, half up, at least 1. */
const expected = (size: number, width: number, height: number) => {
  const longer = BigInt(Math.max(width, height))
  const side = (length: number) => {
    const twice = (2n * BigInt(length) * BigInt(size)) / longer
    const rounded = Number((twice + 1n) / 2n)
    return longer <= BigInt(size) ? length : Math.max(1, rounded)
  }
  return { width: side(width), height: side(height) }
}

const Side = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 }))
const SmallSide = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 300 }))
const Size = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))

layer(World, { excludeTestServices: true, timeout: "30 seconds" })("a thumbnail", (it) => {
  it.effect.prop(
    "fits into its square, keeps the aspect, is rounded half up and never larger than the image",
    [Side, Side, Size],
    ([width, height, size]) => Effect.sync(() => assert.deepStrictEqual(fitInto(size, { width, height }), expected(size, width, height))),
    { arbitrary: { runs: 2000 } }
  )

  it.effect.prop(
    "has exactly the dimensions of that rule",
    [SmallSide, SmallSide, SmallSide],
    ([width, height, size]) =>
      Effect.gen(function* () {
        const bytes = yield* promise(() => plain(width, height).png().toBuffer())
        const made = yield* thumbnail(bytes, "image/png", size, "webp")
        const dimensions = expected(size, width, height)
        assert.deepStrictEqual({ width: made.width, height: made.height }, dimensions)
        const { format, ...real } = yield* promise(() => sharp(made.bytes).metadata())
        assert.deepStrictEqual({ format, width: real.width, height: real.height }, { format: "webp", ...dimensions })
      }),
    { arbitrary: { runs: 40 } }
  )

  it.effect("keeps a thin line and rounds a half up", () =>
    Effect.gen(function* () {
      const dimensions = Effect.fnUntraced(function* (width: number, height: number, size: number) {
        const bytes = yield* promise(() => plain(width, height).png().toBuffer())
        const made = yield* thumbnail(bytes, "image/png", size)
        return [made.width, made.height]
      })
      assert.deepStrictEqual(yield* dimensions(1, 5000, 150), [1, 150])
      assert.deepStrictEqual(yield* dimensions(5000, 1, 1), [1, 1])
      assert.deepStrictEqual(yield* dimensions(1, 1, 1000), [1, 1])
      assert.deepStrictEqual(yield* dimensions(1000, 3, 500), [500, 2])
      assert.deepStrictEqual(scaledTo(500, { width: 595.28, height: 841.89 }), { width: 354, height: 500 })
    })
  )

  it.effect("carries no metadata and shows white where the image is transparent", () =>
    Effect.gen(function* () {
      const secret = yield* promise(() =>
        plain(50, 50)
          .withIccProfile("p3")
          .withExif({ IFD0: { Artist: "Somebody" }, IFD3: { GPSLatitudeRef: "N" } })
          .withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/">Somebody</x:xmpmeta>')
          .jpeg()
          .toBuffer()
      )
      assert.include(secret.toString("latin1"), "Somebody")
      const hole = yield* promise(() =>
        sharp({ create: { width: 9, height: 9, channels: 4, background: "#00000000" } })
          .png()
          .toBuffer()
      )
      for (const format of ["jpeg", "webp"] as const) {
        const { bytes, mediaType } = yield* thumbnail(secret, "image/jpeg", 40, format)
        const { exif, format: made, icc, xmp } = yield* promise(() => sharp(bytes).metadata())
        assert.deepStrictEqual([made, mediaType, exif, icc, xmp], [format, `image/${format}`, undefined, undefined, undefined])
        assert.notInclude(Buffer.from(bytes).toString("latin1"), "Somebody")
        const white = yield* thumbnail(hole, "image/png", 5, format)
        assert.strictEqual(yield* colourAt(white.bytes, 2, 2), "white")
        assert.isFalse((yield* promise(() => sharp(white.bytes).metadata())).hasAlpha)
      }
    })
  )

  it.effect("of a PDF is its first page as large as asked for, turned as it is read", () =>
    Effect.gen(function* () {
      const two = pagesOf(["1 0 0 rg 0 421 595 421 re f", "0 0 1 rg 0 0 595 842 re f"])
      const upright = yield* thumbnail(two, "application/pdf", 1000)
      assert.deepStrictEqual([upright.width, upright.height], [707, 1000])
      assert.deepStrictEqual([yield* colourAt(upright.bytes, 350, 100), yield* colourAt(upright.bytes, 350, 900)], ["red", "white"])
      const turned = yield* thumbnail(pagesOf(["1 0 0 rg 0 421 595 421 re f"], { page: "/Rotate 90" }), "application/pdf", 200, "webp")
      assert.deepStrictEqual([turned.width, turned.height], [200, 141])
      assert.deepStrictEqual([yield* colourAt(turned.bytes, 180, 70), yield* colourAt(turned.bytes, 20, 70)], ["red", "white"])
      const dot = yield* thumbnail(two, "application/pdf", 1)
      assert.deepStrictEqual([dot.width, dot.height], [1, 1])
      const tower = yield* thumbnail(pagesOf([""], { width: 3, height: 14_400 }), "application/pdf", 300)
      assert.deepStrictEqual([tower.width, tower.height], [1, 300])
    })
  )

  it.effect("of a PDF shows letters in the fonts that every reader has", () =>
    Effect.gen(function* () {
      const { bytes } = yield* thumbnail(pagesOf([line("MMMMMMMMMM")], { width: 400, height: 842 }), "application/pdf", 842)
      const letters = sharp(bytes).extract({ left: 72, top: 122, width: 190, height: 20 }).greyscale().raw()
      const ink = (yield* promise(() => letters.toBuffer())).filter((grey) => grey < 100).length
      assert.isAbove(ink, 500)
    })
  )

  it.effect("of an SVG runs nothing and fetches nothing", () =>
    Effect.gen(function* () {
      let asked = 0
      const server = createServer((_, response) => {
        asked++
        response.end()
      })
      server.listen(0, "127.0.0.1")
      yield* promise(() => once(server, "listening"))
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const neighbour = put(
        yield* promise(() =>
          sharp({ create: { width: 10, height: 10, channels: 3, background: "red" } })
            .png()
            .toBuffer()
        ),
        "red.png"
      )
      const all = 'width="100" height="50"'
      for (const [what, inside] of [
        ["an image", `<image ${all} href="${origin}/a.png"/>`],
        ["an old image", `<image ${all} xlink:href="${origin}/a.png"/>`],
        ["a file", `<image ${all} xlink:href="${pathToFileURL(neighbour)}"/>`],
        ["the file beside it", `<image ${all} xlink:href="${neighbour.split("/").at(-1)}"/>`],
        ["another drawing", `<use href="${origin}/a.svg#b"/>`],
        ["a style sheet", `<style>@import url(${origin}/a.css);</style>`],
        ["a font", `<style>@font-face{font-family:a;src:url(${origin}/a.woff)}</style><text fill="white" font-family="a" y="9">a</text>`],
        ["HTML", `<foreignObject ${all}><iframe xmlns="http://www.w3.org/1999/xhtml" src="${origin}"/></foreignObject>`],
        ["inclusion", `<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="${pathToFileURL(neighbour)}" parse="text"/>`],
        ["a script", `<script>document.documentElement.innerHTML = '&lt;rect ${all}/>'</script>`]
      ] as const) {
        const bytes = svg(inside)
        assert.deepStrictEqual(yield* inspect(bytes), image("image/svg+xml", 100, 50), what)
        const made = yield* thumbnail(bytes, "image/svg+xml", 500)
        assert.deepStrictEqual([made.width, made.height, yield* colourAt(made.bytes, 5, 5)], [100, 50, "white"], what)
      }
      assert.strictEqual(asked, 0)
      const own = `data:image/png;base64,${readFileSync(neighbour).toString("base64")}`
      const made = yield* thumbnail(svg(`<image ${all} preserveAspectRatio="none" xlink:href="${own}"/>`), "image/svg+xml", 50)
      assert.strictEqual(yield* colourAt(made.bytes, 5, 5), "red")
    })
  )

  it.effect("of a file that became unreadable is a typed refusal, of one that is gone a defect", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(thumbnail("nothing", "image/png", 10))).code, "unreadable-file")
      assert.strictEqual((yield* Effect.flip(thumbnail("nothing", "application/pdf", 10))).code, "unreadable-file")
      const gone = yield* Effect.exit((yield* Media).thumbnail(join(folder, "none"), "image/png", { size: 10, format: "jpeg" }))
      assert.isTrue(gone._tag === "Failure" && gone.cause.reasons.every(({ _tag }) => _tag === "Die"))
    })
  )

  it.effect("for a link is a WebP of at most 1000 pixels, of images alone", () =>
    Effect.gen(function* () {
      const media = yield* Media
      const { bytes, ...wide } = yield* media.preview(put(yield* promise(() => plain(3000, 1500).png().toBuffer())))
      assert.deepStrictEqual(wide, { width: 1000, height: 500, mediaType: "image/webp" })
      assert.strictEqual((yield* promise(() => sharp(bytes).metadata())).format, "webp")
      const pixel = yield* media.preview(put(yield* promise(() => plain(1, 1).png().toBuffer())))
      assert.deepStrictEqual([pixel.width, pixel.height], [1, 1])
      const gif = put(yield* promise(() => plain(9, 9).gif().toBuffer()))
      for (const path of [gif, put(pagesOf([""])), put("<html>")])
        assert.strictEqual((yield* Effect.flip(media.preview(path))).code, "unsupported-media")
      assert.strictEqual((yield* Effect.flip(media.preview(put("")))).code, "unreadable-file")
    })
  )

  it.effect("is made for 32 callers at once, and each gets their own", () =>
    Effect.gen(function* () {
      const media = yield* Media
      const sources = yield* promise(() =>
        Promise.all(
          Array.from({ length: 32 }, async (_, n) => {
            const [width, height] = [100 + n, 50]
            const make = [
              () => plain(width, height).jpeg().toBuffer(),
              () => plain(width, height).png().toBuffer(),
              () => plain(width, height).webp().toBuffer()
            ]
            return n % 4 === 3 ? put(pagesOf([line(`${n}`), ""], { width, height })) : put(await make[n % 4]!())
          })
        )
      )
      const found = yield* Effect.forEach(
        sources,
        (path, n) =>
          Effect.gen(function* () {
            if (n % 8 === 5) return [(yield* Effect.flip(inspect(`no ${n}`))).code]
            const { mediaType, pageCount } = yield* media.inspect(path, statSync(path).size)
            const { height, width } = yield* media.thumbnail(path, mediaType, { size: 80, format: "webp" })
            return [mediaType, pageCount, width, height]
          }),
        { concurrency: "unbounded" }
      )
      const types = ["image/jpeg", "image/png", "image/webp", "application/pdf"]
      assert.deepStrictEqual(
        found,
        sources.map((_, n) => {
          const { height, width } = expected(80, 100 + n, 50)
          return n % 8 === 5 ? ["unsupported-media"] : [types[n % 4], n % 4 === 3 ? 2 : null, width, height]
        })
      )
      assert.isAtMost(yield* media.decoders, 4)
    })
  )
})

layer(World, { excludeTestServices: true, timeout: "30 seconds" })("the words of a PDF", (it) => {
  it.effect("are those of its first 50 pages", () =>
    Effect.gen(function* () {
      const text = yield* (yield* Media).text(put(pagesOf(Array.from({ length: 60 }, (_, n) => line(`Word${n + 1}.`)))))
      assert.deepStrictEqual(
        text.split(/\s+/u),
        Array.from({ length: 50 }, (_, n) => `Word${n + 1}.`)
      )
    })
  )

  it.effect("are at most 200 KB, cut at a whole character", () =>
    Effect.gen(function* () {
      const media = yield* Media
      // Each is two bytes of UTF-8, one of them at an odd place.
      const page = line(`a${"\\344".repeat(9_999)}`)
      const text = yield* media.text(put(pagesOf(Array.from({ length: 12 }, () => page))))
      assert.isAtMost(Buffer.byteLength(text), 200_000)
      assert.isAbove(Buffer.byteLength(text), 199_997)
      assert.match(text, /^[aä\s]+$/u)
      assert.strictEqual(yield* media.text(put(pagesOf([""]))), "")
      assert.strictEqual((yield* Effect.flip(media.text(put("%PDF-1.7 no")))).code, "unreadable-file")
    })
  )
})

const limited = (limits: Parameters<typeof Media.layerWith>[0]) => Media.layerWith(limits).pipe(Layer.provide(AppConfig.fromEnv({})))
const Short = limited({ parallel: 1, time: "3 seconds", idle: "200 millis" })
const Small = limited({ parallel: 1, memory: 220 * 2 ** 20 })

// Seconds of drawing for one pixel, all in native code.
const turbulence = `<filter id="f">${'<feTurbulence baseFrequency="0.01" numOctaves="9"/>'.repeat(1000)}</filter>`
const endless = svg(turbulence + '<rect filter="url(#f)" width="300" height="300"/>'.repeat(200), 'width="300" height="300"')

const works = Effect.gen(function* () {
  assert.deepStrictEqual(yield* inspect(yield* promise(() => plain(3, 2).png().toBuffer())), image("image/png", 3, 2))
})

/** The decoding processes of this one. */
const decoderIds = Effect.sync(() =>
  execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" })
    .split("\n")
    .map((row) => row.trim().split(/\s+/u))
    .filter(([, parent, ...args]) => Number(parent) === process.pid && args.join(" ").includes("decoder.ts"))
    .map(([id]) => Number(id))
)

layer(Small, { excludeTestServices: true, timeout: "30 seconds" })("a bomb", (it) => {
  it.effect("of gigabytes in a small PDF is refused, and the next file is read as if nothing had been", () =>
    Effect.gen(function* () {
      const { code, detail } = yield* refusal(pagesOf([bombOf(4096)]))
      assert.deepStrictEqual([code, detail], ["unreadable-file", "Reading the file takes more memory than one file may have."])
      yield* works
    })
  )

  it.effect("that breaks its process is read once more, then refused", () =>
    Effect.gen(function* () {
      const stuck = yield* Effect.forkChild(Effect.flip(inspect(endless)), { startImmediately: true })
      let victim = 0
      for (const _ of ["first", "second"]) {
        const next = decoderIds.pipe(Effect.map((ids) => ids.find((id) => id !== victim)))
        const found = yield* next.pipe(Effect.repeat({ until: (id) => id !== undefined, schedule: Schedule.spaced("10 millis") }))
        victim = found!
        process.kill(victim, "SIGSEGV")
      }
      assert.strictEqual((yield* Fiber.join(stuck)).detail, "The program that reads such files breaks on this one.")
      yield* works
    })
  )
})

layer(Short, { excludeTestServices: true, timeout: "30 seconds" })("a bomb", (it) => {
  it.effect("of pixels or time is refused, and the next file is read as if nothing had been", () =>
    Effect.gen(function* () {
      const entities = `<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">${[..."bcdefghij"].map((name, n) => `<!ENTITY ${name} "${`&${"abcdefghi"[n]};`.repeat(10)}">`).join("")}]>${svg("<text>&j;</text>")}`
      const outside = `<!DOCTYPE svg [<!ENTITY a SYSTEM "${pathToFileURL(put("a secret"))}">]>${svg("<text>&a;</text>")}`
      const pixels = blackPng(20_000, 20_000)
      const time = "Reading the file takes longer than 3s."
      for (const [what, bytes, detail] of [
        ["a PNG of 400 megapixels", pixels, "The image has 400 megapixels (20000 × 20000); at most 100 can be kept."],
        ["an SVG of filters", endless, time],
        ["an SVG of entities", entities, "The image is damaged or cut off."],
        ["an SVG of a file", outside, "The image is damaged or cut off."]
      ] as const) {
        const found = yield* refusal(bytes)
        assert.deepStrictEqual([found.status, found.code], [422, "unreadable-file"], what)
        assert.strictEqual(found.detail, detail, what)
        yield* works
      }
    })
  )

  it.effect("is no PDF with a million blanks before its end", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* inspect(Buffer.from(largePdf("blanks", 1_000_000))), pdf(1))
    })
  )

  it.effect("that nobody waits for any more is put out at once", () =>
    Effect.gen(function* () {
      const media = yield* Media
      const path = put(endless)
      const stuck = yield* Effect.forkChild(media.thumbnail(path, "image/svg+xml", { size: 300, format: "jpeg" }), {
        startImmediately: true
      })
      const waiting = yield* Effect.forkChild(inspect(pagesOf([line("next")])), { startImmediately: true })
      assert.strictEqual(yield* media.decoders, 1)
      yield* Fiber.interrupt(stuck)
      assert.deepStrictEqual(yield* Fiber.join(waiting), pdf(1))
      // Not the one that was at work, which has ended.
      assert.lengthOf(yield* decoderIds, 1)
    })
  )

  it.effect("leaves no process behind when there is nothing to read", () =>
    Effect.gen(function* () {
      const media = yield* Media
      yield* works
      assert.strictEqual(yield* media.decoders, 1)
      yield* media.decoders.pipe(
        Effect.repeat({ until: (count) => count === 0, schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("5 seconds")
      )
      yield* works
    })
  )
})

const server = `
import { Effect, Layer } from "effect"
import { AppConfig } from "#platform/config.ts"
import { Media } from "#platform/media/media.service.ts"
await Effect.runPromise(Effect.gen(function* () {
  const media = yield* Media
  const [pdf, endless] = process.argv.slice(-2)
  yield* media.thumbnail(pdf, "application/pdf", { size: 50, format: "jpeg" })
  const stuck = yield* Effect.forkChild(media.thumbnail(endless, "image/svg+xml", { size: 300, format: "jpeg" }), { startImmediately: true })
  const native = process.report.getReport().sharedObjects.filter((name) => /sharp|vips|canvas|skia/.test(name))
  const { execFileSync } = yield* Effect.promise(() => import("node:child_process"))
  const [decoder] = execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" }).split("\\n").filter((row) => row.includes("decoder.ts") && row.trim().split(/ +/)[1] === String(process.pid))
  process.stdout.write(JSON.stringify({ native, decoder: Number(decoder.trim().split(/ +/)[0]) }) + "\\n")
  return yield* Effect.never
}).pipe(Effect.provide(Media.layer.pipe(Layer.provide(AppConfig.fromEnv({}))))))
`

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe("a server", () => {
  layer(Layer.empty, { excludeTestServices: true })((it) => {
    it.effect("holds no decoder itself, and takes its own with it when it is killed", () =>
      Effect.gen(function* () {
        const child = spawn(process.execPath, ["--input-type=module", "-e", server, put(pagesOf([""])), put(endless)], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
        const [said] = yield* promise(() => once(child.stdout, "data")).pipe(Effect.timeout("15 seconds"))
        const { decoder, native } = JSON.parse(String(said))
        assert.deepStrictEqual(native, [])
        assert.isTrue(isAlive(decoder))
        child.kill("SIGKILL")
        yield* Effect.sync(() => isAlive(decoder)).pipe(
          Effect.repeat({ until: (alive) => !alive, schedule: Schedule.spaced("10 millis") }),
          Effect.timeout("5 seconds")
        )
      })
    )
  })
})
