import { Effect, FileSystem, Option, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { onApplication } from "../../command.ts"
import { Exports } from "./export.service.ts"
import { type ExportKind, exportKinds } from "./export.ts"

export const exportCsv = Command.make(
  "export",
  {
    kind: Argument.Literals("kind", exportKinds as readonly [ExportKind, ...Array<ExportKind>]),
    output: Flag.Path("output").pipe(Flag.optional, Flag.withDescription("Write to this file instead of standard output")),
    spreadsheetSafe: Flag.Boolean("spreadsheet-safe").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Put ' before cells that a spreadsheet would take for a formula")
    )
  },
  ({ kind, output, spreadsheetSafe }) =>
    Effect.gen(function* () {
      const exports = yield* Exports
      const bytes = yield* exports.csv(kind, { spreadsheetSafe })
      if (Option.isNone(output)) return yield* Stream.run(bytes, (yield* Stdio.Stdio).stdout({ endOnDone: false }))
      const fs = yield* FileSystem.FileSystem
      // A name of its own until it is whole: half a file looks like a file.
      const partial = `${output.value}.partial`
      yield* Stream.run(bytes, fs.sink(partial)).pipe(
        Effect.andThen(fs.rename(partial, output.value)),
        Effect.onError(() => Effect.ignore(fs.remove(partial)))
      )
    }).pipe(Effect.scoped, onApplication(Exports.layer))
).pipe(Command.withDescription("Write parts, movements or seller links as CSV"))
