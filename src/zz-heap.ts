import { NodeServices } from "@effect/platform-node"
import { Effect, FileSystem, Layer } from "effect"
import { Imports } from "#inventory/transfer/import.service.ts"
import { defaults } from "#inventory/transfer/import.ts"
import { AppConfig } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { Application } from "./server.ts"
import v8 from "node:v8"
const file = process.argv[2]!
let n = 0
const gc = (globalThis as any).gc as () => void
const program = Effect.gen(function* () {
  const { connection } = yield* connect("command")
  return yield* Effect.provide(Effect.gen(function* () {
    const imports = yield* Imports
    const fs = yield* FileSystem.FileSystem
    return yield* imports.run(fs.stream(file), { ...defaults, createBoxes: true, createTypes: true }, {
      started: () => Effect.void,
      rows: () => Effect.sync(() => { n++; if (n % 10 === 0) { gc(); console.log(n * 500, Math.round(process.memoryUsage().heapUsed / 1e6), Math.round(process.memoryUsage().external/1e6)) }; if (n === Number(process.argv[3])) v8.writeHeapSnapshot("/tmp/heap/s.heapsnapshot") })
    })
  }), Imports.layer.pipe(Layer.provideMerge(Application(connection))))
}).pipe(Effect.scoped, Effect.provide(AppConfig.layer), Effect.provide(NodeServices.layer))
console.log(await Effect.runPromise(program as any))
process.exit()
