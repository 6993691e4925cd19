import { Effect, FileSystem, type PlatformError, type Scope, Stream } from "effect"
import { write } from "./csv.ts"
import type { Watcher } from "./import.service.ts"
import { type RowOutcome, reportCells, reportColumns } from "./import.ts"

const asCsv = <E, R>(rows: Stream.Stream<ReadonlyArray<string>, E, R>) => write(rows, { spreadsheetSafe: true })

/** A whole report as CSV. */
export const reportOf = <E, R>(outcomes: Stream.Stream<RowOutcome, E, R>) =>
  asCsv(Stream.concat(Stream.make(reportColumns), Stream.map(outcomes, reportCells)))

/** Every row with what became of it, in a CSV file. */
export const reportTo: (
  path: string
) => Effect.Effect<Watcher<PlatformError.PlatformError>, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> =
  Effect.fnUntraced(function* (path) {
    const fs = yield* FileSystem.FileSystem
    const file = yield* fs.open(path, { flag: "w" })
    const add = (rows: ReadonlyArray<ReadonlyArray<string>>) =>
      Stream.runForEach(asCsv(Stream.fromIterable(rows)), (bytes) => file.writeAll(bytes))
    return {
      started: () => file.truncate(0).pipe(Effect.andThen(file.seek(0n, "start")), Effect.andThen(add([reportColumns]))),
      rows: (outcomes) => add(outcomes.map(reportCells))
    }
  })

/** The first rejected rows. */
export const firstRejected = (most: number) => {
  let found: ReadonlyArray<RowOutcome> = []
  const watcher: Watcher<never> = {
    started: () =>
      Effect.sync(() => {
        found = []
      }),
    rows: (outcomes) =>
      Effect.sync(() => {
        if (found.length < most) found = [...found, ...outcomes.filter(({ outcome }) => outcome === "rejected")].slice(0, most)
      })
  }
  return { watcher, found: () => found }
}

/** All of them, one after the other. */
export const together = <E>(...watchers: ReadonlyArray<Watcher<E>>): Watcher<E> => ({
  started: (rows) => Effect.forEach(watchers, (watcher) => watcher.started(rows), { discard: true }),
  rows: (outcomes, soFar) => Effect.forEach(watchers, (watcher) => watcher.rows(outcomes, soFar), { discard: true })
})
