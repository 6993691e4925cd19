import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, row, run } from "../db/db.ts"

const Known = row(Schema.Struct({ model: Schema.String, answer: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    find: Effect.fn("AnswersRepo.find")((hash: Uint8Array) => Known(sql`select model, answer from ai_answers where hash = ${hash}::bytea`)),

    store: Effect.fn("AnswersRepo.store")((hash: Uint8Array, model: string, answer: string) =>
      run(sql`
        insert into ai_answers (hash, model, answer) values (${hash}::bytea, ${model}, ${answer})
        on conflict (hash) do update set model = excluded.model, answer = excluded.answer, created_at = now()`)
    ),

    /** Removes some of those that are older; answers how many. */
    removeOld: Effect.fn("AnswersRepo.removeOld")((days: number, most: number) =>
      count(sql`
        with gone as (
          delete from ai_answers where hash in (
            select hash from ai_answers where created_at < now() - make_interval(days => ${days}) order by created_at limit ${most}
            for update skip locked)
          returning hash)
        select count(*)::int as count from gone`)
    )
  }
})

export class AnswersRepo extends Context.Service<AnswersRepo, Effect.Success<typeof make>>()("platform/AnswersRepo") {
  static readonly layer = Layer.effect(AnswersRepo, make)
}
