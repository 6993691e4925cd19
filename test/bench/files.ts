import { spawn } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { rm, writeFile } from "node:fs/promises"
import { request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { Context, Effect, Exit, Layer, Scope } from "effect"
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

const decodersOf = (pid: number | undefined) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter((child) => child !== "" && readFileSync(`/proc/${child}/cmdline`, "utf8").includes("decoder.ts"))
    .map(Number)

/** What the system itself adds, when there is more to do than there are processors. */
const idleDelay = async (milliseconds: number) => {
  const look = `const delay = require("node:perf_hooks").monitorEventLoopDelay({ resolution: 10 })
    delay.enable()
    setTimeout(() => { console.log((delay.max / 1e6 - 10).toFixed(0)); process.exit() }, ${milliseconds})`
  const child = spawn(process.execPath, ["--eval", look], { stdio: ["ignore", "pipe", "inherit"] })
  return (await text(child.stdout)).trim()
}

/** Uploads and downloads beside the store's own PUT of the same bytes, in turn, and thumbnails. */
export const files = async (server: Running, { note, only }: Print, env: Record<string, string>) => {
  const base = `http://127.0.0.1:${server.port}`
  const head = Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="bench"\r\nContent-Type: a/b\r\n\r\n')
  const tail = Buffer.from("\r\n--b--\r\n")
  // Not by fetch, which takes as long to make the form as the server to read it.
  const upload = (bytes: Uint8Array) =>
    new Promise<{ readonly id: string; readonly contentUrl: string }>((resolve, reject) => {
      const headers = { "content-type": "multipart/form-data; boundary=b", "content-length": head.length + bytes.length + tail.length }
      const path = `/api/parts/${only}/documents`
      const outgoing = request({ host: "127.0.0.1", port: server.port, method: "POST", path, headers }, (incoming) => {
        text(incoming).then((body) => (incoming.statusCode === 201 ? resolve(JSON.parse(body)) : reject(new Error(body))), reject)
      })
      outgoing.on("error", reject)
      for (const part of [head, bytes]) outgoing.write(part)
      outgoing.end(tail)
    })
  const download = async (path: string) => {
    for await (const _ of (await fetch(base + path)).body ?? []);
  }
  const remove = (id: string) => fetch(`${base}/api/documents/${id}`, { method: "DELETE" })
  const scope = Scope.makeUnsafe()
  const store = await Effect.runPromise(
    Layer.build(Store).pipe(
      Effect.map((context) => Context.get(context, ObjectStore)),
      Effect.provide(AppConfig.fromEnv({ ...env, DATA_DIR: join(env.DATA_DIR ?? tmpdir(), "bench-store") })),
      Scope.provide(scope)
    )
  )
  const put = async (bytes: Uint8Array, path: string) => {
    const key = `bench/${randomBytes(8).toString("hex")}`
    const sha256 = createHash("sha256").update(bytes).digest("hex")
    const object = { bucket: "docs", key, path, size: bytes.length, sha256, mediaType: "application/pdf" } as const
    const stored = await timed(() => Effect.runPromise(store.put(object)))
    await Effect.runPromise(store.remove(object))
    return stored
  }
  const spool = join(tmpdir(), `partwright-bench-${process.pid}.pdf`)
  let more = 0
  let decoder = 0
  for (const size of sizes) {
    const [ups, downs, puts]: [Array<number>, Array<number>, Array<number>] = [[], [], []]
    for (let round = 0; round < 9; round++) {
      // proc(5): the peak begins again.
      writeFileSync(`/proc/${server.process.pid}/clear_refs`, "5")
      const before = memory(server.process.pid).now
      const bytes = pdfOf(size)
      await writeFile(spool, bytes)
      const [document, up] = await timed(() => upload(bytes))
      const [, down] = await timed(() => download(document.contentUrl))
      const grown = memory(server.process.pid).peak - before
      decoder = Math.max(decoder, ...decodersOf(server.process.pid).map((pid) => memory(pid).peak))
      await remove(document.id)
      const [, own] = await put(bytes, spool)
      // The code of both is warm by then.
      if (round < 4) continue
      ups.push(up)
      downs.push(down)
      puts.push(own)
      more = Math.max(more, grown)
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
  note("memory of the server, more while a file passes", `${more.toFixed(0)} MiB`, "≤ 40 MiB")
  note("memory of a decoding process", `${decoder.toFixed(0)} MiB at most`, "")
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await rm(spool, { force: true })
  await rm(join(env.DATA_DIR ?? "", "bench-store"), { recursive: true, force: true })

  const photo = new Uint8Array(
    await sharp({
      create: { width: 6000, height: 4000, channels: 3, noise: { type: "gaussian", mean: 128, sigma: 20 }, background: "white" }
    })
      .jpeg()
      .toBuffer()
  )
  const document = await upload(photo)
  const thumbnail = (size: number) =>
    timed(() => fetch(`${base}/api/documents/${document.id}/thumbnail?size=${size}`).then((answer) => answer.arrayBuffer()))
  const [, first] = await thumbnail(300)
  const again: Array<readonly [unknown, number]> = []
  for (let n = 0; n < 20; n++) again.push(await thumbnail(300))
  note("thumbnail of 24 megapixels, first", `${(first * 1000).toFixed(0)} ms`, "≤ 400 ms")
  note("the same again", `${(median(again.map(([, seconds]) => seconds)) * 1000).toFixed(1)} ms`, "≤ 10 ms")
  const [, many] = await timed(() => Promise.all(Array.from({ length: 32 }, (_, n) => thumbnail(100 + n))))
  note("thumbnails of 24 megapixels, 32 at once", `${(32 / many).toFixed(1)}/s`, "")
  const [twin, dedupe] = await timed(() => upload(photo))
  note(`the same ${(photo.length / 1e6).toFixed(0)} MB photo again`, `${(dedupe * 1000).toFixed(0)} ms, stored once`, "")
  for (const { id } of [document, twin]) await remove(id)

  // As long as the metric looks back.
  const idle = idleDelay(60_000)
  const until = performance.now() + 60_000
  const large = pdfOf(100_000_000)
  const rounds = { uploads: 0, thumbnails: 0, previews: 0 }
  const repeated = async (what: keyof typeof rounds, bytes: Uint8Array, work: (id: string) => Promise<unknown>) => {
    while (performance.now() < until) {
      const { id } = await upload(bytes)
      await work(id)
      await remove(id)
      rounds[what]++
    }
  }
  const seen = async (id: string) => (await fetch(`${base}/api/documents/${id}/thumbnail?size=500`)).arrayBuffer()
  await Promise.all([
    repeated("uploads", large, (id) => download(`/api/documents/${id}/content`)),
    repeated("thumbnails", photo, seen),
    repeated("previews", pdfOf(1_000_000), seen)
  ])
  const metrics = await (await fetch(`${base}/metrics`)).text()
  const delay = Number(/^partwright_event_loop_delay_seconds (.+)$/mu.exec(metrics)?.[1])
  note("largest delay of the event loop", `${(delay * 1000).toFixed(0)} ms, during ${JSON.stringify(rounds)}`, "≤ 50 ms")
  note("the same of a process that does nothing", `${await idle} ms`, "")
}
