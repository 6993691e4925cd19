import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ask, type Call, client, outcomes } from "../support/clients.ts"
import { type Block, type EventReader, feedOf } from "../support/event-stream.ts"
import { type RawAnswer, rawConnection } from "../support/raw-http.ts"
import { processesAt, startServer, temporaryDirectory } from "../support/server-process.ts"

const newType = (name: string): Call => ({ method: "POST", path: "/api/types", body: { name } })

/** Every event up to the end of the stream. */
const untilEnd = (reader: EventReader) =>
  Effect.gen(function* () {
    const events: Array<Block> = []
    for (;;) {
      const block = yield* reader.next
      if (block === undefined) return events
      if (block.event !== undefined) events.push(block)
    }
  })

/** Which types were made, as the audit knows it. */
const typesMade = Effect.fnUntraced(function* (port: number) {
  const ids: Array<string> = []
  for (let cursor: string | null = ""; cursor !== null; ) {
    const path: string = `/api/changes?topic=type&limit=200${cursor === "" ? "" : `&cursor=${cursor}`}`
    const { body }: RawAnswer = yield* ask(port, { method: "GET", path })
    ids.push(...body.items.map((item: { readonly entityId: string }) => item.entityId))
    cursor = body.nextCursor
  }
  return ids
})

/** Writers that make types until the server refuses them or dies; `act` when so many were made. */
const writing = (port: number, round: number, count: number, act: () => void) =>
  Effect.gen(function* () {
    const seen = outcomes()
    const pause = Effect.sync(() => {
      if (seen.answers.length === count) act()
    })
    yield* Effect.all(
      Array.from({ length: 8 }, (_, w) => client(port, (n) => newType(`Type ${round} ${w} ${n}`), seen, pause)),
      { concurrency: "unbounded", discard: true }
    )
    return seen
  })

const idOf = ({ data }: Block) => data.id as string

describe("clients of the feed", () => {
  it.live("resume without gap or duplicate after kill -9 of the server, again and again", () =>
    Effect.gen(function* () {
      const DATA_DIR = join(yield* temporaryDirectory, "data")
      const env = { DATA_DIR }
      let server = yield* startServer({ env })
      let readers = yield* Effect.forEach([1, 2, 3, 4], () => feedOf(server.port, "?topics=type"))
      for (const reader of readers) yield* reader.next
      const seen: Array<Array<string>> = readers.map(() => [])
      for (let round = 0; round < 2; round++) {
        const reading = yield* Effect.forkChild(Effect.forEach(readers, untilEnd, { concurrency: "unbounded" }))
        const { kill, port } = server
        yield* writing(port, round, 150, () => kill("SIGKILL"))
        for (const [at, events] of (yield* Fiber.join(reading)).entries()) seen[at]?.push(...events.map(idOf))
        yield* server.ended
        server = yield* startServer({ env })
        const last = readers.map((reader) => reader.lastId())
        readers = yield* Effect.forEach(last, (id) => feedOf(server.port, "?topics=type", { "last-event-id": id }))
      }
      const { body } = yield* ask(server.port, newType("The end"))
      const committed = yield* typesMade(server.port)
      assert.isAbove(committed.length, 300)
      for (const [at, reader] of readers.entries()) {
        const rest = yield* reader.event.pipe(
          Effect.map(idOf),
          Effect.tap((id) => Effect.sync(() => seen[at]?.push(id))),
          Effect.repeat({ until: (id) => id === String(body.id) })
        )
        assert.strictEqual(rest, String(body.id))
        assert.deepStrictEqual(seen[at], seen[0])
        assert.deepStrictEqual(seen[at]?.toSorted(), committed.toSorted())
      }
    }).pipe(Effect.scoped)
  )

  it.live("are told when the server stops under load, do not hold it up, read or not, and miss nothing", () =>
    Effect.gen(function* () {
      const DATA_DIR = join(yield* temporaryDirectory, "data")
      const server = yield* startServer({ env: { DATA_DIR } })
      const readers = yield* Effect.forEach(Array.from({ length: 50 }), () => feedOf(server.port, "?topics=type"))
      for (const reader of readers) yield* reader.next
      const deaf = yield* rawConnection(server.port)
      deaf.pause()
      deaf.write("GET /api/events HTTP/1.1\r\nhost: test\r\n\r\n")
      const reading = yield* Effect.forkChild(Effect.forEach(readers, untilEnd, { concurrency: "unbounded" }))
      let stopped = 0
      const { answers, lost } = yield* writing(server.port, 0, 300, () => {
        stopped = performance.now()
        server.kill("SIGTERM")
      })
      assert.deepStrictEqual(yield* server.ended, { code: 0, signal: null })
      assert.isBelow(performance.now() - stopped, 5000)
      assert.deepStrictEqual(lost, [])
      assert.deepStrictEqual(new Set(answers.map(({ answer }) => answer.status)), new Set([201]))
      assert.deepStrictEqual(processesAt(DATA_DIR), [])
      assert.notInclude(
        server.log().map(({ level }) => level),
        "warn"
      )

      const all = yield* Fiber.join(reading)
      for (const events of all) assert.deepStrictEqual(events.map(({ event }) => event).indexOf("shutdown"), events.length - 1)
      const again = yield* startServer({ env: { DATA_DIR } })
      const committed = yield* typesMade(again.port)
      assert.strictEqual(committed.length, answers.length)
      for (const [at, reader] of readers.slice(0, 5).entries()) {
        const seen = (all[at] ?? []).slice(0, -1).map(idOf)
        const resumed = yield* feedOf(again.port, "?topics=type", { "last-event-id": reader.lastId() })
        const missed = (yield* resumed.events(committed.length - seen.length)).map(idOf)
        assert.deepStrictEqual([...seen, ...missed].toSorted(), committed.toSorted())
      }
    }).pipe(Effect.scoped)
  )
})
