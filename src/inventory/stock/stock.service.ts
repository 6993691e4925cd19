import { Clock, Context, Effect, Layer, Metric, Option, Result } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { isUuid, uuidv7 } from "#platform/db/uuid.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import { startAtZero } from "#platform/telemetry/metrics.ts"
import { formatSlot, locationNotFound, type Slot } from "../boxes/slot.ts"
import type { Id4, PartNotFound, PartRetired, StockInSlot } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Books, type Booking, type Command, decide, negate } from "./ledger.ts"
import {
  AlreadyUndone,
  type BatchResult,
  type Booked,
  type HistoryItem,
  InsufficientStock,
  type Kind,
  kinds,
  LocationGone,
  NotUndoable,
  type Operation,
  OperationNotFound,
  type OperationsFilter,
  type QuantityTooLarge,
  type Refusal,
  refusalCodes,
  type RefusalsOf
} from "./stock.ts"
import { type Held, type NewOperation, StockRepo } from "./stock.repo.ts"

const operationsTotal = Metric.counter("inventory_operations_total", { description: "Bookings, by kind", incremental: true })
const quantityChanged = Metric.counter("inventory_quantity_changed_total", { description: "Pieces booked, moves included, by kind", incremental: true })
const stockRefusals = Metric.counter("inventory_stock_refusals_total", { description: "Bookings refused, by problem code", incremental: true })
const stockDuration = Metric.histogram("inventory_stock_duration_seconds", {
  description: "Time of a stock verb, by kind",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
})

