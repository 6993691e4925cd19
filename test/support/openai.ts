import { once } from "node:events"
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { parseArgs } from "node:util"
import { Effect } from "effect"

/** What one request of `POST /v1/chat/completions` says, as far as tests look at it. */
export interface ChatBody {
  readonly model: string
  readonly messages: ReadonlyArray<ChatMessage>
  readonly response_format?: {
    readonly type: string
    readonly json_schema: { readonly name: string; readonly strict: boolean; readonly schema: JsonSchema }
  }
  readonly tools?: ReadonlyArray<{
    readonly function: { readonly name: string; readonly description: string; readonly strict: boolean; readonly parameters: JsonSchema }
  }>
  readonly tool_choice?: string
  readonly max_completion_tokens?: number
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
}

export interface ChatMessage {
  readonly role: string
  // Text, or parts of text and images.
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects
  readonly content: any
  readonly tool_call_id?: string
  readonly tool_calls?: ReadonlyArray<{ readonly id: string; readonly function: { readonly name: string; readonly arguments: string } }>
}

export interface JsonSchema {
  readonly [keyword: string]: unknown
}

export interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: ChatBody
  /** When the connection is over: true if the client ended it before the answer was complete. */
  readonly ended: Promise<boolean>
}

interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
}

interface Telling {
  /** Null: the provider does not tell. */
  readonly usage?: Usage | null
  readonly finishReason?: string | null
  /** Whether the stream ends with `[DONE]`. */
  readonly done?: boolean
}

export interface ToolCall {
  readonly name: string
  /** As JSON, unless it is text. */
  readonly arguments: unknown
}

/** What the provider does with a request. */
export type Reply =
  /** Text as it is: JSON, half of it, or none. */
  | ({ readonly type: "content"; readonly text: string } & Telling)
  | ({ readonly type: "refusal"; readonly text: string } & Telling)
  | ({ readonly type: "tools"; readonly calls: ReadonlyArray<ToolCall> } & Telling)
  | {
      readonly type: "error"
      readonly status: number
      readonly error: { readonly message: string; readonly type: string; readonly code: string | null; readonly param?: string | null }
      readonly headers?: Record<string, string>
    }
  /** Takes the request and says nothing. */
  | { readonly type: "hang" }
  /** Says the beginning of an answer, then nothing. */
  | { readonly type: "silence"; readonly text: string }
  /** Goes on for ever, a byte at a time that completes nothing; or a chunk at a time. */
  | { readonly type: "trickle"; readonly what: "bytes" | "chunks"; readonly everyMs: number }
  /** Says the beginning of an answer, then breaks the connection; without text before the headers. */
  | { readonly type: "cut"; readonly text?: string }
  /** Something else than events, or an error in their midst. */
  | { readonly type: "raw"; readonly text: string; readonly contentType?: string }

export const answer = (value: unknown, telling: Telling = {}): Reply => ({ type: "content", text: JSON.stringify(value), ...telling })

export const tools = (...calls: ReadonlyArray<ToolCall>): Reply => ({ type: "tools", calls })

export const rateLimited = (headers: Record<string, string> = { "retry-after": "0" }): Reply => ({
  type: "error",
  status: 429,
  headers,
  error: { message: "Rate limit reached for requests", type: "requests", code: "rate_limit_exceeded", param: null }
})

export const noQuota: Reply = {
  type: "error",
  status: 429,
  error: {
    message: "You exceeded your current quota, please check your plan and billing details.",
    type: "insufficient_quota",
    code: "insufficient_quota",
    param: null
  }
}

export const serverError = (status = 500): Reply => ({
  type: "error",
  status,
  error: { message: "The server had an error while processing your request.", type: "server_error", code: null, param: null }
})

/** The real one repeats a part of the key. */
export const badKey = (key: string): Reply => ({
  type: "error",
  status: 401,
  error: { message: `Incorrect API key provided: ${key}.`, type: "invalid_request_error", code: "invalid_api_key", param: null }
})

/** What is done with each request, the first of which is number 0. */
export type Script = (request: Received, nth: number) => Reply

/** One after the other; the last one for all that come after it. */
export const inTurn =
  (...replies: ReadonlyArray<Reply>): Script =>
  (_, nth) =>
    replies[Math.min(nth, replies.length - 1)] as Reply

export interface StandIn {
  /** As OPENAI_BASE_URL names it. */
  readonly url: string
  /** All that came since the last script. */
  readonly requests: ReadonlyArray<Received>
  /** Forgets what was, and does this from now on. */
  readonly script: (script: Script) => void
  /** When so many requests have come since the last script. */
  readonly come: (count: number) => Promise<void>
  readonly close: () => Promise<void>
}

