import { Effect } from "effect"
import { killedJobsSuite } from "../support/killed-jobs-suite.ts"
import { onVirtualHost, running } from "./broker.ts"

killedJobsSuite({
  engine: onVirtualHost("killed-jobs"),
  alsoKilled: Effect.flatMap(running, ({ kill, start }) => Effect.promise(() => kill().then(start)))
})
