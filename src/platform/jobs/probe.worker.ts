import { parentPort, workerData } from "node:worker_threads"

const until = performance.now() + Number(workerData)
let turns = 0
while (performance.now() < until) turns++
parentPort?.postMessage(turns)
