import { parentPort, workerData } from "node:worker_threads"

/** Ends as it is told. */
if (workerData === "exit") process.exit(3)
if (workerData === "throw") throw new Error("as told")
const kept: Array<unknown> = []
while (workerData === "memory") kept.push(new Array(1000).fill(kept.length))
parentPort?.postMessage(42)
