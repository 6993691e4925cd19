import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { eventually, root } from "./server-process.ts"

export interface Sent {
  readonly status: number
  // A body is whatever the test expects it to be; the assertions say what.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly body: any
}

/** A request to a running server; undefined when it went away without an answer. */
export const ask = (
  port: number,
  method: string,
  path: string,
  body?: string | FormData,
  headers: Record<string, string> = {}
): Effect.Effect<Sent | undefined> =>
  Effect.promise(async (signal) => {
    try {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, signal, headers, ...(body === undefined ? {} : { body }) })
      const text = await answer.text()
      return { status: answer.status, body: text.startsWith("{") ? JSON.parse(text) : text }
    } catch {
      return undefined
    }
  })

export const uploadTo = (port: number, id4: string, bytes: Uint8Array, filename: string) => {
  const form = new FormData()
  form.append("file", new File([new Uint8Array(bytes)], filename))
  return ask(port, "POST", `/api/parts/${id4}/documents`, form)
}

/** The SHA-256 of what comes. */
export const download = (port: number, path: string) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`)
    assert.strictEqual(answer.status, 200)
    const hash = createHash("sha256")
    for await (const chunk of answer.body ?? []) hash.update(chunk)
    return hash.digest("hex")
  })

export const newPartOn = (port: number) =>
  Effect.map(
    ask(port, "POST", "/api/parts", JSON.stringify({ description: "Relay" }), { "content-type": "application/json" }),
    (answer) => {
      assert.strictEqual(answer?.status, 201)
      return answer?.body.id4 as string
    }
  )

export const documentsOn = (port: number, id4: string) =>
  Effect.map(
    ask(port, "GET", `/api/parts/${id4}/documents?limit=200`),
    (answer) => answer?.body.items as ReadonlyArray<Record<string, string>>
  )

/** Waits until what is made of the documents is there. */
export const quiet = (port: number) =>
  eventually(
    "what is made of the documents is there",
    ask(port, "GET", "/api/jobs?limit=200"),
    (answer) => answer?.body.items.every(({ state }: { readonly state: string }) => state !== "queued" && state !== "running"),
    "40 seconds"
  )

/** What `objects verify` says and ends with, beside a running server. */
export const verify = (dataDir: string, env: Record<string, string>, ...options: ReadonlyArray<string>) =>
  command(dataDir, env, ours("objects", "verify", ...options))

export const ours = (...args: ReadonlyArray<string>) => [process.execPath, "src/main.ts", ...args] as const

export const command = (dataDir: string, env: Record<string, string>, [program, ...args]: readonly [string, ...ReadonlyArray<string>]) =>
  Effect.callback<{ readonly code: number; readonly out: string; readonly err: string }>((resume) => {
    const child = execFile(
      program,
      args,
      { cwd: root, env: { ...process.env, DATABASE_URL: "", DATA_DIR: dataDir, LOG_LEVEL: "warn", ...env } },
      (_, out, err) => resume(Effect.succeed({ code: child.exitCode ?? -1, out, err }))
    )
  })

/** The same whatever the number of objects: how many pictures of a document are the same depends on the drawing programs. */
export const uncounted = ({ out, ...others }: { readonly code: number; readonly out: string; readonly err: string }) => ({
  ...others,
  out: out.replace(/\d+(?= objects, )/u, "0")
})

export const clean = (objects: number) => ({
  code: 0,
  out: `${objects} objects, 0 missing, 0 wrong, 0 without a row; pending: 0 uploads, 0 deletions\n`,
  err: ""
})
