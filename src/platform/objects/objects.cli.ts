import { Console, Data, Duration, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { onApplication } from "../../command.ts"
import type { ObjectsReport } from "./object.ts"
import { ObjectsMaintenance } from "./objects.layer.ts"
import { Sweeper } from "./sweeper.service.ts"

class ObjectsFaulty extends Data.TaggedError("ObjectsFaulty")<{ readonly faults: number }> {
  override get message() {
    return `${this.faults} ${this.faults === 1 ? "fault" : "faults"}`
  }
}

const lines = ({ missing, objects, pendingDeletions, pendingUploads, unowned, wrong }: ObjectsReport) => [
  ...missing.map(({ bucket, key }) => `missing: the row of ${bucket}/${key} has no object`),
  ...wrong.map(({ bucket, key, reason }) => `wrong: ${bucket}/${key} ${reason}`),
  ...unowned.map(({ bucket, key }) => `unowned: ${bucket}/${key} has no row`),
  `${objects} objects, ${missing.length} missing, ${wrong.length} wrong, ${unowned.length} without a row; pending: ${pendingUploads} uploads, ${pendingDeletions} deletions`
]

const verify = Command.make(
  "verify",
  {
    hash: Flag.Boolean("hash").pipe(Flag.withDefault(false), Flag.withDescription("Read every byte and compare it with its hash")),
    repair: Flag.Boolean("repair").pipe(
      Flag.withDefault(false),
      Flag.withDescription("First end old uploads and deletions, and delete what has no row")
    ),
    grace: Flag.String("grace").pipe(
      Flag.withDefault("1h"),
      Flag.withDescription("How old an upload or an object without a row must be for --repair: 30s, 10m, 1h")
    ),
    json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Print the report as JSON"))
  },
  ({ grace, hash, json, repair }) =>
    Effect.gen(function* () {
      const age = Duration.fromInput(
        grace.replace(/^(\d+)(ms|s|m|h)$/u, (_, n: string, unit: "ms") => `${n} ${unitNames[unit]}`) as Duration.Input
      )
      if (Option.isNone(age)) return yield* new BadGrace({ grace })
      const sweeper = yield* Sweeper
      if (repair) {
        yield* sweeper.scan(age.value)
        const { deleted, failed, uploads } = yield* sweeper.sweep({ grace: age.value })
        if (!json) yield* Console.log(`repaired: ${uploads} uploads given up, ${deleted} objects deleted, ${failed} not yet`)
      }
      const report = yield* sweeper.verify({ hash })
      yield* Effect.forEach(json ? [JSON.stringify(report, null, 2)] : lines(report), (line) => Console.log(line), { discard: true })
      const faults = report.missing.length + report.wrong.length + report.unowned.length
      if (faults > 0) return yield* new ObjectsFaulty({ faults })
    }).pipe(onApplication(ObjectsMaintenance))
).pipe(
  Command.withDescription("Compare the rows with the file store, both ways; exit code 1 when something is missing, wrong or without a row")
)

const unitNames = { ms: "millis", s: "seconds", m: "minutes", h: "hours" }

class BadGrace extends Data.TaggedError("BadGrace")<{ readonly grace: string }> {
  override get message() {
    return `--grace ${this.grace}: expected a number and a unit, such as 30s, 10m or 1h`
  }
}

export const objects = Command.make("objects").pipe(Command.withDescription("The file store"), Command.withSubcommands([verify]))
