import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { formOf, photoFile, rowsOfAll } from "../support/assisted.ts"
import { image, largePdf } from "../support/files.ts"
import { webServer } from "../support/internet.ts"
import { answer, type Script, type StandIn, standIn } from "../support/openai.ts"
import { connected, freshDatabase, urlOf } from "../support/postgres.ts"
import { eventually, nothingRuns, startServer, temporaryDirectory } from "../support/server-process.ts"
import { blankPhoto } from "../support/suggestions.ts"
import { databaseIn } from "../support/workshop.ts"
import { ask, clean, newPartOn, quiet, verify } from "../support/workshop-files.ts"

const inOrder = { code: 0, signal: null }
const json = { "content-type": "application/json" }

/** What the environment of a server says of its provider. Nobody knows what the calls of a killed process cost: they have a price. */
const assistedBy = ({ url }: StandIn) => ({ OPENAI_BASE_URL: url, OPENAI_MODEL: "gpt-4.1-mini", AI_MONTHLY_BUDGET_USD: "10" })

const hang: Script = () => ({ type: "hang" })
const byName: Script = ({ body }) =>
  answer(
    body.response_format?.json_schema.name === "tags"
      ? { tags: ["relay"] }
      : { ...blankPhoto, manufacturerCodes: [{ value: "QX-1", confidence: "high" }], description: "Relay 5 V", visibleText: "QX-1" }
  )
/** 1000 tokens in, 100 out. */
const costOfCall = 1000 * 400 + 100 * 1600

const askFor = (port: number, kind: string, body: string | FormData) =>
  Effect.map(ask(port, "POST", `/api/ai/suggest/${kind}`, body, typeof body === "string" ? json : {}), (sent) => {
    assert.strictEqual(sent?.status, 202, JSON.stringify(sent?.body))
    return sent?.body.id as string
  })

const aPhoto = Effect.map(image({ seed: 5, format: "jpeg" }), (bytes) => formOf({ image: photoFile(bytes) }))

const jobOn = (port: number, id: string) => Effect.map(ask(port, "GET", `/api/jobs/${id}`), (sent) => sent?.body)

const ended = (port: number, id: string) =>
  eventually("the job has ended", jobOn(port, id), (job) => ["succeeded", "failed", "cancelled"].includes(job?.state), "40 seconds")

const proposalsOn = (port: number) => Effect.map(ask(port, "GET", "/api/ai/proposals"), (sent) => sent?.body.items)

const Spent = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ readonly nano: number }>`select coalesce(sum(nano_usd), 0)::float8 as nano from ai_spending`, ([row]) => row?.nano ?? 0)
)

const spentIn = (dataDir: string) => connected(databaseIn(dataDir), Spent)

// What a question leaves behind, and what goes on beside it.
const own = ["jobs", "proposals", "proposal_files", "ai_answers", "ai_spending", "changes", "schedule_runs", "event_epochs"]
const rowsIn = (dataDir: string) => connected(databaseIn(dataDir), rowsOfAll(own))

