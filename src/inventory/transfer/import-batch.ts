import { Schema } from "effect"
import { Slot } from "../boxes/slot.ts"
import { RowOutcome } from "./import.ts"

/** What rows so far said of a part, see `Seen`. */
export const SeenPart = Schema.Struct({
  id4: Schema.String,
  line: Schema.NullOr(Schema.Int),
  made: Schema.Boolean,
  said: Schema.BigInt,
  slots: Schema.Array(Slot)
})
export type SeenPart = typeof SeenPart.Type

/** Some rows that are through: what became of them, and what later rows must know of them. */
export const Batch = Schema.Struct({
  /** How many rows stand before it, the header not counted. */
  firstRow: Schema.Int,
  rows: Schema.Int,
  outcomes: Schema.Array(RowOutcome),
  parts: Schema.Array(SeenPart)
})
export type Batch = typeof Batch.Type
