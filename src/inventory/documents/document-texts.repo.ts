import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { row, run, type Transaction } from "#platform/db/db.ts"
import type { ObjectRef } from "#platform/objects/object.ts"

const State = row(Schema.Struct({ state: Schema.Literals(["queued", "done", "failed"]) }))
const Beginning = row(Schema.Struct({ title: Schema.String, text: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    state: Effect.fn("DocumentTextsRepo.state")((object: number) =>
      State(sql`select state from document_texts where object_id = ${object}`)
    ),

    /** The beginning of what is written in the oldest PDF of a part that was read. */
    ofPart: Effect.fn("DocumentTextsRepo.ofPart")((id4: string, most: number) =>
      Beginning(sql`
        select d.title, left(x.content, ${most}) as text from documents d join document_texts x on x.object_id = d.object_id
        where d.part_id4 = ${id4} and x.state = 'done' order by d.id limit 1`)
    ),

    /** The text of these bytes is wanted, again if it could not be read before. */
    want: Effect.fn("DocumentTextsRepo.want")(
      ({ id }: ObjectRef): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into document_texts (object_id) values (${id})
          on conflict (object_id) do update set state = 'queued' where document_texts.state = 'failed'`)
    ),

    keep: Effect.fn("DocumentTextsRepo.keep")(
      ({ id }: ObjectRef, content: string): Effect.Effect<void, never, Transaction> =>
        run(sql`update document_texts set state = 'done', content = ${content} where object_id = ${id}`)
    ),

    /** Whether it was still wanted. */
    giveUp: Effect.fn("DocumentTextsRepo.giveUp")(
      ({ id }: ObjectRef): Effect.Effect<boolean, never, Transaction> =>
        Effect.map(
          State(sql`update document_texts set state = 'failed' where object_id = ${id} and state = 'queued' returning state`),
          Option.isSome
        )
    )
  }
})

export class DocumentTextsRepo extends Context.Service<DocumentTextsRepo, Effect.Success<typeof make>>()("inventory/DocumentTextsRepo") {
  static readonly layer = Layer.effect(DocumentTextsRepo, make)
}
