import { createHash, randomBytes } from "node:crypto"
import { rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import sharp from "sharp"
import { AppConfig } from "#platform/config.ts"
import { layer as Store } from "#platform/objects/object-store.layer.ts"
import { ObjectStore } from "#platform/objects/object-store.ts"
import { memory, type Running } from "./processes.ts"

interface Print {
  readonly note: (what: string, figure: string, target: string) => void
  /** The part that gets the documents. */
  readonly only: string
}

const sizes = [1000, 1_000_000, 100_000_000]

/** A PDF of about that size, no two alike: most of it is an object that no page shows. */
const pdfOf = (size: number): Uint8Array<ArrayBuffer> => {
  const filling = randomBytes(Math.max(16, size - 600))
  const bodies = [
    Buffer.from("<< /Type /Catalog /Pages 2 0 R >>"),
    Buffer.from("<< /Type /Pages /Kids [3 0 R] /Count 1 >>"),
    Buffer.from("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>"),
    Buffer.concat([Buffer.from(`<< /Length ${filling.length} >>\nstream\n`), filling, Buffer.from("\nendstream")])
  ]
  const parts = [Buffer.from("%PDF-1.4\n")]
  const offsets: Array<number> = []
  let at = parts[0]!.length
  for (const [n, body] of bodies.entries()) {
    const object = Buffer.concat([Buffer.from(`${n + 1} 0 obj\n`), body, Buffer.from("\nendobj\n")])
    offsets.push(at)
    at += object.length
    parts.push(object)
  }
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("")
  parts.push(Buffer.from(`xref\n0 5\n0000000000 65535 f \n${entries}trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n${at}\n%%EOF\n`))
  return new Uint8Array(Buffer.concat(parts))
}

const median = (all: Array<number>) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0

const timed = async <A>(work: () => Promise<A>): Promise<readonly [A, number]> => {
  const since = performance.now()
  const result = await work()
  return [result, (performance.now() - since) / 1000]
}

const speed = (bytes: number, seconds: number) =>
  `${(bytes / 1e6 / seconds).toFixed(bytes < 1e6 ? 2 : 0)} MB/s (${(seconds * 1000).toFixed(1)} ms)`

/** Uploads and downloads beside the store's own PUT of the same bytes, in turn, and thumbnails. */
export const files = async (server: Running, { note, only }: Print, env: Record<string, string>) => {
  const base = `http://127.0.0.1:${server.port}`
  const upload = async (bytes: Uint8Array<ArrayBuffer>, name: string) => {
    const form = new FormData()
    form.append("file", new File([bytes], name))
    const answer = await fetch(`${base}/api/parts/${only}/documents`, { method: "POST", body: form })
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`)
    return (await answer.json()) as { readonly id: string; readonly contentUrl: string }
  }
  const remove = (id: string) => fetch(`${base}/api/documents/${id}`, { method: "DELETE" })
  const put = (bytes: Uint8Array, path: string) =>
    Effect.runPromise(
      Effect.flatMap(ObjectStore, (store) =>
        Effect.promise(() =>
          timed(() =>
            Effect.runPromise(
              store.put({
                bucket: "docs",
                key: `bench/${randomBytes(8).toString("hex")}`,
                path,
                size: bytes.length,
                sha256: createHash("sha256").update(bytes).digest("hex"),
                mediaType: "application/pdf"
              })
            )
          )
        )
      ).pipe(Effect.provide(Store), Effect.provide(AppConfig.fromEnv({ ...env, DATA_DIR: join(env.DATA_DIR ?? tmpdir(), "bench-store") })))
    )
  const spool = join(tmpdir(), `partwright-bench-${process.pid}.pdf`)
  const before = memory(server.process.pid).now
  for (const size of sizes) {
    const [ups, downs, puts]: [Array<number>, Array<number>, Array<number>] = [[], [], []]
    for (let round = 0; round < 5; round++) {
      const bytes = pdfOf(size)
      await writeFile(spool, bytes)
      const [document, up] = await timed(() => upload(bytes, "bench.pdf"))
      const [, down] = await timed(async () => (await fetch(base + document.contentUrl)).arrayBuffer())
      const [, own] = await put(bytes, spool)
      ups.push(up)
      downs.push(down)
      puts.push(own)
      await remove(document.id)
    }
    const [up, down, own] = [median(ups), median(downs), median(puts)]
    note(
      `upload ${size / 1e6} MB`,
      `${speed(size, up)}, ${(own / up).toFixed(2)} × the store`,
      size === 100_000_000 ? "≥ 0.8 × the store" : ""
    )
    note(`download ${size / 1e6} MB`, speed(size, down), "")
    note(`the store's own PUT of ${size / 1e6} MB`, speed(size, own), "")
  }
  note("memory of the server, more than before", `${(memory(server.process.pid).peak - before).toFixed(0)} MiB`, "≤ 40 MiB")
  await rm(spool, { force: true })
  await rm(join(env.DATA_DIR ?? "", "bench-store"), { recursive: true, force: true })

  const photo = new Uint8Array(
    await sharp({
      create: { width: 6000, height: 4000, channels: 3, noise: { type: "gaussian", mean: 128, sigma: 20 }, background: "white" }
    })
      .jpeg()
      .toBuffer()
  )
  const document = await upload(photo, "photo.jpg")
  const thumbnail = (size: number) =>
    timed(() => fetch(`${base}/api/documents/${document.id}/thumbnail?size=${size}`).then((answer) => answer.arrayBuffer()))
  const [, first] = await thumbnail(300)
  const again = await Promise.all(Array.from({ length: 20 }, () => thumbnail(300)))
  note("thumbnail of 24 megapixels, first", `${(first * 1000).toFixed(0)} ms`, "≤ 400 ms")
  note("the same again", `${(median(again.map(([, seconds]) => seconds)) * 1000).toFixed(1)} ms`, "≤ 10 ms")
  const [, many] = await timed(() => Promise.all(Array.from({ length: 32 }, (_, n) => thumbnail(100 + n))))
  note("thumbnails of 24 megapixels, 32 at once", `${(32 / many).toFixed(1)}/s`, "")
  const [twin, dedupe] = await timed(() => upload(photo, "photo.jpg"))
  note(`the same ${(photo.length / 1e6).toFixed(0)} MB photo again`, `${(dedupe * 1000).toFixed(0)} ms, stored once`, "")
  for (const { id } of [document, twin]) await remove(id)
}
