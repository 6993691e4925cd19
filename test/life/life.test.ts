import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { Agent, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "vitest"
import { listening, type Running } from "../bench/processes.ts"

const scratch = mkdtempSync(join(tmpdir(), "partwright life "))
afterAll(() => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }))

const start = (name: string, env: Record<string, string> = {}) =>
  listening("src/main.ts", ["serve"], { PORT: "0", DATA_DIR: join(scratch, name), DATABASE_URL: "", LOG_FORMAT: "json", ...env })

const ended = (child: ChildProcess) =>
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
const send = (agent: Agent, port: number, { body, method, path }: Call) =>
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

const answered = async (port: number, call: Call) => {
  const agent = new Agent()
  const outcome = await send(agent, port, call)
  agent.destroy()
  if (!("status" in outcome) || outcome.status >= 300) throw new Error(JSON.stringify(outcome))
  return JSON.parse(outcome.body)
}

/** A part with a box to put it into; answers the part's label. */
const furnished = async ({ port }: Running) => {
  await answered(port, { method: "POST", path: "/api/boxes", body: { description: "Drawer", capacity: 10 } })
  return String((await answered(port, { method: "POST", path: "/api/parts", body: { description: "Relay" } })).id4)
}

/** Puts one piece after another with each client until the server refuses connections; counts what was answered and what was not. */
const putUntilRefused = async (port: number, id4: string, clients: number, onAnswer: (total: number) => void) => {
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

const processesOf = (dataDir: string) =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/u.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(dataDir)
      } catch {
        return false
      }
    })

const until = async (what: string, condition: () => boolean | Promise<boolean>, milliseconds = 10_000) => {
  const end = performance.now() + milliseconds
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what} did not happen within ${milliseconds} ms`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe("the life of the process", () => {
  it("SIGTERM under load fails no request, ends with 0 and leaves no process behind", async () => {
    const server = await start("term")
    const id4 = await furnished(server)
    let signalled = false
    const counted = await putUntilRefused(server.port, id4, 32, (total) => {
      if (total >= 200 && !signalled) {
        signalled = true
        server.process.kill("SIGTERM")
      }
    })
    assert.strictEqual(await ended(server.process), 0)
    assert.deepStrictEqual(counted.lost, [])
    assert.deepStrictEqual(counted.other, [])
    assert.deepStrictEqual(processesOf(join(scratch, "term")), [])

    const again = await start("term")
    assert.strictEqual((await answered(again.port, { method: "GET", path: `/api/parts/${id4}` })).totalQuantity, counted.answered)
    await again.stop()
  }, 60_000)

  it("kill -9 under load loses no answered booking, and the next start works", async () => {
    let id4 = ""
    let booked = 0
    for (let round = 0; round < 4; round++) {
      const server = await start("kill")
      if (round === 0) id4 = await furnished(server)
      const { totalQuantity } = await answered(server.port, { method: "GET", path: `/api/parts/${id4}` })
      assert.isAtLeast(totalQuantity, booked, "an answered put is there")
      booked = totalQuantity
      let killed = false
      const counted = await putUntilRefused(server.port, id4, 16, (total) => {
        if (total >= 50 && !killed) {
          killed = true
          server.process.kill("SIGKILL")
        }
      })
      booked += counted.answered
      await ended(server.process)
    }
    await until("PostgreSQL has ended with its owner", () => processesOf(join(scratch, "kill")).length === 0)
    const server = await start("kill")
    const part = await answered(server.port, { method: "GET", path: `/api/parts/${id4}` })
    assert.isAtLeast(part.totalQuantity, booked)
    const [newest] = (await answered(server.port, { method: "GET", path: `/api/parts/${id4}/history?limit=1` })).items
    assert.strictEqual(newest.balanceAfter, part.totalQuantity)
    await server.stop()
  }, 90_000)

  it("a second signal ends at once with 130, and PostgreSQL does not outlive it", async () => {
    const server = await start("twice", { SHUTDOWN_DELAY: "20s" })
    server.process.kill("SIGTERM")
    const agent = new Agent()
    await until("/readyz says 503", async () => {
      const outcome = await send(agent, server.port, { method: "GET", path: "/readyz" })
      return "status" in outcome && outcome.status === 503
    })
    const serving = await send(agent, server.port, { method: "GET", path: "/api/types?limit=1" })
    assert.isTrue("status" in serving && serving.status === 200, "it keeps serving during SHUTDOWN_DELAY")
    agent.destroy()
    server.process.kill("SIGINT")
    assert.strictEqual(await ended(server.process), 130)
    await until("PostgreSQL has ended", () => processesOf(join(scratch, "twice")).length === 0)
  }, 60_000)

  it("PostgreSQL that is killed is back within 5 s; meanwhile requests get 503 and say when to come again", async () => {
    const server = await start("database")
    const id4 = await furnished(server)
    const pid = Number(readFileSync(join(scratch, "database", "postgres", "postmaster.pid"), "utf8").split("\n")[0])
    const agent = new Agent()
    const killedAt = performance.now()
    process.kill(pid, "SIGKILL")
    const statuses = new Set<number>()
    await until(
      "a read is answered with 200 after the outage",
      async () => {
        const outcome = await send(agent, server.port, { method: "GET", path: `/api/parts/${id4}` })
        if ("status" in outcome) statuses.add(outcome.status)
        if ("status" in outcome && outcome.status === 503) assert.strictEqual(JSON.parse(outcome.body).code, "database-unavailable")
        const put = await send(agent, server.port, {
          method: "POST",
          path: `/api/parts/${id4}/put`,
          body: { slot: { boxNo: 1, locNo: 1 }, quantity: 1 }
        })
        return statuses.has(503) || performance.now() - killedAt > 300
          ? "status" in outcome && outcome.status === 200 && "status" in put && put.status === 200
          : false
      },
      5_000
    )
    assert.deepStrictEqual(
      [...statuses].filter((status) => status !== 200 && status !== 503),
      []
    )
    agent.destroy()
    await server.stop()
  }, 60_000)

  it("a second server on the same data says who has it and ends with 1", async () => {
    const server = await start("owner")
    const second = await start("owner").catch((error: Error) => error.message)
    assert.match(String(second), /ended with 1: .*\b\d+\b/su)
    assert.notMatch(String(second), /\n\s+at /u, "no stack")
    await server.stop()
  }, 60_000)

  it("what cannot be configured is said at once, all of it, without a stack", async () => {
    const message = await start("config", { PORT: "none", SHUTDOWN_GRACE: "soon", HOST: "0.0.0.0" }).catch((error: Error) => error.message)
    assert.match(String(message), /PORT: expected.*SHUTDOWN_GRACE: expected/su)
    assert.notMatch(String(message), /\n\s+at /u)
    assert.isFalse(existsSync(join(scratch, "config")), "nothing was started")
  }, 60_000)

  it.each(["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"] as const)(
    "%s to npm itself leaves nothing running",
    async (signal) => {
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
    },
    60_000
  )
})
