import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Db, rows, run } from "#platform/db/db.ts"
import type { JobRun } from "#platform/jobs/job-kind.ts"
import type { JobsRepo } from "#platform/jobs/jobs.repo.ts"
import type { Jobs } from "#platform/jobs/jobs.service.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { connected, type Database, freshDatabase } from "./postgres.ts"
import { eventually, root, startProcess } from "./server-process.ts"
import { severable } from "./severable.ts"
import { untilBlocked } from "./stock-rows.ts"
import { applicationOn, type Engine, enqueue, script, scripted, workerOn as startWorker, type Work, type WorkerOptions } from "./workers.ts"

const work = scripted("faults.work")
const kinds = [work]

const Kept = rows(
  Schema.Struct({
    state: Schema.String,
    attempt: Schema.Int,
    leased: Schema.Boolean,
    code: Schema.NullOr(Schema.String),
    result: Schema.NullOr(Schema.Json),
    effects: Schema.Array(Schema.String),
    events: Schema.Array(Schema.String)
  })
)

/** A database with a table for the effects of jobs, and what asks for jobs in it and looks at them. */
const workshop = Effect.gen(function* () {
  const database = yield* freshDatabase("jobfaults")
  const context = yield* Layer.build(applicationOn(database))
  const sql = Context.get(context, SqlClient.SqlClient)
  yield* run(sql`create table effects (job uuid not null, worker text not null)`)
  const here = <A, E>(effect: Effect.Effect<A, E, Jobs | Db | JobsRepo | SqlClient.SqlClient>) => Effect.provide(effect, context)
  const kept = (id: string) =>
    Effect.map(
      Kept(sql`
        select state, attempt, lease_until is not null as leased, error ->> 'code' as code, result,
          array(select worker from effects e where e.job = j.id) as effects,
          array(select action from changes where topic = 'job' and entity_id = j.id::text order by seq) as events
        from jobs j where id = ${id}::uuid`),
      ([found]) => found!
    )
  const until = (id: string, ...states: ReadonlyArray<string>) =>
    eventually(`the job is ${states.join(" or ")}`, kept(id), ({ state }) => states.includes(state), "40 seconds")
  return { database, here, kept, until, sql }
})

const leaveEffect = (id: string, worker: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => run(sql`insert into effects (job, worker) values (${id}::uuid, ${worker})`))

const leaseLosses = (worker: Context.Context<Metrics>) =>
  Effect.map(Context.get(worker, Metrics).page, (page) => Number(/^partwright_job_lease_losses_total (\d+)$/mu.exec(page)?.[1]))

/** The effect of a job and its end, in one transaction. */
const effectOf = (job: JobRun<number>, worker: string) =>
  Effect.flatMap(Db, (db) => db.transaction(Effect.andThen(leaveEffect(job.id, worker), job.complete(job.attempt))))

const lostOnce = ["queued", "started", "queued", "started", "succeeded"]

/** Holds a lock on a connection of its own while the effect runs: statements that want it wait. */
const withLock = <A, E, R>(
  database: Database,
  lock: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, unknown>,
  effect: Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const held = yield* Deferred.make<void>()
    const release = yield* Deferred.make<void>()
    const holding = Effect.flatMap(SqlClient.SqlClient, (sql) =>
      sql.withTransaction(lock(sql).pipe(Effect.andThen(Deferred.succeed(held, undefined)), Effect.andThen(Deferred.await(release))))
    )
    const holder = yield* Effect.forkChild(connected(database, Effect.orDie(holding)))
    yield* Deferred.await(held)
    const result = yield* effect
    yield* Deferred.succeed(release, undefined)
    yield* Fiber.join(holder)
    return result
  })

const blocked = (database: Database) => connected(database, untilBlocked(1))