/** A provider on 127.0.0.1 that speaks the Chat Completions protocol. */
export const startStandIn = async (first: Script = byRules, port = 0): Promise<StandIn> => {
  let script = first
  let requests: Array<Received> = []
  let waiting: ReadonlyArray<() => void> = []
  const timers = new Set<NodeJS.Timeout>()

  const server = createServer(async (request, response) => {
    const text = await textOf(request)
    const id = `req_${Math.random().toString(36).slice(2)}`
    response.setHeader("x-request-id", id)
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
      return sendError(response, 404, `Invalid URL (${request.method} ${request.url})`)
    }
    const body = JSON.parse(text) as ChatBody
    const wrong = faultsOf(body)
    if (wrong.length > 0) return sendError(response, 400, wrong.join("; "))
    const ended = new Promise<boolean>((resolve) => response.once("close", () => resolve(!response.writableFinished)))
    const received = { headers: request.headers, body, ended }
    requests.push(received)
    const reply = script(received, requests.length - 1)
    for (const check of waiting) check()
    send(response, body, reply, timers)
  })
  server.listen(port, "127.0.0.1")
  await once(server, "listening")

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    get requests() {
      return requests
    },
    script: (next) => {
      script = next
      requests = []
    },
    come: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (requests.length < count) return
          waiting = waiting.filter((one) => one !== check)
          resolve()
        }
        waiting = [...waiting, check]
        check()
      }),
    close: async () => {
      for (const timer of timers) clearInterval(timer)
      server.close()
      server.closeAllConnections()
      await once(server, "close")
    }
  }
}

/** The same until the scope closes. */
export const standIn = Effect.acquireRelease(
  Effect.promise(() => startStandIn()),
  ({ close }) => Effect.promise(close)
)

const textOf = async (request: IncomingMessage) => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString("utf8")
}

const sendError = (response: ServerResponse, status: number, message: string) => {
  const error = { message, type: "invalid_request_error", code: null, param: null }
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error }))
}

const usual: Usage = { prompt_tokens: 1000, completion_tokens: 100 }

const send = (response: ServerResponse, body: ChatBody, reply: Reply, timers: Set<NodeJS.Timeout>) => {
  const head = { id: "chatcmpl-1", created: 1_790_000_000, model: `${body.model}-2026-03-17`, system_fingerprint: "fp_1" }
  const chunk = (delta: unknown, finish_reason: string | null = null) => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
    usage: null
  })
  const event = (data: unknown) => `data: ${JSON.stringify(data)}\n\n`
  const open = () => response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" })
  const say = (text: string) => {
    response.write(event(chunk({ role: "assistant", content: "", refusal: null })))
    for (const piece of pieces(text)) response.write(event(chunk({ content: piece })))
  }
  const every = (ms: number, text: string) => {
    const timer = setInterval(() => response.write(text), ms)
    timers.add(timer)
    response.once("close", () => clearInterval(timer))
  }

  switch (reply.type) {
    case "error": {
      const headers = { "content-type": "application/json", ...reply.headers }
      return response.writeHead(reply.status, headers).end(JSON.stringify({ error: { param: null, ...reply.error } }))
    }
    case "hang":
      return undefined
    case "silence":
      open()
      return say(reply.text)
    case "trickle":
      open()
      say("{")
      return every(reply.everyMs, reply.what === "bytes" ? "d" : event(chunk({ content: " " })))
    case "cut":
      if (reply.text === undefined) return response.destroy()
      open()
      say(reply.text)
      // After what was written has left.
      return response.write(event(chunk({ content: "" })), () => response.destroy())
    case "raw":
      response.writeHead(200, { "content-type": reply.contentType ?? "text/event-stream; charset=utf-8" })
      return response.end(reply.text)
    default: {
      const { done = true, finishReason = reply.type === "tools" ? "tool_calls" : "stop" } = reply
      const usage = reply.usage === undefined ? usual : reply.usage
      const total = usage === null ? null : { ...usage, total_tokens: usage.prompt_tokens + usage.completion_tokens }
      if (body.stream !== true) {
        const message = { role: "assistant", content: null, refusal: null, ...whole(reply) }
        const choices = [{ index: 0, message, logprobs: null, finish_reason: finishReason }]
        response.writeHead(200, { "content-type": "application/json" })
        return response.end(JSON.stringify({ ...head, object: "chat.completion", choices, ...(total === null ? {} : { usage: total }) }))
      }
      open()
      for (const delta of deltas(reply)) response.write(event(chunk(delta)))
      if (finishReason !== null) response.write(event(chunk({}, finishReason)))
      if (body.stream_options?.include_usage === true && total !== null) {
        response.write(event({ ...chunk({}), choices: [], usage: total }))
      }
      return response.end(done ? "data: [DONE]\n\n" : "")
    }
  }
}

type Said = Extract<Reply, Telling>

const argumentsOf = (call: ToolCall) => (typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments))

