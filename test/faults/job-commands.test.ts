import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { commandFolder, commandOn } from "../support/command.ts"
import { connected, freshDatabase } from "../support/postgres.ts"

const folder = commandFolder()

describe("the command jobs", () => {
  it.live(
    "lists as many as are wanted, shows one, cancels what waits and asks again for what failed",
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase("jobs")
        const jobs = (...args: ReadonlyArray<string>) => commandOn(database, folder, {}, "jobs", ...args)
        const insert = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`
            insert into jobs (id, kind, payload, priority, run_at, max_attempts, principal)
            select gen_random_uuid(), 'platform.probe', '{}', 1, now() + interval '1 day', 1, 'owner' from generate_series(1, 230)`
          const [failed] = yield* sql<{ readonly id: string }>`
            update jobs set state = 'failed', attempt = 1, started_at = now(), finished_at = now(),
              error = '{"code": "internal-error", "detail": "It broke."}'
            where id = (select max(id::text)::uuid from jobs) returning id::text as id`
          return failed?.id ?? ""
        })
        const id = yield* connected(database, insert)
        const listed = yield* jobs("list", "--limit", "210", "--json")
        const ids: ReadonlyArray<string> = JSON.parse(listed.out).map((job: { readonly id: string }) => job.id)
        assert.deepStrictEqual([listed.code, ids.length, new Set(ids).size], [0, 210, 210])
        assert.match((yield* jobs("list", "--state", "failed")).out, new RegExp(`^${id} .* failed .* It broke[.]\\n$`, "u"))
        const refused = yield* jobs("list", "--limit", "0")
        assert.notStrictEqual(refused.code, 0)
        assert.match(refused.err + refused.out, /Expected a whole number from 1 to 10000, found 0/u)

        assert.strictEqual(JSON.parse((yield* jobs("show", id, "--json")).out).error.detail, "It broke.")
        const unknown = yield* jobs("show", "00000000-0000-7000-8000-000000000000")
        assert.strictEqual(unknown.code, 1)
        assert.notMatch(unknown.err, /\n\s+at /u)

        assert.strictEqual(JSON.parse((yield* jobs("retry", id, "--json")).out).state, "queued")
        assert.strictEqual(JSON.parse((yield* jobs("cancel", id, "--json")).out).state, "cancelled")
        assert.strictEqual((yield* jobs("cancel", id)).code, 1)
      }).pipe(Effect.scoped),
    60_000
  )
})
