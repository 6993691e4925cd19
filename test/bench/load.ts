import { Agent, request } from "node:http"

export interface Target {
  readonly port: number
}

export interface Call {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface Sample {
  readonly count: number
  readonly failed: number
  readonly seconds: number
  /** Milliseconds. */
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly perSecond: number
}

/** One request over a kept connection; answers its status. */
export const send = (agent: Agent, { port }: Target, { body, headers, method, path }: Call) =>
  new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const content = body === undefined ? undefined : JSON.stringify(body)
    const outgoing = request(
      {
        agent,
        host: "127.0.0.1",
        port,
        method,
        path,
        headers: {
          ...headers,
          ...(content === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(content) })
        }
      },
      (incoming) => {
        const chunks: Array<Buffer> = []
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk))
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
        incoming.on("error", reject)
      }
    )
    outgoing.on("error", reject)
    outgoing.end(content)
  })

/**
 * `clients` connections, each sending its next request when the answer before is there, until `seconds` are over.
 * `next` makes the n-th request of a client; a status outside 2xx counts as failed unless `accept` says otherwise.
 */
export const drive = async (
  target: Target,
  options: {
    readonly clients: number
    readonly seconds: number
    readonly next: (client: number, n: number) => Call
    readonly accept?: (status: number) => boolean
  }
): Promise<Sample> => {
  const agent = new Agent({ keepAlive: true, maxSockets: options.clients })
  const accept = options.accept ?? ((status) => status >= 200 && status < 300)
  const times: Array<number> = []
  let failed = 0
  const started = performance.now()
  const until = started + options.seconds * 1000
  const client = async (index: number) => {
    for (let n = 0; performance.now() < until; n++) {
      const since = performance.now()
      const { status } = await send(agent, target, options.next(index, n))
      times.push(performance.now() - since)
      if (!accept(status)) failed++
    }
  }
  await Promise.all(Array.from({ length: options.clients }, (_, index) => client(index)))
  const seconds = (performance.now() - started) / 1000
  agent.destroy()
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  return { count: times.length, failed, seconds, p50: at(0.5), p95: at(0.95), p99: at(0.99), perSecond: times.length / seconds }
}

/** Numbers that look random and are the same in every run. */
export const pseudoRandom = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
