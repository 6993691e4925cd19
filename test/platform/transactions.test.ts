import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Ref } from "effect"
import { SqlClient } from "effect/sql"
import { Db, onConstraint, run } from "#platform/db/db.ts"
import { Http, world } from "../support/world.ts"

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("a transaction", (it) => {
  const setUp = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`create table counters (id integer constraint counters_pkey primary key, n integer not null)`
    yield* sql`insert into counters values (1, 0), (2, 0)`
    yield* sql`create sequence attempts`
  })
  const counters = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const found = yield* sql<{ readonly n: number }>`select n from counters order by id`
    return found.map(({ n }) => n)
  })
  const zero = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`update counters set n = 0`)

  it.effect("that loses a deadlock is run again", () =>
    Effect.gen(function* () {
      yield* setUp
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      const attempts = yield* Ref.make(0)
      const [first, second] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const add = (mine: number, other: number, locked: Deferred.Deferred<void>, theirs: Deferred.Deferred<void>) =>
        db.transaction(
          Effect.gen(function* () {
            yield* Ref.update(attempts, (n) => n + 1)
            yield* run(sql`update counters set n = n + 1 where id = ${mine}`)
            yield* Deferred.succeed(locked, undefined)
            yield* Deferred.await(theirs)
            yield* run(sql`update counters set n = n + 1 where id = ${other}`)
          })
        )
      yield* Effect.all([add(1, 2, first, second), add(2, 1, second, first)], { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* counters, [2, 2])
      assert.strictEqual(yield* Ref.get(attempts), 3)
    })
  )

  it.effect("that cannot be serialized with another is run again", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      yield* zero
      const attempts = yield* Ref.make(0)
      const [first, second] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      // Each reads what the other writes: only one of them may see 0.
      const copy = (from: number, to: number, read: Deferred.Deferred<void>, theirs: Deferred.Deferred<void>) =>
        db.transaction(
          Effect.gen(function* () {
            yield* Ref.update(attempts, (n) => n + 1)
            yield* run(sql`set transaction isolation level serializable`)
            const [found] = yield* Effect.orDie(sql<{ readonly n: number }>`select n from counters where id = ${from}`)
            yield* Deferred.succeed(read, undefined)
            yield* Deferred.await(theirs)
            yield* run(sql`update counters set n = ${(found?.n ?? 0) + 1} where id = ${to}`)
          })
        )
      yield* Effect.all([copy(1, 2, first, second), copy(2, 1, second, first)], { concurrency: "unbounded" })
      assert.deepStrictEqual((yield* counters).toSorted(), [1, 2])
      assert.strictEqual(yield* Ref.get(attempts), 3)
    })
  )

  const conflictUntil = Effect.fnUntraced(function* (attempt: number) {
    const sql = yield* SqlClient.SqlClient
    yield* sql`alter sequence attempts restart`
    yield* sql`drop trigger if exists conflict on part_types`
    yield* sql`create or replace function conflict() returns trigger language plpgsql as $$
      begin
        if nextval('attempts') < ${sql.literal(String(attempt))} then raise exception 'conflict' using errcode = '40001'; end if;
        return new;
      end $$`
    yield* sql`create trigger conflict before insert on part_types for each row execute function conflict()`
  })
  const attempts = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [found] = yield* sql<{ readonly n: number }>`select last_value::int as n from attempts`
    return found?.n
  })

  it.effect("is run again at most five times, and whatever it did happens once", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* conflictUntil(6)
      const key = { headers: { "idempotency-key": "conflicts" } }
      const created = yield* send("POST", "/api/types", { name: "Contested" }, key)
      assert.strictEqual(created.status, 201)
      assert.strictEqual(yield* attempts, 6)
      const changes = yield* send("GET", `/api/changes?entity=type&entityId=${created.body.id}`)
      assert.strictEqual(changes.body.items.length, 1)
      assert.strictEqual((yield* send("POST", "/api/types", { name: "Contested" }, key)).headers.get("idempotency-replayed"), "true")
      assert.strictEqual(yield* attempts, 6)
    })
  )

  it.effect("that meets a conflict six times is 503 and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const sql = yield* SqlClient.SqlClient
      yield* conflictUntil(1000)
      const { body, headers, status } = yield* send(
        "POST",
        "/api/types",
        { name: "Hopeless" },
        { headers: { "idempotency-key": "hopeless" } }
      )
      assert.deepStrictEqual([status, body.code, headers.get("retry-after")], [503, "database-unavailable", "1"])
      assert.strictEqual(yield* attempts, 6)
      yield* sql`drop trigger conflict on part_types`
      assert.strictEqual(
        (yield* send("POST", "/api/types", { name: "Hopeless" }, { headers: { "idempotency-key": "hopeless" } })).status,
        201
      )
    })
  )

  it.effect("joins the one around it: one commit, one rollback", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      yield* zero
      const add = (id: number) => db.transaction(run(sql`update counters set n = n + 1 where id = ${id}`))
      const failed = yield* Effect.exit(db.transaction(Effect.all([add(1), add(2), Effect.fail("no")])))
      assert.isTrue(Exit.isFailure(failed))
      assert.deepStrictEqual(yield* counters, [0, 0])
      yield* db.transaction(Effect.all([add(1), add(2)]))
      assert.deepStrictEqual(yield* counters, [1, 1])
    })
  )

  it.effect("goes on after a violation in a savepoint", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      yield* zero
      const insert = sql`insert into counters values (1, 5)`.pipe(onConstraint({ counters_pkey: () => "taken" as const }))
      const result = yield* db.transaction(
        Effect.gen(function* () {
          yield* run(sql`update counters set n = 7 where id = 1`)
          const taken = yield* Effect.flip(db.savepoint(insert))
          yield* run(sql`update counters set n = 8 where id = 2`)
          return taken
        })
      )
      assert.strictEqual(result, "taken")
      assert.deepStrictEqual(yield* counters, [7, 8])
    })
  )

  it.effect("tells those that wait for it after the outermost commit, and not after a rollback", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const told = yield* Ref.make<ReadonlyArray<string>>([])
      const tell = (what: string) => db.afterCommit(Ref.update(told, (all) => [...all, what]))
      yield* db.transaction(
        Effect.gen(function* () {
          yield* db.transaction(tell("inner"))
          yield* tell("outer")
          assert.deepStrictEqual(yield* Ref.get(told), [])
        })
      )
      yield* Effect.exit(db.transaction(Effect.andThen(tell("never"), Effect.fail("no"))))
      assert.deepStrictEqual(yield* Ref.get(told), ["inner", "outer"])
    })
  )

  it.effect("that is interrupted is rolled back and gives its connection back", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      yield* zero
      const changed = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        db.transaction(
          run(sql`update counters set n = 9`).pipe(Effect.andThen(Deferred.succeed(changed, undefined)), Effect.andThen(Effect.never))
        )
      )
      yield* Deferred.await(changed)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* counters, [0, 0])
      const open = yield* sql`select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`
      assert.deepStrictEqual(open, [])
    })
  )

  it.effect("that is a snapshot sees one moment and writes nothing", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const db = yield* Db
      yield* zero
      const [looked, written] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const seen = yield* Effect.forkChild(
        db.snapshot(
          Effect.gen(function* () {
            const before = yield* counters
            yield* Deferred.succeed(looked, undefined)
            yield* Deferred.await(written)
            return [before, yield* counters]
          })
        )
      )
      yield* Deferred.await(looked)
      yield* sql`update counters set n = 1`
      yield* Deferred.succeed(written, undefined)
      assert.deepStrictEqual(yield* Fiber.join(seen), [
        [0, 0],
        [0, 0]
      ])
      const refused = yield* Effect.exit(db.snapshot(run(sql`update counters set n = 2`)))
      assert.isTrue(Exit.isFailure(refused))
      assert.deepStrictEqual(yield* counters, [1, 1])
    })
  )
})
