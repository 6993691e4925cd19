import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows } from "#platform/db/db.ts"

const known = rows(Schema.Struct({ id4: Schema.String }))
const retired = rows(Schema.Struct({ id4: Schema.String, description: Schema.String, retiredAt: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return {
    existing: Effect.fn("PartIdsRepo.existing")((ids: ReadonlyArray<string>) =>
      Effect.map(known(sql`select id4 from parts where ${sql.in("id4", [...ids])}`), (found) => new Set(found.map(({ id4 }) => id4)))
    ),
    retired: Effect.fn("PartIdsRepo.retired")((ids: ReadonlyArray<string>) =>
      retired(sql`select id4, description, iso(retired_at) as "retiredAt" from retired_parts where ${sql.in("id4", [...ids])}`)
    )
  }
})

export class PartIdsRepo extends Context.Service<PartIdsRepo, Effect.Success<typeof make>>()("inventory/PartIdsRepo") {
  static readonly layer = Layer.effect(PartIdsRepo, make)
}
