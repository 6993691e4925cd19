import { createHash } from "node:crypto"
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import sharp from "sharp"
import { Provider } from "./ai.ts"
import { get, post } from "./inventory.ts"
import { jobEnded } from "./jobs.ts"
import { answer, type ChatMessage, type Received, type Script } from "./openai.ts"
import { freshDatabase } from "./postgres.ts"
import { Web } from "./web.ts"
import { Http, worldOn } from "./world.ts"

/** Everything the server runs, with a provider to ask and a web whose address it may fetch from. */
export const suggesting = (env: Record<string, string> = {}) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const [web, provider] = [yield* Web, yield* Provider]
      return worldOn(yield* freshDatabase(), {
        FETCH_ALLOW_HOSTS: new URL(web.url).host,
        OPENAI_API_KEY: "sk-proj-hidden-key",
        OPENAI_BASE_URL: provider.url,
        OPENAI_MODEL: "gpt-4.1-mini",
        ...env
      })
    })
  ).pipe(Layer.provideMerge(Layer.merge(Web.layer, Provider.layer)))

export const kinds = ["tags", "type", "photo", "datasheet", "part", "cleanup"] as const
export type Kind = (typeof kinds)[number]

/** What a model says of a part that it knows nothing of. */
export const blank = {
  manufacturerCode: null,
  typeName: null,
  description: null,
  tags: [],
  manufacturer: null,
  productPage: null,
  package: null,
  pinCount: null,
  pinPitch: null,
  voltageRating: null,
  inputVoltage: null,
  outputVoltage: null,
  mountingType: null,
  series: null,
  dimensions: null,
  documents: [],
  evidence: []
} as const

export const blankPhoto = {
  manufacturerCodes: [],
  manufacturer: null,
  description: null,
  typeName: null,
  package: null,
  quantity: null,
  dateCode: null,
  lotCode: null,
  seller: null,
  codes: [],
  visibleText: "",
  documentQueries: []
} as const

/** The answer of the kind `part` that is about a new part. */
export const analysed = (analysis: object, more: object = {}) => ({
  analysis: { ...blank, ...analysis },
  duplicates: [],
  failureReason: null,
  ...more
})

/** The provider does this from now on. */
export const scripted = (script: Script) => Effect.map(Provider, (provider) => provider.script(script))

/** The provider says this to everything from now on. */
export const says = (value: unknown) => scripted(() => answer(value))

/** What has been asked since the last script. */
export const requests = Effect.map(Provider, (provider) => provider.requests)

/** Waits until so many requests have come since the last script. */
export const untilAsked = (count: number) => Effect.flatMap(Provider, ({ come }) => Effect.promise(() => come(count)))

interface Part {
  readonly type: string
  readonly text: string
  readonly image_url: { readonly url: string }
}

const userOf = ({ body }: Received) =>
  (body.messages as ReadonlyArray<ChatMessage>).find(({ role }) => role === "user")?.content as Array<Part>

/** The texts that the model was shown, each `label: "json"`. */
export const shownTexts = (received: Received) => userOf(received).flatMap(({ text, type }) => (type === "text" ? [text] : []))

/** The images that the model was shown. */
export const shownImages = (received: Received) =>
  userOf(received).flatMap(({ image_url, type }) =>
    type === "image_url" ? [new Uint8Array(Buffer.from(image_url.url.replace(/^data:image\/jpeg;base64,/u, ""), "base64"))] : []
  )

const fileOf = (
  bytes: Uint8Array,
  { filename = "bag.jpg", type = "image/jpeg" }: { readonly filename?: string; readonly type?: string } = {}
) => new File([new Uint8Array(bytes)], filename, { type })

/** A form of these parts, in their order. */
export const sendRawForm = Effect.fnUntraced(function* (
  path: string,
  parts: ReadonlyArray<readonly [name: string, value: string | Uint8Array | File]>,
  headers: Record<string, string> = {}
) {
  const form = new FormData()
  for (const [name, value] of parts) {
    if (value instanceof Uint8Array) form.append(name, fileOf(value))
    else form.append(name, value)
  }
  const encoded = new Response(form)
  const raw = new Uint8Array(yield* Effect.promise(() => encoded.arrayBuffer()))
  return yield* Http.use(({ send }) =>
    send("POST", path, undefined, { raw, headers: { "content-type": encoded.headers.get("content-type") ?? "", ...headers } })
  )
})

