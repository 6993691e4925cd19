import { Schema } from "effect"
import { idInPath } from "#platform/http/ids.ts"
import { Instant } from "#platform/http/text.ts"
import { LabelledSlot, LocNo } from "../boxes/slot.ts"

export const LocNoInPath = idInPath(LocNo)

/** A slot with what lies in it. */
export const Location = Schema.Struct({
  ...LabelledSlot.fields,
  parts: Schema.Array(
    Schema.Struct({
      id4: Schema.String,
      description: Schema.String,
      manufacturerCode: Schema.NullOr(Schema.String),
      type: Schema.NullOr(Schema.Struct({ id: Schema.Int, name: Schema.String })),
      quantity: Schema.Int,
      lastCountedAt: Schema.NullOr(Instant)
    })
  )
}).annotate({ identifier: "Location" })
export type Location = typeof Location.Type

export interface LocationsFilter {
  readonly boxNo?: number | undefined
  /** Whether nothing lies in it. */
  readonly free?: boolean | undefined
}
