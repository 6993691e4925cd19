import { Agent, get, type IncomingMessage } from "node:http"
import { type Sample, send } from "./load.ts"
import { cpuSeconds, type Running } from "./processes.ts"

interface Print {
  readonly report: (what: string, sample: Sample, target: string, extra?: string) => void
  /** Parts that are booked. */
  readonly ids: ReadonlyArray<string>
  readonly seconds: number
}

const clients = 200
const slot = { boxNo: 1, locNo: 1 }

const connected = (port: number, onEvent: (requestId: string) => void) =>
  new Promise<IncomingMessage>((resolve) => {
    get({ port, host: "127.0.0.1", path: "/api/events?topics=stock", agent: false }, (stream) => {
      let rest = ""
      stream.setEncoding("latin1").on("data", (chunk: string) => {
        const text = rest + chunk
        const end = text.lastIndexOf("\n\n") + 2
        rest = text.slice(end)
        for (const [, id] of text.slice(0, end).matchAll(/"requestId":"(bench-\d+)"/gu)) onEvent(id ?? "")
      })
      stream.on("error", () => {})
      resolve(stream)
    })
  })

/**
 * How long after a booking was sent each of 200 clients has its event: the time of the booking itself is part of it, so that of the
 * commit alone is shorter.
 */
export const feed = async (server: Running, { ids, report, seconds }: Print) => {
  const sentAt = new Map<string, number>()
  let times: Array<number> = []
  const streams = await Promise.all(
    Array.from({ length: clients }, () => connected(server.port, (id) => times.push(performance.now() - (sentAt.get(id) ?? 0))))
  )
  let booked = 0
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const book = async () => {
    const n = booked++
    const requestId = `bench-${n}`
    sentAt.set(requestId, performance.now())
    const path = `/api/parts/${ids[n % ids.length]}/put`
    const { status } = await send(agent, server, {
      method: "POST",
      path,
      body: { slot, quantity: 1 },
      headers: { "x-request-id": requestId }
    })
    if (status !== 200) throw new Error(`${path}: ${status}`)
  }

  const measure = async (what: string, target: string, work: (until: number) => Promise<unknown>) => {
    const began = booked
    times = []
    const since = performance.now()
    const cpu = cpuSeconds(server.process.pid)
    await work(since + seconds * 1000)
    const expected = (booked - began) * clients
    const patience = performance.now() + 10_000
    while (times.length < expected && performance.now() < patience) await new Promise((resolve) => setTimeout(resolve, 20))
    const elapsed = (performance.now() - since) / 1000
    const used = cpuSeconds(server.process.pid) - cpu
    const sorted = Float64Array.from(times).toSorted()
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    const sample = { count: times.length, failed: expected - times.length, seconds: elapsed, p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    report(
      what,
      { ...sample, perSecond: times.length / elapsed },
      target,
      `${((booked - began) / elapsed).toFixed(0)} bookings/s, ${Math.round((used / elapsed) * 100)} % of a core`
    )
  }

  for (const rate of [20, 100]) {
    await measure(`feed, ${clients} clients, ${rate} bookings/s`, rate === 20 ? "p95 ≤ 100 ms" : "", async (until) => {
      const pending: Array<Promise<void>> = []
      for (let next = performance.now(); next < until; next += 1000 / rate) {
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())))
        pending.push(book())
      }
      await Promise.all(pending)
    })
  }
  await measure(`feed, ${clients} clients, 16 writers without pause`, "", (until) =>
    Promise.all(
      Array.from({ length: 16 }, async () => {
        while (performance.now() < until) await book()
      })
    )
  )
  for (const stream of streams) stream.destroy()
  agent.destroy()
}
