import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create table parts (
    id4 text collate "C" constraint parts_pkey primary key constraint parts_id4_check check (id4 ~ '^[A-Z]{4}$'),
    description text not null,
    manufacturer_code text,
    manufacturer_code_squashed text collate "C",
    description_hash bigint,
    manufacturer text,
    product_page text,
    type_id integer constraint parts_type_fk references part_types (id),
    package text,
    pin_count integer constraint parts_pin_count_check check (pin_count between 1 and 10000),
    pin_pitch text,
    voltage_rating text,
    input_voltage text,
    output_voltage text,
    mounting_type text,
    series text,
    dimensions text,
    min_quantity integer constraint parts_min_quantity_check check (min_quantity between 0 and 1000000000),
    kicad jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    version bigint not null default 1
  )`
  yield* sql`create index parts_created_index on parts (created_at, id4)`
  yield* sql`create index parts_updated_index on parts (updated_at, id4)`
  // A btree entry holds 2,704 bytes and a description 8,000: lists sort by its beginning.
  yield* sql`create index parts_description_index on parts ((lower(left(description, 200)) collate "C"), id4)`
  yield* sql`create index parts_manufacturer_code_index on parts ((coalesce(lower(manufacturer_code) collate "C", U&'\\+10FFFF')), id4)`
  yield* sql`create index parts_manufacturer_code_desc_index on parts ((coalesce(lower(manufacturer_code) collate "C", '')), id4)`
  yield* sql`create index parts_squashed_index on parts (manufacturer_code_squashed)`
  // Of the folded description, which no btree entry can hold; for parts without part number, which only their description tells apart.
  yield* sql`create index parts_description_hash_index on parts (description_hash)`
  yield* sql`create index parts_type_index on parts (type_id, id4)`
  yield* sql`create index parts_manufacturer_index on parts (lower(manufacturer), id4)`
  yield* sql`create index parts_package_index on parts (package, id4)`
  yield* sql`create index parts_min_quantity_index on parts (id4) where min_quantity is not null`

  yield* sql`create table part_tags (
    part_id4 text collate "C" not null constraint part_tags_part_fk references parts (id4) on delete cascade,
    position smallint not null,
    tag text collate "C" not null,
    created_at timestamptz not null default now(),
    constraint part_tags_pkey primary key (part_id4, position),
    constraint part_tags_tag_key unique (tag, part_id4)
  )`
  yield* sql`create table part_barcodes (
    part_id4 text collate "C" not null constraint part_barcodes_part_fk references parts (id4) on delete cascade,
    position smallint not null,
    barcode text collate "C" not null constraint part_barcodes_barcode_key unique,
    squashed text collate "C" not null,
    created_at timestamptz not null default now(),
    constraint part_barcodes_pkey primary key (part_id4, position)
  )`
  yield* sql`create index part_barcodes_squashed_index on part_barcodes (squashed)`

  yield* sql`create table retired_parts (
    id4 text collate "C" constraint retired_parts_pkey primary key,
    description text not null,
    retired_at timestamptz not null default now(),
    principal text not null
  )`

  // The sum of a part's slots, kept beside the part: a booking must not write the part's wide row and all its indexes.
  // Its row lock is the lock of the part for everything that moves stock.
  yield* sql`create table part_stock (
    part_id4 text collate "C" constraint part_stock_pkey primary key constraint part_stock_part_fk references parts (id4) on delete cascade,
    total bigint not null default 0 constraint part_stock_total_check check (total >= 0)
  )`
  yield* sql`create index part_stock_total_index on part_stock (total, part_id4)`
})
