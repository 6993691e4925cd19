import { Schema } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { int } from "#platform/http/text.ts"

export const BoxNo = int(1, 99_999).annotate({ identifier: "BoxNo", description: "Number of a box" })
export const LocNo = int(1, 1000).annotate({ identifier: "LocNo", description: "Number of a slot inside its box" })

/** One slot of one box. */
export const Slot = Schema.Struct({ boxNo: BoxNo, locNo: LocNo }).annotate({ identifier: "Slot" })
export type Slot = typeof Slot.Type

/** As it is written on the box: `7-3`. */
export const formatSlot = ({ boxNo, locNo }: Slot) => `${boxNo}-${locNo}`

export class LocationNotFound extends Problem<LocationNotFound>()(
  "LocationNotFound",
  {
    code: "location-not-found",
    status: 404,
    title: "No such slot",
    help: "No box has this slot. GET /api/boxes lists the boxes with the number of their slots."
  },
  { boxNo: Schema.Int, locNo: Schema.Int, index: Schema.optionalKey(Schema.Int) }
) {}

export const locationNotFound = (slot: Slot) =>
  new LocationNotFound({
    detail: slot.boxNo === 0 || slot.locNo === 0 ? "There is no such slot." : `There is no slot ${formatSlot(slot)}.`,
    ...slot
  })

/** A slot in an answer, with its text. */
export const LabelledSlot = Schema.Struct({ boxNo: Schema.Int, locNo: Schema.Int, location: Schema.String })

export const labelled = ({ boxNo, locNo }: Slot) => ({ boxNo, locNo, location: formatSlot({ boxNo, locNo }) })
