import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { Agent, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll } from "vitest"
import { listening, type Running } from "../bench/processes.ts"

/** For the data of a test file's servers; gone when its tests have ended. */
export const scratch = mkdtempSync(join(tmpdir(), "partwright life "))
afterAll(() => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }))

export const start = (name: string, env: Record<string, string> = {}) =>
  listening("src/main.ts", ["serve"], { PORT: "0", DATA_DIR: join(scratch, name), DATABASE_URL: "", LOG_FORMAT: "json", ...env })

export const ended = (child: ChildProcess) =>
  new Promise<number | null>((resolve) => {
    if (child.exitCode !== null) resolve(child.exitCode)
    else child.once("exit", (code) => resolve(code))
  })

interface Call {
  readonly method: string
  readonly path: string
  readonly body?: unknown
}

type Outcome = { readonly status: number; readonly body: string } | { readonly refused: string; readonly sent: boolean }

/** One request; tells a connection that could not be made from a request that was sent and not answered. */
export const send = (agent: Agent, port: number, { body, method, path }: Call) =>
  new Promise<Outcome>((resolve) => {
    const content = body === undefined ? undefined : JSON.stringify(body)
    const outgoing = request(
      {
        agent,
        host: "127.0.0.1",
        port,
        method,
        path,
        headers: content === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(content) }
      },
      (incoming) => {
        let text = ""
        incoming.setEncoding("utf8")
        incoming.on("data", (chunk: string) => (text += chunk))
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, body: text }))
        incoming.on("error", (error: NodeJS.ErrnoException) => resolve({ refused: error.code ?? error.message, sent: true }))
      }
    )
    outgoing.on("error", (error: NodeJS.ErrnoException) =>
      resolve({ refused: error.code ?? error.message, sent: error.code !== "ECONNREFUSED" })
    )
    outgoing.end(content)
  })

export const answered = async (port: number, call: Call) => {
  const agent = new Agent()
  const outcome = await send(agent, port, call)
  agent.destroy()
  if (!("status" in outcome) || outcome.status >= 300) throw new Error(JSON.stringify(outcome))
  return JSON.parse(outcome.body)
}

/** A part with a box to put it into; answers the part's label. */
export const furnished = async ({ port }: Running) => {
  await answered(port, { method: "POST", path: "/api/boxes", body: { description: "Drawer", capacity: 10 } })
  return String((await answered(port, { method: "POST", path: "/api/parts", body: { description: "Relay" } })).id4)
}

/** Puts one piece after another with each client until the server refuses connections; counts what was answered and what was not. */
export const putUntilRefused = async (port: number, id4: string, clients: number, onAnswer: (total: number) => void) => {
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  const counted = { answered: 0, lost: [] as Array<string>, other: [] as Array<string> }
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (;;) {
        const put = client % 2 === 0
        const outcome = await send(
          agent,
          port,
          put
            ? { method: "POST", path: `/api/parts/${id4}/put`, body: { slot: { boxNo: 1, locNo: 1 }, quantity: 1 } }
            : { method: "GET", path: `/api/parts/${id4}` }
        )
        if ("refused" in outcome) {
          if (outcome.sent) counted.lost.push(outcome.refused)
          return
        }
        if (outcome.status !== 200) counted.other.push(`${outcome.status} ${outcome.body}`)
        else if (put) onAnswer(++counted.answered)
      }
    })
  )
  agent.destroy()
  return counted
}

export const processesOf = (dataDir: string) =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/u.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dataDir)
      } catch {
        return false
      }
    })

export const until = async (what: string, condition: () => boolean | Promise<boolean>, milliseconds = 10_000) => {
  const end = performance.now() + milliseconds
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what} did not happen within ${milliseconds} ms`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** `npm start` that gets a signal itself, without its children, leaves nothing running. */
export const signalNpm = async (signal: NodeJS.Signals) => {
  const dataDir = join(scratch, `npm-${signal}`)
  const npm = spawn("npm", ["start"], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    env: { ...process.env, PORT: "0", DATA_DIR: dataDir, DATABASE_URL: "" },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  npm.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
  npm.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()))
  await until("npm start is ready", () => output.includes("is ready"), 30_000)
  npm.kill(signal)
  await ended(npm)
  await until("nothing runs any more", () => processesOf(dataDir).length === 0)
}
