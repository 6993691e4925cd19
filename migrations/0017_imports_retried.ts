import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // An import that failed keeps its file, so that a retry does the work again instead of repeating why it failed.
  yield* sql`alter table imports drop column failure`
  yield* sql`alter table imports add column settled_at timestamptz`
})
