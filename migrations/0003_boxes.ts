import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // Every number that was ever used; a number is never given out again, not even after its box is gone.
  yield* sql`create table box_numbers (
    box_no integer constraint box_numbers_pkey primary key constraint box_numbers_box_no_check check (box_no between 1 and 99999),
    created_at timestamptz not null default now()
  )`
  yield* sql`create table boxes (
    box_no integer constraint boxes_pkey primary key constraint boxes_number_fk references box_numbers (box_no),
    description text not null,
    capacity integer not null constraint boxes_capacity_check check (capacity between 1 and 1000),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version bigint not null default 1
  )`
  yield* sql`create table box_designated_types (
    box_no integer not null constraint box_designated_types_box_fk references boxes (box_no) on delete cascade,
    type_id integer not null constraint box_designated_types_type_fk references part_types (id) on delete cascade,
    created_at timestamptz not null default now(),
    constraint box_designated_types_pkey primary key (box_no, type_id)
  )`
  yield* sql`create index box_designated_types_type_index on box_designated_types (type_id, box_no)`
  yield* sql`create table locations (
    box_no integer not null constraint locations_box_fk references boxes (box_no) on delete cascade,
    loc_no integer not null constraint locations_loc_no_check check (loc_no between 1 and 1000),
    created_at timestamptz not null default now(),
    constraint locations_pkey primary key (box_no, loc_no)
  )`
})
