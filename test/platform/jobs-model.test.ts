import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Db, rows, run } from "#platform/db/db.ts"
import { type JobEvent, type JobState, jobEvents, jobStates, priorities, transitions } from "#platform/jobs/job.ts"
import { JobsRepo } from "#platform/jobs/jobs.repo.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { type Draws, drawsOf } from "../support/draws.ts"
import { freshDatabase } from "../support/postgres.ts"
import { applicationOn, enqueue, scripted } from "../support/workers.ts"

const leaseMs = 60_000
const error = { code: "told", detail: "As told." }
const failing = { error, result: null, progress: 0, message: null }
const done = { result: 1, message: null }

const claimOne = (kind: string) => JobsRepo.use(({ claim }) => claim({ kinds: [{ kind, most: 1 }], limit: 1, worker: "test", leaseMs }))

/** A job of a kind of its own, brought into the state. */
const jobIn = (state: JobState) =>
  Effect.gen(function* () {
    const repo = yield* JobsRepo
    const jobs = yield* Jobs
    const kind = scripted(`table.${state}.${Math.random()}`, { maxAttempts: 1 })
    const { id } = yield* enqueue(kind, { script: "" })
    if (state === "queued") return { id, claim: 0, kind: kind.name }
    const [claimed] = yield* claimOne(kind.name)
    const held = { id, claim: claimed?.claim ?? 0 }
    if (state === "succeeded") yield* repo.complete([{ ...held, ...done }])
    if (state === "failed") yield* repo.fail([{ ...held, ...failing, retryInMs: null }])
    if (state === "cancelled") yield* jobs.cancel(id)
    return { ...held, kind: kind.name }
  })

type Subject = Effect.Success<ReturnType<typeof jobIn>>

/** Lets the event befall the job; the code of the refusal, or whether it took place. */
const befall = (event: JobEvent, { claim, id, kind }: Subject) =>
  Effect.gen(function* () {
    const repo = yield* JobsRepo
    const jobs = yield* Jobs
    const happened = (found: ReadonlyArray<unknown>) => found.length === 1
    const held = { id, claim }
    const events: Record<JobEvent, Effect.Effect<boolean | string>> = {
      claim: Effect.map(repo.claim({ kinds: [{ kind, most: 1 }], limit: 1, worker: "test", leaseMs }), happened),
      complete: Effect.map(repo.complete([{ ...held, ...done }]), happened),
      fail: Effect.map(repo.fail([{ ...held, ...failing, retryInMs: null }]), happened),
      requeue: Effect.map(repo.requeue([held]), happened),
      cancel: jobs.cancel(id).pipe(
        Effect.as(true),
        Effect.catch(({ code }) => Effect.succeed(code))
      ),
      retry: jobs.retry(id).pipe(
        Effect.as(true),
        Effect.catch(({ code }) => Effect.succeed(code))
      )
    }
    return yield* events[event]
  })

const refusals: Readonly<Record<JobEvent, boolean | string>> = {
  claim: false,
  complete: false,
  fail: false,
  requeue: false,
  cancel: "job-finished",
  retry: "job-not-failed"
}

interface Modelled {
  readonly id: string
  readonly kind: string
  readonly key: string | null
  readonly priority: number
  readonly maxAttempts: number
  /** Order of the times at which they are due; infinite when in an hour. */
  due: number
  state: JobState
  attempt: number
  claim: number
  progress: number
  error: string | null
  expired: boolean
  readonly events: Array<string>
}

/** The jobs as a person would keep them on paper. */
class Paper {
  readonly jobs: Array<Modelled> = []
  private clock = 0

  open(kind: string, key: string | null) {
    return this.jobs.find((job) => key !== null && job.kind === kind && job.key === key && ["queued", "running"].includes(job.state))
  }

  add(job: Pick<Modelled, "id" | "key" | "kind" | "maxAttempts" | "priority"> & { readonly delayed: boolean }) {
    const { delayed, ...rest } = job
    const due = delayed ? Number.POSITIVE_INFINITY : ++this.clock
    this.jobs.push({ ...rest, due, state: "queued", attempt: 0, claim: 0, progress: 0, error: null, expired: false, events: ["queued"] })
  }

