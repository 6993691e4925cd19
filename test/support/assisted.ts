import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Fetcher } from "#platform/fetcher/fetcher.service.ts"
import { Network } from "#platform/fetcher/network.ts"
import { Work } from "../../src/server.ts"
import { key, Provider } from "./ai.ts"
import { Internet } from "./internet.ts"
import { get } from "./inventory.ts"
import { jobEnded } from "./jobs.ts"
import { freshDatabase } from "./postgres.ts"
import { type Answer, Http, worldOn } from "./world.ts"

/** Everything the server runs, with a provider of its own, and an internet that is all on loopback. */
export const assisted = (env: Record<string, string> = {}) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { url } = yield* Provider
      const network = yield* Network
      const database = yield* freshDatabase("assisted")
      // The application has built one on the real network already.
      const Fetching = Layer.fresh(Fetcher.layerNoDeps).pipe(Layer.provide(Layer.succeed(Network, network)))
      const configured = { OPENAI_API_KEY: key, OPENAI_BASE_URL: url, OPENAI_MODEL: "gpt-4.1-mini" }
      return worldOn(database, { ...configured, ...env }, Layer.provideMerge(Work, Fetching))
    })
  ).pipe(Layer.provideMerge(Provider.layer), Layer.provideMerge(Internet.layer))

/** Texts as fields of a form, and files. */
export const formOf = (fields: Readonly<Record<string, string | File>>) => {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  return form
}

export const photoFile = (bytes: Uint8Array, filename = "bag.jpg") =>
  new File([new Uint8Array(bytes)], filename, { type: "application/octet-stream" })

/** Asks for a proposal, by JSON or by a form. */
export const requested = (kind: string, input: object) =>
  Effect.gen(function* () {
    const { send } = yield* Http
    const path = `/api/ai/suggest/${kind}`
    if (!(input instanceof FormData)) return yield* send("POST", path, input)
    const encoded = new Response(input)
    const raw = new Uint8Array(yield* Effect.promise(() => encoded.arrayBuffer()))
    return yield* send("POST", path, undefined, { raw, headers: { "content-type": encoded.headers.get("content-type") ?? "" } })
  })

/** The job at its end. */
export const asked = (kind: string, input: object) =>
  Effect.gen(function* () {
    const answer: Answer = yield* requested(kind, input)
    assert.strictEqual(answer.status, 202, answer.text)
    return yield* jobEnded(answer.body.id)
  })

/** The proposal that comes of it. */
export const proposed = (kind: string, input: object) =>
  Effect.gen(function* () {
    const { error, result } = yield* asked(kind, input)
    assert.deepStrictEqual(error, null)
    return (yield* get(`/api/ai/proposals/${(result as { readonly proposalId: string }).proposalId}`)).body
  })

/** Every row of every table as text, by table; without those that are left out. */
export const rowsOfAll = (except: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const tables = yield* sql<{ readonly name: string }>`
      select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`
    const found = yield* Effect.forEach(
      tables.filter(({ name }) => !except.includes(name)),
      ({ name }) =>
        Effect.map(sql<{ readonly row: string }>`select t::text as row from ${sql(name)} t order by 1`, (rows) => [
          name,
          rows.map(({ row }) => row)
        ])
    )
    return Object.fromEntries(found) as Readonly<Record<string, ReadonlyArray<string>>>
  }).pipe(Effect.orDie)

/** Every text in what JSON can hold. */
export const textsIn = (value: unknown): ReadonlyArray<string> => {
  if (typeof value === "string") return [value]
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsIn(inner)])
}
