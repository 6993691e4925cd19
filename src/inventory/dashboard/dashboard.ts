import { Schema } from "effect"
import { PartRow } from "../parts/part.ts"
import { TypeId } from "../types/type.ts"

/** The figures of the whole inventory, computed when they are asked for. Days are rolling 24 hours. */
export const Stats = Schema.Struct({
  parts: Schema.Int,
  totalQuantity: Schema.Int,
  boxes: Schema.Int,
  slots: Schema.Int,
  occupiedSlots: Schema.Int,
  types: Schema.Int,
  operations7d: Schema.Int,
  operations30d: Schema.Int,
  /** Parts at or below their own minQuantity, or at or below 5 where they have none. */
  lowStock: Schema.Int
}).annotate({ identifier: "InventoryStats" })
export type Stats = typeof Stats.Type

export const BoxUsage = Schema.Struct({
  boxNo: Schema.Int,
  description: Schema.String,
  totalSlots: Schema.Int,
  occupiedSlots: Schema.Int,
  freeSlots: Schema.Int,
  usagePercent: Schema.Finite
}).annotate({ identifier: "BoxUsage" })
export type BoxUsage = typeof BoxUsage.Type

export const TypeUsage = Schema.Struct({ typeId: TypeId, name: Schema.String, parts: Schema.Int, quantity: Schema.Int }).annotate({
  identifier: "TypeUsage"
})
export type TypeUsage = typeof TypeUsage.Type

/** A part that should be bought: `level` is its minQuantity, else the threshold that was asked for. */
export const LowPart = Schema.Struct({ ...PartRow.fields, level: Schema.Int }).annotate({ identifier: "LowStockPart" })
export type LowPart = typeof LowPart.Type

export const defaultThreshold = 5
