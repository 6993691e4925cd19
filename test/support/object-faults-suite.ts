import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { databaseIn } from "../life/workshop.ts"
import { ask, clean, documentsOn, newPartOn, uploadTo, verify } from "../life/workshop-files.ts"
import { image } from "./files.ts"
import { connected } from "./postgres.ts"
import { nothingRuns, startServer, temporaryDirectory } from "./server-process.ts"
import { untilBlocked } from "./stock-rows.ts"

/** Every commit that makes an object waits for this lock. */
const gate = 4711

export const slowCommits = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create function wait_at_commit() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock_shared(4711); return null; end $$`
  yield* sql`create constraint trigger wait_at_commit after insert on objects deferrable initially deferred
    for each row execute function wait_at_commit()`
})
export const fastCommits = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`drop trigger wait_at_commit on objects`
  yield* sql`drop function wait_at_commit()`
})
/** Holds the gate while the effect runs. */
export const gated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`select pg_advisory_lock(${gate})`
    return yield* Effect.ensuring(effect, Effect.orDie(sql`select pg_advisory_unlock(${gate})`))
  })

/** What a server that is killed leaves behind, on the store that `store` names. */
export const objectFaults = (where: string, store: Effect.Effect<Record<string, string>>, kills: number) => {
  describe(`a server with ${where}`, () => {
    it.live(
      "that is killed after the bytes are stored and before the commit has no document, and the bytes go",
      () =>
        Effect.gen(function* () {
          const env = yield* store
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const server = yield* startServer({ env: { DATA_DIR, ...env } })
          const id4 = yield* newPartOn(server.port)
          const bytes = yield* image({ seed: 1 })
          yield* connected(
            databaseIn(DATA_DIR),
            Effect.gen(function* () {
              yield* slowCommits
              yield* gated(
                Effect.gen(function* () {
                  const uploading = yield* Effect.forkChild(uploadTo(server.port, id4, bytes, "a.png"))
                  yield* untilBlocked(1)
                  server.kill("SIGKILL")
                  assert.isUndefined(yield* Fiber.join(uploading))
                  // Until the database has gone too: freed now, the commit would still take place.
                  yield* nothingRuns(DATA_DIR)
                })
              )
            })
            // The database goes with the server, and our connection with it.
          ).pipe(Effect.exit)

          const again = yield* startServer({ env: { DATA_DIR, ...env } })
          yield* connected(databaseIn(DATA_DIR), fastCommits)
          assert.deepStrictEqual(yield* documentsOn(again.port, id4), [])
          const left = yield* verify(DATA_DIR, env)
          assert.match(left.out, /^0 objects, 0 missing, 0 wrong, 0 without a row; pending: 1 uploads/u)
          const repaired = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s", "--hash")
          assert.deepStrictEqual(repaired, {
            ...clean(0),
            out: `repaired: 1 uploads given up, 1 objects deleted, 0 not yet\n${clean(0).out}`
          })
          assert.strictEqual((yield* uploadTo(again.port, id4, bytes, "a.png"))?.status, 201)
        }).pipe(Effect.scoped),
      60_000
    )

    it.live(
      `that is killed ${kills} times under uploads and deletions loses no document and keeps no stray file`,
      () =>
        Effect.gen(function* () {
          const env = yield* store
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const images = yield* Effect.forEach(
            Array.from({ length: 12 }, (_, n) => n),
            (seed) => image({ seed: 100 + seed, width: 300, height: 200 })
          )
          const there = new Set<string>()
          /** Asked to go, without an answer. */
          const doubtful = new Set<string>()
          let id4 = ""
          for (let kill = 0; kill < kills; kill++) {
            const server = yield* startServer({ env: { DATA_DIR, ...env } })
            if (id4 === "") id4 = yield* newPartOn(server.port)
            let answers = 0
            const work = (client: number) =>
              Effect.gen(function* () {
                for (let n = 0; ; n++) {
                  const added = yield* uploadTo(server.port, id4, images[(client + n) % images.length]!, `${n}.png`)
                  if (added?.status !== 201) return
                  const id = added.body.id as string
                  there.add(id)
                  if (++answers === 40 + 7 * kill) server.kill("SIGKILL")
                  if (n % 2 === 1) continue
                  doubtful.add(id)
                  there.delete(id)
                  const removed = yield* ask(server.port, "DELETE", `/api/documents/${id}`)
                  if (removed === undefined) return
                  assert.strictEqual(removed.status, 204)
                  doubtful.delete(id)
                }
              })
            yield* Effect.forEach(
              Array.from({ length: 8 }, (_, n) => n),
              work,
              { concurrency: "unbounded", discard: true }
            )
            yield* server.ended
          }

          const server = yield* startServer({ env: { DATA_DIR, ...env } })
          const repaired = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s", "--hash")
          assert.strictEqual(repaired.code, 0, repaired.out + repaired.err)
          assert.match(repaired.out, /0 missing, 0 wrong, 0 without a row; pending: 0 uploads, 0 deletions\n$/u)
          for (const id of there) {
            assert.strictEqual((yield* ask(server.port, "GET", `/api/documents/${id}/content`))?.status, 200, id)
          }
          assert.isAbove(there.size, kills)
        }).pipe(Effect.scoped),
      120_000
    )
  })
}
