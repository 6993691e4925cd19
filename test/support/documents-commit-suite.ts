import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { faults } from "./documents-suite.ts"
import { image, upload } from "./files.ts"
import { get, newPart } from "./inventory.ts"
import { fastCommits, gated, slowCommits } from "./object-faults-suite.ts"
import { connected } from "./postgres.ts"
import { type severableWorld, Wire } from "./severable.ts"
import { untilBlocked } from "./stock-rows.ts"

/** Uploads whose outcome nobody knows, on whatever store the world has. */
export const commitSuite = (where: string, worldOf: typeof severableWorld) => {
  layer(worldOf("commit"), { excludeTestServices: true, timeout: "60 seconds" })(
    `${where}: an upload whose connection breaks in its COMMIT`,
    (it) => {
      /** Uploads; breaks the connection while the COMMIT waits, and answers what the client was told. */
      const broken = (seed: number, end: Effect.Effect<void, unknown, SqlClient.SqlClient>) =>
        Effect.gen(function* () {
          const { mend, straight } = yield* Wire
          const id4 = yield* newPart()
          const bytes = yield* image({ seed })
          const answer = yield* connected(
            straight,
            Effect.gen(function* () {
              yield* slowCommits
              const uploading = yield* gated(
                Effect.gen(function* () {
                  const fiber = yield* Effect.forkChild(upload(id4, bytes, { filename: "a.png" }))
                  yield* untilBlocked(1)
                  yield* end
                  return fiber
                })
              )
              const answer = yield* Fiber.join(uploading)
              yield* fastCommits
              return answer
            })
          )
          yield* mend
          assert.deepStrictEqual([answer.status, answer.body.code], [503, "database-unavailable"], answer.text)
          return { id4, bytes }
        })

      it.effect("and takes place nevertheless, has its document and its bytes", () =>
        Effect.gen(function* () {
          const { cut } = yield* Wire
          const { id4 } = yield* broken(1, cut)
          const { body } = yield* get(`/api/parts/${id4}/documents`)
          assert.strictEqual(body.items.length, 1)
          assert.strictEqual((yield* get(body.items[0].contentUrl)).status, 200)
          assert.deepStrictEqual(yield* faults, [])
        })
      )

      it.effect("and does not take place, has neither", () =>
        Effect.gen(function* () {
          const terminate = Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
          })
          const { bytes, id4 } = yield* broken(2, terminate)
          assert.deepStrictEqual((yield* get(`/api/parts/${id4}/documents`)).body.items, [])
          assert.deepStrictEqual(yield* faults, [])
          assert.strictEqual((yield* upload(id4, bytes, { filename: "a.png" })).status, 201)
        })
      )
    }
  )
}
