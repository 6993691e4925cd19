import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { count, onConstraint, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { type NewSeller, Seller, SellerId, SellerNameTaken } from "./seller.ts"

const one = row(Seller)
const page = rows(Schema.Struct({ ...Seller.fields, ...PageKey }))
const ids = rows(Schema.Struct({ id: SellerId }))
const named = rows(Schema.Struct({ name: Schema.String, id: SellerId }))

const list = {
  list: "sellers",
  sorts: { name: sortKey(`lower(s.name) collate "C"`, "text"), createdAt: sortKey("s.created_at", "timestamptz") },
  defaultSort: "name",
  id: sortKey("s.id", "integer")
}

const nameTaken = (name: string) =>
  onConstraint({ sellers_name_key: () => new SellerNameTaken({ detail: `There is already a seller named ${name}.`, name }) })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { basePath } = yield* AppConfig

  const columns = sql.literal(`s.id, s.name, s.website,
    case when exists (select from seller_logos l where l.seller_id = s.id and (l.icon_of is null or l.icon_of = s.website))
      then '${basePath}/api/sellers/' || s.id || '/logo' end as "logoUrl",
    (select count(*)::int from seller_links k where k.seller_id = s.id) as "partCount",
    iso(s.created_at) as "createdAt", iso(s.updated_at) as "updatedAt", s.version::float8 as version`)

  const find = (id: SellerId): Effect.Effect<Option.Option<Seller>> => one(sql`select ${columns} from sellers s where s.id = ${id}`)

  return {
    find: Effect.fn("SellersRepo.find")(find),

    /**
     * Holds the row to the end of the transaction. Waits for those who are just linking a part to the seller: a count or a refresh
     * of the search would miss their links.
     */
    lock: Effect.fn("SellersRepo.lock")(
      (id: SellerId): Effect.Effect<Option.Option<Seller>, never, Transaction> =>
        Effect.andThen(run(sql`select 1 from sellers where id = ${id} for update`), find(id))
    ),

    list: Effect.fn("SellersRepo.list")(function* (params: PageParams & { readonly sort?: string | undefined }) {
      const keyed = yield* keyset(sql, list, params)
      const found = yield* page(sql`select ${columns}, ${keyed.key} from sellers s where ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from sellers`))
    }),

    insert: Effect.fn("SellersRepo.insert")(
      (seller: NewSeller): Effect.Effect<SellerId, SellerNameTaken, Transaction> =>
        sql<{
          readonly id: SellerId
        }>`insert into sellers ${sql.insert({ name: seller.name, website: seller.website }).returning("id")}`.pipe(
          nameTaken(seller.name),
          Effect.map(([inserted]) => inserted!.id)
        )
    ),

    update: Effect.fn("SellersRepo.update")(
      (id: SellerId, { name, website }: NewSeller): Effect.Effect<void, SellerNameTaken, Transaction> =>
        sql`update sellers set ${sql.update({ name, website })}, version = version + 1, updated_at = now() where id = ${id}`.pipe(
          nameTaken(name),
          Effect.asVoid
        )
    ),

    remove: Effect.fn("SellersRepo.remove")(
      (id: SellerId): Effect.Effect<void, never, Transaction> => run(sql`delete from sellers where id = ${id}`)
    ),

    /** The logo is one of its own fields. */
    touch: Effect.fn("SellersRepo.touch")(
      (id: SellerId): Effect.Effect<void, never, Transaction> =>
        run(sql`update sellers set version = version + 1, updated_at = now() where id = ${id}`)
    ),

    /** Inserts sellers with these names where there are none yet; answers the new ones. */
    insertMissing: Effect.fn("SellersRepo.insertMissing")(
      (names: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<SellerId>, never, Transaction> =>
        Effect.map(
          ids(sql`
            insert into sellers (name) select n.name from unnest(${names}::text[]) with ordinality as n (name, position)
            order by lower(n.name), n.position on conflict (lower(name)) do nothing returning id`),
          (inserted) => inserted.map(({ id }) => id)
        )
    ),

    /** Which sellers the names mean, ignoring case; names of none are left out. */
    named: Effect.fn("SellersRepo.named")((names: ReadonlyArray<string>) =>
      Effect.map(
        named(sql`select n.name, s.id from unnest(${names}::text[]) as n (name) join sellers s on lower(s.name) = lower(n.name)`),
        (found) => new Map(found.map(({ id, name }) => [name, id]))
      )
    ),

    many: Effect.fn("SellersRepo.many")((wanted: ReadonlyArray<SellerId>) =>
      rows(Seller)(sql`select ${columns} from sellers s where ${sql.in("s.id", [...wanted])} order by s.id`)
    )
  }
})

export class SellersRepo extends Context.Service<SellersRepo, Effect.Success<typeof make>>()("inventory/SellersRepo") {
  static readonly layer = Layer.effect(SellersRepo, make)
}
