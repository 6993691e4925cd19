import { existsSync } from "node:fs"
import { Agent } from "node:http"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { answered, ended, furnished, processesOf, putUntilRefused, scratch, send, signalNpm, start, until } from "../support/life.ts"

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

  it.each(["SIGTERM"] as const)("%s to npm itself leaves nothing running", signalNpm, 60_000)
})
