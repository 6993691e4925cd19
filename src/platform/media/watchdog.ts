// A thread beside the one that decodes, which may be deep in native code for minutes and hear nothing.
import { writeSync } from "node:fs"
import { workerData } from "node:worker_threads"
import { outOfMemory } from "./decoding.ts"

const memoryLimit = Number(workerData)
const server = process.ppid

setInterval(() => {
  if (process.memoryUsage.rss() > memoryLimit) {
    writeSync(2, `${outOfMemory}\n`)
    process.kill(process.pid, "SIGKILL")
  }
  // The server is gone, and nobody else would ever end this process.
  if (process.ppid !== server) process.kill(process.pid, "SIGKILL")
}, 20)
