import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { Agent } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { partStatement } from "#inventory/parts/parts.repo.ts"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { layerClient } from "#platform/db/db.ts"
import { feed } from "./feed.ts"
import { files } from "./files.ts"
import { jobs } from "./jobs.ts"
import { type Call, drive, pseudoRandom, type Sample, send } from "./load.ts"
import { cpuSeconds, finished, listening, memory, type Running } from "./processes.ts"

const { values } = parseArgs({
  options: {
    parts: { type: "string", default: "100000" },
    boxes: { type: "string", default: "500" },
    operations: { type: "string", default: "500000" },
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "5" },
    import: { type: "string", default: "100000" },
    only: { type: "string", default: "" },
    fresh: { type: "boolean", default: false }
  }
})
const seconds = Number(values.seconds)
const wants = (name: string) => values.only === "" || values.only.split(",").includes(name)

// The sample takes a minute or two to make; it is kept for the next run of the same sizes and migrations.
const migrations = readdirSync(new URL("../../migrations", import.meta.url)).length
const dataDir = join(tmpdir(), `partwright-bench-${values.parts}-${values.boxes}-${values.operations}-${migrations}`)
const main = "src/main.ts"
// With an S3 server in the environment, the files go there.
const s3 = Object.fromEntries(Object.entries(process.env).flatMap(([name, value = ""]) => (name.startsWith("S3_") ? [[name, value]] : [])))
const env = { DATA_DIR: dataDir, PORT: "0", LOG_LEVEL: "warn", DATABASE_URL: "", ...s3 }

const rows: Array<ReadonlyArray<string>> = []
const ms = (n: number) => `${n < 10 ? n.toFixed(2) : n.toFixed(1)} ms`
const report = (what: string, sample: Sample, target: string, extra = "") => {
  rows.push([
    what,
    ms(sample.p50),
    ms(sample.p95),
    ms(sample.p99),
    `${Math.round(sample.perSecond)}/s`,
    sample.failed === 0 ? "" : `${sample.failed} FAILED`,
    target,
    extra
  ])
  console.log(rows.at(-1)?.join(" | "))
}
const note = (what: string, figure: string, target: string) => {
  rows.push([what, "", "", "", figure, "", target, ""])
  console.log(rows.at(-1)?.join(" | "))
}

const json = async (server: Running, path: string, call: Partial<Call> = {}) => {
  const agent = new Agent()
  const { status, text } = await send(agent, server, { method: "GET", path, ...call })
  agent.destroy()
  if (status >= 300) throw new Error(`${path}: ${status} ${text}`)
  return JSON.parse(text) as { readonly items: ReadonlyArray<{ readonly id4: string }>; readonly nextCursor: string | null }
}

if (values.fresh) rmSync(dataDir, { recursive: true, force: true })
if (!existsSync(join(dataDir, "sampled"))) {
  rmSync(dataDir, { recursive: true, force: true })
  mkdirSync(dataDir, { recursive: true })
  console.log(`making ${values.parts} parts and ${values.operations} operations …`)
  const made = await finished(
    main,
    ["inventory", "sample", "--parts", values.parts, "--boxes", values.boxes, "--operations", values.operations],
    env
  )
  writeFileSync(join(dataDir, "sampled"), "")
  console.log(`made in ${made.seconds.toFixed(0)} s, at most ${made.peak.toFixed(0)} MiB`)
}

const server = await listening(main, ["serve"], env)
note("idle memory", `${memory(server.process.pid).now.toFixed(0)} MiB`, "< 200 MiB")
const random = pseudoRandom(1)
const ids: Array<string> = []
for (let cursor: string | null = ""; cursor !== null && ids.length < 5000; ) {
  const page: Awaited<ReturnType<typeof json>> = await json(
    server,
    `/api/parts?sort=id4&limit=200${cursor === "" ? "" : `&cursor=${cursor}`}`
  )
  ids.push(...page.items.map(({ id4 }) => id4))
  cursor = page.nextCursor
}
const anyId = () => ids[Math.floor(random() * ids.length)] ?? ""
const read = (path: () => string) => () => ({ method: "GET", path: path() })

