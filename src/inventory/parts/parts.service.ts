import { Context, Effect, Layer, Option, Random } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import type { InvalidRequest, PreconditionFailed } from "#platform/http/problems.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import type { SellerLinkExists, SellerPartNumberTaken } from "../sellers/seller.ts"
import { SellerLinks } from "../sellers/seller-links.service.ts"
import {
  applyEdit,
  type BarcodeTaken,
  type BulkEdit,
  descriptionHash,
  type Id4,
  id4Count,
  Id4SpaceExhausted,
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
  randomId4,
  type TagCount,
  type TagRename
} from "./part.ts"
import { PartIds } from "./part-ids.service.ts"
import { PartsRepo } from "./parts.repo.ts"

type Missing = PartNotFound | PartRetired

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
    readonly create: (
      part: NewPart
    ) => Effect.Effect<Part, BarcodeTaken | Id4SpaceExhausted | InvalidRequest | SellerLinkExists | SellerPartNumberTaken>
    /**
     * Inserts many parts inside a transaction, without stock and links and without recording each as a change: for imports.
     * A part without id gets one that is not reserved; the answer has the ids in the order of the parts. An id that is in use or
     * retired is a defect.
     */
    readonly insertMany: (
      parts: ReadonlyArray<{ readonly id4: Id4 | null; readonly fields: PartFields }>,
      reserved?: (id4: string) => boolean
    ) => Effect.Effect<ReadonlyArray<Id4>, BarcodeTaken | Id4SpaceExhausted | InvalidRequest, Transaction>
    /** The parts that rows of a list may mean. Part numbers are squashed; descriptions are those of rows without one. */
    readonly candidates: (by: {
      readonly ids: ReadonlyArray<string>
      readonly manufacturerCodes: ReadonlyArray<string>
      readonly descriptions: ReadonlyArray<string>
    }) => Effect.Effect<ReadonlyArray<PartRow>>
    /** Which of the barcodes belong to which parts. */
    readonly barcodeHolders: (barcodes: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, string>>
    /**
     * Gives many parts other fields inside a transaction, without recording each as a change: for imports. Answers false when
     * someone changed one of them since `before` was read: then not all is written, and the caller must undo the rest.
     */
    readonly editMany: (
      edits: ReadonlyArray<{ readonly before: PartRow; readonly fields: PartFields }>
    ) => Effect.Effect<boolean, BarcodeTaken | InvalidRequest, Transaction>
    readonly edit: (
      id4: Id4,
      edit: PartEdit,
      ifMatch: IfMatch
    ) => Effect.Effect<Part, Missing | BarcodeTaken | InvalidRequest | PreconditionFailed>
    readonly bulkEdit: (edit: BulkEdit) => Effect.Effect<{ readonly changed: number; readonly unchanged: number }, Missing | InvalidRequest>
    readonly remove: (id4: Id4, ifMatch: IfMatch) => Effect.Effect<void, Missing | PartInUse | PreconditionFailed>
    readonly tags: (prefix: string | undefined, params: PageParams) => Effect.Effect<Page<TagCount>, InvalidCursor | InvalidRequest>
    /** Answers how many parts changed. */
    readonly renameTag: (rename: TagRename) => Effect.Effect<number>
  }
