import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Db, rows, run } from "#platform/db/db.ts"
import { DatabaseUnavailable } from "#platform/http/problems.ts"
import { backoff } from "#platform/jobs/job.ts"
import { JobFailure } from "#platform/jobs/job-kind.ts"
import { WorkerLayer } from "#platform/jobs/jobs.layer.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { retentionKind } from "#platform/jobs/retention.jobs.ts"
import { inThread } from "#platform/jobs/thread.ts"
import { drawsOf } from "./draws.ts"
import { jobEnded, jobNow, untilJob } from "./jobs.ts"
import type { Engine } from "./workers.ts"
import { enqueue, script, scripted, scriptedJobs } from "./workers.ts"
import { Http, world } from "./world.ts"

const plain = scripted("test.plain")
const stubborn = scripted("test.three-tries", { maxAttempts: 3 })
const short = scripted("test.short", { timeout: Duration.millis(100), maxAttempts: 2 })
const single = scripted("test.single", { concurrency: 1 })
const paired = scripted("test.paired", { concurrency: 2 })
const kinds = [plain, stubborn, short, single, paired]

const Work = WorkerLayer(scriptedJobs(...kinds)).pipe(
  Layer.provideMerge(
    Layer.effectDiscard(Effect.flatMap(SqlClient.SqlClient, (sql) => run(sql`create table effects (job uuid not null, n integer)`)))
  )
)

const send = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
  Http.use((http) => http.send(method, path, body, headers === undefined ? {} : { headers }))

const probe = (body: unknown) => Effect.map(send("POST", "/api/jobs/probe", body), ({ body }) => body.ids as ReadonlyArray<string>)
const cancel = (id: string) => send("POST", `/api/jobs/${id}/cancel`)
const retry = (id: string) => send("POST", `/api/jobs/${id}/retry`)

/** What the feed and the audit tell of a job, oldest first. */
const told = (id: string) =>
  Effect.map(send("GET", `/api/changes?entity=job&entityId=${id}&limit=200`), ({ body }) =>
    (body.items as ReadonlyArray<{ readonly action: string; readonly after: Record<string, unknown> }>).toReversed()
  )
const actions = (id: string) => Effect.map(told(id), (changes) => changes.map(({ action }) => action))

const Effects = rows(Schema.Struct({ job: Schema.String }))
const effectsOf = (id: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(Effects(sql`select job from effects where job = ${id}::uuid`), ({ length }) => length)
  )
const leaveEffect = (id: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => run(sql`insert into effects (job) values (${id}::uuid)`))

/** Work that says when it has begun and goes on when it is told to. */
const gated = () => {
  const begun = Deferred.makeUnsafe<string>()
  const go = Deferred.makeUnsafe<void>()
  let interrupted = 0
  const payload = script((run) =>
    Deferred.succeed(begun, run.id).pipe(
      Effect.andThen(Deferred.await(go)),
      Effect.as(run.attempt),
      Effect.onInterrupt(() => Effect.sync(() => interrupted++))
    )
  )
  return { payload, begun: Deferred.await(begun), release: Deferred.succeed(go, undefined), interrupted: () => interrupted }
}

