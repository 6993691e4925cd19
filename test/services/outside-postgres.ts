import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ensureInstalled } from "./debian.ts"

const bin = "/usr/lib/postgresql/15/bin"

// PostgreSQL refuses uid 0: as root it runs as nobody.
const nobody = 65_534
const asRoot = process.getuid?.() === 0
const demoted = (program: string, args: ReadonlyArray<string>): [string, Array<string>] =>
  asRoot ? ["setpriv", [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups", program, ...args]] : [program, [...args]]

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))))
    })
  })

/** A PostgreSQL 15 of Debian, the oldest that is supported, for the whole run; the suite finds it by DATABASE_URL. */
export default async () => {
  ensureInstalled(join(bin, "postgres"), "postgresql-15")
  const home = mkdtempSync(join(tmpdir(), "partwright-pg15-"))
  const data = join(home, "data")
  if (asRoot) chownSync(home, nobody, nobody)
  execFileSync(
    ...demoted(join(bin, "initdb"), ["-D", data, "-U", "workshop", "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]),
    {
      stdio: "ignore"
    }
  )
  const port = await freePort()
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: home,
    fsync: "off",
    synchronous_commit: "off",
    full_page_writes: "off",
    autovacuum: "off",
    max_connections: 200
  }
  const server: ChildProcess = spawn(
    ...demoted(join(bin, "postgres"), ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])]),
    { stdio: "ignore" }
  )
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()))
  const stop = async () => {
    server.kill("SIGQUIT")
    await ended
    rmSync(home, { recursive: true, force: true })
  }
  await untilReady(port)
  process.env.DATABASE_URL = `postgres://workshop@127.0.0.1:${port}/postgres`
  return stop
}

const untilReady = async (port: number) => {
  const until = performance.now() + 30_000
  while (performance.now() < until) {
    try {
      execFileSync(join(bin, "pg_isready"), ["-q", "-h", "127.0.0.1", "-p", String(port)], { stdio: "ignore" })
      return
    } catch {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  throw new Error("PostgreSQL 15 did not become ready within 30 s")
}
