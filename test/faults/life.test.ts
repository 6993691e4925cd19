import { readFileSync } from "node:fs"
import { Agent } from "node:http"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { answered, ended, furnished, processesOf, putUntilRefused, scratch, send, signalNpm, start, until } from "../support/life.ts"

describe("a process that is killed", () => {
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

  it.each(["SIGINT", "SIGHUP", "SIGKILL"] as const)("%s to npm itself leaves nothing running", signalNpm, 60_000)
})