describe("R38, R44: a question to the language model", () => {
  it.live(
    "whose server is killed in the middle of the call ends once, writes nothing, stays in the budget, and can be asked again with its photo",
    () =>
      Effect.gen(function* () {
        const provider = yield* standIn
        const DATA_DIR = join(yield* temporaryDirectory, "data")
        const env = { DATA_DIR, ...assistedBy(provider) }
        const first = yield* startServer({ env })
        yield* newPartOn(first.port)
        provider.script(hang)
        const id = yield* askFor(first.port, "photo", yield* aPhoto)
        yield* Effect.promise(() => provider.come(1))
        const before = yield* rowsIn(DATA_DIR)
        const reserved = yield* spentIn(DATA_DIR)
        assert.isAbove(reserved, costOfCall)
        first.kill("SIGKILL")
        yield* first.ended
        assert.isTrue(yield* Effect.promise(() => provider.requests[0]?.ended ?? Promise.resolve(false)))
        yield* nothingRuns(DATA_DIR)

        provider.script(byName)
        const second = yield* startServer({ env })
        const failed = yield* ended(second.port, id)
        assert.deepInclude(failed, { state: "failed", attempt: 1, maxAttempts: 1, result: null })
        assert.strictEqual(failed.error.code, "worker-lost")
        assert.strictEqual(provider.requests.length, 0)
        assert.strictEqual(yield* spentIn(DATA_DIR), reserved)
        assert.deepStrictEqual(yield* proposalsOn(second.port), [])
        assert.deepStrictEqual(yield* rowsIn(DATA_DIR), before)

        assert.strictEqual((yield* ask(second.port, "POST", `/api/jobs/${id}/retry`, "{}", json))?.status, 200)
        assert.deepInclude(yield* ended(second.port, id), { state: "succeeded", error: null })
        const [proposal, ...others] = yield* proposalsOn(second.port)
        assert.deepStrictEqual([others, proposal.jobId, proposal.output.visibleText], [[], id, "QX-1"])
        assert.deepStrictEqual(
          proposal.documents.map(({ kind, mediaType }: Record<string, unknown>) => [kind, mediaType]),
          [["image", "image/jpeg"]]
        )
        assert.strictEqual((yield* ask(second.port, "GET", proposal.documents[0].contentUrl))?.status, 200)
        assert.strictEqual(provider.requests.length, 1)
        assert.strictEqual(yield* spentIn(DATA_DIR), reserved + costOfCall)
        assert.deepStrictEqual(yield* verify(DATA_DIR, {}), clean(1))
      }).pipe(Effect.scoped),
    90_000
  )

  it.live(
    "whose server is killed while what was found is stored leaves no file without a row, and asked again begins anew",
    () =>
      Effect.gen(function* () {
        const provider = yield* standIn
        const web = yield* webServer((request, response) => void response.end(largePdf(`QX-1 ${request.url}`, 100_000)))
        const DATA_DIR = join(yield* temporaryDirectory, "data")
        const env = { DATA_DIR, ...assistedBy(provider), FETCH_ALLOW_HOSTS: `127.0.0.1:${web.port}` }
        const first = yield* startServer({ env })
        const candidates = [1, 2, 3, 4].map((n) => ({
          url: `http://127.0.0.1:${web.port}/${n}.pdf`,
          title: `Sheet ${n}`,
          documentType: "datasheet",
          reason: "it says so"
        }))
        provider.script(() => answer({ candidates }))
        // The third waits in its transaction, its file in the store.
        const stopAt = (statement: string) =>
          connected(
            databaseIn(DATA_DIR),
            Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(statement))
          )
        yield* stopAt(`create function stop_here() returns trigger language plpgsql as
          $$ begin if (select count(*) from proposal_files) = 2 then perform pg_sleep(600); end if; return new; end $$`)
        yield* stopAt("create trigger stop_here before insert on proposal_files for each row execute function stop_here()")
        const id = yield* askFor(first.port, "datasheet", JSON.stringify({ manufacturerCode: "QX-1" }))
        yield* eventually(
          "the third is being stored",
          stopAt("select 1 from pg_stat_activity where wait_event = 'PgSleep'"),
          (rows) => rows.length === 1
        )
        first.kill("SIGKILL")
        yield* first.ended
        yield* nothingRuns(DATA_DIR)

        const second = yield* startServer({ env })
        yield* stopAt("drop trigger stop_here on proposal_files")
        const left = yield* verify(DATA_DIR, {})
        assert.match(left.out, /pending: 1 uploads/u)
        assert.strictEqual((yield* ended(second.port, id)).error.code, "worker-lost")
        const repaired = yield* verify(DATA_DIR, {}, "--repair", "--grace", "0s")
        assert.strictEqual(repaired.out.split("\n").at(-2), clean(2).out.trimEnd())

        assert.strictEqual((yield* ask(second.port, "POST", `/api/jobs/${id}/retry`, "{}", json))?.status, 200)
        assert.strictEqual((yield* ended(second.port, id)).state, "succeeded")
        const [proposal] = yield* proposalsOn(second.port)
        assert.deepStrictEqual(
          proposal.documents.map(({ title }: { readonly title: string }) => title),
          candidates.map(({ title }) => title)
        )
        assert.deepStrictEqual(
          proposal.output.candidates.map(({ verified }: { readonly verified: boolean }) => verified),
          [true, true, true, true]
        )
        yield* quiet(second.port)
        yield* eventually("what was found first is gone", verify(DATA_DIR, {}, "--hash"), ({ out }) => out === clean(4).out, "40 seconds")
      }).pipe(Effect.scoped),
    90_000
  )

  it.live("is aborted at the provider when its server is told to stop, waits at no attempt, and is asked again after the start", () =>
    Effect.gen(function* () {
      const provider = yield* standIn
      const DATA_DIR = join(yield* temporaryDirectory, "data")
      const env = { DATA_DIR, ...assistedBy(provider), SHUTDOWN_GRACE: "3s" }
      const first = yield* startServer({ env })
      provider.script(hang)
      const id = yield* askFor(first.port, "photo", yield* aPhoto)
      yield* Effect.promise(() => provider.come(1))
      const [request] = provider.requests
      first.kill("SIGTERM")
      assert.isTrue(yield* Effect.promise(() => request?.ended ?? Promise.resolve(false)))
      assert.deepStrictEqual(yield* first.ended, inOrder)

      provider.script(byName)
      const second = yield* startServer({ env })
      assert.deepInclude(yield* ended(second.port, id), { state: "succeeded", attempt: 1 })
      assert.strictEqual((yield* proposalsOn(second.port)).length, 1)
      assert.strictEqual(provider.requests.length, 1)
      assert.deepStrictEqual(yield* verify(DATA_DIR, {}), clean(1))
    }).pipe(Effect.scoped)
  )

  it.live("is aborted at the provider when its job is cancelled, and proposes nothing", () =>
    Effect.gen(function* () {
      const provider = yield* standIn
      const DATA_DIR = join(yield* temporaryDirectory, "data")
      const server = yield* startServer({ env: { DATA_DIR, ...assistedBy(provider) } })
      provider.script((_, nth) => (nth === 0 ? { type: "silence", text: '{"tags": ["re' } : { type: "hang" }))
      const ids = [
        yield* askFor(server.port, "tags", JSON.stringify({ description: "Relay" })),
        yield* askFor(server.port, "photo", yield* aPhoto)
      ]
      yield* Effect.promise(() => provider.come(2))
      for (const id of ids) {
        assert.strictEqual((yield* ask(server.port, "POST", `/api/jobs/${id}/cancel`, "{}", json))?.status, 200)
      }
      for (const { ended: isAborted } of provider.requests) assert.isTrue(yield* Effect.promise(() => isAborted))
      for (const id of ids) assert.deepInclude(yield* ended(server.port, id), { state: "cancelled", result: null })
      assert.deepStrictEqual(yield* proposalsOn(server.port), [])
      assert.strictEqual(provider.requests.length, 2)
    }).pipe(Effect.scoped)
  )

  it.live("is asked as often as the budget allows, and not once more, by two servers with 32 questions", () =>
    Effect.gen(function* () {
      const provider = yield* standIn
      const database = yield* freshDatabase("budget")
      const folder = yield* temporaryDirectory
      const env = { ...assistedBy(provider), DATABASE_URL: urlOf(database), JOB_CONCURRENCY: "8" }
      const bag = (n: number) => JSON.stringify({ description: `Bag ${String(n).padStart(2, "0")}` })

      const measuring = yield* startServer({ env: { ...env, DATA_DIR: join(folder, "0") } })
      provider.script(hang)
      yield* askFor(measuring.port, "tags", bag(0))
      yield* Effect.promise(() => provider.come(1))
      const atMost = yield* connected(database, Spent)
      measuring.kill("SIGKILL")
      yield* measuring.ended
      yield* connected(
        database,
        Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.all([sql`delete from ai_spending`, sql`delete from jobs`]))
      )

      // In whole cents, with something left that is too little for another call.
      const cents = Math.ceil((5 * atMost) / 1e7)
      const calls = Math.floor((cents * 1e7) / atMost)
      // A provider that does not tell what it took: each call costs what it can cost at most.
      provider.script(() => answer({ tags: ["relay"] }, { usage: null }))
      const budget = { AI_MONTHLY_BUDGET_USD: (cents / 100).toFixed(2) }
      const servers = yield* Effect.all(
        ["1", "2"].map((name) => startServer({ env: { ...env, ...budget, DATA_DIR: join(folder, name) } })),
        { concurrency: 2 }
      )
      const asked = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => n),
        (n) => ask(servers[n % 2]?.port ?? 0, "POST", "/api/ai/suggest/tags", bag(n + 1), json),
        { concurrency: "unbounded" }
      )
      const port = servers[0]?.port ?? 0
      const outcomes = yield* Effect.forEach(asked, (sent) =>
        sent?.status === 202
          ? Effect.map(ended(port, sent.body.id), ({ error, state }) => error?.code ?? state)
          : Effect.succeed(sent?.body.code)
      )
      assert.deepStrictEqual(
        Object.fromEntries(
          Map.groupBy(outcomes, (outcome) => outcome)
            .entries()
            .map(([outcome, all]) => [outcome, all.length])
        ),
        { succeeded: calls, "ai-budget-exhausted": 32 - calls }
      )
      assert.strictEqual(provider.requests.length, calls)
      assert.strictEqual(yield* connected(database, Spent), calls * atMost)
    }).pipe(Effect.scoped)
  )
})
