import { type Cause, Context, Effect, Exit, Layer, Queue, type Scope, Semaphore, Stream } from "effect"
import { Db } from "#platform/db/db.ts"
import { write } from "./csv.ts"
import { ExportRepo } from "./export.repo.ts"
import { type ExportKind, exportColumns } from "./export.ts"

type Rows = ReadonlyArray<ReadonlyArray<string>>

export class Exports extends Context.Service<
  Exports,
  {
    /**
     * Everything there is of the kind at one moment, as CSV in pieces that are made while they are read. The database was asked
     * when this answers, so an outage is known before the first byte; closing the scope ends the query wherever it is.
     */
    readonly csv: (
      kind: ExportKind,
      options: { readonly spreadsheetSafe: boolean }
    ) => Effect.Effect<Stream.Stream<Uint8Array>, never, Scope.Scope>
  }
>()("inventory/Exports") {
  static readonly layerNoDeps = Layer.effect(
    Exports,
    Effect.gen(function* () {
      const repo = yield* ExportRepo
      const db = yield* Db
      // Each holds a connection for as long as its reader likes; writers must find some.
      const atOnce = yield* Semaphore.make(3)

      return Exports.of({
        csv: Effect.fn("Exports.csv")(function* (kind, { spreadsheetSafe }) {
          const { open, page } = repo[kind]
          const pages = yield* Queue.bounded<Rows, Cause.Done>(1)
          const readAll = Effect.gen(function* () {
            yield* open
            for (let last = false; !last; ) {
              const next = yield* page
              yield* Queue.offer(pages, next.rows)
              last = next.last
            }
          })
          yield* atOnce
            .withPermits(1)(db.snapshot(readAll))
            .pipe(
              Effect.onExit((exit) => (Exit.isSuccess(exit) ? Queue.end(pages) : Queue.failCause(pages, exit.cause))),
              Effect.forkScoped
            )
          const first = yield* Effect.orDie(Queue.take(pages))
          const rows = Stream.concat(Stream.make<[Rows]>([exportColumns[kind], ...first]), Stream.fromQueue(pages))
          return write(Stream.flattenIterable(rows), { spreadsheetSafe })
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(ExportRepo.layer))
}