if (wants("read")) {
  // The address of the database's socket and the text of the product's own query.
  const [host, database, user, text] = await Effect.runPromise(
    Effect.gen(function* () {
      const { connection } = yield* connect("command")
      const sql = yield* Effect.provide(SqlClient.SqlClient, layerClient(connection, { maxConnections: 2 }))
      const address = connection as { readonly host: string; readonly database: string; readonly username: string }
      return [address.host, address.database, address.username, partStatement(sql, "ABCD").compile()[0]] as const
    }).pipe(Effect.scoped, Effect.provide(AppConfig.fromEnv(env)))
  )
  const bare = await listening("test/bench/bare.ts", [host, database, user, text], {})
  const point = { clients: 32, seconds, next: read(() => `/api/parts/${anyId()}`) }
  await drive(server, { ...point, seconds: 4 })
  await drive(bare, { ...point, seconds: 4 })
  const ours: Array<Sample & { readonly cpu: number }> = []
  const theirs: Array<Sample & { readonly cpu: number }> = []
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [target, into] of [
      [server, ours],
      [bare, theirs]
    ] as const) {
      const before = cpuSeconds(target.process.pid)
      const sample = await drive(target, point)
      into.push({ ...sample, cpu: ((cpuSeconds(target.process.pid) - before) / sample.count) * 1e6 })
    }
  }
  const median = <A extends Sample>(samples: Array<A>) =>
    samples.sort((a, b) => a.perSecond - b.perSecond)[Math.floor(samples.length / 2)] as A
  const [mine, yardstick] = [median(ours), median(theirs)]
  const single = await drive(server, { ...point, clients: 1 })
  report(
    "point read, 32 clients",
    mine,
    "≥ 0.7 × bare",
    `${(mine.perSecond / yardstick.perSecond).toFixed(2)} × bare, ${mine.cpu.toFixed(0)} µs CPU`
  )
  report("the same, bare node:http + SQL", yardstick, "", `${yardstick.cpu.toFixed(0)} µs CPU`)
  report("point read, 1 client", single, "p95 ≤ 5 ms")
  await bare.stop()
}

if (wants("list")) {
  for (const sort of ["-createdAt", "description", "-manufacturerCode", "totalQuantity"]) {
    const cursors: Array<string> = []
    let cursor: string | null = null
    const pages = Math.floor(Number(values.parts) / 200)
    for (let page = 0; page < pages; page++) {
      const found: Awaited<ReturnType<typeof json>> = await json(
        server,
        `/api/parts?sort=${sort}&limit=200${cursor === null ? "" : `&cursor=${cursor}`}`
      )
      cursor = found.nextCursor
      if (cursor === null) break
      cursors.push(cursor)
    }
    for (const [name, share] of [
      ["first page", 0],
      ["middle", 0.5],
      ["end", 0.98]
    ] as const) {
      const at = share === 0 ? "" : `&cursor=${cursors[Math.floor(cursors.length * share)]}`
      report(
        `list 50 by ${sort}, ${name}`,
        await drive(server, { clients: 8, seconds, next: read(() => `/api/parts?sort=${sort}${at}`) }),
        "p95 ≤ 25 ms"
      )
    }
  }
  report(
    "list 50 with locations",
    await drive(server, { clients: 8, seconds, next: read(() => "/api/parts?include=locations") }),
    "p95 ≤ 60 ms"
  )
}

if (wants("search")) {
  const kinds: Record<string, ReadonlyArray<string>> = {
    exact: ["resistor", "ceramic capacitor", "low dropout regulator", "relay 12v", "mosfet n-channel"],
    prefix: ["lm3", "stm32f4", "tps54", "irf", "resis"],
    typo: ["mosfte", "voltge reference", "capcitor", "resisotr 10k", "conector"],
    unit: ["4k7", "100n", "0.1uF", "2,2µ", "10k 0805"],
    nothing: ["qqqqzzzz", "xylophone9000", "zzzz yyyy xxxx"]
  }
  const all = Object.values(kinds).flat()
  const search = (queries: ReadonlyArray<string>) =>
    read(() => `/api/search?q=${encodeURIComponent(queries[Math.floor(random() * queries.length)] ?? "")}`)
  report("search, mixed, 8 clients", await drive(server, { clients: 8, seconds: seconds * 2, next: search(all) }), "p95 ≤ 25 ms")
  for (const [name, queries] of Object.entries(kinds))
    report(`search, ${name}, 8 clients`, await drive(server, { clients: 8, seconds, next: search(queries) }), "p95 ≤ 25 ms")
  const byId = read(anyId)
  report(
    "search by label, 8 clients",
    await drive(server, { clients: 8, seconds, next: () => ({ method: "GET", path: `/api/search?q=${byId().path}` }) }),
    "p95 ≤ 25 ms"
  )
}

