import { createServer, type IncomingMessage } from "node:http"
import { createRequire } from "node:module"
import { gunzipSync } from "node:zlib"
import { Effect } from "effect"

export interface Span {
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentSpanId: string
  readonly name: string
  /** 2 is a server, 3 a client. */
  readonly kind: number
  /** 2 is an error. */
  readonly status: number
  readonly attributes: Readonly<Record<string, unknown>>
}

interface Raw {
  readonly [key: string]: unknown
}
interface Received {
  readonly traces: Array<Raw>
  readonly metrics: Array<Raw>
  readonly logs: Array<Raw>
}

const { MockOtlpServer } = createRequire(import.meta.url)("@elastic/mockotlpserver") as {
  readonly MockOtlpServer: new (options: {
    readonly services: ReadonlyArray<"http">
    readonly httpHostname: string
    readonly httpPort: number
    readonly logLevel: string
    readonly onTrace: (received: Raw) => void
    readonly onMetrics: (received: Raw) => void
    readonly onLogs: (received: Raw) => void
  }) => { readonly httpUrl: URL; readonly start: () => Promise<void>; readonly close: () => Promise<void> }
}

/** A receiver of OpenTelemetry over HTTP until the scope closes, with what has come. */
export const collector = Effect.gen(function* () {
  const received: Received = { traces: [], metrics: [], logs: [] }
  const receiver = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const server = new MockOtlpServer({
        services: ["http"],
        httpHostname: "127.0.0.1",
        httpPort: 0,
        logLevel: "error",
        onTrace: (raw) => received.traces.push(raw),
        onMetrics: (raw) => received.metrics.push(raw),
        onLogs: (raw) => received.logs.push(raw)
      })
      await server.start()
      return server
    }),
    (server) => Effect.promise(() => server.close())
  )
  const url = yield* listening(async (request, body) => {
    // The receiver reads no compressed bodies, which every collector does.
    const content = request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body
    const headers = { "content-type": request.headers["content-type"] ?? "" }
    const answer = await fetch(new URL(request.url ?? "/", receiver.httpUrl), { method: "POST", headers, body: new Uint8Array(content) })
    return answer.status
  })

  const flat = (all: ReadonlyArray<Raw>, ...path: ReadonlyArray<string>) =>
    path.reduce<ReadonlyArray<Raw>>((found, name) => found.flatMap((one) => (one[name] as ReadonlyArray<Raw> | undefined) ?? []), all)
  return {
    url,
    /** Everything as it came. */
    text: () => JSON.stringify(received),
    spans: () => flat(received.traces, "resourceSpans", "scopeSpans", "spans").map(toSpan),
    metricNames: () => new Set(flat(received.metrics, "resourceMetrics", "scopeMetrics", "metrics").map(({ name }) => String(name))),
    logs: () =>
      flat(received.logs, "resourceLogs", "scopeLogs", "logRecords").map((record) => ({
        text: JSON.stringify(record.body),
        traceId: hex(record.traceId)
      })),
    services: () => [
      ...new Set(flat(received.traces, "resourceSpans").map(({ resource }) => attributesOf((resource as Raw).attributes)["service.name"]))
    ]
  }
})

/** A collector that takes connections and never answers. */
export const silent = listening(() => new Promise<never>(() => {}))

function listening(answer: (request: IncomingMessage, body: Buffer) => Promise<number>) {
  return Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer(async (request, response) => {
        const chunks: Array<Buffer> = []
        for await (const chunk of request) chunks.push(chunk as Buffer)
        response.writeHead(await answer(request, Buffer.concat(chunks))).end()
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const close = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  ).pipe(Effect.map(({ url }) => url))
}

const hex = (id: unknown): string =>
  typeof id === "string" ? id : id === undefined || id === null ? "" : Buffer.from(id as Uint8Array).toString("hex")

const attributesOf = (all: unknown): Record<string, unknown> =>
  Object.fromEntries(
    ((all ?? []) as ReadonlyArray<{ readonly key: string; readonly value: Record<string, unknown> }>).map(({ key, value }) => [
      key,
      Object.values(value)[0]
    ])
  )

const toSpan = (raw: Raw): Span => ({
  traceId: hex(raw.traceId),
  spanId: hex(raw.spanId),
  parentSpanId: hex(raw.parentSpanId),
  name: String(raw.name),
  kind: Number(raw.kind),
  status: Number((raw.status as Raw | undefined)?.code ?? 0),
  attributes: attributesOf(raw.attributes)
})
