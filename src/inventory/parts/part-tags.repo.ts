import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { TagCount } from "./part-tag.ts"

const page = rows(Schema.Struct({ ...TagCount.fields, ...PageKey }))
const Tagged = Schema.Struct({ id4: Schema.String, tags: Schema.Array(Schema.String) })
const tagged = rows(Tagged)
const ids = rows(Schema.Struct({ id4: Schema.String }))

const tag = sortKey("g.tag", "text")
const tags = { list: "part-tags", sorts: { tag }, defaultSort: "tag", id: tag }

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    list: Effect.fn("PartTagsRepo.list")(function* (prefix: string | undefined, params: PageParams) {
      const keyed = yield* keyset(sql, tags, params)
      // A range instead of like: one index scan, and % and _ mean nothing.
      const where = prefix === undefined ? sql`true` : sql`(g.tag >= ${prefix} and g.tag < ${`${prefix}\u{10FFFF}`})`
      const found = yield* page(sql`
        select g.tag, count(*)::int as parts, ${keyed.key} from part_tags g where ${where} and ${keyed.after} group by g.tag ${keyed.order}`)
      return yield* withTotal(
        keyed.toPage(found),
        params,
        count(sql`select count(distinct g.tag)::int as count from part_tags g where ${where}`)
      )
    }),

    /** Holds the rows of the parts that carry the tag, in the order of their ids, and answers their tags. */
    lockTagged: Effect.fn("PartTagsRepo.lockTagged")(
      (tag: string): Effect.Effect<ReadonlyArray<typeof Tagged.Type>, never, Transaction> =>
        ids(
          sql`select id4 from parts where id4 in (select part_id4 from part_tags where tag = ${tag}) order by id4 for no key update`
        ).pipe(
          // Those that lost the tag while they were waited for are left out.
          Effect.flatMap((locked) =>
            tagged(sql`
              select part_id4 as id4, array_agg(tag order by position) as tags from part_tags
              where part_id4 = any(${locked.map(({ id4 }) => id4)}::text[]) group by part_id4 having bool_or(tag = ${tag}) order by part_id4`)
          )
        )
    ),

    /** Raises the versions of the parts, whose rows are held. Of two tags that become one the first stays. */
    rename: Effect.fn("PartTagsRepo.rename")(
      (parts: ReadonlyArray<string>, from: string, to: string): Effect.Effect<void, never, Transaction> =>
        run(sql`
          delete from part_tags g using part_tags first
          where g.part_id4 = any(${parts}::text[]) and first.part_id4 = g.part_id4 and first.position < g.position
            and g.tag in (${from}, ${to}) and first.tag in (${from}, ${to})`).pipe(
          Effect.andThen(run(sql`update part_tags set tag = ${to} where part_id4 = any(${parts}::text[]) and tag = ${from}`)),
          Effect.andThen(run(sql`update parts set version = version + 1, updated_at = now() where id4 = any(${parts}::text[])`))
        )
    )
  }
})

export class PartTagsRepo extends Context.Service<PartTagsRepo, Effect.Success<typeof make>>()("inventory/PartTagsRepo") {
  static readonly layer = Layer.effect(PartTagsRepo, make)
}