  move(job: Modelled, event: JobEvent): boolean {
    const state = transitions[job.state][event]
    if (state === undefined) return false
    job.state = state
    job.expired = false
    job.events.push(event === "claim" ? "started" : state)
    return true
  }

  claim(kind: string, limit: number) {
    const due = this.jobs
      .filter((job) => job.kind === kind && job.state === "queued" && job.due < Number.POSITIVE_INFINITY)
      .toSorted((a, b) => b.priority - a.priority || a.due - b.due)
      .slice(0, limit)
    for (const job of due) {
      this.move(job, "claim")
      job.claim++
      job.attempt++
    }
    return due.map(({ id }) => id)
  }

  complete(job: Modelled, claim: number) {
    const done = claim === job.claim && this.move(job, "complete")
    if (done) [job.progress, job.error] = [100, null]
    return done
  }

  fail(job: Modelled, claim: number, again: "now" | "later" | "never") {
    const done = claim === job.claim && this.move(job, again === "never" ? "fail" : "requeue")
    if (!done) return false
    job.error = error.code
    if (again !== "never") job.due = again === "now" ? ++this.clock : Number.POSITIVE_INFINITY
    return true
  }

  requeue(job: Modelled, claim: number) {
    const done = claim === job.claim && this.move(job, "requeue")
    if (done) job.attempt--
    return done
  }

  retry(job: Modelled) {
    if (job.state !== "failed") return "job-not-failed"
    if (this.open(job.kind, job.key) !== undefined) return "job-superseded"
    this.move(job, "retry")
    job.attempt = 0
    job.progress = 0
    job.error = null
    job.due = ++this.clock
    return "done"
  }

  reap() {
    const lost = this.jobs.filter(({ expired }) => expired)
    for (const job of lost) {
      this.move(job, job.attempt >= job.maxAttempts ? "fail" : "requeue")
      job.error = "worker-lost"
    }
    return lost.map(({ id }) => id).toSorted()
  }

  progress(job: Modelled, claim: number, percent: number) {
    if (claim === job.claim && job.state === "running") job.progress = Math.max(job.progress, percent)
  }
}

const Row = Schema.Struct({
  id: Schema.String,
  state: Schema.String,
  attempt: Schema.Int,
  claim: Schema.Int,
  progress: Schema.Int,
  error: Schema.NullOr(Schema.String),
  finished: Schema.Boolean,
  leased: Schema.Boolean,
  events: Schema.Array(Schema.String)
})

/** What the tables hold of the jobs of a kind. */
const kept = (kind: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    return yield* rows(Row)(sql`
      select id, state, attempt, claim::int as claim, progress, error ->> 'code' as error, finished_at is not null as finished,
        lease_until is not null as leased,
        array(select action from changes c where c.topic = 'job' and c.entity_id = j.id::text order by seq) as events
      from jobs j where kind = ${kind} order by id`)
  })

const onPaper = ({ attempt, claim, error, events, id, progress, state }: Modelled) => ({
  ...{ id, state, attempt, claim, progress, error, events },
  finished: ["succeeded", "failed", "cancelled"].includes(state),
  leased: state === "running"
})

