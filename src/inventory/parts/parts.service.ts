import { isDeepStrictEqual } from "node:util"
import { Clock, Context, Effect, Layer, Option, Random, Semaphore } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import { type InvalidRequest, invalidField, type PreconditionFailed } from "#platform/http/problems.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import { DocumentsOfParts } from "../documents/documents-of-parts.service.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import type { SellerLinkExists, SellerPartNumberTaken } from "../sellers/seller.ts"
import { SellerLinks } from "../sellers/seller-links.service.ts"
import {
  applyEdit,
  type BarcodeTaken,
  type BulkEdit,
  descriptionHash,
  freeId4s,
  type Id4,
  Id4SpaceExhausted,
  id4Count,
  id4Number,
  type ListedPart,
  type NewPart,
  type Part,
  type PartEdit,
  type PartFields,
  PartInUse,
  type PartNotFound,
  type PartRetired,
  type PartRow,
  type PartsFilter,
  randomId4
} from "./part.ts"
import { PartIds } from "./part-ids.service.ts"
import { mostTags } from "./part-tag.ts"
import { PartsRepo } from "./parts.repo.ts"

type Missing = PartNotFound | PartRetired

// 23^4 labels. With 28,000 in use one draw in ten is taken, thirteen in a row once in 10^13.
const draws = 12
const usedLabelsKeptMs = 1000

