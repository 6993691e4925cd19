import { Context, Effect, Layer, Option } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import { InvalidRequest, type PreconditionFailed } from "#platform/http/problems.ts"
import { type Box, type BoxEdit, BoxNotEmpty, BoxNotFound, BoxNumbersExhausted, BoxNumberTaken, type NewBox, SlotsOccupied } from "./box.ts"
import { BoxesRepo } from "./boxes.repo.ts"
import { formatSlot, labelled } from "./slot.ts"

export class Boxes extends Context.Service<
  Boxes,
  {
    readonly get: (boxNo: number) => Effect.Effect<Box, BoxNotFound>
    readonly list: (params: PageParams & { readonly sort?: string | undefined }) => Effect.Effect<Page<Box>, InvalidCursor | InvalidRequest>
    readonly create: (box: NewBox) => Effect.Effect<Box, BoxNumberTaken | BoxNumbersExhausted | InvalidRequest>
    /** Makes the boxes whose numbers were never used, as a part of a larger transaction: for imports. Answers how many slots they have. */
    readonly createMany: (
      boxes: ReadonlyArray<{ readonly boxNo: number; readonly description: string; readonly capacity: number }>
    ) => Effect.Effect<ReadonlyMap<number, number>, never, Transaction>
    /** How many slots the boxes have; those that do not exist are left out. */
    readonly capacities: (boxNos: ReadonlyArray<number>) => Effect.Effect<ReadonlyMap<number, number>>
    readonly edit: (
      boxNo: number,
      edit: BoxEdit,
      ifMatch: IfMatch
    ) => Effect.Effect<Box, BoxNotFound | SlotsOccupied | InvalidRequest | PreconditionFailed>
    readonly remove: (boxNo: number, ifMatch: IfMatch) => Effect.Effect<void, BoxNotFound | BoxNotEmpty | PreconditionFailed>
  }
