import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { jobEnded } from "./jobs.ts"
import { Http } from "./world.ts"

export type Fields = Record<string, string>

export interface Sending {
  readonly filename?: string
  readonly headers?: Record<string, string>
}

/** A form with a list of parts, as a client sends it. */
export const importForm = (csv: string | Uint8Array, fields: Fields = {}, filename = "parts.csv") => {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append("file", new File([typeof csv === "string" ? csv : new Uint8Array(csv)], filename, { type: "text/csv" }))
  return form
}

/** Sends a form, whatever is in it. */
export const sendForm = Effect.fnUntraced(function* (form: FormData, headers: Record<string, string> = {}) {
  const { send } = yield* Http
  const encoded = new Response(form)
  const raw = new Uint8Array(yield* Effect.promise(() => encoded.arrayBuffer()))
  return yield* send("POST", "/api/inventory/import", undefined, {
    raw,
    headers: { "content-type": encoded.headers.get("content-type") ?? "", ...headers }
  })
})

export const sendImport = (csv: string | Uint8Array, fields?: Fields, { filename, headers }: Sending = {}) =>
  sendForm(importForm(csv, fields, filename), headers)

/** The id of the job of an import that was taken. */
export const startImport = Effect.fnUntraced(function* (csv: string | Uint8Array, fields?: Fields, sending?: Sending) {
  const answer = yield* sendImport(csv, fields, sending)
  assert.strictEqual(answer.status, 202, answer.text)
  return answer.body.id as string
})

/** The job when it has ended. */
export const imported = (csv: string | Uint8Array, fields?: Fields, sending?: Sending) =>
  Effect.flatMap(startImport(csv, fields, sending), jobEnded)

/** The lines of the report below its header. */
export const reportLines = (jobId: string) =>
  Http.use(({ send }) =>
    Effect.map(send("GET", `/api/inventory/imports/${jobId}/report`), (answer) => {
      assert.strictEqual(answer.status, 200, answer.text)
      const [header, ...lines] = answer.text.trimEnd().split("\r\n")
      assert.strictEqual(header, "line,outcome,id4,column,reason")
      return lines
    })
  )