export class Stock extends Context.Service<
  Stock,
  {
    /** One booking, in one transaction: operation, movements, quantities. Safe beside any number of others on the same part or slot. */
    readonly book: <Verb extends Command["verb"]>(command: Command & { readonly verb: Verb }) => Effect.Effect<Booked, RefusalsOf[Verb]>
    /** In the order given. Atomic: the first refusal refuses all and says its index. Otherwise one outcome per command. */
    readonly batch: (commands: ReadonlyArray<Command>, atomic: boolean) => Effect.Effect<BatchResult, Refusal>
    /** What lies where of these parts, without a lock. */
    readonly held: (
      ids: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<{ readonly id4: string; readonly quantity: number } & Slot>>
    /** As a part of a larger transaction; refusals are answered in place, nothing is refused as a whole. */
    readonly bookAll: (
      commands: ReadonlyArray<Command>
    ) => Effect.Effect<ReadonlyArray<Result.Result<Booked, Refusal>>, never, Transaction>
    readonly undo: (
      operationId: string,
      note: string | null
    ) => Effect.Effect<Booked, OperationNotFound | AlreadyUndone | NotUndoable | LocationGone | InsufficientStock | QuantityTooLarge>
    readonly operation: (id: string) => Effect.Effect<Operation, OperationNotFound>
    readonly operations: (filter: OperationsFilter, params: PageParams) => Effect.Effect<Page<Operation>, InvalidCursor | InvalidRequest>
    readonly history: (
      id4: Id4,
      filter: OperationsFilter,
      params: PageParams
    ) => Effect.Effect<Page<HistoryItem>, InvalidCursor | InvalidRequest | PartNotFound | PartRetired>
    readonly locations: (
      id4: Id4,
      params: PageParams
    ) => Effect.Effect<Page<StockInSlot>, InvalidCursor | InvalidRequest | PartNotFound | PartRetired>
  }
>()("inventory/Stock") {
  static readonly layerNoDeps = Layer.effect(
    Stock,
    Effect.gen(function* () {
      const repo = yield* StockRepo
      const ids = yield* PartIds
      const db = yield* Db
      const changes = yield* Changes
      const byKind = kinds.map((kind) => ({ kind }))
      yield* startAtZero(operationsTotal, byKind)
      yield* startAtZero(quantityChanged, byKind)
      yield* startAtZero(stockRefusals, refusalCodes.map((code) => ({ code })))

      /** Takes all locks in the global order, then reads: whatever is decided on the books holds until the commit. */
      const open = Effect.fnUntraced(function* (parts: ReadonlyArray<string>, slots: ReadonlyArray<Slot>) {
        const known = yield* repo.lockParts([...new Set(parts)].sort())
        const locked = yield* repo.lockSlots(distinctSlots(slots), [...known])
        const existing = new Set(locked.slots.map(formatSlot))
        const counted = new Map(locked.stock.map((held) => [`${held.id4} ${formatSlot(held)}`, held]))
        return { known, has: (slot: Slot) => existing.has(formatSlot(slot)), books: new Books(locked.stock), counted }
      })

      const missingPart = (id4: string) => Effect.flip(ids.missing(id4)) as Effect.Effect<PartNotFound | PartRetired>

      type Opened = Effect.Success<ReturnType<typeof open>>
      const decideOne = Effect.fnUntraced(function* (opened: Opened, command: Command) {
        const { books, has, known } = opened
        if (!known.has(command.id4)) return Result.fail<Refusal>(yield* missingPart(command.id4))
        const gone = slotsOf(command).find((slot) => !has(slot))
        if (gone !== undefined) return Result.fail<Refusal>(locationNotFound(gone))
        const decided = decide(books, command, () => true)
        if (Result.isSuccess(decided) || !(decided.failure instanceof InsufficientStock) || decided.failure.available > 0) return decided
        const slot = command.verb === "move" ? command.from : command.verb === "take" ? command.slot : undefined
        if (slot === undefined || books.wasTouched(command.id4, slot)) return decided
        const held = yield* repo.everHeld(command.id4, slot)
        return decide(books, command, () => held)
      })

      const write = Effect.fnUntraced(function* (opened: Opened, operations: ReadonlyArray<Omit<NewOperation, "id"> & { readonly counted: { readonly id4: string; readonly slot: Slot } | null; readonly id4: string; readonly totals: ReadonlyMap<string, number>; readonly slots: ReadonlyArray<Slot & { readonly quantity: number }> }>) {
        const { principal } = yield* CurrentRequest
        const numbered = yield* Effect.forEach(operations, (operation) => Effect.map(uuidv7, (id) => ({ ...operation, id })))
        const parts = new Set(numbered.flatMap(({ lines }) => lines.map(({ id4 }) => id4)))
        const { at, movements } = yield* repo.write({
          operations: numbered.map(({ id, kind, lines, note, undoes }) => ({ id, kind, note, undoes, lines })),
          stock: opened.books.changed(),
          counted: numbered.flatMap(({ counted }) => (counted === null ? [] : [{ id4: counted.id4, ...counted.slot }])),
          totals: [...parts].map((id4) => ({ id4, total: opened.books.total(id4) })),
          principal
        })
        const byOperation = Map.groupBy(movements, ({ operationId }) => operationId)
        const countedAt = new Map<string, string>(numbered.flatMap(({ counted }) => (counted === null ? [] : [[`${counted.id4} ${formatSlot(counted.slot)}`, at]])))
        return numbered.map(({ id, id4, kind, note, slots, totals, undoes }) => ({
          operation: {
            id,
            kind,
            at,
            principal,
            note,
            undoes,
            undoneBy: null,
            movements: (byOperation.get(id) ?? []).map(({ operationId: _, ...movement }) => movement)
          },
          totals,
          totalQuantity: totals.get(id4) ?? 0,
          locations: slots.map((slot) => {
            const place = `${id4} ${formatSlot(slot)}` as const
            return { ...slot, location: formatSlot(slot), lastCountedAt: countedAt.get(place) ?? (opened.counted.get(place) as Held | undefined)?.lastCountedAt ?? null }
          })
        }))
      })

      /** Decides each command on the books that the ones before it left, then writes all that were not refused at once. */
      const bookAll = Effect.fnUntraced(function* (commands: ReadonlyArray<Command>, stopAtRefusal: boolean) {
        const opened = yield* open(
          commands.map(({ id4 }) => id4),
          commands.flatMap(slotsOf)
        )
        const outcomes: Array<Result.Result<number, Refusal>> = []
        const operations: Array<Parameters<typeof write>[1][number]> = []
        for (const [index, command] of commands.entries()) {
          const decided = yield* decideOne(opened, command)
          if (Result.isFailure(decided)) {
            if (stopAtRefusal) return yield* Effect.fail(commands.length === 1 ? decided.failure : withIndex(decided.failure, index))
            outcomes.push(Result.fail(decided.failure))
            continue
          }
          const booking: Booking = decided.success
          opened.books.apply(booking.lines)
          outcomes.push(Result.succeed(operations.length))
          operations.push({
            kind: command.kind ?? command.verb,
            note: command.note === "" ? null : command.note,
            undoes: null,
            lines: booking.lines,
            counted: booking.counted === null ? null : { id4: command.id4, slot: booking.counted },
            id4: command.id4,
            totals: new Map([[command.id4, opened.books.total(command.id4)]]),
            slots: opened.books.slots(command.id4)
          })
        }
        const written = operations.length === 0 ? [] : yield* write(opened, operations)
        return { outcomes, written }
      })

      const record = (written: ReadonlyArray<Booked & { readonly totals: ReadonlyMap<string, number> }>) =>
        changes.record(
          ...written.map(({ operation, totals }) => ({
            topic: "stock",
            action: "booked",
            entity: "operation",
            entityId: operation.id,
            after: { kind: operation.kind, note: operation.note, undoes: operation.undoes, movements: operation.movements, totals: Object.fromEntries(totals) }
          }))
        )

      // The sums are taken at once: what waits for the commit of a long import must not hold on to its bookings.
      const measured = (operations: ReadonlyArray<Operation>) => {
        const sums = new Map<Kind, { readonly bookings: number; readonly pieces: number }>()
        for (const { kind, movements } of operations) {
          const { bookings, pieces } = sums.get(kind) ?? { bookings: 0, pieces: 0 }
          sums.set(kind, { bookings: bookings + 1, pieces: movements.reduce((sum, { deltaQty }) => sum + Math.abs(deltaQty), pieces) })
        }
        return Effect.forEach(
          sums,
          ([kind, { bookings, pieces }]) =>
            Effect.andThen(
              Metric.update(Metric.withAttributes(operationsTotal, { kind }), bookings),
              Metric.update(Metric.withAttributes(quantityChanged, { kind }), pieces)
            ),
          { discard: true }
        )
      }

      const timed = <A, E extends { readonly code: string }, R>(kind: Kind | "batch", effect: Effect.Effect<A, E, R>) =>
        Effect.flatMap(Clock.currentTimeNanos, (since) =>
          effect.pipe(
            Effect.tapError(({ code }) => Metric.update(Metric.withAttributes(stockRefusals, { code }), 1)),
            Effect.ensuring(
              Effect.flatMap(Clock.currentTimeNanos, (now) =>
                Metric.update(Metric.withAttributes(stockDuration, { kind }), Number(now - since) / 1e9)
              )
            )
          )
        )

      const answer = ({ locations, operation, totalQuantity }: Booked): Booked => ({ operation, totalQuantity, locations })

      const find = (id: string) =>
        Effect.flatMap(isUuid(id) ? repo.find(id) : Effect.succeedNone, Option.match({
          onNone: () => Effect.fail(new OperationNotFound({ detail: `No booking has the id ${id}.`, operationId: id })),
          onSome: Effect.succeed
        }))

      return Stock.of({
        book: Effect.fn("Stock.book")((command: Command) =>
          timed(
            command.kind ?? command.verb,
            db.transaction(
              Effect.gen(function* () {
                const { written } = yield* bookAll([command], true)
                yield* record(written)
                return answer(written[0]!)
              })
            )
          ).pipe(Effect.tap(({ operation }) => measured([operation])))
        ) as Stock["Service"]["book"],

        batch: Effect.fn("Stock.batch")((commands, atomic) =>
          timed(
            "batch",
            db.transaction(
              Effect.gen(function* () {
                const { outcomes, written } = yield* bookAll(commands, atomic)
                yield* record(written)
                return {
                  results: outcomes.map((outcome) => (Result.isSuccess(outcome) ? answer(written[outcome.success]!) : { problem: outcome.failure }))
                }
              })
            )
          ).pipe(
            Effect.tap(({ results }) => measured(results.flatMap((result) => ("operation" in result ? [result.operation] : []))))
          )
        ),

        held: Effect.fn("Stock.held")((parts) => (parts.length === 0 ? Effect.succeed([]) : repo.held(parts))),

        bookAll: Effect.fn("Stock.bookAll")(function* (commands) {
          if (commands.length === 0) return []
          const { outcomes, written } = yield* Effect.orDie(bookAll(commands, false))
          yield* db.afterCommit(measured(written.map(({ operation }) => operation)))
          return outcomes.map((outcome) => Result.map(outcome, (at) => answer(written[at]!)))
        }),

        undo: Effect.fn("Stock.undo")((operationId, note) =>
          timed(
            "undo",
            db.transaction(
              Effect.gen(function* () {
                const operation = yield* find(operationId)
                if (operation.kind === "undo") return yield* new NotUndoable({ detail: "An undo is not undone; book the change anew." })
                const opened = yield* open(
                  operation.movements.map(({ partId4 }) => partId4),
                  operation.movements
                )
                // Read again under the locks: a parallel undo of the same booking has committed or waits for us.
                const { undoneBy } = yield* find(operationId)
                if (undoneBy !== null) return yield* new AlreadyUndone({ detail: `The booking was undone by ${undoneBy}.`, undoneBy })
                const deleted = operation.movements.find(({ partId4 }) => !opened.known.has(partId4))
                if (deleted !== undefined) return yield* new NotUndoable({ detail: `The part ${deleted.partId4} was deleted since.` })
                const gone = operation.movements.find((movement) => !opened.has(movement))
                if (gone !== undefined) return yield* new LocationGone({ detail: `The slot ${gone.location} does not exist any more.`, location: gone.location })
                const { lines } = yield* Effect.fromResult(negate(opened.books, operation.movements)) as Effect.Effect<Booking, InsufficientStock | QuantityTooLarge>
                opened.books.apply(lines)
                const id4 = lines[0]?.id4 ?? ""
                const totals = new Map(lines.map((line) => [line.id4, opened.books.total(line.id4)]))
                const written = yield* write(opened, [
                  { kind: "undo", note: note === "" ? null : note, undoes: operation.id, lines, counted: null, id4, totals, slots: opened.books.slots(id4) }
                ])
                yield* record(written)
                return answer(written[0]!)
              })
            )
          ).pipe(Effect.tap(({ operation }) => measured([operation])))
        ),

        operation: Effect.fn("Stock.operation")(find),
        operations: Effect.fn("Stock.operations")((filter, params) => repo.operations(filter, params)),
        history: Effect.fn("Stock.history")((id4, filter, params) => Effect.andThen(ids.require(id4), repo.history(id4, filter, params))),
        locations: Effect.fn("Stock.locations")((id4, params) => Effect.andThen(ids.require(id4), repo.locations(id4, params)))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([StockRepo.layer, PartIds.layer, Changes.layer]))
}

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

const distinctSlots = (slots: ReadonlyArray<Slot>): ReadonlyArray<Slot> => [...new Map(slots.map((slot) => [formatSlot(slot), slot])).values()]

/** The same refusal, saying which command of the batch it is about. */
const withIndex = (refusal: Refusal, index: number): Refusal => {
  const Refused = refusal.constructor as new (fields: object) => Refusal
  return new Refused({ ...refusal, index })
}
