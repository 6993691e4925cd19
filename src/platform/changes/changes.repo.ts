import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, rows, run, type Transaction } from "../db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "../db/paging.ts"
import { CurrentRequest } from "../http/request.ts"
import { Change, type NewChange } from "./change.ts"

export interface ChangesFilter {
  readonly topic?: string | undefined
  readonly entity?: string | undefined
  readonly entityId?: string | undefined
  readonly principal?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
}

const Found = rows(Schema.Struct({ ...Change.fields, ...PageKey }))

const seq = sortKey("c.seq", "bigint")

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const whereOf = (filter: ChangesFilter) =>
    sql.and([
      sql`true`,
      ...(["topic", "entity", "principal"] as const).flatMap((name) =>
        filter[name] === undefined ? [] : [sql`${sql(`c.${name}`)} = ${filter[name]}`]
      ),
      ...(filter.entityId === undefined ? [] : [sql`c.entity_id = ${filter.entityId}`]),
      ...(filter.from === undefined ? [] : [sql`c.at >= ${filter.from}::timestamptz`]),
      ...(filter.to === undefined ? [] : [sql`c.at < ${filter.to}::timestamptz`])
    ])

  return {
    insert: Effect.fn("ChangesRepo.insert")(function* (changes: ReadonlyArray<NewChange>, table: "changes" | "deferred_changes") {
      const { principal, requestId } = yield* CurrentRequest
      yield* run(sql`
        insert into ${sql(table)} (principal, request_id, topic, action, entity, entity_id, before, after)
        select ${principal}, ${requestId}::text, c.topic, c.action, c.entity, c."entityId", c.before, c.after
        from json_to_recordset(${JSON.stringify(changes)}::json)
          as c (topic text, action text, entity text, "entityId" text, before jsonb, after jsonb)`)
    }) as (changes: ReadonlyArray<NewChange>, table: "changes" | "deferred_changes") => Effect.Effect<void, never, Transaction>,

    insertDeferred: run(sql`
      with mine as (delete from deferred_changes returning *)
      insert into changes (principal, request_id, topic, action, entity, entity_id, before, after)
      select principal, request_id, topic, action, entity, entity_id, before, after from mine order by n`) as Effect.Effect<
      void,
      never,
      Transaction
    >,

    list: Effect.fn("ChangesRepo.list")(function* (filter: ChangesFilter, params: PageParams) {
      const page = yield* keyset(sql, { list: "changes", sorts: { seq }, defaultSort: "-seq", id: seq }, params)
      const where = whereOf(filter)
      const found = yield* Found(sql`
        select c.seq::float8 as seq, iso(c.at) as at, c.principal, c.request_id as "requestId", c.topic, c.action, c.entity,
          c.entity_id as "entityId", c.before, c.after, ${page.key}
        from changes c where ${where} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from changes c where ${where}`))
    })
  }
})

export class ChangesRepo extends Context.Service<ChangesRepo, Effect.Success<typeof make>>()("platform/ChangesRepo") {
  static readonly layer = Layer.effect(ChangesRepo, make)
}