/** One random command on the table and on paper; both say the same. */
const step = (draws: Draws, paper: Paper, kind: ReturnType<typeof scripted>) =>
  Effect.gen(function* () {
    const repo = yield* JobsRepo
    const jobs = yield* Jobs
    const db = yield* Db
    const sql = yield* SqlClient.SqlClient
    const verbs = ["enqueue", "claim", "complete", "fail", "requeue", "cancel", "retry", "reap", "expire", "renew", "progress"] as const
    const running = paper.jobs.filter(({ state }) => state === "running")
    const failed = paper.jobs.filter(({ state }) => state === "failed")
    const verb = draws.pick(verbs)
    if (verb === "enqueue" || paper.jobs.length === 0) {
      const key = draws.chance(0.5) ? `key ${draws.below(4)}` : null
      const priority = draws.pick(["background", "normal", "waiting"] as const)
      const delayed = draws.chance(0.15)
      const options = { priority, ...(key === null ? {} : { key }), ...(delayed ? { delay: Duration.hours(1) } : {}) }
      const there = paper.open(kind.name, key)
      const { id } = yield* enqueue(kind, { script: "" }, options)
      if (there !== undefined) return assert.strictEqual(id, there.id)
      return paper.add({ id, kind: kind.name, key, priority: priorities[priority], maxAttempts: kind.maxAttempts, delayed })
    }
    if (verb === "claim") {
      const limit = 1 + draws.below(4)
      const claimed = yield* repo.claim({ kinds: [{ kind: kind.name, most: limit }], limit, worker: "test", leaseMs })
      const expected = paper.claim(kind.name, limit)
      assert.deepStrictEqual(
        claimed.map(({ id }) => id),
        expected
      )
      for (const { attempt, claim, id } of claimed) {
        const job = paper.jobs.find((job) => job.id === id)
        assert.deepStrictEqual([attempt, claim], [job?.attempt, job?.claim])
      }
      return
    }
    if (verb === "reap") {
      const ended = yield* db.transaction(repo.reap)
      return assert.deepStrictEqual(ended.map(({ id }) => id).toSorted(), paper.reap())
    }
    // Mostly what may happen, and now and then what may not.
    const likely = verb === "retry" ? failed : verb === "cancel" ? paper.jobs : running
    const job = draws.pick(likely.length > 0 && draws.chance(0.85) ? likely : paper.jobs)
    const claim = draws.chance(0.8) ? job.claim : job.claim - 1
    const held = { id: job.id, claim }
    const isMine = (found: ReadonlyArray<unknown>, expected: boolean) => assert.strictEqual(found.length === 1, expected)
    switch (verb) {
      case "complete":
        return isMine(yield* repo.complete([{ ...held, ...done }]), paper.complete(job, claim))
      case "fail": {
        const again = draws.pick(["now", "later", "never"] as const)
        const retryInMs = { now: 0, later: 3_600_000, never: null }[again]
        return isMine(yield* repo.fail([{ ...held, ...failing, retryInMs }]), paper.fail(job, claim, again))
      }
      case "requeue":
        return isMine(yield* repo.requeue([held]), paper.requeue(job, claim))
      case "cancel": {
        const exit = yield* Effect.exit(jobs.cancel(job.id))
        return assert.strictEqual(Exit.isSuccess(exit), paper.move(job, "cancel"))
      }
      case "retry": {
        const answer = yield* jobs.retry(job.id).pipe(
          Effect.as("done"),
          Effect.catch(({ code }) => Effect.succeed(code))
        )
        return assert.strictEqual(answer, paper.retry(job))
      }
      case "expire":
        if (job.state === "running") job.expired = true
        return yield* run(sql`update jobs set lease_until = now() - interval '1 second' where id = ${job.id}::uuid and state = 'running'`)
      case "renew": {
        const mine = job.state === "running" && claim === job.claim
        isMine(yield* repo.renew([held], leaseMs), mine)
        if (mine) job.expired = false
        return
      }
      case "progress": {
        const percent = draws.below(101)
        yield* repo.progress(held, percent, null)
        return paper.progress(job, claim, percent)
      }
    }
  })

