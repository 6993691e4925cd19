import { Context, Effect, Layer, Option } from "effect"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { type InvalidRequest, invalidField } from "#platform/http/problems.ts"
import type { BoxNotFound } from "../boxes/box.ts"
import { Boxes } from "../boxes/boxes.service.ts"
import { type LocationNotFound, locationNotFound, type Slot } from "../boxes/slot.ts"
import type { PartNotFound, PartRetired } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Types } from "../types/types.service.ts"
import type { Location, LocationsFilter } from "./location.ts"
import { LocationsRepo } from "./locations.repo.ts"
import type { Suggestion } from "./suggestion.ts"

/** The slots of the boxes, read only: they come and go with their boxes and fill through the stock. */
export class Locations extends Context.Service<
  Locations,
  {
    readonly get: (slot: Slot) => Effect.Effect<Location, LocationNotFound>
    readonly list: (filter: LocationsFilter, params: PageParams) => Effect.Effect<Page<Location>, InvalidCursor | InvalidRequest>
    readonly ofBox: (boxNo: number, params: PageParams) => Effect.Effect<Page<Location>, BoxNotFound | InvalidCursor | InvalidRequest>
    /** Where to put a part, something of a type, or just anything; best first. It reserves nothing. */
    readonly suggest: (wanted: {
      readonly id4?: string | undefined
      readonly typeId?: number | undefined
      readonly limit?: number | undefined
    }) => Effect.Effect<ReadonlyArray<Suggestion>, PartNotFound | PartRetired | InvalidRequest>
  }
>()("inventory/Locations") {
  static readonly layerNoDeps = Layer.effect(
    Locations,
    Effect.gen(function* () {
      const repo = yield* LocationsRepo
      const boxes = yield* Boxes
      const types = yield* Types
      const partIds = yield* PartIds

      const typeOfPart = Effect.fnUntraced(function* (id4: string) {
        const part = yield* repo.typeOfPart(id4)
        return Option.isSome(part) ? part.value.typeId : yield* partIds.missing(id4)
      })

      const knownType = Effect.fnUntraced(function* (typeId: number) {
        const unknown = yield* types.unknown([typeId])
        return unknown.length === 0 ? typeId : yield* invalidField("query", "/typeId", `No type has the id ${typeId}`)
      })

      return Locations.of({
        get: Effect.fn("Locations.get")((slot) =>
          repo.find(slot).pipe(
            Effect.flatMap(Effect.fromOption),
            Effect.mapError(() => locationNotFound(slot))
          )
        ),
        list: Effect.fn("Locations.list")((filter, params) => repo.list("locations", filter, params)),
        ofBox: Effect.fn("Locations.ofBox")(function* (boxNo, params) {
          const page = yield* repo.list(`locations of box ${boxNo}`, { boxNo }, params)
          // Every box has a slot, so only an empty page leaves the question whether there is a box.
          if (page.items.length === 0) yield* boxes.get(boxNo)
          return page
        }),
        suggest: Effect.fn("Locations.suggest")(function* ({ id4 = null, limit = 5, typeId: wanted = null }) {
          if (id4 !== null && wanted !== null) {
            return yield* invalidField("query", "/typeId", "Give typeId or id4, not both: a part brings its own type")
          }
          const typeId = id4 !== null ? yield* typeOfPart(id4) : wanted !== null ? yield* knownType(wanted) : null
          return yield* repo.suggest({ id4, typeId }, limit)
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide(LocationsRepo.layer),
    Layer.provide(Boxes.layer),
    Layer.provide(Types.layer),
    Layer.provide(PartIds.layer)
  )
}
