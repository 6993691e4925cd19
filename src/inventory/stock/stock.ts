import { Effect, Schema, SchemaTransformation } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { blankableText, Instant, int } from "#platform/http/text.ts"
import { LocationNotFound, Slot } from "../boxes/slot.ts"
import { Id4InAnyCase, PartNotFound, PartRetired, StockInSlot } from "../parts/part.ts"

/** The most pieces one booking moves and one slot holds of a part. */
export const mostPieces = 1_000_000_000

export const kinds = ["put", "take", "move", "count", "receive", "pick", "reorg", "import", "undo"] as const
export const Kind = Schema.Literals(kinds)
export type Kind = typeof Kind.Type

const Quantity = int(1, mostPieces)
const Note = {
  note: Schema.NullOr(blankableText(500)).pipe(
    Schema.decodeTo(
      Schema.NullOr(Schema.String),
      SchemaTransformation.transform<string | null, string | null>({ decode: (note) => note || null, encode: (note) => note })
    ),
    Schema.withDecodingDefaultTypeKey(Effect.succeed(null))
  )
}

export const Put = Schema.Struct({ slot: Slot, quantity: Quantity, ...Note }).annotate({ identifier: "StockPut" })
/** Without `slot` it works while the part lies in exactly one. */
export const Take = Schema.Struct({ slot: Schema.optionalKey(Slot), quantity: Quantity, ...Note }).annotate({ identifier: "StockTake" })

const otherSlot = Schema.makeFilter<{ readonly from: Slot; readonly to: Slot }>(
  ({ from, to }) =>
    from.boxNo === to.boxNo && from.locNo === to.locNo ? { path: ["to"], issue: "Expected another slot than from" } : undefined,
  { expected: "two different slots" }
)
/** Without `quantity` the whole content of the slot moves. */
export const Move = Schema.Struct({ from: Slot, to: Slot, quantity: Schema.optionalKey(Quantity), ...Note })
  .check(otherSlot)
  .annotate({ identifier: "StockMove" })
/** What was counted in the slot; with `expected` only when the books still say that. */
export const Count = Schema.Struct({
  slot: Slot,
  counted: int(0, mostPieces),
  expected: Schema.optionalKey(int(0, mostPieces)),
  ...Note
}).annotate({ identifier: "StockCount" })
export const Undo = Schema.Struct(Note).annotate({ identifier: "StockUndo" })

const id4 = { id4: Id4InAnyCase }
export const BatchItem = Schema.Union([
  Schema.Struct({ verb: Schema.Literal("put"), ...id4, ...Put.fields }),
  Schema.Struct({ verb: Schema.Literal("take"), ...id4, ...Take.fields }),
  Schema.Struct({ verb: Schema.Literal("move"), ...id4, ...Move.fields }).check(otherSlot),
  Schema.Struct({ verb: Schema.Literal("count"), ...id4, ...Count.fields })
]).annotate({ identifier: "StockCommand" })
export type BatchItem = typeof BatchItem.Type

export const Batch = Schema.Struct({
  /** All or nothing; otherwise each command stands for itself. */
  atomic: Schema.Boolean.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(true))),
  operations: Schema.Array(BatchItem).check(Schema.isMinLength(1), Schema.isMaxLength(200))
}).annotate({ identifier: "StockBatch" })
export type Batch = typeof Batch.Type

export const Movement = Schema.Struct({
  id: Schema.Int,
  partId4: Schema.String,
  boxNo: Schema.Int,
  locNo: Schema.Int,
  location: Schema.String,
  deltaQty: Schema.Int,
  /** Of this part in this slot. */
  balanceAfter: Schema.Int
}).annotate({ identifier: "StockMovement" })
export type Movement = typeof Movement.Type

/** One booking: what is shown and what is undone. Never changed and never removed. */
export const Operation = Schema.Struct({
  id: Schema.String.annotate({ format: "uuid" }),
  kind: Kind,
  at: Instant,
  principal: Schema.String,
  note: Schema.NullOr(Schema.String),
  /** The job that booked it. */
  jobId: Schema.NullOr(Schema.String),
  undoes: Schema.NullOr(Schema.String),
  undoneBy: Schema.NullOr(Schema.String),
  movements: Schema.Array(Movement)
}).annotate({ identifier: "StockOperation" })
export type Operation = typeof Operation.Type

/** The answer of every verb, as of its own commit: the booking, and the part's stock after it. */
export const Booked = Schema.Struct({ operation: Operation, totalQuantity: Schema.Int, locations: Schema.Array(StockInSlot) }).annotate({
  identifier: "StockBooked"
})
export type Booked = typeof Booked.Type

