import { Clock, Context, Data, Effect, Layer } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import type { BoxNumbersExhausted } from "../boxes/box.ts"
import { Boxes } from "../boxes/boxes.service.ts"
import { id4Count, type PartFields, textFields } from "../parts/part.ts"
import { Parts } from "../parts/parts.service.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import type { SellerId } from "../sellers/seller.ts"
import { type PrimarySeller, SellerLinks } from "../sellers/seller-links.service.ts"
import { Sellers } from "../sellers/sellers.service.ts"
import type { TypeId } from "../types/type.ts"
import { Types } from "../types/types.service.ts"
import { sellers as shops, typeNames } from "./catalogue.ts"
import { SampleRepo } from "./sample.repo.ts"
import { SampleLedger, type SamplePart, type SampleSize, sampleBoxes, sampleParts } from "./sample.ts"

export class InstanceNotEmpty extends Data.TaggedError("InstanceNotEmpty")<object> {
  override get message() {
    return "This instance holds parts or boxes already. With --yes the sample is added to them."
  }
}

export class TooFewLabels extends Data.TaggedError("TooFewLabels")<{ readonly free: number }> {
  override get message() {
    return `Only ${this.free} labels are left for new parts.`
  }
}

export type Report = (what: "parts" | "bookings" | "stock", done: number, total: number) => Effect.Effect<void>

export class Samples extends Context.Service<
  Samples,
  {
    /**
     * Adds made-up data for trials and benchmarks, all or nothing. The same size and seed make the same rows on the same day; on
     * another day all times, and the ids made of them, are shifted by whole days.
     */
    readonly create: (
      size: SampleSize,
      options: { readonly beside: boolean; readonly report: Report }
    ) => Effect.Effect<void, InstanceNotEmpty | TooFewLabels | BoxNumbersExhausted>
  }
>()("inventory/Samples") {
  static readonly layerNoDeps = Layer.effect(
    Samples,
    Effect.gen(function* () {
      const repo = yield* SampleRepo
      const boxes = yield* Boxes
      const parts = yield* Parts
      const types = yield* Types
      const sellers = yield* Sellers
      const links = yield* SellerLinks
      const index = yield* SearchIndex
      const changes = yield* Changes
      const db = yield* Db

      const createBoxes = Effect.fnUntraced(function* (size: SampleSize, typeIds: ReadonlyMap<string, TypeId>) {
        return yield* Effect.forEach(sampleBoxes(size), (box) =>
          Effect.map(
            boxes.create({
              boxNo: null,
              description: box.description,
              capacity: box.capacity,
              designatedTypeIds: box.designated ? [typeIds.get(box.type)!] : []
            }),
            ({ boxNo }) => ({ ...box, boxNo })
          ).pipe(Effect.catchTag("InvalidRequest", Effect.die))
        )
      })

      const createParts = Effect.fnUntraced(function* (
        made: ReadonlyArray<SamplePart>,
        typeIds: ReadonlyMap<string, TypeId>,
        sellerIds: ReadonlyMap<string, SellerId>
      ) {
        yield* Effect.orDie(parts.insertMany(made.map((part) => ({ id4: part.id4, fields: fieldsOf(part, typeIds) }))))
        yield* repo.backdate(made)
        // The last one attached is the primary one.
        for (const nth of [1, 0]) {
          yield* links.attachMany(made.flatMap((part) => linkOf(part, nth, sellerIds)))
        }
        yield* index.refresh(made.map(({ id4 }) => id4))
      })

      const createAll = Effect.fnUntraced(function* (size: SampleSize, beside: boolean, report: Report) {
        yield* repo.lock
        if (!beside && !(yield* repo.isEmpty)) return yield* new InstanceNotEmpty()
        const { principal } = yield* CurrentRequest
        // Midnight, so that every sample of a day is the same.
        const until = Math.floor((yield* Clock.currentTimeMillis) / day) * day
        const typeIds = yield* types.ensure(typeNames)
        const sellerIds = yield* sellers.ensure(shops.map(({ name }) => name))
        const ledger = new SampleLedger(size, until, yield* createBoxes(size, typeIds))

        const taken = yield* repo.labels
        const free = id4Count - taken.size - labelsPassedOver
        if (size.parts > free) return yield* new TooFewLabels({ free: Math.max(free, 0) })
        const ids: Array<string> = []
        for (const made of chunks(
          sampleParts(size, until, (id4) => taken.has(id4)),
          1000
        )) {
          yield* createParts(made, typeIds, sellerIds)
          for (const { catalogue, id4 } of made) {
            ids.push(id4)
            ledger.addPart(catalogue)
          }
          yield* report("parts", ids.length, size.parts)
        }

        const idOf = (part: number) => ids[part]!
        let booked = 0
        for (const operations of chunks(ledger.operations(), 5000)) {
          yield* repo.insertOperations(operations, principal, idOf)
          booked += operations.length
          yield* report("bookings", booked, size.operations)
        }
        for (const stock of chunks(ledger.stock(), 5000)) {
          yield* repo.insertStock(stock, idOf)
          yield* report("stock", stock.at(-1)!.part + 1, size.parts)
        }
        yield* changes.record({
          topic: "inventory-sample",
          action: "created",
          entity: "inventory-sample",
          entityId: String(size.seed),
          after: size
        })
      }) as (
        size: SampleSize,
        beside: boolean,
        report: Report
      ) => Effect.Effect<void, InstanceNotEmpty | TooFewLabels | BoxNumbersExhausted, Transaction>

      return Samples.of({
        create: Effect.fn("Samples.create")((size, { beside, report }) =>
          Effect.andThen(db.transaction(createAll(size, beside, report)), repo.settle)
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([
      SampleRepo.layer,
      Boxes.layer,
      Parts.layer,
      Types.layer,
      Sellers.layer,
      SellerLinks.layer,
      SearchIndex.layer,
      Changes.layer
    ])
  )
}

const day = 86_400_000

/** More than there are offensive labels, which are never drawn. */
const labelsPassedOver = 100

const noTexts = Object.fromEntries(Object.keys(textFields).map((name) => [name, null])) as Record<keyof typeof textFields, null>

const fieldsOf = ({ catalogue, minQuantity }: SamplePart, typeIds: ReadonlyMap<string, TypeId>): PartFields => {
  const { bag: _, tags, type, ...texts } = catalogue
  return {
    pinCount: null,
    productPage: null,
    kicad: null,
    barcodes: [],
    ...noTexts,
    ...texts,
    tags,
    minQuantity,
    typeId: typeIds.get(type)!
  }
}

const linkOf = ({ id4, links }: SamplePart, nth: number, sellerIds: ReadonlyMap<string, SellerId>): ReadonlyArray<PrimarySeller> => {
  const link = links[nth]
  return link === undefined
    ? []
    : [{ id4, sellerId: sellerIds.get(shops[link.seller]!.name)!, link: link.link, sellerPartNumbers: [link.number] }]
}

function* chunks<A>(all: Iterable<A>, size: number): Generator<ReadonlyArray<A>, void, undefined> {
  let chunk: Array<A> = []
  for (const item of all) {
    if (chunk.push(item) < size) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}