const whole = (reply: Said) => {
  if (reply.type === "content") return { content: reply.text }
  if (reply.type === "refusal") return { refusal: reply.text }
  return {
    tool_calls: reply.calls.map((call, at) => ({
      id: `call_${at}`,
      type: "function",
      function: { name: call.name, arguments: argumentsOf(call) }
    }))
  }
}

function* deltas(reply: Said): Generator<unknown> {
  if (reply.type === "content") {
    yield { role: "assistant", content: "", refusal: null }
    for (const piece of pieces(reply.text)) yield { content: piece }
  } else if (reply.type === "refusal") {
    yield { role: "assistant", content: null, refusal: "" }
    for (const piece of pieces(reply.text)) yield { refusal: piece }
  } else {
    yield { role: "assistant", content: null }
    for (const [index, call] of reply.calls.entries()) {
      yield { tool_calls: [{ index, id: `call_${index}`, type: "function", function: { name: call.name, arguments: "" } }] }
      for (const piece of pieces(argumentsOf(call))) yield { tool_calls: [{ index, function: { arguments: piece } }] }
    }
  }
}

const pieces = (text: string) => text.match(text.length > 20_000 ? /[\s\S]{1,2000}/gu : /[\s\S]{1,7}/gu) ?? []

const faultsOf = (body: ChatBody) => [
  ...(body.response_format === undefined ? [] : strictFaults(body.response_format.json_schema.schema, "response_format")),
  ...(body.tools ?? []).flatMap((one) => strictFaults(one.function.parameters, one.function.name))
]

const keywords = new Set(
  "$ref $defs type title description enum const anyOf properties required additionalProperties items pattern format multipleOf minimum exclusiveMinimum maximum exclusiveMaximum minItems maxItems".split(
    " "
  )
)

