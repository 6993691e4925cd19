import { createHash } from "node:crypto"
import { deflateRawSync, deflateSync, constants as zlib } from "node:zlib"

/** A PDF from its numbered objects; the first is the catalogue. Objects are written as they come: text, or text around bytes. */
export const pdfOf = (objects: ReadonlyArray<string | Buffer>, trailer = ""): Buffer => {
  const chunks: Array<Buffer> = []
  let length = 0
  const add = (chunk: string | Buffer) => {
    const bytes = Buffer.from(chunk as string, "latin1")
    chunks.push(bytes)
    length += bytes.length
  }
  add("%PDF-1.7\n%\u00e2\u00e3\u00cf\u00d3\n")
  const offsets = objects.map((object, index) => {
    const offset = length
    add(`${index + 1} 0 obj\n`)
    add(object)
    add("\nendobj\n")
    return offset
  })
  const table = length
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("")
  add(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries}`)
  add(`trailer\n<< /Size ${objects.length + 1} /Root 1 0 R ${trailer} >>\nstartxref\n${table}\n%%EOF\n`)
  return Buffer.concat(chunks)
}

export const streamOf = (dictionary: string, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`<< ${dictionary} /Length ${bytes.length} >>\nstream\n`), bytes, Buffer.from("\nendstream")])

const font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"

/** One page after the other with the drawing operators of each, on paper of the given size in points. */
export const pagesOf = (
  contents: ReadonlyArray<string | Buffer>,
  options: { readonly width?: number; readonly height?: number; readonly page?: string; readonly trailer?: string } = {}
): Buffer => {
  const { height = 842, page = "", trailer = "", width = 595 } = options
  const kids = contents.map((_, index) => `${4 + 2 * index} 0 R`).join(" ")
  return pdfOf(
    [
      "<< /Type /Catalog /Pages 2 0 R >>",
      `<< /Type /Pages /Count ${contents.length} /Kids [${kids}] >>`,
      font,
      ...contents.flatMap((content, index) => [
        `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${width} ${height}] /Contents ${5 + 2 * index} 0 R /Resources << /Font << /F1 3 0 R >> >> ${page} >>`,
        typeof content === "string" ? streamOf("/Filter /FlateDecode", deflateSync(Buffer.from(content, "latin1"))) : content
      ])
    ],
    trailer
  )
}

/** The operators that write a line. */
export const line = (words: string) => `BT /F1 24 Tf 72 700 Td (${words}) Tj ET`

/** A stream of megabytes of zeros in kilobytes: one block, repeated. */
export const bombOf = (mebibytes: number): Buffer => {
  const block = deflateRawSync(Buffer.alloc(2 ** 20), { finishFlush: zlib.Z_FULL_FLUSH })
  const blocks = Array.from({ length: mebibytes }, () => block)
  return streamOf("/Filter /FlateDecode", Buffer.concat([Buffer.from([0x78, 0x9c]), ...blocks]))
}

const padding = Buffer.from("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a", "hex")

const rc4 = (key: Buffer, input: Buffer) => {
  const state = Array.from({ length: 256 }, (_, i) => i)
  const swap = (i: number, j: number) => {
    const held = state[i]!
    state[i] = state[j]!
    state[j] = held
  }
  for (let i = 0, j = 0; i < 256; i++) {
    j = (j + state[i]! + key[i % key.length]!) & 255
    swap(i, j)
  }
  let i = 0
  let j = 0
  return Buffer.from(input).map((byte) => {
    i = (i + 1) & 255
    j = (j + state[i]!) & 255
    swap(i, j)
    return byte ^ state[(state[i]! + state[j]!) & 255]!
  })
}

/** One encrypted blank page (ISO 32000-1, 7.6.3: revision 2, 40 bits); without a password anyone may open it. */
export const encrypted = (password: string): Buffer => {
  const id = Buffer.alloc(16, 7)
  const owner = Buffer.alloc(32, 3)
  const permissions = Buffer.alloc(4)
  permissions.writeInt32LE(-4)
  const padded = Buffer.concat([Buffer.from(password), padding]).subarray(0, 32)
  const key = createHash("md5")
    .update(Buffer.concat([padded, owner, permissions, id]))
    .digest()
    .subarray(0, 5)
  const user = Buffer.from(rc4(key, padding))
  return pdfOf(
    [
      "<< /Type /Catalog /Pages 2 0 R >>",
      "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
      "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] >>",
      `<< /Filter /Standard /V 1 /R 2 /P -4 /O <${owner.toString("hex")}> /U <${user.toString("hex")}> >>`
    ],
    `/Encrypt 4 0 R /ID [<${id.toString("hex")}> <${id.toString("hex")}>]`
  )
}