layer(Layer.unwrap(Effect.map(freshDatabase("jobsmodel"), applicationOn)), { excludeTestServices: true, timeout: "60 seconds" })(
  "the states of jobs",
  (it) => {
    for (const state of jobStates) {
      for (const event of jobEvents) {
        const to = transitions[state][event]
        it.effect(`${event} of one that is ${state} ${to === undefined ? "is refused" : `makes it ${to}`}`, () =>
          Effect.gen(function* () {
            const repo = yield* JobsRepo
            const subject = yield* jobIn(state)
            const before = yield* kept(subject.kind)
            assert.strictEqual(before[0]?.state, state)
            assert.strictEqual(yield* befall(event, subject), to === undefined ? refusals[event] : true)
            const after = yield* kept(subject.kind)
            if (to === undefined) assert.deepStrictEqual(after, before)
            else {
              assert.strictEqual(after[0]?.state, to)
              assert.strictEqual(after[0]?.events.at(-1), event === "claim" ? "started" : to)
              assert.strictEqual(after[0]?.events.length, (before[0]?.events.length ?? 0) + 1)
            }
            assert.isTrue((yield* repo.find(subject.id))._tag === "Some")
          })
        )
      }
    }

    it.effect("no worker moves a job under the number of an earlier claim", () =>
      Effect.gen(function* () {
        const repo = yield* JobsRepo
        const { claim, id, kind } = yield* jobIn("running")
        const sql = yield* SqlClient.SqlClient
        for (const stale of [claim - 1, claim + 1]) {
          const held = { id, claim: stale }
          assert.deepStrictEqual(yield* repo.complete([{ ...held, ...done }]), [])
          assert.deepStrictEqual(yield* repo.fail([{ ...held, ...failing, retryInMs: 0 }]), [])
          assert.deepStrictEqual(yield* repo.requeue([held]), [])
          assert.deepStrictEqual(yield* repo.renew([held], leaseMs), [])
          assert.deepStrictEqual(yield* repo.progress(held, 50, "stale"), [])
        }
        const [{ attempt, progress, state } = { attempt: 0, progress: 0, state: "" }] = yield* kept(kind)
        assert.deepStrictEqual({ attempt, progress, state }, { attempt: 1, progress: 0, state: "running" })
        yield* run(sql`delete from jobs where kind = ${kind}`)
      })
    )

    for (const seed of [1, 2, 3, 4, 5, 6, Date.now() % 1_000_000_007]) {
      it.effect(`follow the model through 250 random commands, seed ${seed}`, () =>
        Effect.gen(function* () {
          const draws = drawsOf(seed)
          const paper = new Paper()
          const kind = scripted(`model.${seed}.${Math.random()}`, { maxAttempts: 3 })
          for (let n = 0; n < 250; n++) {
            yield* step(draws, paper, kind).pipe(Effect.tapCause(() => Effect.sync(() => console.error(`seed ${seed}, step ${n}`))))
          }
          const expected = paper.jobs.map(onPaper).toSorted((a, b) => (a.id < b.id ? -1 : 1))
          assert.deepStrictEqual(yield* kept(kind.name), expected)
          assert.includeMembers([...new Set(expected.map(({ state }) => state))], ["succeeded", "cancelled"])
        })
      )

      it.effect(`lose nothing and allow nothing else when 32 send such commands at once, seed ${seed}`, () =>
        Effect.gen(function* () {
          const repo = yield* JobsRepo
          const jobs = yield* Jobs
          const db = yield* Db
          const kind = scripted(`storm.${seed}.${Math.random()}`, { maxAttempts: 3 })
          const ids = (yield* Effect.forEach(Array.from({ length: 12 }), () => enqueue(kind, { script: "" }))).map(({ id }) => id)
          const client = (n: number) =>
            Effect.gen(function* () {
              const draws = drawsOf(seed * 100 + n)
              for (let at = 0; at < 15; at++) {
                const id = draws.pick(ids)
                const retried = Effect.ignore(jobs.retry(id))
                if (draws.chance(0.1)) yield* Effect.ignore(jobs.cancel(id))
                if (draws.chance(0.2)) yield* retried
                const claimed = yield* repo.claim({
                  kinds: [{ kind: kind.name, most: 2 }],
                  limit: 2,
                  worker: `w${n}`,
                  leaseMs: draws.chance(0.2) ? -1 : leaseMs
                })
                if (draws.chance(0.3)) yield* db.transaction(repo.reap)
                for (const held of claimed) {
                  if (draws.chance(0.2)) yield* repo.complete([{ ...held, ...done }])
                  else if (draws.chance(0.5)) yield* repo.requeue([held])
                  else yield* repo.fail([{ ...held, ...failing, retryInMs: held.attempt < held.maxAttempts ? 0 : null }])
                }
              }
            })
          yield* Effect.forEach(
            Array.from({ length: 32 }, (_, n) => n),
            client,
            { concurrency: "unbounded", discard: true }
          )
          const all = yield* kept(kind.name)
          assert.strictEqual(all.length, ids.length)
          for (const { attempt, claim, events, finished, leased, state } of all) {
            assert.strictEqual(leased, state === "running")
            assert.strictEqual(finished, ["succeeded", "failed", "cancelled"].includes(state))
            assert.isAtMost(attempt, 3)
            assert.strictEqual(events.filter((event) => event === "started").length, claim)
            // Its events tell a walk along the transitions, and where it has ended.
            let at: JobState | undefined
            for (const event of events) {
              const next = event === "started" ? "running" : (event as JobState)
              if (at !== undefined) assert.include(Object.values(transitions[at]), next, events.join(" "))
              at = next
            }
            assert.strictEqual(at, state)
          }
        })
      )
    }
  }
)