/** Why strict mode refuses a schema. */
export const strictFaults = (schema: JsonSchema, at: string, isRoot = true): ReadonlyArray<string> => {
  const {
    $defs = {},
    additionalProperties,
    anyOf = [],
    items,
    properties = {},
    required = []
  } = schema as {
    readonly $defs?: Record<string, JsonSchema>
    readonly additionalProperties?: unknown
    readonly anyOf?: ReadonlyArray<JsonSchema>
    readonly items?: JsonSchema
    readonly properties?: Record<string, JsonSchema>
    readonly required?: ReadonlyArray<string>
  }
  const isObject = schema.type === "object" || "properties" in schema
  return [
    ...(isRoot && schema.type !== "object" ? [`${at}: the root must be an object`] : []),
    ...Object.keys(schema)
      .filter((keyword) => !keywords.has(keyword))
      .map((keyword) => `${at}: '${keyword}' is not permitted`),
    ...(isObject && additionalProperties !== false ? [`${at}: 'additionalProperties' is required to be false`] : []),
    ...(isObject && Object.keys(properties).toSorted().join() !== [...required].toSorted().join()
      ? [`${at}: 'required' must name every key of properties`]
      : []),
    ...(typeof schema.pattern === "string" && /\(\?[=!<]/u.test(schema.pattern) ? [`${at}: patterns cannot look around`] : []),
    ...Object.entries(properties).flatMap(([key, inner]) => strictFaults(inner, `${at}.${key}`, false)),
    ...Object.entries($defs).flatMap(([key, inner]) => strictFaults(inner, `${at}.$defs.${key}`, false)),
    ...anyOf.flatMap((inner) => strictFaults(inner, at, false)),
    ...(items === undefined ? [] : strictFaults(items, `${at}[]`, false))
  ]
}

/** What is answered under a schema of that name, for demonstrations. */
export const rules = new Map<string, (body: ChatBody) => unknown>()

/** The texts of a request by their labels. */
const told = ({ messages }: ChatBody): Readonly<Record<string, string>> => {
  const parts = messages.flatMap(({ content, role }) => (role === "user" && Array.isArray(content) ? content : []))
  const texts = parts.flatMap(({ text = "" }: { readonly text?: string }) => {
    const [, label = "", json = ""] = /^([a-z ]+): ([\s\S]*)$/u.exec(text) ?? []
    return label === "" ? [] : [[label, JSON.parse(json) as string]]
  })
  return Object.fromEntries(texts)
}

/** It cannot see, so this stands on every photo. */
const usualText = "NE555P timer IC DIP-8 Texas Instruments"

// The last one that it was told of, where nothing is said of one.
let sheet = process.env.DATASHEET_URL

/** What can be seen in a text without understanding it. */
const gist = (body: ChatBody) => {
  const { part, text, types = "" } = told(body)
  const about = part === undefined ? {} : (JSON.parse(part) as { readonly description?: string; readonly manufacturerCode?: string | null })
  const seen = body.messages.some(({ content }) => Array.isArray(content) && content.some(({ type }) => type === "image_url"))
  const written = [about.manufacturerCode, about.description, text].filter((one) => typeof one === "string").join(" ")
  const isPhoto = seen && !/\b[A-Z]+\d[\w-]{2,}/u.test(written)
  const said = isPhoto ? usualText : written
  sheet = /https?:\/\/[^\s"]+/u.exec(written)?.[0] ?? sheet
  const words = said.replaceAll(/https?:\/\/\S+/gu, "").split(/[^\w.-]+/u)
  const named = types
    .split("\n")
    .filter((name) => words.some((word) => word.length > 1 && name.toLowerCase().split(/\W+/u).includes(word.toLowerCase())))
  return {
    said,
    isPhoto,
    code: words.find((word) => /^[A-Z]+\d[\w-]{2,}$/u.test(word)) ?? null,
    housing: /\b(?:(?:DIP|SOT|SOIC|TO)-\d+|0805|0603)\b/u.exec(said)?.[0] ?? null,
    maker: /texas instruments|\bTI\b/iu.test(said) ? "TI" : null,
    typeName: named[0] ?? "proposed: Sundries",
    tags: [...new Set(words.filter((word) => /^[a-z]{4,}$/u.test(word)))].slice(0, 8)
  }
}

const analysed = (body: ChatBody) => {
  const { code, housing, isPhoto, maker, said, tags, typeName } = gist(body)
  const source = isPhoto ? "photo" : "input"
  const quoted = { manufacturerCode: code, package: housing }
  return {
    manufacturerCode: code,
    typeName,
    description: said.replaceAll(/\s*\bhttps?:\/\/\S+/gu, "").trim(),
    tags,
    manufacturer: maker,
    productPage: null,
    package: housing,
    pinCount: null,
    pinPitch: null,
    voltageRating: null,
    inputVoltage: null,
    outputVoltage: null,
    mountingType: housing === null ? null : /DIP|TO-/u.test(housing) ? "Through-Hole" : "Surface-Mount",
    series: null,
    dimensions: null,
    documents: sheet === undefined ? [] : [{ url: sheet, documentType: "datasheet", title: `Data sheet ${code ?? ""}`.trim() }],
    evidence: Object.entries(quoted).flatMap(([field, quote]) => (quote === null ? [] : [{ field, source, url: null, page: null, quote }]))
  }
}

rules.set("tags", (body) => ({ tags: gist(body).tags }))
rules.set("type", (body) => ({
  candidates: [{ name: gist(body).typeName, confidence: "high", reason: "A word of the description says so." }]
}))
rules.set("photo", (body) => {
  const { code, housing, maker, said, typeName } = gist(body)
  return {
    manufacturerCodes: code === null ? [] : [{ value: code, confidence: "high" }],
    manufacturer: maker,
    description: said,
    typeName,
    package: housing,
    quantity: 25,
    dateCode: "2431",
    lotCode: null,
    seller: null,
    codes: ["4006381333931"],
    visibleText: said,
    documentQueries: code === null ? [] : [code]
  }
})
rules.set("datasheet", (body) => {
  const { code } = gist(body)
  const candidate = {
    url: sheet,
    title: `Data sheet ${code ?? ""}`.trim(),
    documentType: "datasheet",
    reason: "It was told of this address."
  }
  return { candidates: sheet === undefined ? [] : [candidate] }
})
rules.set("part", (body) => ({ analysis: analysed(body), duplicates: [], failureReason: null }))
rules.set("cleanup", (body) => ({ analysis: analysed(body) }))

/** By the rules, else the least that the schema takes. */
export const byRules: Script = ({ body }) => {
  const asked = body.response_format?.json_schema
  return answer(asked === undefined ? {} : (rules.get(asked.name)?.(body) ?? least(asked.schema)))
}

const least = (schema: JsonSchema, root = schema): unknown => {
  if (typeof schema.$ref === "string") {
    const { $defs = {} } = root as { readonly $defs?: Record<string, JsonSchema> }
    return least($defs[schema.$ref.replace("#/$defs/", "")] ?? {}, root)
  }
  if (Array.isArray(schema.anyOf)) return schema.anyOf.some(({ type }) => type === "null") ? null : least(schema.anyOf[0], root)
  if (Array.isArray(schema.enum)) return schema.enum[0]
  switch (schema.type) {
    case "object":
      return Object.fromEntries(
        Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>).map(([key, inner]) => [key, least(inner, root)])
      )
    case "array":
      return Array.from({ length: Number(schema.minItems ?? 0) }, () => least(schema.items as JsonSchema, root))
    case "string":
      return "none"
    case "boolean":
      return false
    case "null":
      return null
    default:
      return Number(schema.minimum ?? 1)
  }
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { port: { type: "string", default: "0" } } })
  const { url } = await startStandIn(byRules, Number(values.port))
  process.stdout.write(`OPENAI_BASE_URL=${url}\n`)
}
