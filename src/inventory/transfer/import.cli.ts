import { basename } from "node:path"
import { Clock, Console, Data, Effect, FileSystem, Option, type PlatformError, Stdio } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { onApplication } from "../../command.ts"
import { type Counts, type ImportResult, Imports, type Watcher } from "./import.service.ts"
import { type Column, columnNamed, columns, type ImportOptions, type RowOutcome } from "./import.ts"
import { firstRejected, reportTo, together } from "./report.ts"

class UnknownField extends Data.TaggedError("UnknownField")<{ readonly column: string; readonly field: string }> {
  override get message() {
    return `--mapping ${this.column}=${this.field}: no field is called ${this.field}. There are ${columns.join(", ")}, and - for a column that is left out.`
  }
}

class RowsRejected extends Data.TaggedError("RowsRejected")<{ readonly result: ImportResult; readonly dryRun: boolean }> {
  override get message() {
    const { applied, rejected } = this.result
    const rows = `${rejected} ${rejected === 1 ? "row was" : "rows were"} rejected`
    return `${rows}${applied ? "" : this.dryRun ? " in a dry run" : ", so nothing was imported; --no-atomic imports the others"}`
  }
}

const shown = 10

const mappingOf = Effect.fnUntraced(function* (pairs: Readonly<Record<string, string>>) {
  const mapping: Record<string, Column | null> = {}
  for (const [column, field] of Object.entries(pairs)) {
    const known = field === "-" ? null : columnNamed(field)
    if (known === undefined) return yield* new UnknownField({ column, field })
    mapping[column] = known
  }
  return mapping
})

const width = 30

/** One line that is written over and over: for people who wait. */
const progressBar = Effect.gen(function* () {
  const since = yield* Clock.currentTimeMillis
  let all = 0
  const draw = ({ rejected, rows }: Pick<Counts, "rejected" | "rows">) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const done = all === 0 ? width : Math.floor((rows / all) * width)
      const speed = Math.round((rows * 1000) / Math.max(now - since, 1))
      const bad = rejected === 0 ? "" : `, ${rejected} rejected`
      process.stderr.write(`\r[${"#".repeat(done)}${".".repeat(width - done)}] ${rows} of ${all} rows, ${speed} rows/s${bad} `)
    })
  return {
    started: (rows) => {
      all = rows
      return draw({ rejected: 0, rows: 0 })
    },
    rows: (_, counts) => draw(counts)
  } satisfies Watcher<never> as Watcher<never>
})

export const importParts = Command.make(
  "import",
  {
    file: Argument.File("file", { mustExist: true }).pipe(
      Argument.withDescription("CSV in UTF-8 or Windows-1252, separated by comma, semicolon or tab")
    ),
    mapping: Flag.KeyValuePair("mapping").pipe(
      Flag.withDefault({}),
      Flag.withDescription("COLUMN=FIELD for a column whose name is not that of a field; COLUMN=- leaves it out; may be repeated")
    ),
    mode: Flag.Literals("mode", ["upsert", "create"]).pipe(
      Flag.withDefault("upsert" as const),
      Flag.withDescription("create rejects parts that are known")
    ),
    stockMode: Flag.Literals("stock-mode", ["count", "add"]).pipe(
      Flag.withDefault("count" as const),
      Flag.withDescription("Whether a quantity is what lies in the slot, or what comes to it")
    ),
    createTypes: Flag.Boolean("create-types").pipe(Flag.withDefault(false), Flag.withDescription("Make types that do not exist")),
    createSellers: Flag.Boolean("create-sellers").pipe(Flag.withDefault(false), Flag.withDescription("Make sellers that do not exist")),
    createBoxes: Flag.Boolean("create-boxes").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Make boxes that do not exist, with as many slots as the file needs")
    ),
    atomic: Flag.Boolean("atomic").pipe(Flag.withDefault(true), Flag.withDescription("All rows or none")),
    dryRun: Flag.Boolean("dry-run").pipe(Flag.withDefault(false), Flag.withDescription("Do everything, then undo it")),
    report: Flag.Path("report").pipe(Flag.optional, Flag.withDescription("Write what became of every row to this CSV file"))
  },
  ({ file, mapping, report, ...flags }) =>
    Effect.gen(function* () {
      const options: ImportOptions = { ...flags, mapping: yield* mappingOf(mapping), source: basename(file) }
      const imports = yield* Imports
      const fs = yield* FileSystem.FileSystem
      const { stderrIsTerminal } = yield* Stdio.Stdio
      const rejected = firstRejected(shown)
      const watchers: ReadonlyArray<Watcher<PlatformError.PlatformError>> = [
        rejected.watcher,
        ...((yield* stderrIsTerminal) ? [yield* progressBar] : []),
        ...(Option.isSome(report) ? [yield* reportTo(report.value)] : [])
      ]
      const result = yield* imports
        .run(fs.stream(file), options, together(...watchers))
        .pipe(Effect.ensuring(Effect.flatMap(stderrIsTerminal, (drawn) => Effect.sync(() => void (drawn && process.stderr.write("\n"))))))
      yield* print(result, options, rejected.found())
      if (result.rejected > 0) return yield* new RowsRejected({ result, dryRun: options.dryRun })
    }).pipe(Effect.scoped, onApplication(Imports.layer))
).pipe(Command.withDescription("Import parts and their stock from a CSV file"))

const print = Effect.fnUntraced(function* (result: ImportResult, { dryRun }: ImportOptions, rejected: ReadonlyArray<RowOutcome>) {
  const { created, rows, unchanged, updated } = result
  yield* Console.log(`${rows} rows: ${created} created, ${updated} updated, ${unchanged} unchanged, ${result.rejected} rejected`)
  for (const { line, problems } of rejected) {
    yield* Console.log(`  line ${line}: ${problems.map(({ column, reason }) => `${column}: ${reason}`).join("; ")}`)
  }
  if (result.rejected > rejected.length) yield* Console.log(`  and ${result.rejected - rejected.length} more: --report FILE lists them all`)
  if (dryRun) yield* Console.log("dry run: nothing was imported")
})
