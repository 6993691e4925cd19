import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows, run, type Transaction } from "#platform/db/db.ts"
import { squash } from "../search/fold.ts"
import { SellerId, SellerLink, SellerLinkId } from "./seller.ts"

/** A link with the part it belongs to. */
export const LinkOfPart = Schema.Struct({ id4: Schema.String, ...SellerLink.fields })
export type LinkOfPart = typeof LinkOfPart.Type

/** A link as it shall be; without id it is a new one. */
export interface Draft {
  readonly id: SellerLinkId | null
  readonly id4: string
  readonly sellerId: SellerId
  readonly link: string | null
  readonly sellerPartNumbers: ReadonlyArray<string>
  readonly primary: boolean
}

/** A draft of a link that is there. */
export type Known = Draft & { readonly id: SellerLinkId }

/** A number that a link of the part `wantedBy` cannot have, because the part `id4` has it. */
export interface TakenNumber {
  readonly wantedBy: string
  readonly number: string
  readonly id4: string
}

const partIds = rows(Schema.Struct({ id4: Schema.String }))
const sellerIds = rows(Schema.Struct({ id: SellerId }))
const links = rows(LinkOfPart)
const insertedLinks = rows(Schema.Struct({ id: SellerLinkId, id4: Schema.String, sellerId: SellerId }))
const addedNumbers = rows(Schema.Struct({ linkId: SellerLinkId }))
const holders = rows(Schema.Struct({ wantedBy: Schema.String, number: Schema.String, id4: Schema.NullOr(Schema.String) }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const linksOf = (ids: ReadonlyArray<string>) =>
    links(sql`
      select k.part_id4 as id4, k.id, k.seller_id as "sellerId", s.name as "sellerName", k.link,
        array(select n.number from seller_part_numbers n where n.link_id = k.id order by n.position) as "sellerPartNumbers",
        k.is_primary as primary, iso(k.created_at) as "createdAt", iso(k.updated_at) as "updatedAt", k.version::float8 as version
      from seller_links k join sellers s on s.id = k.seller_id
      where ${sql.in("k.part_id4", [...ids])} order by k.part_id4, k.id`)

  return {
    /** Holds the parts to the end of the transaction, so that their links change one writer at a time; answers those that exist. */
    lockParts: Effect.fn("SellerLinksRepo.lockParts")(
      // Not `for update`: that would also stop bookings, whose rows refer to the part.
      (ids: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>, never, Transaction> =>
        Effect.map(
          partIds(sql`select id4 from parts where ${sql.in("id4", [...ids])} order by id4 for no key update`),
          (found) => new Set(found.map(({ id4 }) => id4))
        )
    ),

    /** Those of the sellers that exist; they cannot be deleted before the transaction ends. */
    keepSellers: Effect.fn("SellerLinksRepo.keepSellers")(
      (ids: ReadonlyArray<SellerId>): Effect.Effect<ReadonlySet<SellerId>, never, Transaction> =>
        Effect.map(
          sellerIds(sql`select id from sellers where ${sql.in("id", [...ids])} order by id for key share`),
          (found) => new Set(found.map(({ id }) => id))
        )
    ),

    /** The links of these parts, the oldest of each part first. */
    of: Effect.fn("SellerLinksRepo.of")(linksOf),

    /** No longer primary, to make room for another in the same transaction. */
    clearPrimary: Effect.fn("SellerLinksRepo.clearPrimary")(
      (ids: ReadonlyArray<SellerLinkId>): Effect.Effect<void, never, Transaction> =>
        ids.length === 0
          ? Effect.void
          : run(sql`update seller_links set is_primary = false, version = version + 1, updated_at = now() where ${sql.in("id", [...ids])}`)
    ),

    /** Without their numbers; answers the id of each. */
    insert: Effect.fn("SellerLinksRepo.insert")(function* (drafts: ReadonlyArray<Draft>) {
      if (drafts.length === 0) return new Map()
      const inserted = yield* insertedLinks(sql`
        insert into seller_links (part_id4, seller_id, link, is_primary)
        select d.id4, d."sellerId", d.link, d."primary"
        from rows from (json_to_recordset(${JSON.stringify(drafts)}::json) as (id4 text, "sellerId" integer, link text, "primary" boolean))
          with ordinality as d (id4, "sellerId", link, "primary", position)
        order by d.position
        returning id, part_id4 as id4, seller_id as "sellerId"`)
      const ids = new Map(inserted.map(({ id, id4, sellerId }) => [`${id4} ${sellerId}`, id]))
      return new Map(drafts.map((draft) => [draft, ids.get(`${draft.id4} ${draft.sellerId}`)]))
    }) as (drafts: ReadonlyArray<Draft>) => Effect.Effect<ReadonlyMap<Draft, SellerLinkId>, never, Transaction>,

    /** Without their numbers. */
    update: Effect.fn("SellerLinksRepo.update")(
      (drafts: ReadonlyArray<Known>): Effect.Effect<void, never, Transaction> =>
        drafts.length === 0
          ? Effect.void
          : run(sql`
              update seller_links k
              set seller_id = d."sellerId", link = d.link, is_primary = d."primary", version = k.version + 1, updated_at = now()
              from json_to_recordset(${JSON.stringify(drafts)}::json) as d (id integer, "sellerId" integer, link text, "primary" boolean)
              where k.id = d.id`)
    ),

    removeNumbers: Effect.fn("SellerLinksRepo.removeNumbers")(
      (ids: ReadonlyArray<SellerLinkId>): Effect.Effect<void, never, Transaction> =>
        ids.length === 0 ? Effect.void : run(sql`delete from seller_part_numbers where ${sql.in("link_id", [...ids])}`)
    ),

    /**
     * Gives the links, which have none, their numbers; of one number wanted by two of them the first gets it. Answers what other
     * parts have: the caller must then undo the rest.
     */
    addNumbers: Effect.fn("SellerLinksRepo.addNumbers")(function* (drafts: ReadonlyArray<Known>) {
      const wanted = drafts.flatMap(({ id, id4, sellerId, sellerPartNumbers }) =>
        sellerPartNumbers.map((number, position) => ({ linkId: id, wantedBy: id4, position, sellerId, number, squashed: squash(number) }))
      )
      if (wanted.length === 0) return []
      const list = sql`rows from (json_to_recordset(${JSON.stringify(wanted)}::json)
        as ("linkId" integer, "wantedBy" text, position smallint, "sellerId" integer, number text, squashed text))
        with ordinality as w ("linkId", "wantedBy", position, "sellerId", number, squashed, rank)`

      const attempt: Effect.Effect<ReadonlyArray<TakenNumber>> = Effect.gen(function* () {
        // In one order for all writers: two that want the same numbers wait for each other, and never in a circle.
        const added = yield* addedNumbers(sql`
          insert into seller_part_numbers (link_id, position, seller_id, number, squashed)
          select w."linkId", w.position, w."sellerId", w.number, w.squashed from ${list}
          order by w."sellerId", lower(w.number), w.rank
          on conflict (seller_id, lower(number)) do nothing
          returning link_id as "linkId"`)
        if (added.length === wanted.length) return []
        const missing = yield* holders(sql`
          select w."wantedBy", w.number, k.part_id4 as id4 from ${list}
          left join seller_part_numbers n on n.seller_id = w."sellerId" and lower(n.number) = lower(w.number)
          left join seller_links k on k.id = n.link_id
          where n.link_id is distinct from w."linkId" order by w.rank`)
        const taken = missing.flatMap(({ id4, ...number }) => (id4 === null ? [] : [{ ...number, id4 }]))
        // Whoever had the others gave them up in between.
        return taken.length === missing.length ? taken : yield* attempt
      })
      return yield* attempt
    }) as (drafts: ReadonlyArray<Known>) => Effect.Effect<ReadonlyArray<TakenNumber>, never, Transaction>,

    remove: Effect.fn("SellerLinksRepo.remove")(
      (id: SellerLinkId): Effect.Effect<void, never, Transaction> => run(sql`delete from seller_links where id = ${id}`)
    ),

    promoteOldest: Effect.fn("SellerLinksRepo.promoteOldest")(
      (id4: string): Effect.Effect<void, never, Transaction> =>
        run(sql`
          update seller_links set is_primary = true, version = version + 1, updated_at = now()
          where id = (select min(id) from seller_links where part_id4 = ${id4})`)
    )
  }
})

export class SellerLinksRepo extends Context.Service<SellerLinksRepo, Effect.Success<typeof make>>()("inventory/SellerLinksRepo") {
  static readonly layer = Layer.effect(SellerLinksRepo, make)
}
