import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create table sellers (
    id integer generated always as identity constraint sellers_pkey primary key,
    name text not null,
    website text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version bigint not null default 1
  )`
  yield* sql`create unique index sellers_name_key on sellers (lower(name))`

  yield* sql`create table seller_links (
    id integer generated always as identity constraint seller_links_pkey primary key,
    part_id4 text collate "C" not null constraint seller_links_part_fk references parts (id4) on delete cascade,
    seller_id integer not null constraint seller_links_seller_fk references sellers (id),
    link text,
    is_primary boolean not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version bigint not null default 1,
    constraint seller_links_part_seller_key unique (part_id4, seller_id)
  )`
  yield* sql`create unique index seller_links_primary_key on seller_links (part_id4) where is_primary`
  yield* sql`create index seller_links_seller_index on seller_links (seller_id, part_id4)`

  yield* sql`create table seller_part_numbers (
    link_id integer not null constraint seller_part_numbers_link_fk references seller_links (id) on delete cascade,
    position smallint not null,
    seller_id integer not null constraint seller_part_numbers_seller_fk references sellers (id),
    number text not null,
    squashed text collate "C" not null,
    created_at timestamptz not null default now(),
    constraint seller_part_numbers_pkey primary key (link_id, position)
  )`
  // A number names one part of that seller: an order confirmation or a bag must never mean two.
  yield* sql`create unique index seller_part_numbers_number_key on seller_part_numbers (seller_id, lower(number))`
  yield* sql`create index seller_part_numbers_squashed_index on seller_part_numbers (squashed)`
})