if (wants("duplicates")) {
  const { items } = await json(server, "/api/parts?limit=200&sort=id4")
  const bodies = (items as ReadonlyArray<object>).map((part) => {
    const { description, manufacturerCode, typeId } = part as Record<string, unknown>
    return { description, manufacturerCode, typeId }
  })
  const next = (): Call => ({ method: "POST", path: "/api/parts/check-duplicates", body: bodies[Math.floor(random() * bodies.length)] })
  report("check for duplicates, 8 clients", await drive(server, { clients: 8, seconds, next }), "")
  report("check for duplicates, 1 client", await drive(server, { clients: 1, seconds, next }), "")
}

if (wants("verbs")) {
  const slot = { boxNo: 1, locNo: 1 }
  const verb = (id4: string): Call => ({ method: "POST", path: `/api/parts/${id4}/put`, body: { slot, quantity: 1 } })
  const chosen = ids.slice(0, 1000)
  await drive(server, { clients: 64, seconds: 2, next: () => verb(chosen[Math.floor(random() * 1000)] ?? "") })
  report(
    "put, 64 writers on 1,000 parts",
    await drive(server, { clients: 64, seconds, next: () => verb(chosen[Math.floor(random() * 1000)] ?? "") }),
    "p95 ≤ 30 ms"
  )
  report("put, 64 writers on one slot", await drive(server, { clients: 64, seconds, next: () => verb(chosen[0] ?? "") }), "≥ 300/s")
  report(
    "take and move, 64 writers on 1,000 parts",
    await drive(server, {
      clients: 64,
      seconds,
      next: (_, n) => {
        const id4 = chosen[Math.floor(random() * 1000)] ?? ""
        return n % 2 === 0
          ? { method: "POST", path: `/api/parts/${id4}/take`, body: { slot, quantity: 1 } }
          : { method: "POST", path: `/api/parts/${id4}/move`, body: { from: slot, to: { boxNo: 1, locNo: 2 }, quantity: 1 } }
      },
      accept: (status) => status === 200 || status === 409 || status === 404
    }),
    "p95 ≤ 30 ms"
  )
  const operations = () => Array.from({ length: 200 }, () => ({ verb: "put", id4: anyId(), slot, quantity: 1 }))
  report(
    "batch of 200, 1 client",
    await drive(server, {
      clients: 1,
      seconds,
      next: () => ({ method: "POST", path: "/api/stock/batch", body: { operations: operations() } })
    }),
    "p95 ≤ 250 ms"
  )
}

if (wants("feed")) await feed(server, { report, ids: ids.slice(0, 1000), seconds })

if (wants("dashboard")) {
  report("stats, 8 clients", await drive(server, { clients: 8, seconds, next: read(() => "/api/inventory/stats") }), "p95 ≤ 50 ms")
}

if (wants("export")) {
  const since = performance.now()
  const response = await fetch(`http://127.0.0.1:${server.port}/api/inventory/export/movements.csv`)
  const reader = response.body?.getReader()
  await reader?.read()
  const first = performance.now() - since
  let size = 0
  for (;;) {
    const chunk = await reader?.read()
    if (chunk === undefined || chunk.done) break
    size += chunk.value.length
  }
  note(
    "export movements",
    `first byte ${ms(first)}, ${(size / 2 ** 20).toFixed(0)} MiB in ${((performance.now() - since) / 1000).toFixed(1)} s`,
    "first byte ≤ 200 ms"
  )
}

if (wants("files")) await files(server, { note, only: ids[0] ?? "" }, env)

if (wants("jobs")) await jobs({ note, rounds: Number(values.rounds) }, env)

note("memory under this load", `${memory(server.process.pid).peak.toFixed(0)} MiB at most`, "< 512 MiB")

if (wants("import")) {
  const scratch = mkdtempSync(join(tmpdir(), "partwright-bench-import-"))
  const csv = join(scratch, "parts.csv")
  const count = Number(values.import)
  const exported = await (await fetch(`http://127.0.0.1:${server.port}/api/inventory/export/parts.csv`)).text()
  const [header = "", ...lines] = exported.split("\r\n")
  writeFileSync(csv, [header, ...lines.slice(0, count)].join("\r\n"))
  const imported = await finished(main, ["inventory", "import", csv, "--create-types", "--create-sellers", "--create-boxes"], {
    ...env,
    DATA_DIR: join(scratch, "data")
  })
  note(
    `import of ${Math.min(count, lines.length)} rows`,
    `${imported.seconds.toFixed(1)} s, at most ${imported.peak.toFixed(0)} MiB`,
    "< 60 s, constant memory"
  )
  rmSync(scratch, { recursive: true, force: true })
}

await server.stop()
const header = ["what", "p50", "p95", "p99", "rate", "", "target", ""]
const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)))
console.log("")
for (const row of [header, widths.map((width) => "-".repeat(width)), ...rows]) {
  console.log(`| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`)
}
