import { assert, layer } from "@effect/vitest"
import { Context, Cron, Deferred, Duration, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Db, rows, run } from "#platform/db/db.ts"
import { JobHandlers } from "#platform/jobs/handlers.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { SchedulesRepo } from "#platform/jobs/schedules.repo.ts"
import { fire, Scheduler, Schedules, schedule } from "#platform/jobs/schedules.ts"
import { connected, type Database, freshDatabase } from "../support/postgres.ts"
import { eventually } from "../support/server-process.ts"
import { applicationOn, enqueue, script, scripted, workerOn } from "../support/workers.ts"

/** A database whose clock the test sets: its own `now()` is found before PostgreSQL's. */
const withClock = Effect.gen(function* () {
  const database = yield* freshDatabase("clock")
  yield* connected(
    database,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`create schema clock`
      yield* sql`create table clock.shift (by interval not null)`
      yield* sql`insert into clock.shift values ('0')`
      for (const name of ["now", "clock_timestamp"]) {
        yield* sql`create function clock.${sql.literal(name)}() returns timestamptz language sql stable as
          ${sql.literal(`'select pg_catalog.${name}() + by from clock.shift'`)}`
      }
      yield* sql`alter database ${sql(database.database)} set search_path = clock, pg_catalog, public`
    })
  ).pipe(Effect.orDie)
  return database
})

class Place extends Context.Service<Place, Database>()("test/Place") {}

const World = Layer.unwrap(
  Effect.map(withClock, (database) =>
    SchedulesRepo.layer.pipe(Layer.provideMerge(applicationOn(database)), Layer.merge(Layer.succeed(Place, database)))
  )
)

/** How far the clock of the database is from the right time. */
const shift = (by: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => run(sql`update clock.shift set by = ${by}::text::interval`))

const kind = scripted("clock.work", { maxAttempts: 10 })

// So rare that no tick comes while a test runs.
const cron = "0 0 1 1 *"
const year = 366 * 24 * 3_600_000

/** A schedule that asks for jobs about itself. */
const scheduled = (name: string) =>
  Effect.gen(function* () {
    const { enqueue } = yield* Jobs
    const asked = enqueue(kind, { script: "" }, { entity: { type: "schedule", id: name }, delay: Duration.hours(48) })
    return { name, cron: Cron.parseUnsafe(cron, "UTC"), enqueue: asked as Effect.Effect<unknown> }
  })

const jobsOf = (name: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(rows(Schema.Struct({ id: Schema.String }))(sql`select id from jobs where entity_id = ${name}`), ({ length }) => length)
  )

