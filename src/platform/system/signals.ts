import { Deferred, Effect, Exit } from "effect"
import { startedByNpm } from "../config.ts"

const lookForNpm = 500

/** The first signal stops in order, the second at once: whoever sends two does not want to wait. */
export const signalled = Effect.gen(function* () {
  const first = yield* Deferred.make<string>()
  const stop = (reason: string) => Deferred.doneUnsafe(first, Exit.succeed(reason))
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => void (stop(signal) || process.exit(130)))
  // Whoever reads the log may go first, as a terminal does when it sends SIGHUP. Writing to nobody must not end the stop half-way.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
  if (yield* startedByNpm) {
    // npm passes on neither SIGHUP nor, of course, SIGKILL: that it has gone shows only in who the parent is.
    const npm = process.ppid
    const watch = setInterval(() => {
      if (process.ppid === npm) return
      clearInterval(watch)
      stop("the end of npm")
    }, lookForNpm)
    watch.unref()
  }
  return Deferred.await(first)
})
