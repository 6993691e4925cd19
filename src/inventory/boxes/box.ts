import { Effect, Schema } from "effect"
import { idInPath } from "#platform/http/ids.ts"
import { Problem } from "#platform/http/problems.ts"
import { Instant, int, text } from "#platform/http/text.ts"
import { TypeId } from "../types/type.ts"
import { BoxNo, LabelledSlot } from "./slot.ts"

export const BoxNoInPath = idInPath(BoxNo)

const Description = text(255)
const Capacity = int(1, 1000).annotate({ description: "Number of slots, numbered from 1" })
const TypeIds = Schema.Array(TypeId).check(Schema.isMaxLength(1000))

export const NewBox = Schema.Struct({
  boxNo: Schema.NullOr(BoxNo).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null))),
  description: Description,
  capacity: Capacity,
  designatedTypeIds: Schema.NullOr(TypeIds).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed([])))
}).annotate({ identifier: "NewBox" })
export type NewBox = typeof NewBox.Type

export const BoxEdit = Schema.Struct({
  description: Schema.optionalKey(Description),
  capacity: Schema.optionalKey(Capacity),
  designatedTypeIds: Schema.optionalKey(Schema.NullOr(TypeIds))
}).annotate({ identifier: "BoxEdit" })
export type BoxEdit = typeof BoxEdit.Type

export const Box = Schema.Struct({
  boxNo: Schema.Int,
  description: Schema.String,
  capacity: Schema.Int,
  /** The types this box is meant for. */
  designatedTypeIds: Schema.Array(Schema.Int),
  designatedTypes: Schema.Array(Schema.Struct({ id: Schema.Int, name: Schema.String })),
  totalSlots: Schema.Int,
  occupiedSlots: Schema.Int,
  freeSlots: Schema.Int,
  usagePercent: Schema.Finite,
  createdAt: Instant,
  updatedAt: Instant,
  version: Schema.Int
}).annotate({ identifier: "Box" })
export type Box = typeof Box.Type

/** A part in a slot of a box. */
export const BoxContent = Schema.Struct({ ...LabelledSlot.fields, id4: Schema.String, description: Schema.String, quantity: Schema.Int })

export class BoxNotFound extends Problem<BoxNotFound>()(
  "BoxNotFound",
  { code: "box-not-found", status: 404, title: "No such box", help: "No box has this number. GET /api/boxes lists them." },
  { boxNo: Schema.Int }
) {}

export class BoxNumberTaken extends Problem<BoxNumberTaken>()(
  "BoxNumberTaken",
  {
    code: "box-number-taken",
    status: 409,
    title: "This box number was given out before",
    help: "A number once used is never given out again, not even when its box is gone: history and labels still mean the old box. Choose another number, or leave boxNo out to get the next one."
  },
  { boxNo: Schema.Int }
) {}

export class BoxNumbersExhausted extends Problem<BoxNumbersExhausted>()("BoxNumbersExhausted", {
  code: "box-numbers-exhausted",
  status: 409,
  title: "Every box number was given out",
  help: "Numbers go from 1 to 99999 and each is given out once. None is left; use the boxes there are."
}) {}

export class SlotsOccupied extends Problem<SlotsOccupied>()(
  "SlotsOccupied",
  {
    code: "slots-occupied",
    status: 409,
    title: "Slots that would go hold stock",
    help: "A box shrinks by its highest slots, and only when they are empty. Move the stock out of the slots in locations first."
  },
  { boxNo: Schema.Int, locations: Schema.Array(LabelledSlot) }
) {}

export class BoxNotEmpty extends Problem<BoxNotEmpty>()(
  "BoxNotEmpty",
  {
    code: "box-not-empty",
    status: 409,
    title: "The box holds stock",
    help: "A box can be deleted when all its slots are empty. contents lists what is in it (at most the first 100 entries): move or take it out first."
  },
  { boxNo: Schema.Int, occupiedSlots: Schema.Int, contents: Schema.Array(BoxContent) }
) {}