const many = (count: number) => Array.from({ length: count }, (_, n) => n)
const atOnce = <A, E, R>(count: number, effect: (n: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(many(count), effect, { concurrency: "unbounded" })

/** What holds for jobs whichever engine brings them to the workers; `engine` is how the server is told of it. */
export const jobsSuite = (name: string, engine: Engine) =>
  layer(Layer.unwrap(Effect.map(engine, (env) => world({ JOB_CONCURRENCY: "8", ...env }, Work))), {
    excludeTestServices: true,
    timeout: "60 seconds"
  })(name, (it) => {
    it.effect("that were asked for are done, and tell what they are and who asked for them", () =>
      Effect.gen(function* () {
        const asked = yield* send("POST", "/api/jobs/probe", { count: 3, steps: 2, stepMs: 1 }, { "x-request-id": "asked-here" })
        assert.strictEqual(asked.status, 202)
        assert.strictEqual(asked.body.ids.length, 3)
        for (const id of asked.body.ids) {
          const { createdAt, finishedAt, runAt, startedAt, traceId: _, ...job } = yield* jobEnded(id)
          assert.deepStrictEqual(job, {
            ...{
              id,
              kind: "platform.probe",
              state: "succeeded",
              priority: 1,
              progress: 100,
              message: "step 2 of 2",
              attempt: 1,
              maxAttempts: 5
            },
            ...{ result: { attempt: 1 }, error: null, entity: null, principal: "owner" }
          })
          assert.isTrue(createdAt === runAt && runAt <= startedAt && startedAt <= finishedAt)
          const changes = yield* told(id)
          assert.deepStrictEqual(
            changes.map(({ action, after }) => [action, after.state, after.attempt]),
            [
              ["queued", "queued", 0],
              ["started", "running", 1],
              ["succeeded", "succeeded", 1]
            ]
          )
          const { body } = yield* send("GET", `/api/changes?entity=job&entityId=${id}`)
          assert.deepStrictEqual([...new Set(body.items.map((change: Record<string, unknown>) => change.requestId))], ["asked-here"])
        }
      })
    )

    it.effect("that fail are tried again, later and later, until one attempt succeeds", () =>
      Effect.gen(function* () {
        const [id = ""] = yield* probe({ failTimes: 2 })
        const job = yield* jobEnded(id)
        assert.deepStrictEqual([job.state, job.attempt, job.result, job.error], ["succeeded", 3, { attempt: 3 }, null])
        assert.isAbove(Date.parse(job.runAt) - Date.parse(job.createdAt), 150 / 2)
        assert.deepStrictEqual(yield* actions(id), ["queued", "started", "queued", "started", "queued", "started", "succeeded"])
      })
    )

    it.effect("wait between attempts for a time that doubles up to a bound, its upper half at random", () =>
      Effect.sync(() => {
        const draws = drawsOf(1)
        const policy = { first: 100, most: 5000 }
        for (let attempt = 1; attempt < 60; attempt++) {
          const full = Math.min(5000, 100 * 2 ** (attempt - 1))
          assert.strictEqual(backoff(policy, attempt, 0), full / 2)
          assert.strictEqual(backoff(policy, attempt, 1), full)
          const wait = backoff(policy, attempt, draws.below(1000) / 1000)
          assert.isTrue(wait >= full / 2 && wait <= full, `${attempt}: ${wait}`)
        }
      })
    )

    it.effect("that fail every time fail for good, and begin a new series when someone asks for it", () =>
      Effect.gen(function* () {
        let works = false
        const { id } = yield* enqueue(
          stubborn,
          script((run) =>
            works
              ? Effect.succeed(run.attempt)
              : Effect.andThen(
                  run.progress(40, "nearly"),
                  Effect.fail(new JobFailure({ code: "busy", detail: `Attempt ${run.attempt}`, retryable: true }))
                )
          )
        )
        const failed = yield* jobEnded(id)
        assert.deepStrictEqual(
          [failed.state, failed.attempt, failed.error, failed.result, failed.progress],
          ["failed", 3, { code: "busy", detail: "Attempt 3" }, null, 40]
        )
        assert.isNotNull(failed.finishedAt)

        works = true
        const again = yield* retry(id)
        assert.deepStrictEqual(
          [again.status, again.body.id, again.body.state, again.body.attempt, again.body.progress, again.body.error, again.body.finishedAt],
          [200, id, "queued", 0, 0, null, null]
        )
        const job = yield* jobEnded(id)
        assert.deepStrictEqual([job.state, job.attempt, job.result, job.error], ["succeeded", 1, 1, null])
        assert.deepStrictEqual((yield* actions(id)).slice(-4), ["failed", "queued", "started", "succeeded"])
      })
    )

    for (const [what, failure, error, result] of [
      [
        "a permanent failure",
        new JobFailure({ code: "not-a-model", detail: "This is no model.", result: { lines: 3 } }),
        { code: "not-a-model", detail: "This is no model." },
        { lines: 3 }
      ],
      [
        "a problem of the client's making",
        { _tag: "X", code: "part-not-found", status: 404, detail: "There is no part ABCD." },
        { code: "part-not-found", detail: "There is no part ABCD." },
        null
      ],
      ["a problem without a detail", { _tag: "X", code: "type-in-use", status: 409 }, { code: "type-in-use", detail: "type-in-use" }, null]
    ] as const) {
      it.effect(`fail at once by ${what}`, () =>
        Effect.gen(function* () {
          const { id } = yield* enqueue(
            stubborn,
            script(() => Effect.fail(failure))
          )
          const job = yield* jobEnded(id)
          assert.deepStrictEqual([job.state, job.attempt, job.error, job.result], ["failed", 1, error, result])
          assert.deepStrictEqual(yield* actions(id), ["queued", "started", "failed"])
          assert.deepStrictEqual((yield* told(id)).at(-1)?.after.error, error)
        })
      )
    }

    for (const [what, cause, error] of [
      [
        "a defect",
        Effect.die(new Error("secret words")),
        { code: "internal-error", detail: "Something went wrong in the server. Its log says what." }
      ],
      [
        "their own interruption",
        Effect.interrupt,
        { code: "internal-error", detail: "Something went wrong in the server. Its log says what." }
      ],
      [
        "a result that does not fit its schema",
        Effect.succeed("no number" as unknown as number),
        { code: "internal-error", detail: "Something went wrong in the server. Its log says what." }
      ],
      [
        "a database that is away",
        Effect.die(new DatabaseUnavailable({ detail: "The database cannot be reached." })),
        { code: "database-unavailable", detail: "The database cannot be reached." }
      ],
      [
        "too many requests elsewhere",
        Effect.fail({ _tag: "X", code: "too-many-requests", status: 429 }),
        { code: "too-many-requests", detail: "too-many-requests" }
      ],
      [
        "a service that is away",
        Effect.fail({ _tag: "X", code: "storage-unavailable", status: 503, detail: "Later." }),
        { code: "storage-unavailable", detail: "Later." }
      ]
    ] as const) {
      it.effect(`are tried again after ${what}, and fail with it in the end`, () =>
        Effect.gen(function* () {
          let attempts = 0
          const { id } = yield* enqueue(
            stubborn,
            script(() =>
              Effect.andThen(
                Effect.sync(() => attempts++),
                cause
              )
            )
          )
          const job = yield* jobEnded(id)
          assert.deepStrictEqual([job.state, job.attempt, attempts, job.error], ["failed", 3, 3, error])
          assert.notInclude(JSON.stringify(yield* told(id)), "secret")
        })
      )
    }

    it.effect("that take too long are interrupted, tried again, and fail", () =>
      Effect.gen(function* () {
        let interrupted = 0
        const { id } = yield* enqueue(
          short,
          script(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
        )
        const job = yield* jobEnded(id)
        assert.deepStrictEqual(
          [job.state, job.attempt, interrupted, job.error],
          ["failed", 2, 2, { code: "timeout", detail: "The job took longer than 100ms." }]
        )
      })
    )

    it.effect("that take too long in the database leave nothing there", () =>
      Effect.gen(function* () {
        const { id } = yield* enqueue(
          short,
          script((run) =>
            Effect.gen(function* () {
              const db = yield* Db
              const sql = yield* SqlClient.SqlClient
              yield* db.transaction(Effect.andThen(leaveEffect(run.id), Effect.orDie(sql`select pg_sleep(20)`)))
              return 1
            })
          )
        )
        assert.strictEqual((yield* jobEnded(id)).error.code, "timeout")
        assert.strictEqual(yield* effectsOf(id), 0)
      })
    )

    it.effect("that were asked for in words which nobody understands any more fail visibly and at once", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { id } = yield* enqueue(
          plain,
          script(() => Effect.succeed(1)),
          { delay: Duration.hours(1) }
        )
        yield* run(sql`update jobs set payload = '{"words": ["of", "old"]}' where id = ${id}::uuid`)
        yield* run(sql`update jobs set run_at = now() where id = ${id}::uuid`)
        const job = yield* jobEnded(id)
        assert.deepStrictEqual([job.state, job.attempt, job.error.code], ["failed", 1, "payload-unreadable"])
      })
    )

    it.effect("whose results or errors the database cannot hold harm no other job", () =>
      Effect.gen(function* () {
        const [broken, others] = yield* Effect.all(
          [
            Effect.forEach(["nul \0 nul", "half \ud83d", "cut here \ud83d\udd29".padStart(2001, "x")], (detail) =>
              enqueue(
                plain,
                script(() => Effect.fail(new JobFailure({ code: "told", detail, result: { detail } })))
              )
            ),
            Effect.forEach(many(20), (n) =>
              enqueue(
                plain,
                script(() => Effect.succeed(n))
              )
            )
          ],
          { concurrency: "unbounded" }
        )
        for (const { id } of others) assert.strictEqual((yield* jobEnded(id)).state, "succeeded")
        const ended = yield* Effect.forEach(broken, ({ id }) => jobEnded(id))
        assert.deepStrictEqual(
          ended.map(({ error }) => error.detail.slice(0, 10)),
          ["nul  nul", "half \ufffd", "xxxxxxxxxx"]
        )
        assert.deepStrictEqual(
          ended.map(({ result }) => result === null),
          [true, true, false]
        )
      })
    )

    it.effect("that are asked for 32 times at once with one key are one job, and another after its end", () =>
      Effect.gen(function* () {
        const gate = gated()
        const asked = yield* atOnce(32, () => enqueue(plain, gate.payload, { key: "one" }))
        assert.strictEqual(new Set(asked.map(({ id }) => id)).size, 1)
        const { id } = asked[0]!
        assert.strictEqual(yield* gate.begun, id)
        const whileRunning = yield* atOnce(32, () => enqueue(plain, gate.payload, { key: "one" }))
        assert.deepStrictEqual([...new Set(whileRunning.map((job) => job.id))], [id])
        const elsewhere = yield* enqueue(
          paired,
          script(() => Effect.succeed(1)),
          { key: "one" }
        )
        assert.notStrictEqual(elsewhere.id, id)
        yield* gate.release
        yield* jobEnded(id)
        const next = gated()
        const after = yield* atOnce(32, () => enqueue(plain, next.payload, { key: "one" }))
        yield* next.release
        assert.strictEqual(new Set(after.map((job) => job.id)).size, 1)
        assert.notStrictEqual(after[0]?.id, id)
        yield* jobEnded(after[0]!.id)
        yield* jobEnded(elsewhere.id)
        assert.deepStrictEqual(yield* actions(id), ["queued", "started", "succeeded"])
      })
    )

    it.effect("with one key that end while they are asked for again are neither lost nor doubled", () =>
      Effect.gen(function* () {
        let open = 0
        let most = 0
        const work = script(() =>
          Effect.gen(function* () {
            most = Math.max(most, ++open)
            yield* Effect.yieldNow
            open--
            return 1
          })
        )
        const asked = yield* Effect.forEach(many(100), () => enqueue(plain, work, { key: "busy" }), { concurrency: 8 })
        for (const id of new Set(asked.map(({ id }) => id))) assert.strictEqual((yield* jobEnded(id)).state, "succeeded")
        assert.strictEqual(most, 1)
      })
    )

    it.effect("that failed are not tried again beside a newer one for the same thing", () =>
      Effect.gen(function* () {
        const failing = yield* enqueue(
          plain,
          script(() => Effect.fail(new JobFailure({ code: "told", detail: "As told." }))),
          { key: "thing" }
        )
        yield* jobEnded(failing.id)
        const gate = gated()
        const newer = yield* enqueue(plain, gate.payload, { key: "thing" })
        yield* gate.begun
        const refused = yield* retry(failing.id)
        assert.deepStrictEqual([refused.status, refused.body.code], [409, "job-superseded"])
        assert.strictEqual((yield* jobNow(failing.id)).state, "failed")
        yield* gate.release
        yield* jobEnded(newer.id)
        assert.strictEqual((yield* retry(failing.id)).status, 200)
        yield* jobEnded(failing.id)
      })
    )

    it.effect("do not exist when the transaction that asked for them is rolled back, nor before it is committed", () =>
      Effect.gen(function* () {
        const db = yield* Db
        const jobs = yield* Jobs
        let ran = 0
        const work = script(() => Effect.sync(() => ++ran))
        const ids: Array<string> = []
        yield* db
          .transaction(
            Effect.gen(function* () {
              ids.push((yield* jobs.enqueue(plain, work, { key: "undone" })).id)
              ids.push(...(yield* jobs.enqueueAll(plain, [work, work])))
              return yield* Effect.fail("undone")
            })
          )
          .pipe(Effect.ignore)
        assert.strictEqual(ids.length, 3)
        for (const id of ids) {
          const { body, status } = yield* send("GET", `/api/jobs/${id}`)
          assert.deepStrictEqual([status, body.code], [404, "job-not-found"])
          assert.deepStrictEqual(yield* told(id), [])
        }
        const committed = Deferred.makeUnsafe<void>()
        const made = Deferred.makeUnsafe<string>()
        const asking = yield* Effect.forkChild(
          db.transaction(
            Effect.gen(function* () {
              const { id } = yield* jobs.enqueue(plain, work, { key: "undone" })
              yield* Deferred.succeed(made, id)
              yield* Deferred.await(committed)
            })
          )
        )
        const id = yield* Deferred.await(made)
        const after = yield* enqueue(plain, work)
        yield* jobEnded(after.id)
        assert.strictEqual((yield* send("GET", `/api/jobs/${id}`)).status, 404)
        assert.strictEqual(ran, 1)
        yield* Deferred.succeed(committed, undefined)
        assert.strictEqual((yield* jobEnded(id)).state, "succeeded")
        assert.strictEqual(ran, 2)
        yield* Effect.yieldNow
        void asking
      })
    )

    it.effect("are begun by urgency: what someone waits for, then the normal, then what is merely due", () =>
      Effect.gen(function* () {
        const gate = gated()
        const first = yield* enqueue(single, gate.payload)
        yield* gate.begun
        const order: Array<string> = []
        const named = (name: string) =>
          script(() =>
            Effect.as(
              Effect.sync(() => order.push(name)),
              1
            )
          )
        const asked = yield* Effect.forEach(
          [
            ["background 1", "background"],
            ["normal 1", "normal"],
            ["waiting 1", "waiting"],
            ["background 2", "background"],
            ["normal 2", "normal"],
            ["waiting 2", "waiting"]
          ] as const,
          ([name, priority]) => enqueue(single, named(name), { priority })
        )
        yield* gate.release
        yield* Effect.forEach([first, ...asked], ({ id }) => jobEnded(id))
        assert.deepStrictEqual(order, ["waiting 1", "waiting 2", "normal 1", "normal 2", "background 1", "background 2"])
      })
    )

    it.effect("are not begun before their time", () =>
      Effect.gen(function* () {
        const work = script(() => Effect.succeed(1))
        const soon = yield* enqueue(plain, work, { delay: Duration.millis(300) })
        const now = yield* enqueue(plain, work)
        const late = yield* enqueue(plain, work, { delay: Duration.hours(1) })
        yield* jobEnded(now.id)
        const job = yield* jobEnded(soon.id)
        assert.isTrue(job.startedAt >= job.runAt)
        assert.isAtLeast(Date.parse(job.runAt) - Date.parse(job.createdAt), 300)
        assert.strictEqual((yield* jobNow(late.id)).state, "queued")
        assert.strictEqual((yield* cancel(late.id)).status, 200)
      })
    )

    it.effect("run as many at once as their kind and the worker allow, and no more", () =>
      Effect.gen(function* () {
        const open = { paired: 0, all: 0 }
        const most = { paired: 0, all: 0 }
        const full = Deferred.makeUnsafe<void>()
        const work = (ofPair: boolean) =>
          script(() =>
            Effect.gen(function* () {
              most.all = Math.max(most.all, ++open.all)
              if (ofPair) most.paired = Math.max(most.paired, ++open.paired)
              if (most.all === 8 && most.paired === 2) yield* Deferred.succeed(full, undefined)
              yield* Deferred.await(full)
              yield* Effect.sleep("1 millis")
              open.all--
              if (ofPair) open.paired--
              return 1
            })
          )
        const [mine, theirs] = [work(true), work(false)]
        const asked = yield* Effect.forEach(many(20), (n) => enqueue(paired, mine, { priority: n % 2 === 0 ? "waiting" : "background" }))
        const others = yield* Effect.forEach(many(20), () => enqueue(plain, theirs))
        yield* Effect.forEach([...asked, ...others], ({ id }) => jobEnded(id))
        assert.deepStrictEqual(most, { paired: 2, all: 8 })
      })
    )

    it.effect("of a kind that never comes to its end do not keep those of another waiting", () =>
      Effect.gen(function* () {
        const enough = Deferred.makeUnsafe<void>()
        let made = 0
        // Each asks for the next two: there is always one more than there are slots.
        const endless: { readonly script: string } = script(() =>
          Effect.gen(function* () {
            if (!Deferred.isDoneUnsafe(enough) && made < 20_000) {
              made += 2
              yield* atOnce(2, () => more)
            }
            return 1
          })
        )
        const jobs = yield* Jobs
        const db = yield* Db
        const more = db.transaction(jobs.enqueue(plain, endless))
        yield* atOnce(30, () => more)
        const others = yield* Effect.forEach(many(10), () =>
          enqueue(
            paired,
            script(() => Effect.succeed(1))
          )
        )
        yield* Effect.forEach(others, ({ id }) => jobEnded(id))
        yield* Deferred.succeed(enough, undefined)
        const sql = yield* SqlClient.SqlClient
        yield* run(sql`
        update jobs set state = 'cancelled', finished_at = now(), lease_until = null
        where kind = ${plain.name} and state = 'queued' and priority = 1 and payload ->> 'script' = ${endless.script}`)
        assert.isAbove(made, 0)
      })
    )

    it.effect("show their progress while their transaction is open; it never goes back, and the last word counts", () =>
      Effect.gen(function* () {
        const go = Deferred.makeUnsafe<void>()
        const { id } = yield* enqueue(
          plain,
          script((run) =>
            Effect.gen(function* () {
              const db = yield* Db
              yield* db.transaction(
                Effect.gen(function* () {
                  yield* leaveEffect(run.id)
                  yield* run.progress(30, "thirty")
                  yield* run.progress(20, "twenty")
                  yield* run.progress(Number.NaN)
                  yield* run.progress(-5)
                  yield* run.progress(60.9, "sixty")
                  yield* run.progress(50)
                  yield* Deferred.await(go)
                })
              )
              yield* run.progress(1000, "all \0 but \ud83d done")
              return 1
            })
          )
        )
        const first = yield* untilJob(id, ({ progress }) => progress !== 0)
        assert.deepStrictEqual([first.progress, first.message, first.state], [30, "thirty", "running"])
        const second = yield* untilJob(id, ({ progress }) => progress !== 30)
        assert.deepStrictEqual([second.progress, second.message, second.state], [60, "sixty", "running"])
        assert.strictEqual(yield* effectsOf(id), 0)
        yield* Deferred.succeed(go, undefined)
        const job = yield* jobEnded(id)
        assert.deepStrictEqual([job.state, job.progress], ["succeeded", 100])
        assert.strictEqual(yield* effectsOf(id), 1)
      })
    )

    it.effect("write their progress at most twice a second", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* run(sql`create table progress_writes (at timestamptz default clock_timestamp(), progress integer)`)
        yield* Effect.orDie(sql`create function count_progress() returns trigger language plpgsql as $$
        begin insert into progress_writes (progress) values (new.progress); return new; end $$`)
        yield* Effect.orDie(sql`create trigger count_progress after update of progress on jobs for each row
        when (new.progress <> old.progress and new.state = 'running') execute function count_progress()`)
        const { id } = yield* enqueue(
          plain,
          script((run) =>
            Effect.as(
              Effect.forEach(many(200), (n) => Effect.andThen(run.progress(n / 2), Effect.sleep("10 millis"))),
              1
            )
          )
        )
        yield* jobEnded(id)
        const writes = yield* rows(Schema.Struct({ progress: Schema.Int, ms: Schema.Number }))(sql`
        select progress, extract(epoch from at - lag(at) over (order by at))::float8 * 1000 as ms from progress_writes
        order by at offset 1`)
        assert.isAbove(writes.length, 1)
        for (const { ms } of writes) assert.isAbove(ms, 400)
        yield* Effect.orDie(sql`drop trigger count_progress on jobs`)
      })
    )

    it.effect("that wait are never begun when they are cancelled", () =>
      Effect.gen(function* () {
        let ran = 0
        const { id } = yield* enqueue(
          plain,
          script(() => Effect.sync(() => ++ran)),
          { delay: Duration.millis(200) }
        )
        const cancelled = yield* cancel(id)
        assert.deepStrictEqual([cancelled.status, cancelled.body.state, cancelled.body.attempt], [200, "cancelled", 0])
        const later = yield* enqueue(
          plain,
          script(() => Effect.succeed(1)),
          { delay: Duration.millis(250) }
        )
        yield* jobEnded(later.id)
        assert.strictEqual(ran, 0)
        assert.deepStrictEqual(yield* actions(id), ["queued", "cancelled"])
        const again = yield* cancel(id)
        assert.deepStrictEqual(
          [again.status, again.body.code, again.body.detail],
          [409, "job-finished", "The job has been cancelled already."]
        )
      })
    )

    it.effect("that run are interrupted when they are cancelled, and their transaction is undone", () =>
      Effect.gen(function* () {
        const ended = Deferred.makeUnsafe<void>()
        const begun = Deferred.makeUnsafe<void>()
        const { id } = yield* enqueue(
          plain,
          script((run) =>
            Effect.gen(function* () {
              const db = yield* Db
              yield* db.transaction(
                Effect.gen(function* () {
                  yield* leaveEffect(run.id)
                  yield* Deferred.succeed(begun, undefined)
                  yield* Effect.never
                })
              )
              return 1
            }).pipe(Effect.onInterrupt(() => Deferred.succeed(ended, undefined)))
          )
        )
        yield* Deferred.await(begun)
        const { body, status } = yield* cancel(id)
        assert.deepStrictEqual([status, body.state], [200, "cancelled"])
        yield* Deferred.await(ended)
        assert.strictEqual(yield* effectsOf(id), 0)
        const job = yield* jobNow(id)
        assert.deepStrictEqual([job.state, job.result, job.error], ["cancelled", null, null])
        assert.isNotNull(job.finishedAt)
        assert.deepStrictEqual(yield* actions(id), ["queued", "started", "cancelled"])
      })
    )

    for (const [what, within] of [
      ["that complete in the transaction of their effect", true],
      ["that return their result", false]
    ] as const) {
      it.effect(`${what} and are cancelled meanwhile are one of both, 200 times`, () =>
        Effect.gen(function* () {
          const states = new Map<string, number>()
          const round = (n: number) =>
            Effect.gen(function* () {
              const gate = Deferred.makeUnsafe<void>()
              const begun = Deferred.makeUnsafe<void>()
              const { id } = yield* enqueue(
                plain,
                script((run) =>
                  Effect.gen(function* () {
                    const db = yield* Db
                    yield* Deferred.succeed(begun, undefined)
                    yield* Deferred.await(gate)
                    if (!within) return 1
                    return yield* db.transaction(Effect.andThen(leaveEffect(run.id), run.complete(1)))
                  })
                )
              )
              yield* Deferred.await(begun)
              const letGo = Deferred.succeed(gate, undefined)
              // The one a little before the other, by turns.
              const [answer] = yield* Effect.all([Effect.delay(cancel(id), (n % 8) / 2), Effect.delay(letGo, ((n >> 3) % 8) / 2)], {
                concurrency: "unbounded"
              })
              const job = yield* jobEnded(id)
              states.set(job.state, (states.get(job.state) ?? 0) + 1)
              assert.include(["succeeded", "cancelled"], job.state)
              assert.deepStrictEqual(
                [answer.status, answer.body.code],
                job.state === "cancelled" ? [200, undefined] : [409, "job-finished"]
              )
              if (within) assert.strictEqual(yield* effectsOf(id), job.state === "succeeded" ? 1 : 0)
              assert.deepStrictEqual(yield* actions(id), ["queued", "started", job.state])
              assert.strictEqual(job.result, job.state === "succeeded" ? 1 : null)
            })
          yield* Effect.forEach(many(200), round, { concurrency: 6, discard: true })
          assert.deepStrictEqual([...states.keys()].toSorted(), ["cancelled", "succeeded"])
        })
      )
    }

    it.effect("are cancelled by exactly one of 32 who ask at once, waiting or running", () =>
      Effect.gen(function* () {
        const gate = gated()
        const running = yield* enqueue(plain, gate.payload)
        yield* gate.begun
        const waiting = yield* enqueue(plain, gate.payload, { delay: Duration.hours(1) })
        for (const { id } of [running, waiting]) {
          const answers = yield* atOnce(32, () => cancel(id))
          assert.deepStrictEqual(answers.map(({ status }) => status).toSorted(), [200, ...many(31).map(() => 409)])
          for (const { body, status } of answers) if (status === 409) assert.strictEqual(body.code, "job-finished")
          assert.strictEqual((yield* actions(id)).filter((action) => action === "cancelled").length, 1)
        }
        assert.isAtMost(gate.interrupted(), 1)
      })
    )

    it.effect("that failed are tried again by exactly one of 32 who ask at once", () =>
      Effect.gen(function* () {
        const go = Deferred.makeUnsafe<void>()
        let runs = 0
        const { id } = yield* enqueue(
          plain,
          script((run) =>
            ++runs === 1 ? Effect.fail(new JobFailure({ code: "told", detail: "As told." })) : Effect.as(Deferred.await(go), run.attempt)
          )
        )
        yield* jobEnded(id)
        const answers = yield* atOnce(32, () => retry(id))
        assert.deepStrictEqual(answers.map(({ status }) => status).toSorted(), [200, ...many(31).map(() => 409)])
        for (const { body, status } of answers) {
          if (status === 409) assert.match(`${body.code}: ${body.detail}`, /^job-not-failed: The job is (queued|running), not failed\.$/u)
        }
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual((yield* jobEnded(id)).state, "succeeded")
        assert.strictEqual(runs, 2)
      })
    )

    it.effect("are cancelled and retried once for one Idempotency-Key", () =>
      Effect.gen(function* () {
        const { id } = yield* enqueue(
          plain,
          script(() => Effect.succeed(1)),
          { delay: Duration.hours(1) }
        )
        const key = { "idempotency-key": "cancel-once" }
        const first = yield* send("POST", `/api/jobs/${id}/cancel`, undefined, key)
        const second = yield* send("POST", `/api/jobs/${id}/cancel`, undefined, key)
        assert.deepStrictEqual([first.status, second.status, second.headers.get("idempotency-replayed")], [200, 200, "true"])
        const probes = { "idempotency-key": "probe-once" }
        const [one, two] = yield* Effect.all([1, 2].map(() => send("POST", "/api/jobs/probe", { count: 2 }, probes)))
        assert.deepStrictEqual(two?.body, one?.body)
        yield* Effect.forEach(one?.body.ids as ReadonlyArray<string>, jobEnded)
      })
    )

    it.effect("survive threads that exhaust their memory, exit or fail", () =>
      Effect.gen(function* () {
        const program = new URL("./broken-thread.ts", import.meta.url)
        for (const [how, detail] of [
          ["memory", "The thread that computes ended: it took more than 16 MiB."],
          ["exit", "The thread that computes ended: without an answer."],
          ["throw", "The thread that computes ended: its program failed."]
        ]) {
          const { id } = yield* enqueue(
            stubborn,
            script(() => inThread<number>(program, how, { memoryMb: 16 }))
          )
          const job = yield* jobEnded(id)
          assert.deepStrictEqual([job.state, job.attempt, job.error], ["failed", 3, { code: "thread-broken", detail }])
        }
        const { id } = yield* enqueue(
          plain,
          script(() => inThread<number>(program, "answer", { memoryMb: 16 }))
        )
        assert.deepStrictEqual((yield* jobEnded(id)).result, 42)
      })
    )

    it.effect("that compute for ever in a thread are ended with it", () =>
      Effect.gen(function* () {
        const [id = ""] = yield* probe({ cpuMs: 60_000 })
        yield* untilJob(id, ({ state }) => state === "running")
        assert.strictEqual((yield* cancel(id)).status, 200)
        const [next = ""] = yield* probe({ cpuMs: 1 })
        assert.strictEqual((yield* jobEnded(next)).state, "succeeded")
      })
    )

    it.effect("are listed by kind, state and what they are about, newest first, page by page", () =>
      Effect.gen(function* () {
        const entity = { type: "document", id: "doc 1/ä?" }
        const gate = gated()
        const asked = [
          yield* enqueue(
            plain,
            script(() => Effect.succeed(1)),
            { entity }
          ),
          yield* enqueue(
            plain,
            script(() => Effect.fail(new JobFailure({ code: "told", detail: "As told." }))),
            { entity }
          ),
          yield* enqueue(plain, gate.payload, { entity }),
          yield* enqueue(plain, gate.payload, { entity: { type: "document", id: "doc 2" }, delay: Duration.hours(1) })
        ]
        const [succeeded, failed, running, waiting] = asked.map(({ id }) => id)
        yield* jobEnded(succeeded!)
        yield* jobEnded(failed!)
        yield* gate.begun
        const ids = (query: string) =>
          Effect.map(send("GET", `/api/jobs?${query}`), ({ body }) => body.items.map((job: { readonly id: string }) => job.id))
        const about = `entity=document&entityId=${encodeURIComponent(entity.id)}`
        assert.deepStrictEqual(yield* ids(about), [running, failed, succeeded])
        assert.deepStrictEqual(yield* ids("entity=document"), [waiting, running, failed, succeeded])
        assert.deepStrictEqual(yield* ids(`${about}&state=failed`), [failed])
        assert.deepStrictEqual(yield* ids(`${about}&state=running&kind=${plain.name}`), [running])
        assert.deepStrictEqual(yield* ids(`${about}&kind=${paired.name}`), [])
        assert.deepStrictEqual(yield* ids("entity=part"), [])
        const first = (yield* send("GET", `/api/jobs?entity=document&limit=3&includeTotal=true`)).body
        assert.deepStrictEqual([first.items.length, first.total], [3, 4])
        const rest = (yield* send("GET", `/api/jobs?entity=document&limit=3&cursor=${first.nextCursor}`)).body
        assert.deepStrictEqual([rest.items.map((job: { readonly id: string }) => job.id), rest.nextCursor], [[succeeded], null])
        assert.deepStrictEqual(first.items[1].entity, entity)
        assert.notInclude(JSON.stringify([first, rest]), "script")
        yield* gate.release
        yield* cancel(waiting!)
        yield* jobEnded(running!)
      })
    )

    it.effect("that cannot be are refused, and nothing is made", () =>
      Effect.gen(function* () {
        const absent = "01a1fdc0-38ea-7ead-b45a-ba7f26585f4b"
        for (const id of [absent, "1", "%00", "probe", "..%2F..", "x".repeat(90), "01a1fdc0-38ea-7ead-b45a-ba7f26585f4", "%F0%9F%94%A9"]) {
          for (const [method, path] of [
            ["GET", `/api/jobs/${id}`],
            ["POST", `/api/jobs/${id}/cancel`],
            ["POST", `/api/jobs/${id}/retry`]
          ] as const) {
            const { body, status } = yield* send(method, path)
            if (method === "GET" && id === "probe") assert.strictEqual(status, 404)
            else assert.deepStrictEqual([status, body.code], [404, "job-not-found"], `${method} ${path}`)
          }
        }
        for (const query of [
          "state=done",
          "state=",
          "limit=0",
          "limit=201",
          "cursor=abc",
          "kind=",
          "kind=%00",
          "surprise=1",
          "state=queued&state=failed"
        ]) {
          const { body, status } = yield* send("GET", `/api/jobs?${query}`)
          assert.include([400], status, query)
          assert.include(["invalid-request", "invalid-cursor"], body.code, query)
        }
        const before = (yield* send("GET", "/api/jobs?limit=1&includeTotal=true")).body.total
        for (const [body, pointer] of [
          [{ count: 0 }, "/count"],
          [{ count: 10_001 }, "/count"],
          [{ count: 1.5 }, "/count"],
          [{ count: "3" }, "/count"],
          [{ steps: -1 }, "/steps"],
          [{ steps: 1001 }, "/steps"],
          [{ stepMs: 60_001 }, "/stepMs"],
          [{ failTimes: 101 }, "/failTimes"],
          [{ cpuMs: null }, "/cpuMs"],
          [{ count: 1, kind: "platform.objects.sweep" }, "/kind"],
          [[], ""]
        ] as const) {
          const answer = yield* send("POST", "/api/jobs/probe", body)
          assert.deepStrictEqual([answer.status, answer.body.code], [400, "invalid-request"], JSON.stringify(body))
          assert.deepStrictEqual(
            answer.body.errors.map((error: { readonly pointer: string }) => error.pointer),
            [pointer]
          )
        }
        assert.strictEqual((yield* send("GET", "/api/jobs?limit=1&includeTotal=true")).body.total, before)
        for (const [path, verb] of [
          ["succeeded", retry],
          ["cancelled", retry]
        ] as const) {
          const { body } = yield* send("GET", `/api/jobs?state=${path}&limit=1`)
          const answer = yield* verb(body.items[0].id)
          assert.deepStrictEqual(
            [answer.status, answer.body.code, answer.body.detail],
            [409, "job-not-failed", `The job is ${path}, not failed.`]
          )
        }
      })
    )

    it.effect("are forgotten 30 days after their end, and not before", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const work = script(() => Effect.succeed(1))
        const [old, young, waiting] = [
          yield* enqueue(plain, work),
          yield* enqueue(plain, work),
          yield* enqueue(plain, work, { delay: Duration.hours(1) })
        ]
        yield* jobEnded(old.id)
        yield* jobEnded(young.id)
        const ages = { [old.id]: 31, [young.id]: 29, [waiting.id]: 31 }
        for (const [id, days] of Object.entries(ages)) {
          yield* run(sql`
          update jobs set created_at = created_at - ${days} * interval '1 day', finished_at = finished_at - ${days} * interval '1 day'
          where id = ${id}::uuid`)
        }
        const { id } = yield* enqueue(retentionKind, {})
        const { result, state } = yield* jobEnded(id)
        assert.deepStrictEqual([state, result], ["succeeded", { removed: 1 }])
        const found = yield* Effect.forEach([old, young, waiting], ({ id }) => send("GET", `/api/jobs/${id}`))
        assert.deepStrictEqual(
          found.map(({ status }) => status),
          [404, 200, 200]
        )
        yield* cancel(waiting.id)
      })
    )

    it.effect("may be 10,000 at once", () =>
      Effect.gen(function* () {
        const ids = yield* probe({ count: 10_000 })
        assert.strictEqual(new Set(ids).size, 10_000)
        yield* untilJob(ids[0]!, ({ state }) => state === "succeeded")
        const sql = yield* SqlClient.SqlClient
        const left = rows(Schema.Struct({ count: Schema.Int }))(
          sql`select count(*)::int as count from jobs where kind = 'platform.probe' and state in ('queued', 'running')`
        )
        yield* Effect.repeat(Effect.delay(left, "50 millis"), { until: ([found]) => found?.count === 0 })
        const [sum] = yield* rows(Schema.Struct({ jobs: Schema.Int, told: Schema.Int }))(sql`
        select count(distinct entity_id)::int as jobs, count(*)::int as told from changes
        where entity = 'job' and action = 'succeeded' and entity_id = any(${ids}::text[])`)
        assert.deepStrictEqual(sum, { jobs: 10_000, told: 10_000 })
      })
    )
  })
