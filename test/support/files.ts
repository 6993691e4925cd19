import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32, deflateSync } from "node:zlib"
import { Effect } from "effect"
import sharp from "sharp"
import { Http, type SendOptions } from "./world.ts"

/** A folder that is gone with the scope. */
export const scratchFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "partwright test "))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
)

/** An image of one colour; another seed gives other bytes. */
export const image = (
  options: { readonly width?: number; readonly height?: number; readonly seed?: number; readonly format?: "png" | "jpeg" | "webp" } = {}
) => {
  const { format = "png", height = 40, seed = 0, width = 60 } = options
  return Effect.promise(async () => {
    const background = { r: seed % 256, g: Math.floor(seed / 256) % 256, b: Math.floor(seed / 65_536) % 256 }
    return new Uint8Array(
      await sharp({ create: { width, height, channels: 3, background } })
        .toFormat(format)
        .toBuffer()
    )
  })
}

/** A real PNG of one bit a pixel, all black. */
export const blackPng = (width: number, height: number) => {
  const chunk = (type: string, content: Buffer) => {
    const named = Buffer.concat([Buffer.from(type), content])
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
    length.writeUInt32BE(content.length)
    sum.writeUInt32BE(crc32(named))
    return Buffer.concat([length, named, sum])
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header[8] = 1
  const rows = deflateSync(Buffer.alloc((1 + Math.ceil(width / 8)) * height), { level: 1 })
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), chunk("IHDR", header), chunk("IDAT", rows), chunk("IEND", Buffer.alloc(0))])
}

/** A PDF of so many empty pages with a text on each; another text gives other bytes. */
export const pdf = (text = "Data sheet", pages = 1, hidden = ""): Uint8Array => {
  const escaped = text.replaceAll(/[\\()]/gu, "\\$&")
  const content = `BT /F1 24 Tf 72 700 Td (${escaped}) Tj ET`
  const kids = Array.from({ length: pages }, (_, n) => `${4 + n} 0 R`).join(" ")
  const bodies = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids}] /Count ${pages} >>`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ...Array.from(
      { length: pages },
      () => `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents ${4 + pages} 0 R /Resources << /Font << /F1 3 0 R >> >> >>`
    ),
    ...[content, hidden].map((stream) => `<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`)
  ]
  let file = "%PDF-1.4\n"
  const offsets = bodies.map((body, n) => {
    const offset = file.length
    file += `${n + 1} 0 obj\n${body}\nendobj\n`
    return offset
  })
  const start = file.length
  file += `xref\n0 ${bodies.length + 1}\n0000000000 65535 f \n${offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("")}`
  file += `trailer\n<< /Size ${bodies.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`
  return new TextEncoder().encode(file)
}

/** The same with so many bytes, most of them in an object that no page shows. */
export const largePdf = (text: string, size: number): Uint8Array => pdf(text, 1, " ".repeat(size - 1000))

/** Sends a form with one file. */
export const upload = Effect.fnUntraced(function* (
  id4: string,
  bytes: Uint8Array,
  options: SendOptions & { readonly filename?: string; readonly fields?: Record<string, string>; readonly type?: string } = {}
) {
  const { send } = yield* Http
  const form = new FormData()
  for (const [name, value] of Object.entries(options.fields ?? {})) form.append(name, value)
  form.append(
    "file",
    new File([new Uint8Array(bytes)], options.filename ?? "file.bin", { type: options.type ?? "application/octet-stream" })
  )
  const encoded = new Response(form)
  const raw = new Uint8Array(yield* Effect.promise(() => encoded.arrayBuffer()))
  return yield* send("POST", `/api/parts/${id4}/documents`, undefined, {
    raw,
    headers: { "content-type": encoded.headers.get("content-type") ?? "", ...options.headers }
  })
})
