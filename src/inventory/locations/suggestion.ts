import { Schema } from "effect"
import { LabelledSlot } from "../boxes/slot.ts"

/**
 * Why a slot is offered, the best reason first: it holds the part already; its box holds parts of the type; its box is meant for
 * the type; its box is meant for no type; nothing better is free.
 */
export const reasons = ["same-part", "same-type", "designated", "first-free", "last-resort"] as const

export const Suggestion = Schema.Struct({ ...LabelledSlot.fields, reason: Schema.Literals(reasons) }).annotate({
  identifier: "SlotSuggestion"
})
export type Suggestion = typeof Suggestion.Type

/** What is to be put away. A part brings its type along; both null: anything. */
export interface ToPutAway {
  readonly id4: string | null
  readonly typeId: number | null
}