/** That the schedule took a tick so long ago, or will have. */
const took = (name: string, ago: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    run(sql`insert into schedule_runs (name, tick) values (${name}, date_trunc('year', now() - ${ago}::text::interval))`)
  )

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("a schedule", (it) => {
  it.effect("that is new notes where it stands and asks for nothing", () =>
    Effect.gen(function* () {
      const one = yield* scheduled("new")
      const wait = yield* fire(one)
      yield* fire(one)
      assert.strictEqual(yield* jobsOf("new"), 0)
      assert.isTrue(Duration.toMillis(wait) > 0 && Duration.toMillis(wait) <= year)
    })
  )

  it.effect("asks once for a tick, however many look at once", () =>
    Effect.gen(function* () {
      const database = yield* Place
      const one = yield* scheduled("once")
      yield* took("once", "1 year")
      const elsewhere = yield* Layer.build(SchedulesRepo.layer.pipe(Layer.provideMerge(applicationOn(database))))
      yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => n),
        (n) => (n % 2 === 0 ? fire(one) : Effect.provide(fire(one), elsewhere)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* jobsOf("once"), 1)
      yield* fire(one)
      assert.strictEqual(yield* jobsOf("once"), 1)
    })
  )

  it.effect("asks once after an outage of many ticks", () =>
    Effect.gen(function* () {
      const one = yield* scheduled("outage")
      yield* took("outage", "30 years")
      yield* fire(one)
      yield* fire(one)
      assert.strictEqual(yield* jobsOf("outage"), 1)
    })
  )

  it.effect("whose asking fails has not taken the tick", () =>
    Effect.gen(function* () {
      const one = yield* scheduled("fails")
      yield* took("fails", "1 year")
      const broken = yield* Effect.exit(fire({ ...one, enqueue: Effect.andThen(one.enqueue, Effect.die(new Error("as told"))) }))
      assert.strictEqual(broken._tag, "Failure")
      assert.strictEqual(yield* jobsOf("fails"), 0)
      yield* fire(one)
      assert.strictEqual(yield* jobsOf("fails"), 1)
    })
  )

  it.effect("goes on after ticks that a wrong clock has taken in the future", () =>
    Effect.gen(function* () {
      const one = yield* scheduled("future")
      yield* took("future", "1 year")
      yield* took("future", "-100 years")
      yield* fire(one)
      assert.strictEqual(yield* jobsOf("future"), 1)
    })
  )

  it.effect("asks once a tick while the clock jumps forth and back", () =>
    Effect.gen(function* () {
      const one = yield* scheduled("jumps")
      yield* took("jumps", "1 year")
      yield* fire(one)
      assert.strictEqual(yield* jobsOf("jumps"), 1)
      for (const [by, jobs] of [
        // Ahead: all the ticks in between are one.
        ["5 years", 2],
        ["5 years", 2],
        // Right again: this tick was taken before.
        ["0", 2],
        // Behind, at a tick that nobody has taken.
        ["-2 years", 3],
        ["-2 years", 3],
        ["0", 3],
        ["6 years", 4],
        ["5 years", 4],
        ["0", 4]
      ] as const) {
        yield* shift(by)
        const wait = yield* fire(one)
        assert.isTrue(Duration.toMillis(wait) > 0 && Duration.toMillis(wait) <= year)
        assert.strictEqual(yield* jobsOf("jumps"), jobs, by)
      }
      yield* shift("0")
    })
  )

  it.effect("is looked after by every process", () =>
    Effect.gen(function* () {
      const database = yield* Place
      yield* took("every", "1 year")
      yield* Effect.forEach(
        [1, 2],
        () =>
          Layer.build(
            Scheduler.pipe(
              Layer.provide(
                schedule(
                  "every",
                  cron,
                  Effect.flatMap(Jobs, ({ enqueue }) =>
                    enqueue(kind, { script: "" }, { entity: { type: "schedule", id: "every" }, delay: Duration.hours(48) })
                  )
                )
              ),
              Layer.provide([Schedules.layer, JobHandlers.layer, SchedulesRepo.layer]),
              Layer.provide(applicationOn(database)),
              Layer.fresh
            )
          ),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* eventually("it has asked", jobsOf("every"), (count) => count > 0), 1)
    })
  )
})

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("jobs, when the clock of the database jumps", (it) => {
  const stateOf = (id: string) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.map(
        rows(Schema.Struct({ state: Schema.String, events: Schema.Array(Schema.String) }))(sql`
          select state, array(select action from changes where entity_id = j.id::text order by seq) as events from jobs j where id = ${id}::uuid`),
        ([found]) => found!
      )
    )

  for (const by of ["1 hour", "-1 hour"]) {
    it.effect(`by ${by}, are done, and their ends are written once`, () =>
      Effect.gen(function* () {
        const database = yield* Place
        yield* shift("0")
        const begun = Deferred.makeUnsafe<void>()
        const go = Deferred.makeUnsafe<void>()
        const running = yield* enqueue(
          kind,
          script((job) =>
            Effect.flatMap(Db, (db) =>
              Effect.andThen(
                Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go)),
                db.transaction(job.complete(job.attempt))
              )
            )
          )
        )
        yield* Effect.forEach([1, 2], () => workerOn(database, { kinds: [kind] }))
        yield* Deferred.await(begun)
        yield* shift(by)
        const later = yield* enqueue(
          kind,
          script(() => Effect.succeed(1))
        )
        yield* eventually("the other is done", stateOf(later.id), ({ state }) => state === "succeeded")
        yield* Deferred.succeed(go, undefined)
        const { events } = yield* eventually("the job is done", stateOf(running.id), ({ state }) => state === "succeeded")
        assert.strictEqual(events.filter((event) => event === "succeeded").length, 1)
        assert.strictEqual(events.at(-1), "succeeded")
      })
    )
  }
})
