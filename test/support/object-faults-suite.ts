import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { image, largePdf } from "./files.ts"
import { connected } from "./postgres.ts"
import { eventually, nothingRuns, startServer, temporaryDirectory } from "./server-process.ts"
import { untilBlocked } from "./stock-rows.ts"
import { databaseIn } from "./workshop.ts"
import { ask, clean, documentsOn, download, newPartOn, quiet, uploadTo, verify } from "./workshop-files.ts"

/** Every commit that makes an object waits for this lock. */
const gate = 4711

export const slowCommits = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create function wait_at_commit() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock_shared(4711); return null; end $$`
  yield* sql`create constraint trigger wait_at_commit after insert on objects deferrable initially deferred
    for each row execute function wait_at_commit()`
})
/** The same in the middle of the transaction, before the part is held. */
const slowObjects = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create function wait_for_gate() returns trigger language plpgsql as $$
    begin perform pg_advisory_xact_lock_shared(4711); return null; end $$`
  yield* sql`create trigger wait_for_gate after insert on objects for each row execute function wait_for_gate()`
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

/** What is announced or condemned. */
const pending = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const uploads = yield* sql<{ readonly key: string }>`select key from object_uploads`
  const deletions = yield* sql<{
    readonly attempts: number
    readonly error: string | null
  }>`select attempts, last_error as error from object_deletions`
  return { uploads: uploads.length, deletions }
})

const metric = (port: number, name: string) =>
  Effect.map(ask(port, "GET", "/metrics"), (answer) =>
    Number(
      String(answer?.body)
        .split("\n")
        .find((line) => line.startsWith(`partwright_${name} `))
        ?.split(" ")
        .at(-1)
    )
  )

/** Resident memory of a process in MB: now, and the most since `fresh` was asked for. */
const memory = (pid: number, fresh = false) =>
  Effect.sync(() => {
    // proc(5): 5 sets the peak back to what is resident now.
    if (fresh) writeFileSync(`/proc/${pid}/clear_refs`, "5")
    const status = readFileSync(`/proc/${pid}/status`, "utf8")
    const of = (name: string) => (Number(new RegExp(`${name}:\\s+(\\d+) kB`, "u").exec(status)?.[1]) * 1024) / 1e6
    return { now: of("VmRSS"), peak: of("VmHWM") }
  })

/**
 * What a server that is killed or refused leaves behind, on the store that `store` names. `refusing` has that store refuse to
 * delete, until what it gives is run.
 */
