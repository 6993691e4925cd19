import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // The newest uploaded logo is shown, else the icon of the website that the seller has now. Rows that are not shown any more go in a
  // transaction of their own: whoever shows a new object holds it, and must not wait there for the one that held an old one.
  yield* sql`create table seller_logos (
    id bigint generated always as identity constraint seller_logos_pkey primary key,
    seller_id integer not null constraint seller_logos_seller_fk references sellers (id) on delete restrict,
    object_id bigint not null constraint seller_logos_object_fk references objects (id) on delete restrict,
    icon_of text,
    created_at timestamptz not null default now()
  )`
  yield* sql`create index seller_logos_seller_index on seller_logos (seller_id, id)`
  yield* sql`create index seller_logos_object_index on seller_logos (object_id)`
})