export const HistoryItem = Schema.Struct({
  operationId: Schema.String,
  at: Instant,
  kind: Kind,
  principal: Schema.String,
  note: Schema.NullOr(Schema.String),
  location: Schema.String,
  deltaQty: Schema.Int,
  balanceAfter: Schema.Int,
  undoneBy: Schema.NullOr(Schema.String)
}).annotate({ identifier: "StockHistoryItem" })
export type HistoryItem = typeof HistoryItem.Type

/** Where a refused command stands in a batch. */
const index = { index: Schema.optionalKey(Schema.Int) }

export class InsufficientStock extends Problem<InsufficientStock>()(
  "InsufficientStock",
  {
    code: "insufficient-stock",
    status: 409,
    title: "Not enough in stock",
    help: "The slot holds less than was asked for; nothing was booked. Take at most `available`, or count the slot if the books are wrong."
  },
  { id4: Schema.String, requested: Schema.Int, available: Schema.Int, location: Schema.NullOr(Schema.String), ...index }
) {}

export class LocationAmbiguous extends Problem<LocationAmbiguous>()(
  "LocationAmbiguous",
  {
    code: "location-ambiguous",
    status: 409,
    title: "The part lies in several slots",
    help: "Without a slot a take works only while the part lies in exactly one. Name one of `locations`."
  },
  {
    id4: Schema.String,
    locations: Schema.Array(Schema.Struct({ boxNo: Schema.Int, locNo: Schema.Int, location: Schema.String, quantity: Schema.Int })),
    ...index
  }
) {}

export class QuantityTooLarge extends Problem<QuantityTooLarge>()(
  "QuantityTooLarge",
  {
    code: "quantity-too-large",
    status: 409,
    title: "A slot cannot hold that many",
    help: "One slot holds at most 1,000,000,000 pieces of a part. Use another slot, or check the quantity."
  },
  { id4: Schema.String, location: Schema.String, current: Schema.Int, requested: Schema.Int, ...index }
) {}

export class PartNotInLocation extends Problem<PartNotInLocation>()(
  "PartNotInLocation",
  {
    code: "part-not-in-location",
    status: 404,
    title: "The part has never been in this slot",
    help: "Nothing of this part was ever booked into the slot. GET /api/parts/{id4}/locations says where it lies."
  },
  { id4: Schema.String, location: Schema.String, ...index }
) {}

export class StockChanged extends Problem<StockChanged>()(
  "StockChanged",
  {
    code: "stock-changed",
    status: 409,
    title: "Someone booked in the meantime",
    help: "The books do not say `expected` any more. Count again, or send the count without `expected`."
  },
  { id4: Schema.String, location: Schema.String, current: Schema.Int, ...index }
) {}

export class OperationNotFound extends Problem<OperationNotFound>()(
  "OperationNotFound",
  {
    code: "operation-not-found",
    status: 404,
    title: "No such booking",
    help: "No booking has this id. GET /api/stock/operations lists them."
  },
  { operationId: Schema.String }
) {}

export class AlreadyUndone extends Problem<AlreadyUndone>()(
  "AlreadyUndone",
  {
    code: "already-undone",
    status: 409,
    title: "The booking was undone already",
    help: "A booking is undone once. `undoneBy` names the booking that did it."
  },
  { undoneBy: Schema.String }
) {}

export class NotUndoable extends Problem<NotUndoable>()("NotUndoable", {
  code: "not-undoable",
  status: 409,
  title: "This booking cannot be undone",
  help: "An undo is not undone, a booking of a deleted part cannot be taken back, and a count that found no difference moved nothing. Book what is right now instead."
}) {}

export class LocationGone extends Problem<LocationGone>()(
  "LocationGone",
  {
    code: "location-gone",
    status: 409,
    title: "The slot does not exist any more",
    help: "The box was deleted or made smaller since. Book the pieces into another slot instead of undoing."
  },
  { location: Schema.String }
) {}

/** Why a command is not booked. */
export const refusals = [
  PartNotFound,
  PartRetired,
  LocationNotFound,
  PartNotInLocation,
  InsufficientStock,
  LocationAmbiguous,
  QuantityTooLarge,
  StockChanged
] as const
export const Refusal = Schema.Union(refusals)
export type Refusal = typeof Refusal.Type

/** What became of each command of a batch, in the order given. */
export const BatchResult = Schema.Struct({
  results: Schema.Array(Schema.Union([Booked, Schema.Struct({ problem: Refusal })]))
}).annotate({ identifier: "StockBatchResult" })
export type BatchResult = typeof BatchResult.Type

export interface HistoryFilter {
  readonly kind?: Kind | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
}

export interface OperationsFilter extends HistoryFilter {
  readonly id4?: string | undefined
  readonly boxNo?: number | undefined
  readonly principal?: string | undefined
}
