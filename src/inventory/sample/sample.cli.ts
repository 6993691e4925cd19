import { Clock, Console, Duration, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { wholeNumber } from "#platform/system/flags.ts"
import { onApplication } from "../../command.ts"
import { type Report, Samples } from "./sample.service.ts"

/** One line that is written over on a terminal, a line for each tenth elsewhere. */
const reporting = (): Report => {
  let last = ""
  return (what, done, total) =>
    Effect.sync(() => {
      const share = Math.floor((done / total) * (process.stderr.isTTY ? 100 : 10))
      if (last === `${what} ${share}`) return
      last = `${what} ${share}`
      const text = `${what}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`
      process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${text}${done === total ? "\n" : ""}` : `${text}\n`)
    })
}

export const sample = Command.make(
  "sample",
  {
    parts: wholeNumber("parts", 1, 250_000, 1000, "How many parts"),
    boxes: wholeNumber("boxes", 1, 90_000, 20, "How many boxes"),
    operations: wholeNumber("operations", 0, 10_000_000, 3000, "How many bookings, spread over the last 60 days"),
    seed: wholeNumber("seed", 0, 4_294_967_295, 1, "The same seed makes the same data"),
    yes: Flag.Boolean("yes").pipe(Flag.withDefault(false), Flag.withDescription("Also when the instance holds data already"))
  },
  ({ yes, ...size }) =>
    Effect.gen(function* () {
      const samples = yield* Samples
      const since = yield* Clock.monotonicTimeNanos
      yield* samples.create(size, { beside: yes, report: reporting() })
      const elapsed = Duration.nanos((yield* Clock.monotonicTimeNanos) - since)
      yield* Console.log(
        `${size.parts} parts, ${size.boxes} boxes and ${size.operations} bookings made in ${Duration.toSeconds(elapsed).toFixed(1)} s`
      )
    }).pipe(onApplication(Samples.layer))
).pipe(Command.withDescription("Fill the inventory with made-up parts, boxes and bookings, for trials and benchmarks"))