/** Workers that meet misfortune. None of it may cost a job, nor do one twice, whichever engine brings them their jobs. */
export const jobWorkersSuite = (engine: Engine) => {
  const workerOn = (database: Database, options: WorkerOptions) =>
    Effect.flatMap(engine, (env) => startWorker(database, { env, ...options }))

  /** A worker whose connections can be cut. */
  const severableWorker = (database: Database, lease: Duration.Input = "1 second") =>
    Effect.gen(function* () {
      const wire = yield* severable(database)
      const worker = yield* workerOn(wire.database, { kinds, lease })
      return { ...wire, ...worker }
    })

  describe("workers that fight for jobs", () => {
    it.live("each do a part of them, and each job is done once", () =>
      Effect.gen(function* () {
        const { database, here, sql } = yield* workshop
        const payload = script((job) => effectOf(job, "any"))
        yield* here(Effect.forEach(Array.from({ length: 300 }), () => enqueue(work, payload), { concurrency: 8 }))
        yield* Effect.forEach([1, 2, 3], () => workerOn(database, { kinds, concurrency: 5 }), { concurrency: "unbounded" })
        const count = rows(Schema.Struct({ done: Schema.Int, effects: Schema.Int, told: Schema.Int, workers: Schema.Int }))(sql`
        select count(*) filter (where state = 'succeeded' and attempt = 1)::int as done, count(distinct worker)::int as workers,
          (select count(distinct job)::int from effects) as effects,
          (select count(*)::int from changes where topic = 'job' and action = 'succeeded') as told
        from jobs`)
        const [found] = yield* eventually("all are done", count, ([found]) => found?.done === 300, "40 seconds")
        assert.deepStrictEqual([found?.effects, found?.told, found?.workers], [300, 300, 3])
      }).pipe(Effect.scoped)
    )

    it.live("lose those whose lease they could not renew: interrupted, and done by another", () =>
      Effect.gen(function* () {
        const { database, here, kept, until } = yield* workshop
        const slow = yield* severableWorker(database)
        const interrupted = Deferred.makeUnsafe<void>()
        const begun = Deferred.makeUnsafe<void>()
        const { id } = yield* here(
          enqueue(
            work,
            script((job) =>
              job.attempt === 1
                ? Effect.onInterrupt(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never), () =>
                    Deferred.succeed(interrupted, undefined)
                  )
                : effectOf(job, "other")
            )
          )
        )
        yield* Deferred.await(begun)
        const other = yield* workerOn(database, { kinds })
        const lossesBefore = yield* leaseLosses(other.context)
        yield* slow.cut
        yield* Deferred.await(interrupted)
        const done = yield* until(id, "succeeded")
        assert.deepStrictEqual([done.attempt, done.effects, done.events], [2, ["other"], lostOnce])
        assert.strictEqual((yield* leaseLosses(other.context)) - lossesBefore, 1)
        yield* slow.mend
        yield* other.close
        // The one that was away works again.
        const next = yield* here(
          enqueue(
            work,
            script((job) => effectOf(job, "slow"))
          )
        )
        assert.deepStrictEqual((yield* until(next.id, "succeeded")).effects, ["slow"])
        assert.strictEqual((yield* kept(id)).state, "succeeded")
      }).pipe(Effect.scoped)
    )

    const ends: Record<string, (job: JobRun<number>) => Work> = {
      "commit its effects": (job) => effectOf(job, "late"),
      "commit a part of its effects": (job) =>
        Effect.flatMap(Db, (db) => Effect.as(db.transaction(Effect.andThen(leaveEffect(job.id, "late"), job.hold)), 99)),
      "give its result": () => Effect.succeed(99),
      "fail it": () => Effect.die(new Error("too late"))
    }
    for (const [what, end] of Object.entries(ends)) {
      it.live(`cannot ${what} when the lease of the job was taken, even if its work does not heed interruption`, () =>
        Effect.gen(function* () {
          const { database, here, kept, until } = yield* workshop
          const slow = yield* severableWorker(database)
          const begun = Deferred.makeUnsafe<void>()
          const go = Deferred.makeUnsafe<void>()
          const ended = Deferred.makeUnsafe<void>()
          const { id } = yield* here(
            enqueue(
              work,
              script((job) =>
                job.attempt === 1
                  ? Deferred.succeed(begun, undefined).pipe(
                      Effect.andThen(Deferred.await(go)),
                      Effect.andThen(end(job)),
                      Effect.ensuring(Deferred.succeed(ended, undefined)),
                      Effect.uninterruptible
                    )
                  : effectOf(job, "other")
              )
            )
          )
          yield* Deferred.await(begun)
          yield* workerOn(database, { kinds })
          yield* slow.cut
          const before = yield* until(id, "succeeded")
          yield* slow.mend
          yield* Deferred.succeed(go, undefined)
          yield* Deferred.await(ended)
          yield* slow.close
          assert.deepStrictEqual(yield* kept(id), before)
          assert.deepStrictEqual([before.attempt, before.effects, before.events, before.result], [2, ["other"], lostOnce, 2])
        }).pipe(Effect.scoped)
      )
    }

    it.live("renew the leases of all, whatever transaction one of them is about to end in", () =>
      Effect.gen(function* () {
        const { database, here, kept, until } = yield* workshop
        yield* workerOn(database, { kinds })
        const go = Deferred.makeUnsafe<void>()
        const completing = Deferred.makeUnsafe<void>()
        const ending = yield* here(
          enqueue(
            work,
            script((job) =>
              Effect.flatMap(Db, (db) =>
                db.transaction(
                  Effect.gen(function* () {
                    yield* leaveEffect(job.id, "first")
                    const completed = yield* job.complete(job.attempt)
                    // Does not wait for the lock that this transaction holds.
                    yield* job.progress(50, "completed")
                    yield* Deferred.succeed(completing, undefined)
                    yield* Deferred.await(go)
                    return completed
                  })
                )
              )
            )
          )
        )
        const long = yield* here(
          enqueue(
            work,
            script((job) => Effect.andThen(Deferred.await(go), effectOf(job, "long")))
          )
        )
        yield* Deferred.await(completing)
        yield* until(long.id, "running")
        // Looks for lost jobs for three times as long as a lease lasts.
        yield* workerOn(database, { kinds })
        yield* Effect.sleep("3 seconds")
        yield* Deferred.succeed(go, undefined)
        for (const { id } of [ending, long]) {
          const job = yield* until(id, "succeeded")
          assert.deepStrictEqual([job.attempt, job.effects.length, job.events], [1, 1, ["queued", "started", "succeeded"]])
        }
        assert.strictEqual((yield* kept(ending.id)).result, 1)
      }).pipe(Effect.scoped)
    )

    it.live("fail a job whose workers are lost every time", () =>
      Effect.gen(function* () {
        const { database, here, until, sql } = yield* workshop
        const fatal = scripted("faults.fatal", { maxAttempts: 2 })
        const { id } = yield* here(
          enqueue(
            fatal,
            script(() => Effect.never)
          )
        )
        const wire = yield* severable(database)
        yield* workerOn(wire.database, { kinds: [fatal] })
        yield* until(id, "running")
        yield* workerOn(database, { kinds })
        yield* wire.cut
        const back = yield* until(id, "queued")
        assert.deepStrictEqual([back.attempt, back.code, back.leased], [1, "worker-lost", false])
        yield* wire.mend
        yield* until(id, "running")
        yield* wire.cut
        const job = yield* until(id, "failed")
        assert.deepStrictEqual(
          [job.attempt, job.code, job.events],
          [2, "worker-lost", ["queued", "started", "queued", "started", "failed"]]
        )
        yield* wire.mend
        yield* run(sql`select 1`)
      }).pipe(Effect.scoped)
    )
  })

  describe("while the database is cut off", () => {
    it.live("a claim whose answer is lost leaves no job behind", () =>
      Effect.gen(function* () {
        const { database, here, sql, until } = yield* workshop
        const worker = yield* severableWorker(database)
        yield* run(sql`
        create function slow_claim() returns trigger language plpgsql as $$
          begin perform pg_advisory_xact_lock_shared(4711); return new; end $$`)
        yield* run(sql`create trigger slow_claim before update on jobs for each row
        when (new.state = 'running' and old.state = 'queued') execute function slow_claim()`)
        const next = yield* withLock(
          database,
          (sql) => sql`select pg_advisory_xact_lock(4711)`,
          Effect.gen(function* () {
            const next = yield* here(
              enqueue(
                work,
                script((job) => effectOf(job, "worker"))
              )
            )
            yield* blocked(database)
            yield* worker.cut
            return next
          })
        )
        const lost = yield* until(next.id, "running")
        assert.deepStrictEqual([lost.attempt, lost.leased], [1, true])
        yield* worker.mend
        const job = yield* until(next.id, "succeeded")
        assert.deepStrictEqual([job.attempt, job.effects, job.events], [2, ["worker"], lostOnce])
      }).pipe(Effect.scoped)
    )

    it.live("for less than a lease, jobs go on and are done at their first attempt", () =>
      Effect.gen(function* () {
        const { database, here, until } = yield* workshop
        const worker = yield* severableWorker(database, "4 seconds")
        yield* workerOn(database, { kinds: [], lease: "4 seconds" })
        const begun = Deferred.makeUnsafe<void>()
        const go = Deferred.makeUnsafe<void>()
        const asked = yield* here(
          Effect.forEach(["effect", "result"], (how) =>
            enqueue(
              work,
              script((job) =>
                Effect.andThen(
                  Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go)),
                  how === "effect" ? effectOf(job, "worker") : (Effect.succeed(1) as Work)
                )
              )
            )
          )
        )
        yield* Deferred.await(begun)
        for (const { id } of asked) yield* until(id, "running")
        yield* worker.cut
        // Over the time of a heartbeat.
        yield* Effect.sleep("1500 millis")
        yield* worker.mend
        yield* Effect.sleep("1500 millis")
        yield* Deferred.succeed(go, undefined)
        for (const { id } of asked) {
          const job = yield* until(id, "succeeded")
          assert.deepStrictEqual([job.attempt, job.events], [1, ["queued", "started", "succeeded"]])
        }
      }).pipe(Effect.scoped)
    )

    it.live("a result is kept until it can be written, without another attempt", () =>
      Effect.gen(function* () {
        const { database, here, until } = yield* workshop
        const worker = yield* severableWorker(database, "4 seconds")
        const begun = Deferred.makeUnsafe<void>()
        const go = Deferred.makeUnsafe<void>()
        const { id } = yield* here(
          enqueue(
            work,
            script(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.as(Deferred.await(go), 7)))
          )
        )
        yield* Deferred.await(begun)
        yield* worker.cut
        yield* Deferred.succeed(go, undefined)
        yield* Effect.sleep("1200 millis")
        yield* worker.mend
        const job = yield* until(id, "succeeded")
        assert.deepStrictEqual([job.attempt, job.result, job.events], [1, 7, ["queued", "started", "succeeded"]])
      }).pipe(Effect.scoped)
    )

    for (const [what, committed] of [
      ["before the transaction of the effects is committed, they are undone and done again", false],
      ["after it is committed and before anybody hears of it, they are not done again", true]
    ] as const) {
      it.live(what, () =>
        Effect.gen(function* () {
          const { database, here, sql, until } = yield* workshop
          const worker = yield* severableWorker(database, "4 seconds")
          const gate = committed ? "deferrable initially deferred" : ""
          yield* run(sql`
          create function wait_at_gate() returns trigger language plpgsql as $$
            begin perform pg_advisory_xact_lock_shared(4711); return null; end $$`)
          // At the commit, when the end of the job is written; or else at the effect itself.
          yield* run(sql`create constraint trigger wait_at_gate after insert on effects ${sql.literal(gate)}
          for each row execute function wait_at_gate()`)
          const { id } = yield* withLock(
            database,
            (sql) => sql`select pg_advisory_xact_lock(4711)`,
            Effect.gen(function* () {
              const job = yield* here(
                enqueue(
                  work,
                  script((job) => effectOf(job, `attempt ${job.attempt}`))
                )
              )
              yield* blocked(database)
              yield* worker.cut
              return job
            })
          )
          yield* worker.mend
          const job = yield* until(id, "succeeded", "failed")
          if (committed)
            assert.deepStrictEqual([job.attempt, job.effects, job.events], [1, ["attempt 1"], ["queued", "started", "succeeded"]])
          else assert.deepStrictEqual([job.attempt, job.effects, job.events], [2, ["attempt 2"], lostOnce])
        }).pipe(Effect.scoped)
      )
    }

    it.live("a worker that is told to stop does so, and its jobs wait for the end of their lease", () =>
      Effect.gen(function* () {
        const { database, here, until } = yield* workshop
        const worker = yield* severableWorker(database)
        const begun = Deferred.makeUnsafe<void>()
        const { id } = yield* here(
          enqueue(
            work,
            script((job) => (job.attempt === 1 ? Effect.andThen(Deferred.succeed(begun, undefined), Effect.never) : effectOf(job, "other")))
          )
        )
        yield* Deferred.await(begun)
        yield* worker.cut
        yield* worker.stop(Duration.zero)
        yield* worker.close
        yield* workerOn(database, { kinds })
        const job = yield* until(id, "succeeded")
        assert.deepStrictEqual([job.attempt, job.effects], [2, ["other"]])
      }).pipe(Effect.scoped)
    )
  })

  describe("a worker that is told to stop", () => {
    it.live("lets jobs end that can, puts back the others without an attempt, and takes no more", () =>
      Effect.gen(function* () {
        const { database, here, kept, until } = yield* workshop
        const worker = yield* workerOn(database, { kinds, concurrency: 4 })
        const go = Deferred.makeUnsafe<void>()
        const finishing = yield* here(
          enqueue(
            work,
            script((job) => Effect.andThen(Deferred.await(go), effectOf(job, "first")))
          )
        )
        const endless = yield* here(
          enqueue(
            work,
            script((job) =>
              Effect.gen(function* () {
                const db = yield* Db
                if ((yield* Effect.sync(() => stopped)) === false) {
                  yield* db.transaction(Effect.andThen(leaveEffect(job.id, "undone"), Effect.never))
                }
                return yield* effectOf(job, "second")
              })
            )
          )
        )
        let stopped = false
        for (const { id } of [finishing, endless]) yield* until(id, "running")
        const stopping = yield* Effect.forkChild(worker.stop(Duration.seconds(1)), { startImmediately: true })
        const late = yield* here(
          enqueue(
            work,
            script((job) => effectOf(job, "second"))
          )
        )
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(stopping)
        stopped = true
        const first = yield* kept(finishing.id)
        assert.deepStrictEqual([first.state, first.effects], ["succeeded", ["first"]])
        const back = yield* kept(endless.id)
        assert.deepStrictEqual(
          [back.state, back.attempt, back.leased, back.code, back.effects, back.events],
          ["queued", 0, false, null, [], ["queued", "started", "queued"]]
        )
        assert.strictEqual((yield* kept(late.id)).state, "queued")
        yield* worker.close
        yield* workerOn(database, { kinds })
        for (const { id } of [endless, late]) {
          const job = yield* until(id, "succeeded")
          assert.deepStrictEqual([job.attempt, job.effects], [1, ["second"]])
        }
      }).pipe(Effect.scoped)
    )

    it.live("puts back also what does not heed its interruption, which can commit nothing any more", () =>
      Effect.gen(function* () {
        const { database, here, kept, until } = yield* workshop
        const worker = yield* workerOn(database, { kinds })
        const begun = Deferred.makeUnsafe<void>()
        const go = Deferred.makeUnsafe<void>()
        const ended = Deferred.makeUnsafe<void>()
        const { id } = yield* here(
          enqueue(
            work,
            script((job) =>
              Deferred.isDoneUnsafe(begun)
                ? effectOf(job, "other")
                : Deferred.succeed(begun, undefined).pipe(
                    Effect.andThen(Deferred.await(go)),
                    Effect.andThen(effectOf(job, "stubborn")),
                    Effect.ensuring(Deferred.succeed(ended, undefined)),
                    Effect.uninterruptible
                  )
            )
          )
        )
        yield* Deferred.await(begun)
        yield* worker.stop(Duration.millis(100))
        const back = yield* kept(id)
        assert.deepStrictEqual([back.state, back.attempt, back.leased], ["queued", 0, false])
        yield* workerOn(database, { kinds })
        yield* until(id, "succeeded")
        yield* Deferred.succeed(go, undefined)
        yield* Deferred.await(ended)
        yield* worker.close
        const job = yield* kept(id)
        assert.deepStrictEqual([job.attempt, job.effects], [1, ["other"]])
      }).pipe(Effect.scoped)
    )
  })

  describe("a worker process that is killed -9", () => {
    for (const where of ["before its effects", "after its effects, before it completes", "after it completes, before the commit"]) {
      it.live(`${where} leaves none of them, and another does the job`, () =>
        Effect.gen(function* () {
          const { database, here, kept, until } = yield* workshop
          const { id } = yield* here(
            enqueue(
              work,
              script((job) => effectOf(job, "other"))
            )
          )
          const { host, password: _, port, username } = database
          const worker = yield* startProcess({
            command: [
              process.execPath,
              `${root}/test/support/job-worker.ts`,
              JSON.stringify({ host, port, username, database: database.database }),
              work.name,
              where,
              JSON.stringify(yield* engine)
            ]
          })
          yield* eventually("it has come that far", Effect.sync(worker.stderr), (said) => said.includes(where), "40 seconds")
          assert.strictEqual((yield* kept(id)).state, "running")
          worker.kill("SIGKILL")
          yield* worker.ended
          yield* workerOn(database, { kinds })
          const job = yield* until(id, "succeeded")
          assert.deepStrictEqual([job.attempt, job.effects, job.events], [2, ["other"], lostOnce])
        }).pipe(Effect.scoped)
      )
    }
  })
}
