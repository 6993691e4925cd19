import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { row, rows, run, type Transaction } from "#platform/db/db.ts"
import type { ObjectRef } from "#platform/objects/object.ts"
import type { SellerId } from "./seller.ts"

/** An object that a seller shows, or has shown. */
const Kept = Schema.Struct({ id: Schema.Int, objectId: Schema.Int })

const one = row(Kept)
const many = rows(Kept)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const columns = sql.literal('l.id::float8 as id, l.object_id::float8 as "objectId"')

  // Only the newest uploaded one and the newest icon of the website as it is now are shown, or would be.
  const stale = (seller: SellerId) => sql`
    l.seller_id = ${seller} and (
      (l.icon_of is not null and l.icon_of is distinct from (select website from sellers where id = ${seller}))
      or exists (select from seller_logos newer
        where newer.seller_id = l.seller_id and newer.icon_of is not distinct from l.icon_of and newer.id > l.id))`

  return {
    /** What is shown of the seller. */
    shown: Effect.fn("SellerLogosRepo.shown")(
      (seller: SellerId): Effect.Effect<Option.Option<typeof Kept.Type>> =>
        one(sql`
          select ${columns} from seller_logos l join sellers s on s.id = l.seller_id
          where s.id = ${seller} and (l.icon_of is null or l.icon_of = s.website) order by l.icon_of is not null, l.id desc limit 1`)
    ),

    /** The logo that was uploaded. */
    uploaded: Effect.fn("SellerLogosRepo.uploaded")((seller: SellerId) =>
      one(sql`select ${columns} from seller_logos l where l.seller_id = ${seller} and l.icon_of is null order by l.id desc limit 1`)
    ),

    icon: Effect.fn("SellerLogosRepo.icon")((seller: SellerId, website: string) =>
      one(sql`select ${columns} from seller_logos l where l.seller_id = ${seller} and l.icon_of = ${website} order by l.id desc limit 1`)
    ),

    /** All of them, or only those that were uploaded, or only those that are not shown any more. */
    of: Effect.fn("SellerLogosRepo.of")((seller: SellerId, which: "all" | "uploaded" | "stale") =>
      many(sql`
        select ${columns} from seller_logos l
        where ${which === "stale" ? stale(seller) : sql`l.seller_id = ${seller} ${which === "uploaded" ? sql`and l.icon_of is null` : sql``}`}`)
    ),

    /** With the seller's row held, so that the newest one is the one that was added last. */
    add: Effect.fn("SellerLogosRepo.add")(
      (seller: SellerId, object: ObjectRef, iconOf: string | null): Effect.Effect<void, never, Transaction> =>
        run(sql`insert into seller_logos (seller_id, object_id, icon_of) values (${seller}, ${object.id}, ${iconOf})`)
    ),

    /** Answers the objects of those that were there. */
    remove: Effect.fn("SellerLogosRepo.remove")(
      (wanted: ReadonlyArray<{ readonly id: number }>): Effect.Effect<ReadonlyArray<number>, never, Transaction> =>
        Effect.map(
          many(sql`delete from seller_logos l where l.id = any(${wanted.map(({ id }) => id)}::bigint[]) returning ${columns}`),
          (removed) => removed.map(({ objectId }) => objectId)
        )
    ),

    /** Of these, those that are still not shown. With the seller's row held. */
    removeStale: Effect.fn("SellerLogosRepo.removeStale")(
      (seller: SellerId, wanted: ReadonlyArray<{ readonly id: number }>): Effect.Effect<ReadonlyArray<number>, never, Transaction> =>
        Effect.map(
          many(sql`
            delete from seller_logos l where l.id = any(${wanted.map(({ id }) => id)}::bigint[]) and ${stale(seller)} returning ${columns}`),
          (removed) => removed.map(({ objectId }) => objectId)
        )
    )
  }
})

export class SellerLogosRepo extends Context.Service<SellerLogosRepo, Effect.Success<typeof make>>()("inventory/SellerLogosRepo") {
  static readonly layer = Layer.effect(SellerLogosRepo, make)
}
