import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import sharp from "sharp"
import { listening } from "./bench/processes.ts"
import { pdf } from "./support/files.ts"

// Asks the model that is configured one question of each kind, on an instance of its own that is gone afterwards. What it answers is for
// a person to look at: models differ, and no test depends on one.

if (!process.env.OPENAI_API_KEY && !process.env.OPENAI_BASE_URL) {
  process.stderr.write("No language model is configured: set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server of your own.\n")
  process.exit(1)
}

const code = "NE555P"
const web = createServer((_, response) => void response.end(pdf(`${code} precision timer, Texas Instruments, 4.5 V to 16 V, DIP-8`)))
await new Promise<void>((resolve) => void web.listen(0, "127.0.0.1", resolve))
const { port: webPort } = web.address() as AddressInfo
const sheet = `http://127.0.0.1:${webPort}/ne555p.pdf`

const label = [code, "TEXAS INSTRUMENTS", "Timer IC DIP-8", "QTY 25   D/C 2431", "LOT 4711-A"]
const photo = await sharp(
  Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="600"><rect width="900" height="600" fill="#d9e2d0"/><rect x="60" y="60" width="780" height="480" rx="20" fill="white"/>${label
      .map((line, at) => `<text x="110" y="${150 + 85 * at}" font-family="sans-serif" font-size="60">${line}</text>`)
      .join("")}</svg>`
  )
)
  .jpeg()
  .toBuffer()

const folder = mkdtempSync(join(tmpdir(), "partwright-ai-"))
const server = await listening("src/main.ts", ["serve"], {
  PORT: "0",
  DATA_DIR: join(folder, "data"),
  DATABASE_URL: "",
  FETCH_ALLOW_HOSTS: `127.0.0.1:${webPort}`
})
const api = `http://127.0.0.1:${server.port}/api`

// biome-ignore lint/suspicious/noExplicitAny: whatever the server answers is printed
type Body = any

const send = async (path: string, body?: object): Promise<Body> => {
  const isForm = body instanceof FormData
  const answer = await fetch(`${api}${path}`, {
    method: body === undefined ? "GET" : "POST",
    ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    ...(body === undefined || isForm ? {} : { headers: { "content-type": "application/json" } })
  })
  const said: Body = await answer.json()
  if (!answer.ok) throw new Error(`${said.title}: ${said.detail}`)
  return said
}

const ended = async (id: string): Promise<Body> => {
  for (;;) {
    const job = await send(`/jobs/${id}`)
    if (!["queued", "running"].includes(job.state)) return job
    await pause(50)
  }
}

const withPhoto = (text: string) => {
  const form = new FormData()
  form.append("image", new File([new Uint8Array(photo)], "bag.jpg"))
  form.append("text", text)
  return form
}

const short = (value: unknown) => {
  const text = JSON.stringify(value, (_, inner) => (inner === null || (Array.isArray(inner) && inner.length === 0) ? undefined : inner))
  return text.length > 600 ? `${text.slice(0, 599)}…` : text
}

const row = (...cells: ReadonlyArray<string>) => `${cells.map((cell, at) => (at === 0 ? cell.padEnd(10) : cell.padStart(10))).join(" ")}\n`

let failed = 0
try {
  const aPart = async () => (await send("/parts", { description: "ne555 timer ic DIP-8 texas instruments", manufacturerCode: code })).id4
  let known: Promise<string> | undefined
  const ofPart = async () => {
    known ??= aPart()
    return { id4: await known }
  }
  // The part comes after the questions that it would be a duplicate for.
  const questions: Readonly<Record<string, () => object | Promise<object>>> = {
    part: () => withPhoto(`10 pcs ${code} timer IC DIP-8 Texas Instruments, data sheet at ${sheet}`),
    photo: () => withPhoto("from the drawer with the timers"),
    tags: ofPart,
    type: ofPart,
    datasheet: ofPart,
    cleanup: ofPart
  }
  process.stdout.write(row("kind", "outcome", "tokens in", "out", "US dollars", "seconds"))
  for (const [kind, question] of Object.entries(questions)) {
    const asked = await question()
    const since = performance.now()
    const job = await ended((await send(`/ai/suggest/${kind}`, asked)).id)
    const seconds = ((performance.now() - since) / 1000).toFixed(1)
    if (job.state !== "succeeded") {
      failed++
      process.stdout.write(`${row(kind, job.state, "", "", "", seconds)}  ${job.error?.code}: ${job.error?.detail}\n`)
      continue
    }
    const { documents, output, usage } = await send(`/ai/proposals/${job.result.proposalId}`)
    const cost = usage.costUsd === null ? "unknown" : usage.costUsd.toFixed(5)
    process.stdout.write(row(kind, "ok", String(usage.inputTokens), String(usage.outputTokens), cost, seconds))
    process.stdout.write(`  ${short(output)}\n`)
    for (const { kind: what, title } of documents) process.stdout.write(`  with ${what}: ${title}\n`)
  }
} finally {
  await server.stop()
  web.close()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
process.exitCode = failed > 0 ? 1 : 0