export const objectFaults = (
  where: string,
  store: Effect.Effect<Record<string, string>>,
  kills: number,
  refusing: (dataDir: string, env: Record<string, string>) => Effect.Effect<Effect.Effect<void>>
) => {
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

    it.live(
      "that finds the part gone when the bytes are stored says so, and the same request takes them away again",
      () =>
        Effect.gen(function* () {
          const env = yield* store
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const server = yield* startServer({ env: { DATA_DIR, ...env } })
          const id4 = yield* newPartOn(server.port)
          const bytes = yield* image({ seed: 3 })
          yield* connected(
            databaseIn(DATA_DIR),
            Effect.gen(function* () {
              yield* slowObjects
              const uploading = yield* gated(
                Effect.gen(function* () {
                  const fiber = yield* Effect.forkChild(uploadTo(server.port, id4, bytes, "a.png"))
                  yield* untilBlocked(1)
                  assert.strictEqual(yield* metric(server.port, 'object_store_operations_total{operation="put",outcome="ok"}'), 1)
                  assert.strictEqual((yield* ask(server.port, "DELETE", `/api/parts/${id4}`))?.status, 204)
                  return fiber
                })
              )
              const answer = yield* Fiber.join(uploading)
              assert.deepStrictEqual([answer?.status, answer?.body.code], [404, "part-retired"])
              const nothing = { uploads: 0, deletions: [] }
              yield* eventually("nothing is pending", pending, (found) => JSON.stringify(found) === JSON.stringify(nothing))
            })
          )
          assert.deepStrictEqual(yield* verify(DATA_DIR, env, "--hash"), clean(0))
        }).pipe(Effect.scoped),
      60_000
    )

    it.live(
      "whose store refuses to delete has no document any more, remembers what is left, also over kill -9, and deletes it in the end",
      () =>
        Effect.gen(function* () {
          const env = yield* store
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const server = yield* startServer({ env: { DATA_DIR, ...env } })
          const id4 = yield* newPartOn(server.port)
          const added = yield* uploadTo(server.port, id4, yield* image({ seed: 4 }), "a.png")
          yield* quiet(server.port)
          // The image, and its thumbnail in two formats: it is smaller than each of them.
          const kept = 3
          const allow = yield* refusing(DATA_DIR, env)
          assert.strictEqual((yield* ask(server.port, "DELETE", `/api/documents/${added?.body.id}`))?.status, 204)
          assert.deepStrictEqual(yield* documentsOn(server.port, id4), [])
          assert.strictEqual((yield* ask(server.port, "GET", `/api/documents/${added?.body.id}/content`))?.status, 404)
          assert.strictEqual(yield* metric(server.port, "object_deletions_pending"), kept)
          const refused = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s")
          assert.deepStrictEqual(
            [refused.code, refused.out.split("\n").at(-2)],
            [0, `0 objects, 0 missing, 0 wrong, 0 without a row; pending: 0 uploads, ${kept} deletions`]
          )
          const { deletions } = yield* connected(databaseIn(DATA_DIR), pending)
          assert.lengthOf(deletions, kept)
          for (const { attempts, error } of deletions) {
            assert.isAbove(attempts, 0)
            assert.match(error ?? "", /^The (disk with the objects|object store refuses)/u)
          }
          server.kill("SIGKILL")
          yield* server.ended
          yield* allow

          const again = yield* startServer({ env: { DATA_DIR, ...env } })
          yield* connected(
            databaseIn(DATA_DIR),
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              yield* sql`update object_deletions set next_attempt_at = now()`
              // What the schedule asks for every few minutes.
              yield* sql`insert into jobs (id, kind, payload, priority, max_attempts, principal)
                values (gen_random_uuid(), 'platform.objects.sweep', '{}', 0, 1, 'test')`
              yield* eventually("the sweeper has been", pending, ({ deletions }) => deletions.length === 0, "40 seconds")
            })
          )
          assert.strictEqual(yield* metric(again.port, "object_deletions_pending"), 0)
          assert.deepStrictEqual(yield* verify(DATA_DIR, env, "--hash"), clean(0))
        }).pipe(Effect.scoped),
      90_000
    )

    it.live(
      "takes 200 rounds of uploads of the same bytes beside each other, beside a copy and beside the deletion of the last of them",
      () =>
        Effect.gen(function* () {
          const env = yield* store
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const server = yield* startServer({ env: { DATA_DIR, ...env } })
          const { port } = server
          const [id4, other] = [yield* newPartOn(port), yield* newPartOn(port)]
          const bytes = yield* image({ seed: 5 })
          const upload = uploadTo(port, id4, bytes, "a.png")
          const remove = (id: string) =>
            Effect.map(ask(port, "DELETE", `/api/documents/${id}`), (answer) => assert.strictEqual(answer?.status, 204))
          let last = (yield* upload)?.body.id as string
          for (let round = 0; round < 200; round++) {
            const [, first, second, copied] = yield* Effect.all(
              [
                remove(last),
                upload,
                upload,
                ask(port, "POST", `/api/documents/${last}/copy`, JSON.stringify({ targetId4: other }), {
                  "content-type": "application/json"
                })
              ],
              { concurrency: "unbounded" }
            )
            assert.deepStrictEqual([first?.status, second?.status], [201, 201], `round ${round}`)
            assert.include([201, 404], copied?.status)
            const there = [second, copied].filter((answer) => answer?.status === 201).map((answer) => answer?.body.id as string)
            for (const id of there) {
              assert.strictEqual((yield* ask(port, "GET", `/api/documents/${id}/content`))?.status, 200, `round ${round}`)
              yield* remove(id)
            }
            last = first?.body.id
          }
          yield* remove(last)
          yield* quiet(port)
          yield* connected(
            databaseIn(DATA_DIR),
            eventually("nothing is pending", pending, ({ deletions, uploads }) => deletions.length + uploads === 0)
          )
          assert.deepStrictEqual(yield* verify(DATA_DIR, env, "--hash"), clean(0))
        }).pipe(Effect.scoped),
      120_000
    )

    it.live(
      "takes and gives 100 MB with less than 40 MB more memory",
      () =>
        Effect.gen(function* () {
          const env = yield* store
          const DATA_DIR = join(yield* temporaryDirectory, "data")
          const server = yield* startServer({ env: { DATA_DIR, ...env } })
          const id4 = yield* newPartOn(server.port)
          const more = <A, R>(effect: Effect.Effect<A, never, R>) =>
            Effect.gen(function* () {
              const { now } = yield* memory(server.pid, true)
              const value = yield* effect
              return { value, more: (yield* memory(server.pid)).peak - now }
            })
          const needed: Array<number> = []
          // The first ones make room for the code and what it keeps.
          for (let round = 0; round < 6; round++) {
            const bytes = largePdf(`${round}`, 100_000_000)
            const up = yield* more(uploadTo(server.port, id4, bytes, "large.pdf"))
            assert.strictEqual(up.value?.status, 201)
            const down = yield* more(download(server.port, `/api/documents/${up.value?.body.id}/content`))
            assert.strictEqual(down.value, createHash("sha256").update(bytes).digest("hex"))
            if (round >= 3) needed.push(up.more, down.more)
          }
          for (const amount of needed) assert.isBelow(amount, 40, needed.map((each) => each.toFixed(1)).join(" "))
        }).pipe(Effect.scoped),
      120_000
    )
  })
}