export class Parts extends Context.Service<
  Parts,
  {
    readonly get: (id4: Id4) => Effect.Effect<Part, Missing>
    readonly list: (
      filter: PartsFilter,
      include: ReadonlyArray<"locations">,
      params: PageParams & { readonly sort?: string | undefined }
    ) => Effect.Effect<Page<ListedPart>, InvalidCursor | InvalidRequest>
    /** Rows of these parts, in no particular order; unknown ids are left out. */
    readonly rows: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<PartRow>>
    /** The part, which nobody else changes before the transaction ends. */
    readonly lock: (id4: Id4) => Effect.Effect<Part, Missing, Transaction>
    readonly create: (
      part: NewPart
    ) => Effect.Effect<Part, BarcodeTaken | Id4SpaceExhausted | InvalidRequest | SellerLinkExists | SellerPartNumberTaken>
    readonly edit: (
      id4: Id4,
      edit: PartEdit,
      ifMatch: IfMatch
    ) => Effect.Effect<Part, Missing | BarcodeTaken | InvalidRequest | PreconditionFailed>
    readonly bulkEdit: (edit: BulkEdit) => Effect.Effect<{ readonly changed: number; readonly unchanged: number }, Missing | InvalidRequest>
    readonly remove: (id4: Id4, ifMatch: IfMatch) => Effect.Effect<void, Missing | PartInUse | PreconditionFailed>
    /**
     * Inserts many parts inside a transaction, without stock and links and without recording each as a change: for imports.
     * A part without id gets one that is not reserved; the answer has the ids in the order of the parts. An id that is in use or
     * retired is a defect.
     */
    readonly insertMany: (
      parts: ReadonlyArray<{ readonly id4: Id4 | null; readonly fields: PartFields }>,
      reserved?: (id4: string) => boolean
    ) => Effect.Effect<ReadonlyArray<Id4>, BarcodeTaken | Id4SpaceExhausted | InvalidRequest, Transaction>
    /**
     * Gives many parts other fields inside a transaction, without recording each as a change: for imports. Answers false, and writes
     * nothing, when someone changed one of them since `before` was read.
     */
    readonly editMany: (
      edits: ReadonlyArray<{ readonly before: PartRow; readonly fields: PartFields }>
    ) => Effect.Effect<boolean, BarcodeTaken | InvalidRequest, Transaction>
    /** The parts that rows of a list may mean. Part numbers are squashed; descriptions are those of rows without one. */
    readonly candidates: (by: {
      readonly ids: ReadonlyArray<string>
      readonly manufacturerCodes: ReadonlyArray<string>
      readonly descriptions: ReadonlyArray<string>
    }) => Effect.Effect<ReadonlyArray<PartRow>>
    /** Which of the barcodes belong to which parts. */
    readonly barcodeHolders: (barcodes: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, string>>
  }
>()("inventory/Parts") {
  static readonly layerNoDeps = Layer.effect(
    Parts,
    Effect.gen(function* () {
      const repo = yield* PartsRepo
      const ids = yield* PartIds
      const links = yield* SellerLinks
      const documents = yield* DocumentsOfParts
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes

      const orMissing = (id4: Id4) => (found: Option.Option<Part>) =>
        Option.isSome(found) ? Effect.succeed(found.value) : ids.missing(id4)
      const get = Effect.fn("Parts.get")((id4: Id4) => Effect.flatMap(repo.find(id4), orMissing(id4)))
      const change = (action: string, id4: string, before: unknown, after: unknown): NewChange => ({
        topic: "part",
        action,
        entity: "part",
        entityId: id4,
        before,
        after
      })

      // A label that was given out never becomes free again, so what is known of them stays right, and only grows. Read beside the
      // transaction: what that rolls back was not given out.
      const taken = new Uint8Array(id4Count)
      const reading = yield* Semaphore.make(1)
      let readAt = Number.NEGATIVE_INFINITY
      const readUsed = reading.withPermits(1)(
        Effect.gen(function* () {
          const now = Number(yield* Clock.monotonicTimeNanos) / 1e6
          if (now - readAt < usedLabelsKeptMs) return
          const used = yield* db.outside(repo.usedLabels)
          for (let at = 0; at < used.length; at += 4) taken[id4Number(used.slice(at, at + 4))] = 1
          readAt = now
        })
      )

      /** The next labels that nobody has or had, as far as is known, from a random one on. */
      const nextLabels = Effect.fnUntraced(function* (refused: (id4: string) => boolean) {
        yield* readUsed
        const from = yield* Random.nextIntBetween(0, id4Count, { halfOpen: true })
        return freeId4s(from, taken, refused)
      })

      /** A label that is taken is drawn again; after too many draws the free ones are looked for. */
      const insertLabelled = Effect.fnUntraced(function* (
        parts: ReadonlyArray<{ readonly id4: Id4 | null; readonly fields: PartFields }>,
        reserved: (id4: string) => boolean
      ) {
        const labels = new Map<number, Id4>()
        const tried = new Set<string>()
        let pending = parts.map((part, at) => ({ ...part, at }))
        for (let draw = 0; pending.length > 0; draw++) {
          const next = draw < draws ? undefined : yield* nextLabels((id4) => tried.has(id4) || reserved(id4))
          const drawn = new Map<Id4, (typeof pending)[number]>()
          for (const part of pending) {
            const id4 = part.id4 ?? (next === undefined ? yield* randomId4 : next.next().value)
            if (id4 !== undefined && !drawn.has(id4) && (part.id4 !== null || !reserved(id4))) drawn.set(id4, part)
          }
          if (next !== undefined && drawn.size === 0) {
            return yield* new Id4SpaceExhausted({ detail: "Every label that can be drawn was given out." })
          }
          const inserted = yield* repo.insertFree(Array.from(drawn, ([id4, { fields }]) => ({ id4, fields })))
          for (const [id4, { at }] of drawn) {
            if (inserted.has(id4)) labels.set(at, id4)
            else tried.add(id4)
          }
          pending = pending.filter(({ at }) => !labels.has(at))
          const taken = pending.find(({ id4 }) => id4 !== null)
          if (taken !== undefined) return yield* Effect.die(new Error(`the label ${taken.id4} is in use`))
        }
        return parts.map(({ fields }, at) => ({ id4: labels.get(at)!, ...fields }))
      })

      const insertMany: Parts["Service"]["insertMany"] = Effect.fn("Parts.insertMany")(function* (parts, reserved = () => false) {
        if (parts.length === 0) return []
        const named = new Set<string | null>(parts.map(({ id4 }) => id4))
        const inserted = yield* insertLabelled(parts, (id4) => named.has(id4) || reserved(id4))
        yield* repo.writeTags(inserted)
        yield* repo.writeBarcodes(inserted)
        return inserted.map(({ id4 }) => id4)
      })

      /** Writes what differs. The rows of the parts are held. */
      const rewrite = Effect.fnUntraced(function* (edits: ReadonlyArray<{ readonly before: PartRow; readonly fields: PartFields }>) {
        const after = edits.map(({ before, fields }) => ({ id4: before.id4, before, ...fields }))
        const retagged = after.filter(({ before, tags }) => !sameList(before.tags, tags))
        const recoded = after.filter(({ barcodes, before }) => !sameList(before.barcodes, barcodes))
        yield* repo.update(edits.map(({ before, fields }) => ({ id4: before.id4, fields })))
        yield* repo.removeTags(retagged.map(({ id4 }) => id4))
        yield* repo.writeTags(retagged)
        yield* repo.removeBarcodes(recoded.map(({ id4 }) => id4))
        yield* repo.writeBarcodes(recoded)
      })

      const create = Effect.fnUntraced(function* ({ sellerLinks, ...fields }: NewPart) {
        const [id4] = yield* insertMany([{ id4: null, fields }])
        yield* links.attach(id4!, sellerLinks)
        yield* index.refresh([id4!])
        const part = yield* Effect.orDie(get(id4!))
        yield* changes.record(change("created", part.id4, null, part))
        return part
      })

      const edit = Effect.fnUntraced(function* (id4: Id4, edit: PartEdit, ifMatch: IfMatch) {
        if (edit.minQuantity !== undefined) yield* repo.lockStock([id4])
        const before = yield* Effect.flatMap(repo.lock(id4), orMissing(id4))
        yield* checkVersion(ifMatch, before.version)
        const fields = applyEdit(before, edit)
        if (isDeepStrictEqual(fields, before)) return before
        yield* rewrite([{ before, fields }])
        yield* index.refresh([id4])
        const after = yield* Effect.orDie(get(id4))
        yield* changes.record(change("updated", id4, before, after))
        return after
      })

      const bulkEdit = Effect.fnUntraced(function* (edit: BulkEdit) {
        const wanted = [...new Set(edit.ids)]
        if (edit.set.minQuantity !== undefined) yield* repo.lockStock(wanted)
        const parts = yield* repo.lockMany(wanted)
        const absent = wanted.find((wantedId) => !parts.some(({ id4 }) => id4 === wantedId))
        if (absent !== undefined) return yield* ids.missing(absent)

        const changed = parts
          .map((before) => ({ before, id4: before.id4, tags: retag(before.tags, edit) }))
          .filter(({ before, tags }) => differs(before, edit.set) || !sameList(before.tags, tags))
        if (changed.length === 0) return { changed: 0, unchanged: parts.length }
        const crowded = changed.find(({ tags }) => tags.length > mostTags)
        if (crowded !== undefined) {
          return yield* invalidField("body", "/addTags", `${crowded.id4} would have ${crowded.tags.length} tags; ${mostTags} are possible`)
        }
        const retagged = changed.filter(({ before, tags }) => !sameList(before.tags, tags))
        const changedIds = changed.map(({ id4 }) => id4)
        yield* repo.updateMany(changedIds, edit.set)
        yield* repo.removeTags(retagged.map(({ id4 }) => id4))
        yield* repo.writeTags(retagged)
        yield* index.refresh(changedIds)
        const after = new Map((yield* repo.rows(changedIds)).map((part) => [part.id4, part]))
        yield* changes.record(...changed.map(({ before, id4 }) => change("updated", id4, before, after.get(id4))))
        return { changed: changed.length, unchanged: parts.length - changed.length }
      })

      const remove = Effect.fnUntraced(function* (id4: Id4, ifMatch: IfMatch) {
        yield* documents.lockObjectsOf(id4)
        yield* repo.lockStock([id4])
        const part = yield* Effect.flatMap(repo.lockWhole(id4), orMissing(id4))
        yield* checkVersion(ifMatch, part.version)
        if (part.totalQuantity > 0) {
          const places = part.locations.map(({ location }) => location).join(", ")
          return yield* new PartInUse({
            detail: `${id4} still has ${part.totalQuantity} pieces in stock.`,
            blockedBy: [{ kind: "stock", id: id4, name: `${part.totalQuantity} pieces in ${places}` }]
          })
        }
        const { principal } = yield* CurrentRequest
        yield* documents.removeAllOf(id4)
        yield* repo.retire(id4, part.description, principal)
        yield* changes.record(change("deleted", id4, part, null))
      })

      return Parts.of({
        get,
        list: Effect.fn("Parts.list")((filter, include, params) => repo.list(filter, include.includes("locations"), params)),
        rows: Effect.fn("Parts.rows")((wanted) => (wanted.length === 0 ? Effect.succeed([]) : repo.rows(wanted))),
        lock: Effect.fn("Parts.lock")((id4) => Effect.flatMap(repo.lock(id4), orMissing(id4))),
        create: Effect.fn("Parts.create")((part) => db.transaction(create(part))),
        edit: Effect.fn("Parts.edit")((id4, patch, ifMatch) => db.transaction(edit(id4, patch, ifMatch))),
        bulkEdit: Effect.fn("Parts.bulkEdit")((patch) => db.transaction(bulkEdit(patch))),
        remove: Effect.fn("Parts.remove")((id4, ifMatch) => db.transaction(remove(id4, ifMatch))),

        insertMany,
        editMany: Effect.fn("Parts.editMany")(function* (edits) {
          if (edits.length === 0) return true
          const wanted = edits.map(({ before }) => before.id4)
          if (edits.some(({ before, fields }) => before.minQuantity !== fields.minQuantity)) yield* repo.lockStock(wanted)
          const held = new Map((yield* repo.lockMany(wanted)).map((part) => [part.id4, part.version]))
          if (edits.some(({ before }) => held.get(before.id4) !== before.version)) return false
          yield* rewrite(edits)
          return true
        }),
        candidates: Effect.fn("Parts.candidates")(({ descriptions, ids, manufacturerCodes }) => {
          const hashes = descriptions.flatMap((description) => descriptionHash({ description, manufacturerCode: null }) ?? [])
          return ids.length + manufacturerCodes.length + hashes.length === 0
            ? Effect.succeed([])
            : repo.candidates(ids, manufacturerCodes, hashes)
        }),
        barcodeHolders: Effect.fn("Parts.barcodeHolders")((barcodes) =>
          barcodes.length === 0
            ? Effect.succeed(new Map<string, string>())
            : Effect.map(repo.barcodeHolders(barcodes), (held) => new Map(held.map(({ barcode, id4 }) => [barcode, id4])))
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([PartsRepo.layer, PartIds.layer, SellerLinks.layer, DocumentsOfParts.layer, SearchIndex.layer, Changes.layer])
  )
}

const sameList = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => a.length === b.length && a.every((item, at) => item === b[at])

const differs = (part: PartRow, { manufacturer, minQuantity, mountingType, package: housing, typeId }: BulkEdit["set"]) =>
  [
    [manufacturer, part.manufacturer],
    [minQuantity, part.minQuantity],
    [mountingType, part.mountingType],
    [housing, part.package],
    [typeId, part.typeId]
  ].some(([wanted, has]) => wanted !== undefined && wanted !== has)

const retag = (tags: ReadonlyArray<string>, { addTags, removeTags }: Pick<BulkEdit, "addTags" | "removeTags">) => [
  ...new Set([...tags.filter((tag) => !removeTags.includes(tag)), ...addTags])
]
