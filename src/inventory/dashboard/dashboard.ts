import { Schema } from "effect"
import { TypeId } from "../types/type.ts"

/** A part without a level of its own counts as low from here on. */
export const lowStockThreshold = 5

/** What the workshop holds, at one glance. Computed when asked, never stored. */
export const Stats = Schema.Struct({
  parts: Schema.Int,
  totalQuantity: Schema.Int,
  boxes: Schema.Int,
  slots: Schema.Int,
  occupiedSlots: Schema.Int,
  types: Schema.Int,
  /** Bookings of the last 7 × 24 and 30 × 24 hours. */
  operations7d: Schema.Int,
  operations30d: Schema.Int,
  lowStock: Schema.Int,
  partsWithoutDocuments: Schema.Int
}).annotate({ identifier: "InventoryStats" })
export type Stats = typeof Stats.Type

/** How full a box is. */
export const BoxUsage = Schema.Struct({
  boxNo: Schema.Int,
  description: Schema.String,
  totalSlots: Schema.Int,
  occupiedSlots: Schema.Int,
  freeSlots: Schema.Int,
  usagePercent: Schema.Finite
}).annotate({ identifier: "BoxUsage" })
export type BoxUsage = typeof BoxUsage.Type

/** How much there is of a type. */
export const TypeUsage = Schema.Struct({
  typeId: TypeId,
  name: Schema.String,
  parts: Schema.Int,
  quantity: Schema.Int
}).annotate({ identifier: "TypeUsage" })
export type TypeUsage = typeof TypeUsage.Type