/** A form with an image and texts beside it. */
export const sendForm = (
  path: string,
  fields: Record<string, string>,
  image?: { readonly bytes: Uint8Array; readonly filename?: string; readonly type?: string },
  headers: Record<string, string> = {}
) =>
  sendRawForm(
    path,
    [...Object.entries(fields), ...(image === undefined ? [] : ([["image", fileOf(image.bytes, image)]] as const))],
    headers
  )

export const suggest = (kind: Kind, body: unknown, headers: Record<string, string> = {}) =>
  post(`/api/ai/suggest/${kind}`, body, { headers })

export const suggestForm = (kind: Kind, bytes: Uint8Array, fields: Record<string, string> = {}, headers: Record<string, string> = {}) =>
  sendForm(`/api/ai/suggest/${kind}`, fields, { bytes }, headers)

const ended = Effect.fnUntraced(function* (asked: ReturnType<typeof suggest>) {
  const { body, status, text } = yield* asked
  assert.strictEqual(status, 202, text)
  return yield* jobEnded(body.id)
})

/** The proposal that comes of it. */
export const proposalOf = Effect.fnUntraced(function* (asked: ReturnType<typeof suggest>) {
  const job = yield* ended(asked)
  assert.strictEqual(job.state, "succeeded", JSON.stringify(job.error))
  const { body, status, text } = yield* get(`/api/ai/proposals/${job.result.proposalId}`)
  assert.strictEqual(status, 200, text)
  return body
})

/** The error of the job that it becomes. */
export const failureOf = Effect.fnUntraced(function* (asked: ReturnType<typeof suggest>) {
  const job = yield* ended(asked)
  assert.strictEqual(job.state, "failed", JSON.stringify(job.result))
  return job
})

export const proposed = (kind: Kind, body: unknown) => proposalOf(suggest(kind, body))
export const proposedOf = (kind: Kind, bytes: Uint8Array, fields: Record<string, string> = {}) =>
  proposalOf(suggestForm(kind, bytes, fields))

export const accept = (id: string, body: unknown = {}, headers: Record<string, string> = {}) =>
  post(`/api/ai/proposals/${id}/accept`, body, { headers })
export const reject = (id: string) => post(`/api/ai/proposals/${id}/reject`, {})
export const proposalNow = (id: string) => Effect.map(get(`/api/ai/proposals/${id}`), ({ body }) => body)

/** How many rows each table has, but for those that tell of the asking itself: jobs, spending, kept answers, changes, what is on its way. */
export const rowCounts = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const tables = yield* sql<{ readonly name: string; readonly count: number }>`
    select table_name as name,
      (xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %I.%I', table_schema, table_name), false, true, '')))[1]::text::int as count
    from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`
  const besides = /^(?:jobs|ai_|changes|deferred_changes|event_epochs|schedule_runs|idempotency_keys|object_deletions|object_uploads)/u
  return Object.fromEntries(tables.flatMap(({ count, name }) => (besides.test(name) ? [] : [[name, count]])))
})

/** What of the row counts is not as it was. */
export const grown = (before: Record<string, number>, after: Record<string, number>) =>
  Object.fromEntries(
    Object.entries(after).flatMap(([name, count]) => (count === before[name] ? [] : [[name, count - (before[name] ?? 0)]]))
  )

/** A photo that lies on its side, with what cameras write into it: which way up, the place, the maker. Another seed, another pattern. */
export const photo = (seed: number, { scale = 8 }: { readonly scale?: number } = {}) =>
  Effect.promise(async () => {
    const bits = createHash("sha256").update(String(seed)).digest()
    const [width, height] = [16, 8]
    const dots = Uint8Array.from({ length: width * height }, (_, n) => (((bits[n >> 3] ?? 0) >> (n & 7)) & 1) * 255)
    const bytes = await sharp(dots, { raw: { width, height, channels: 1 } })
      .resize(width * scale, height * scale, { kernel: "nearest" })
      .withExif({
        IFD0: { Make: "Hidden Camera", Copyright: "secret workshop", Orientation: "6" },
        IFD3: { GPSLatitudeRef: "N", GPSLatitude: "48/1 8/1 0/1", GPSLongitudeRef: "E", GPSLongitude: "11/1 34/1 0/1" }
      })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer()
    return new Uint8Array(bytes)
  })
