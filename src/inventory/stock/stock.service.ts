import { Array, Context, Effect, Layer, Option, Result } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { isUuid, uuidv7 } from "#platform/db/uuid.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import { formatSlot, type LocationNotFound, type Slot } from "../boxes/slot.ts"
import type { Id4, PartNotFound, PartRetired, StockInSlot } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { type Booking, Books, type Command, type Content, count, decide, move, negate, now, type Place, put, take } from "./ledger.ts"
import { OperationsRepo } from "./operations.repo.ts"
import { countBooked, countRefused, startMetrics, timed } from "./stock.metrics.ts"
import { StockRepo } from "./stock.repo.ts"
import {
  AlreadyUndone,
  type BatchResult,
  type Booked,
  type HistoryFilter,
  type HistoryItem,
  type InsufficientStock,
  type LocationAmbiguous,
  type LocationGone,
  NotUndoable,
  type Operation,
  OperationNotFound,
  type OperationsFilter,
  type PartNotInLocation,
  type QuantityTooLarge,
  type Refusal,
  type StockChanged
} from "./stock.ts"

type Missing = PartNotFound | PartRetired
type TakeRefused = LocationNotFound | PartNotInLocation | InsufficientStock | LocationAmbiguous
type MoveRefused = LocationNotFound | PartNotInLocation | InsufficientStock | QuantityTooLarge

/** A booking that was decided, with what the books say after it. */
interface Entry extends Booking {
  readonly operation: Pick<Operation, "kind" | "note" | "jobId" | "undoes">
  /** The part that the answer is about. */
  readonly id4: string
  readonly contents: ReadonlyArray<Content>
  readonly totals: ReadonlyMap<string, number>
}

/**
 * The ledger. Every verb is one transaction of operation, movements and quantities, safe beside any number of others on the same
 * part or slot; inside a larger transaction it is a part of that.
 */
export class Stock extends Context.Service<
  Stock,
  {
    readonly put: (command: Command<"put">) => Effect.Effect<Booked, Missing | LocationNotFound | QuantityTooLarge>
    readonly take: (command: Command<"take">) => Effect.Effect<Booked, Missing | TakeRefused>
    readonly move: (command: Command<"move">) => Effect.Effect<Booked, Missing | MoveRefused>
    readonly count: (command: Command<"count">) => Effect.Effect<Booked, Missing | LocationNotFound | StockChanged>
    /** In the order given. Atomic: the first refusal refuses all and says its index. Otherwise one outcome per command. */
    readonly batch: (commands: ReadonlyArray<Command>, atomic: boolean) => Effect.Effect<BatchResult, Refusal>
    /** One outcome per command, without recording each booking as a change: for imports. */
    readonly bookAll: (commands: ReadonlyArray<Command>) => Effect.Effect<ReadonlyArray<Result.Result<Booked, Refusal>>, never, Transaction>
    readonly undo: (
      operationId: string,
      note: string | null
    ) => Effect.Effect<Booked, OperationNotFound | AlreadyUndone | NotUndoable | LocationGone | InsufficientStock | QuantityTooLarge>
    /** What lies where of these parts, without a lock. */
    readonly held: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<{ readonly id4: string; readonly quantity: number } & Slot>>
    readonly operation: (id: string) => Effect.Effect<Operation, OperationNotFound>
    readonly operations: (filter: OperationsFilter, params: PageParams) => Effect.Effect<Page<Operation>, InvalidCursor | InvalidRequest>
    readonly history: (
      id4: Id4,
      filter: HistoryFilter,
      params: PageParams
    ) => Effect.Effect<Page<HistoryItem>, InvalidCursor | InvalidRequest | Missing>
    readonly locations: (id4: Id4, params: PageParams) => Effect.Effect<Page<StockInSlot>, InvalidCursor | InvalidRequest | Missing>
  }
