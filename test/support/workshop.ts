import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { ask, type Call } from "./clients.ts"
import { ledgerFaults } from "./inventory.ts"
import { connected, type Database } from "./postgres.ts"

const created = (port: number, path: string, body: unknown) =>
  Effect.map(ask(port, { method: "POST", path, body }), (answer) => {
    assert.strictEqual(answer.status, 201, answer.text)
    return answer.body
  })

/** A part and a box for it, with the two requests that the clients of these tests repeat. */
export const furnish = Effect.fnUntraced(function* (port: number) {
  const { boxNo } = yield* created(port, "/api/boxes", { description: "Drawer", capacity: 10 })
  const { id4 } = yield* created(port, "/api/parts", { description: "Relay" })
  const put: Call = { method: "POST", path: `/api/parts/${id4}/put`, body: { slot: { boxNo, locNo: 1 }, quantity: 1 } }
  const read: Call = { method: "GET", path: `/api/parts/${id4}` }
  return { put, read }
})

export const quantityNow = (port: number, read: Call) =>
  Effect.map(ask(port, read), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.body.totalQuantity as number
  })

/** The embedded database of a running server, for whoever looks past it. */
export const databaseIn = (dataDir: string): Database => {
  const { address } = JSON.parse(readFileSync(join(dataDir, "owner.json"), "utf8"))
  return { ...address, password: Redacted.make("") }
}

export const assertLedgerIsRight = (dataDir: string) =>
  Effect.map(connected(databaseIn(dataDir), ledgerFaults), (faults) => assert.deepStrictEqual(faults, []))

export const postmasterOf = (dataDir: string) => Number(readFileSync(join(dataDir, "postgres", "postmaster.pid"), "utf8").split("\n")[0])