>()("inventory/Parts") {
  static readonly layerNoDeps = Layer.effect(
    Parts,
    Effect.gen(function* () {
      const repo = yield* PartsRepo
      const ids = yield* PartIds
      const links = yield* SellerLinks
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes

      const orMissing = (id4: Id4) => (found: Option.Option<Part>) => (Option.isSome(found) ? Effect.succeed(found.value) : ids.missing(id4))
      const get = Effect.fn("Parts.get")((id4: Id4) => Effect.flatMap(repo.find(id4), orMissing(id4)))
      const locked = (id4: Id4, ifMatch: IfMatch) =>
        repo.lock(id4).pipe(
          Effect.flatMap(orMissing(id4)),
          Effect.tap((part) => checkVersion(ifMatch, part.version))
        )
      const record = (action: string, id4: string, before: unknown, after: unknown) =>
        changes.record({ topic: "part", action, entity: "part", entityId: id4, before, after })

      // 23^4 labels. With 28,000 in use one draw in ten is taken, thirteen in a row once in 10^13.
      const draws = 12
      type Pending = { readonly at: number; readonly id4: Id4 | null; readonly fields: PartFields }
      const insertDrawn: (
        pending: ReadonlyArray<Pending>,
        given: Map<number, Id4>,
        avoid: (id4: string) => boolean,
        draw: number
      ) => Effect.Effect<void, Id4SpaceExhausted | InvalidRequest, Transaction> = Effect.fnUntraced(function* (pending, given, avoid, draw) {
        const next = draw < draws ? [] : yield* repo.nextFree(yield* Random.nextIntBetween(0, id4Count, { halfOpen: true }))
        const free = next.filter((id4) => !avoid(id4))
        if (draw >= draws && free.length === 0) return yield* new Id4SpaceExhausted({ detail: "All labels that can be drawn are used." })
        const drawn = new Map<Id4, Pending>()
        const later: Array<Pending> = []
        for (const part of pending) {
          const id4 = part.id4 ?? (draw < draws ? yield* randomId4 : (free.shift() as Id4 | undefined))
          if (id4 === undefined || drawn.has(id4) || (part.id4 === null && avoid(id4))) later.push(part)
          else drawn.set(id4, part)
        }
        const inserted = yield* repo.insertFree([...drawn].map(([id4, { fields }]) => ({ id4, fields })))
        for (const [id4, part] of drawn) {
          if (inserted.has(id4)) given.set(part.at, id4)
          else if (part.id4 === null) later.push(part)
          else return yield* Effect.die(new Error(`the label ${id4} is in use`))
        }
        if (later.length > 0) yield* insertDrawn(later, given, avoid, draw + 1)
      })

      const insertMany = Effect.fn("Parts.insertMany")(function* (
        parts: ReadonlyArray<{ readonly id4: Id4 | null; readonly fields: PartFields }>,
        reserved: (id4: string) => boolean = () => false
      ) {
        if (parts.length === 0) return []
        const given = new Map<number, Id4>()
        const named = new Set<string | null>(parts.map(({ id4 }) => id4))
        yield* insertDrawn(
          parts.map((part, at) => ({ ...part, at })),
          given,
          (id4) => named.has(id4) || reserved(id4),
          0
        )
        const all = parts.map(({ fields }, at) => ({ id4: given.get(at) as Id4, ...fields }))
        yield* repo.writeTags(all)
        yield* repo.writeBarcodes(all)
        return all.map(({ id4 }) => id4)
      })

      return Parts.of({
        get,
        list: Effect.fn("Parts.list")((filter, include, params) => repo.list(filter, include.includes("locations"), params)),
        rows: Effect.fn("Parts.rows")((wanted) => (wanted.length === 0 ? Effect.succeed([]) : repo.rows(wanted))),

        create: Effect.fn("Parts.create")(({ sellerLinks, ...fields }) =>
          db.transaction(
            Effect.gen(function* () {
              const [id4] = (yield* insertMany([{ id4: null, fields }])) as [Id4]
              yield* links.attach(id4, sellerLinks)
              yield* index.refresh([id4])
              const part = yield* Effect.orDie(get(id4))
              yield* record("created", id4, null, part)
              return part
            })
          )
        ),

        insertMany,

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
        ),

        editMany: Effect.fn("Parts.editMany")(function* (edits) {
          if (edits.length === 0) return true
          const updated = yield* repo.updateEach(edits.map(({ before, fields }) => ({ id4: before.id4, version: before.version, fields })))
          if (updated.size < edits.length) return false
          const written = edits.map(({ before, fields }) => ({ before, id4: before.id4, tags: fields.tags, barcodes: fields.barcodes }))
          const retagged = written.filter(({ before, tags }) => !sameList(before.tags, tags))
          if (retagged.length > 0) yield* repo.removeTags(retagged.map(({ id4 }) => id4))
          yield* repo.writeTags(retagged)
          const recoded = written.filter(({ barcodes, before }) => !sameList(before.barcodes, barcodes))
          if (recoded.length > 0) yield* repo.removeBarcodes(recoded.map(({ id4 }) => id4))
          yield* repo.writeBarcodes(recoded)
          return true
        }),

        edit: Effect.fn("Parts.edit")((id4, edit, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(id4, ifMatch)
              const fields = applyEdit(before, edit)
              yield* repo.update(id4, fields)
              if (edit.tags !== undefined) yield* repo.replaceTags(id4, fields.tags)
              if (edit.barcodes !== undefined) yield* repo.replaceBarcodes(id4, fields.barcodes)
              yield* index.refresh([id4])
              const after = yield* Effect.orDie(get(id4))
              yield* record("updated", id4, before, after)
              return after
            })
          )
        ),

        bulkEdit: Effect.fn("Parts.bulkEdit")((edit) =>
          db.transaction(
            Effect.gen(function* () {
              const wanted = [...new Set(edit.ids)].sort()
              const before = yield* repo.lockMany(wanted)
              const found = new Set(before.map(({ id4 }) => id4))
              const absent = wanted.find((id4) => !found.has(id4))
              if (absent !== undefined) return yield* ids.missing(absent)

              const retagged = before.map((part) => ({ part, tags: retag(part.tags, edit) }))
              const changed = retagged.filter(({ part, tags }) => differs(part, edit.set) || !sameList(part.tags, tags))
              if (changed.length === 0) return { changed: 0, unchanged: wanted.length }
              const changedIds = changed.map(({ part }) => part.id4)
              yield* repo.updateMany(changedIds, edit.set)
              const tagged = changed.filter(({ part, tags }) => !sameList(part.tags, tags))
              if (tagged.length > 0) {
                yield* repo.removeTags(tagged.map(({ part }) => part.id4))
                yield* repo.writeTags(tagged.map(({ part, tags }) => ({ id4: part.id4, tags })))
              }
              yield* index.refresh(changedIds)
              const after = new Map((yield* repo.rows(changedIds)).map((part) => [part.id4, part]))
              yield* changes.record(
                ...changed.map(({ part }) => ({
                  topic: "part",
                  action: "updated",
                  entity: "part",
                  entityId: part.id4,
                  before: part,
                  after: after.get(part.id4)
                }))
              )
              return { changed: changed.length, unchanged: wanted.length - changed.length }
            })
          )
        ),

        remove: Effect.fn("Parts.remove")((id4, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const part = yield* locked(id4, ifMatch)
              const total = yield* repo.lockStock(id4)
              if (total > 0) {
                return yield* new PartInUse({
                  detail: `${id4} still has ${total} pieces in stock.`,
                  blockedBy: [{ kind: "stock", id: id4, name: `${total} pieces in ${part.locations.map(({ location }) => location).join(", ")}` }]
                })
              }
              const { principal } = yield* CurrentRequest
              yield* repo.retire(id4, part.description, principal)
              yield* record("deleted", id4, part, null)
            })
          )
        ),

        tags: Effect.fn("Parts.tags")((prefix, params) => repo.tags(prefix, params)),

        renameTag: Effect.fn("Parts.renameTag")(({ from, to }) =>
          db.transaction(
            Effect.gen(function* () {
              if (from === to) return 0
              const wanted = yield* repo.lockTagged(from)
              if (wanted.length === 0) return 0
              const tags = (yield* repo.tagsOf(wanted)).map((part) => ({ id4: part.id4, tags: [...new Set(part.tags.map((tag) => (tag === from ? to : tag)))] }))
              yield* repo.removeTags(wanted)
              yield* repo.writeTags(tags)
              yield* Effect.orDie(repo.updateMany(wanted, {}))
              yield* index.refresh(wanted)
              yield* changes.record({ topic: "part", action: "updated", entity: "part-tag", entityId: from, before: { tag: from }, after: { tag: to, parts: wanted.length } })
              return wanted.length
            })
          )
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([PartsRepo.layer, PartIds.layer, SellerLinks.layer, SearchIndex.layer, Changes.layer])
  )
}

const sameList = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => a.length === b.length && a.every((item, index) => item === b[index])

const differs = (part: PartRow, set: BulkEdit["set"]) =>
  (Object.keys(set) as Array<keyof BulkEdit["set"]>).some((name) => part[name] !== set[name])

const retag = (tags: ReadonlyArray<string>, { addTags, removeTags }: Pick<BulkEdit, "addTags" | "removeTags">) => [
  ...new Set([...tags.filter((tag) => !removeTags.includes(tag)), ...addTags])
]
