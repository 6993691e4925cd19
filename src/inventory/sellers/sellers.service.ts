import { Context, Effect, Layer, type Option } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import type { InvalidRequest, PreconditionFailed } from "#platform/http/problems.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import { type NewSeller, type Seller, type SellerEdit, type SellerId, SellerInUse, type SellerNameTaken, SellerNotFound } from "./seller.ts"
import { SellerLogos } from "./seller-logos.service.ts"
import { SellersRepo } from "./sellers.repo.ts"

export class Sellers extends Context.Service<
  Sellers,
  {
    readonly get: (id: SellerId) => Effect.Effect<Seller, SellerNotFound>
    readonly list: (
      params: PageParams & { readonly sort?: string | undefined }
    ) => Effect.Effect<Page<Seller>, InvalidCursor | InvalidRequest>
    readonly create: (seller: NewSeller) => Effect.Effect<Seller, SellerNameTaken>
    readonly edit: (
      id: SellerId,
      edit: SellerEdit,
      ifMatch: IfMatch
    ) => Effect.Effect<Seller, SellerNotFound | SellerNameTaken | PreconditionFailed>
    readonly remove: (id: SellerId, ifMatch: IfMatch) => Effect.Effect<void, SellerNotFound | SellerInUse | PreconditionFailed>
    /** Which sellers the names mean, ignoring case; names of none are left out. */
    readonly named: (names: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SellerId>>
    /** As `named`, with a new seller for every name of none. */
    readonly ensure: (names: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, SellerId>, never, Transaction>
  }
>()("inventory/Sellers") {
  static readonly layerNoDeps = Layer.effect(
    Sellers,
    Effect.gen(function* () {
      const repo = yield* SellersRepo
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes
      const logos = yield* SellerLogos

      const orNotFound = (id: SellerId) => (found: Option.Option<Seller>) =>
        Effect.fromOption(found).pipe(
          Effect.mapError(
            () => new SellerNotFound({ detail: id === 0 ? "There is no such seller." : `No seller has the id ${id}.`, sellerId: id })
          )
        )
      const get = Effect.fn("Sellers.get")((id: SellerId) => Effect.flatMap(repo.find(id), orNotFound(id)))
      const locked = (id: SellerId, ifMatch: IfMatch) =>
        repo.lock(id).pipe(
          Effect.flatMap(orNotFound(id)),
          Effect.tap((seller) => checkVersion(ifMatch, seller.version))
        )
      const change = (action: string, id: SellerId, before: Seller | null, after: Seller | null): NewChange => ({
        topic: "seller",
        action,
        entity: "seller",
        entityId: String(id),
        before,
        after
      })

      return Sellers.of({
        get,
        list: Effect.fn("Sellers.list")((params) => repo.list(params)),
        create: Effect.fn("Sellers.create")((seller) =>
          db.transaction(
            Effect.gen(function* () {
              const id = yield* repo.insert(seller)
              const made = yield* Effect.orDie(get(id))
              yield* changes.record(change("created", id, null, made))
              yield* logos.wantIcon(made)
              return made
            })
          )
        ),
        edit: Effect.fn("Sellers.edit")((id, edit, ifMatch) =>
          db
            .transaction(
              Effect.gen(function* () {
                const before = yield* locked(id, ifMatch)
                yield* repo.update(id, { ...before, ...edit })
                const after = yield* Effect.orDie(get(id))
                if (after.name !== before.name) yield* index.refreshSeller(id)
                yield* changes.record(change("updated", id, before, after))
                if (after.website !== before.website) yield* logos.wantIcon(after)
                return after
              })
            )
            .pipe(Effect.tap(() => (edit.website === undefined ? Effect.void : logos.tidy(id))))
        ),
        remove: Effect.fn("Sellers.remove")((id, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              yield* logos.lockObjectsOf(id)
              const seller = yield* locked(id, ifMatch)
              if (seller.partCount > 0) {
                return yield* new SellerInUse({
                  detail: `${seller.partCount} parts have a link to ${seller.name}.`,
                  partCount: seller.partCount
                })
              }
              yield* logos.removeAllOf(id)
              yield* repo.remove(id)
              yield* changes.record(change("deleted", id, seller, null))
            })
          )
        ),
        named: Effect.fn("Sellers.named")((names) => repo.named(names)),
        ensure: Effect.fn("Sellers.ensure")(function* (names) {
          const made = yield* Effect.flatMap(repo.insertMissing(names), repo.many)
          yield* changes.record(...made.map((seller) => change("created", seller.id, null, seller)))
          return yield* repo.named(names)
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([SellersRepo.layer, SellerLogos.layer, SearchIndex.layer, Changes.layer]))
}
