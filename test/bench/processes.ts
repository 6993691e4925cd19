import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const { scripts } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  readonly scripts: { readonly start: string }
}
/** Node's own options, as npm start gives them. */
const options = scripts.start.match(/--\S+/gu) ?? []

export interface Running {
  readonly process: ChildProcess
  readonly port: number
  readonly stop: () => Promise<void>
}

/** A program that prints an address with its port once it listens. */
export const listening = (script: string, args: ReadonlyArray<string>, env: Record<string, string>): Promise<Running> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...options, script, ...args], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    let listens = false
    const read = (chunk: Buffer) => {
      if (listens) return
      output += chunk.toString()
      const port = /http:\/\/127\.0\.0\.1:(\d+)/u.exec(output)?.[1]
      if (port !== undefined) {
        listens = true
        const ended = new Promise<void>((done) => child.once("exit", () => done()))
        resolve({
          process: child,
          port: Number(port),
          stop: () => {
            child.kill("SIGTERM")
            return ended
          }
        })
      }
    }
    child.stdout.on("data", read)
    child.stderr.on("data", read)
    child.once("exit", (code) => reject(new Error(`${script} ended with ${code}: ${output}`)))
  })

/** Runs to its end; answers what it printed, the seconds it took and its peak resident memory in MiB. */
export const finished = (script: string, args: ReadonlyArray<string>, env: Record<string, string>) =>
  new Promise<{ readonly output: string; readonly seconds: number; readonly peak: number }>((resolve, reject) => {
    const since = performance.now()
    const child = spawn(process.execPath, [...options, script, ...args], {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    let peak = 0
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()))
    const watch = setInterval(() => (peak = Math.max(peak, memory(child.pid).peak)), 200)
    child.once("exit", (code) => {
      clearInterval(watch)
      if (code === 0) resolve({ output, seconds: (performance.now() - since) / 1000, peak })
      else reject(new Error(`${script} ${args.join(" ")} ended with ${code}: ${output}`))
    })
  })

/** User and system time of a process so far, in seconds. */
export const cpuSeconds = (pid: number | undefined) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Resident memory of a process now and at its peak, in MiB. */
export const memory = (pid: number | undefined) => {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8")
    const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`, "u").exec(status)?.[1] ?? 0) / 1024
    return { now: of("VmRSS"), peak: of("VmHWM") }
  } catch {
    return { now: 0, peak: 0 }
  }
}
