import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // What calls have cost and, while they are under way, the most that they can cost. The call of a process that was killed stays in with
  // that: nobody knows what it has cost, and the month ends it.
  yield* sql`create table ai_spending (
    month date constraint ai_spending_pkey primary key,
    nano_usd bigint not null constraint ai_spending_nano_usd_check check (nano_usd >= 0)
  )`

  // The answer is text and not json: it is kept as it came, and json of PostgreSQL has no \\u0000.
  yield* sql`create table ai_answers (
    hash bytea constraint ai_answers_pkey primary key,
    model text not null,
    answer text not null,
    created_at timestamptz not null default now()
  )`
  yield* sql`create index ai_answers_created_index on ai_answers (created_at)`
})