>()("inventory/Stock") {
  static readonly layerNoDeps = Layer.effect(
    Stock,
    Effect.gen(function* () {
      const repo = yield* StockRepo
      const ledger = yield* OperationsRepo
      const ids = yield* PartIds
      const db = yield* Db
      const changes = yield* Changes
      yield* startMetrics

      /** Takes all locks in the global order, then reads: whatever is decided on the books holds until the commit. */
      const open = Effect.fnUntraced(function* (wanted: {
        readonly parts: ReadonlyArray<string>
        readonly slots: ReadonlyArray<Slot>
        readonly places: ReadonlyArray<Place>
      }) {
        const locked = yield* repo.lockParts(wanted.parts)
        const books = new Books(yield* repo.read(wanted.parts, wanted.slots, wanted.places))
        return { books, missing: yield* ids.reasons(wanted.parts.filter((id4) => !locked.has(id4))) }
      })

      /** Decides each command on the books that the ones before it left. Nothing is written yet. */
      const decideAll = Effect.fnUntraced(function* <C extends Command, E>(
        commands: ReadonlyArray<C>,
        verb: (books: Books, command: C) => Result.Result<Booking, E>
      ) {
        const { books, missing } = yield* open({
          parts: commands.map(({ id4 }) => id4),
          slots: commands.flatMap(slotsOf),
          places: commands.flatMap(placesLeft)
        })
        const outcomes = commands.map((command): Result.Result<Entry, E | Missing> => {
          const reason = missing.get(command.id4)
          if (reason !== undefined) return Result.fail(reason)
          const { id4, jobId = null, kind = command.verb, note } = command
          return Result.map(verb(books, command), (booking) => enter(books, booking, id4, { kind, note, jobId, undoes: null }))
        })
        return { books, outcomes }
      })

      const write = Effect.fnUntraced(function* (books: Books, entries: ReadonlyArray<Entry>) {
        if (entries.length === 0) return []
        const { principal } = yield* CurrentRequest
        // Sorted: those of one millisecond come in no order, and a list of operations shows a batch in its own.
        const operationIds = (yield* Effect.replicateEffect(uuidv7, entries.length)).sort()
        const operations = entries.map(({ lines, operation }, at) => ({ id: operationIds[at]!, ...operation, lines }))
        const totals = new Map(entries.flatMap((entry) => [...entry.totals]))
        const { at, movements } = yield* repo.write({
          principal,
          operations,
          stock: books.changes(),
          totals: [...totals].map(([id4, total]) => ({ id4, total }))
        })
        const movementsOf = Map.groupBy(movements, ({ operationId }) => operationId)
        return entries.map(({ contents, id4, totals }, n): Booked => {
          const { lines: _, ...operation } = operations[n]!
          return {
            operation: {
              ...operation,
              at,
              principal,
              undoneBy: null,
              movements: (movementsOf.get(operation.id) ?? []).map(({ operationId: _, ...movement }) => movement)
            },
            totalQuantity: totals.get(id4) ?? 0,
            locations: contents.map(({ lastCountedAt, ...content }) => ({
              ...content,
              location: formatSlot(content),
              lastCountedAt: lastCountedAt === now ? at : lastCountedAt
            }))
          }
        })
      })

      const writeAndRecord = Effect.fnUntraced(function* (books: Books, entries: ReadonlyArray<Entry>) {
        const booked = yield* write(books, entries)
        yield* changes.record(
          ...booked.map(
            ({ operation: { id, kind, movements, note, undoes } }, at): NewChange => ({
              topic: "stock",
              action: "booked",
              entity: "operation",
              entityId: id,
              after: { operationId: id, kind, note, undoes, movements, totals: Object.fromEntries(entries[at]!.totals) }
            })
          )
        )
        yield* db.afterCommit(countBooked(booked.map(({ operation }) => operation)))
        return booked
      })

      const bookOne = <C extends Command, E extends { readonly code: string }>(
        command: C,
        verb: (books: Books, command: C) => Result.Result<Booking, E>
      ) =>
        Effect.gen(function* () {
          const { books, outcomes } = yield* decideAll([command], verb)
          const entries = yield* Effect.forEach(outcomes, Effect.fromResult)
          const [booked] = yield* writeAndRecord(books, entries)
          return booked!
        }).pipe(db.transaction, Effect.tapError(countRefused), (booking) => timed(command.kind ?? command.verb, booking))

      const find = (id: string) =>
        Effect.flatMap(
          isUuid(id) ? ledger.find(id) : Effect.succeedNone,
          Option.match({
            onNone: () => Effect.fail(new OperationNotFound({ detail: `No booking has the id ${id}.`, operationId: id })),
            onSome: Effect.succeed
          })
        )

      const undo = Effect.fnUntraced(function* (operationId: string, note: string | null) {
        const { id, kind, movements } = yield* find(operationId)
        if (kind === "undo") return yield* new NotUndoable({ detail: "An undo is not undone; book the change anew." })
        if (movements.length === 0) return yield* new NotUndoable({ detail: "The count found no difference; there is nothing to undo." })
        const parts = [...new Set(movements.map(({ partId4 }) => partId4))]
        const { books, missing } = yield* open({ parts, slots: movements, places: [] })
        // Read again under the locks: a parallel undo of the same booking has committed, or waits for us.
        const { undoneBy } = yield* find(operationId)
        if (undoneBy !== null) return yield* new AlreadyUndone({ detail: `The booking was undone by ${undoneBy}.`, undoneBy })
        if (missing.size > 0) return yield* new NotUndoable({ detail: `The part ${[...missing.keys()].join(", ")} was deleted since.` })
        const booking = yield* Effect.fromResult(negate(books, movements))
        const [booked] = yield* writeAndRecord(books, [enter(books, booking, parts[0]!, { kind: "undo", note, jobId: null, undoes: id })])
        return booked!
      })

      return Stock.of({
        put: Effect.fn("Stock.put")((command) => bookOne(command, put)),
        take: Effect.fn("Stock.take")((command) => bookOne(command, take)),
        move: Effect.fn("Stock.move")((command) => bookOne(command, move)),
        count: Effect.fn("Stock.count")((command) => bookOne(command, count)),

        batch: Effect.fn("Stock.batch")((commands, atomic) =>
          Effect.gen(function* () {
            const { books, outcomes } = yield* decideAll(commands, decide)
            const refused = outcomes.findIndex(Result.isFailure)
            const first = outcomes[refused]
            if (atomic && first !== undefined && Result.isFailure(first)) {
              return yield* Effect.fail(Object.assign(first.failure, { index: refused }))
            }
            const booked = yield* writeAndRecord(books, Array.getSuccesses(outcomes))
            return inPlace(outcomes, booked)
          }).pipe(
            db.transaction,
            Effect.tapError(countRefused),
            Effect.tap((results) => Effect.forEach(Array.getFailures(results), countRefused, { discard: true })),
            Effect.map((results) => ({
              results: results.map(Result.match({ onSuccess: (booked) => booked, onFailure: (problem) => ({ problem }) }))
            })),
            (batch) => timed("batch", batch)
          )
        ),

        bookAll: Effect.fn("Stock.bookAll")(function* (commands) {
          const { books, outcomes } = yield* decideAll(commands, decide)
          const booked = yield* write(books, Array.getSuccesses(outcomes))
          yield* db.afterCommit(countBooked(booked.map(({ operation }) => operation)))
          return inPlace(outcomes, booked)
        }),

        undo: Effect.fn("Stock.undo")((operationId, note) =>
          undo(operationId, note).pipe(db.transaction, Effect.tapError(countRefused), (undoing) => timed("undo", undoing))
        ),

        held: Effect.fn("Stock.held")((parts) => (parts.length === 0 ? Effect.succeed([]) : repo.held(parts))),
        operation: Effect.fn("Stock.operation")(find),
        operations: Effect.fn("Stock.operations")((filter, params) => ledger.list(filter, params)),
        history: Effect.fn("Stock.history")((id4, filter, params) => Effect.andThen(ids.require(id4), ledger.history(id4, filter, params))),
        locations: Effect.fn("Stock.locations")((id4, params) => Effect.andThen(ids.require(id4), ledger.locations(id4, params)))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([StockRepo.layer, OperationsRepo.layer, PartIds.layer, Changes.layer]))
}

/** The slots that a command names: they must exist. */
const slotsOf = (command: Command): ReadonlyArray<Slot> => {
  switch (command.verb) {
    case "take":
      return command.slot === undefined ? [] : [command.slot]
    case "move":
      return [command.from, command.to]
    default:
      return [command.slot]
  }
}

/** The places that a command takes from. */
const placesLeft = (command: Command): ReadonlyArray<Place> => {
  const from = command.verb === "take" ? command.slot : command.verb === "move" ? command.from : undefined
  return from === undefined ? [] : [{ id4: command.id4, ...from }]
}

const enter = (books: Books, booking: Booking, id4: string, operation: Entry["operation"]): Entry => {
  books.enter(booking)
  const parts = new Set([id4, ...booking.lines.map((line) => line.id4)])
  return {
    ...booking,
    operation,
    id4,
    contents: books.contents(id4),
    totals: new Map([...parts].map((part) => [part, books.total(part)]))
  }
}

/** What was booked, in the places of the commands that were not refused. */
const inPlace = <E>(outcomes: ReadonlyArray<Result.Result<Entry, E>>, booked: ReadonlyArray<Booked>) => {
  const next = booked.values()
  return outcomes.map((outcome) => Result.map(outcome, () => next.next().value!))
}
