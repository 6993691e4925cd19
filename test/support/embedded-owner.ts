import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { acquire, type Role } from "#platform/db/data-dir.ts"

// A process of its own that holds the embedded database until its standard input ends; it says in one line of JSON what it got.
const [, , dataDir = "", role = "server"] = process.argv

const say = (line: Record<string, unknown>) => Effect.sync(() => process.stdout.write(`${JSON.stringify(line)}\n`))

const inputEnds = Effect.callback<void>((resume) => {
  process.stdin.once("close", () => resume(Effect.void)).resume()
})

Effect.gen(function* () {
  const { host, owned, pid } = yield* acquire({ dataDir, role: role as Role, durable: false })
  yield* say({ owned, host, postmaster: yield* pid })
  yield* inputEnds
}).pipe(
  Effect.scoped,
  Effect.catch((error) => say({ error: error._tag, message: error.message })),
  NodeRuntime.runMain
)