>()("inventory/Boxes") {
  static readonly layerNoDeps = Layer.effect(
    Boxes,
    Effect.gen(function* () {
      const repo = yield* BoxesRepo
      const db = yield* Db
      const changes = yield* Changes

      const orNotFound = (boxNo: number) => (found: Option.Option<Box>) =>
        Effect.fromOption(found).pipe(
          Effect.mapError(() => new BoxNotFound({ detail: boxNo === 0 ? "There is no such box." : `There is no box ${boxNo}.`, boxNo }))
        )
      const get = Effect.fn("Boxes.get")((boxNo: number) => Effect.flatMap(repo.find(boxNo), orNotFound(boxNo)))
      const locked = (boxNo: number, ifMatch: IfMatch) =>
        repo.lock(boxNo).pipe(
          Effect.flatMap(orNotFound(boxNo)),
          Effect.tap((box) => checkVersion(ifMatch, box.version))
        )
      const record = (action: string, boxNo: number, before: Box | null, after: Box | null): Effect.Effect<void, never, Transaction> =>
        changes.record({ topic: "box", action, entity: "box", entityId: String(boxNo), before, after })

      const designate = Effect.fnUntraced(function* (boxNo: number, typeIds: ReadonlyArray<number>) {
        const ids = [...new Set(typeIds)]
        const known = yield* repo.holdTypes(ids)
        const errors = typeIds.flatMap((id, index) =>
          known.has(id) ? [] : [{ in: "body" as const, pointer: `/designatedTypeIds/${index}`, message: `No type has the id ${id}` }]
        )
        if (errors.length > 0) return yield* new InvalidRequest({ detail: "Some of the designated types do not exist.", errors })
        yield* repo.designate(boxNo, ids)
      })

      const freeNumber = Effect.fnUntraced(function* () {
        const next = Option.getOrNull(yield* repo.nextNumber)?.boxNo ?? null
        return next ?? (yield* new BoxNumbersExhausted({ detail: "All numbers from 1 to 99999 were given out." }))
      })

      const takeNumber = Effect.fnUntraced(function* (wanted: number | null) {
        yield* repo.lockNumbers
        const boxNo = wanted ?? (yield* freeNumber())
        if (yield* repo.useNumber(boxNo)) return boxNo
        return yield* new BoxNumberTaken({ detail: `The number ${boxNo} is in use or was used before.`, boxNo })
      })

      const occupiedAbove = (boxNo: number, above: number) => Effect.andThen(repo.lockSlots(boxNo, above), repo.occupied(boxNo, above))

      return Boxes.of({
        get,
        list: Effect.fn("Boxes.list")((params) => repo.list(params)),
        create: Effect.fn("Boxes.create")((box) =>
          db.transaction(
            Effect.gen(function* () {
              const { capacity, description } = box
              const boxNo = yield* takeNumber(box.boxNo)
              yield* repo.insert({ boxNo, description, capacity })
              yield* repo.addSlots(boxNo, capacity)
              yield* designate(boxNo, box.designatedTypeIds ?? [])
              const made = yield* Effect.orDie(get(boxNo))
              yield* record("created", boxNo, null, made)
              return made
            })
          )
        ),
        createMany: Effect.fn("Boxes.createMany")(function* (boxes) {
          if (boxes.length === 0) return new Map<number, number>()
          yield* repo.lockNumbers
          const made = yield* repo.insertUnused(boxes)
          yield* Effect.forEach(made, (box) => record("created", box.boxNo, null, box), { discard: true })
          return new Map(made.map(({ boxNo, capacity }) => [boxNo, capacity]))
        }),
        capacities: Effect.fn("Boxes.capacities")((boxNos) =>
          boxNos.length === 0 ? Effect.succeed(new Map<number, number>()) : repo.capacities(boxNos)
        ),
        edit: Effect.fn("Boxes.edit")((boxNo, edit, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(boxNo, ifMatch)
              const { capacity, description } = { ...before, ...edit }
              if (edit.designatedTypeIds !== undefined) yield* designate(boxNo, edit.designatedTypeIds ?? [])
              if (capacity < before.capacity) {
                const occupied = yield* occupiedAbove(boxNo, capacity)
                if (occupied.length > 0) {
                  return yield* new SlotsOccupied({
                    detail: `${slotsOf(boxNo, occupied)} would go with a capacity of ${capacity}, but ${occupied.length === 1 ? "it holds" : "they hold"} stock.`,
                    boxNo,
                    locations: occupied.map((locNo) => labelled({ boxNo, locNo }))
                  })
                }
                yield* repo.removeSlots(boxNo, capacity)
              }
              if (capacity > before.capacity) yield* repo.addSlots(boxNo, capacity)
              yield* repo.update({ boxNo, description, capacity })
              const after = yield* Effect.orDie(get(boxNo))
              yield* record("updated", boxNo, before, after)
              return after
            })
          )
        ),
        remove: Effect.fn("Boxes.remove")((boxNo, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const box = yield* locked(boxNo, ifMatch)
              const occupied = yield* occupiedAbove(boxNo, 0)
              if (occupied.length > 0) {
                return yield* new BoxNotEmpty({
                  detail: `Box ${boxNo} holds stock: ${slotsOf(boxNo, occupied)}.`,
                  boxNo,
                  occupiedSlots: occupied.length,
                  contents: yield* repo.contents(boxNo, 100)
                })
              }
              yield* repo.remove(boxNo)
              yield* record("deleted", boxNo, box, null)
            })
          )
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(BoxesRepo.layer), Layer.provide(Changes.layer))
}

/** `7-3, 7-4, 7-9 and 5 more`: enough for a sentence. */
const slotsOf = (boxNo: number, locNos: ReadonlyArray<number>) => {
  const named = locNos.slice(0, 3).map((locNo) => formatSlot({ boxNo, locNo }))
  const more = locNos.length - named.length
  return `${named.join(", ")}${more === 0 ? "" : ` and ${more} more`}`
}
