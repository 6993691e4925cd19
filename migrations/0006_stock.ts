import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  yield* sql`create table part_locations (
    part_id4 text collate "C" not null constraint part_locations_part_fk references parts (id4),
    box_no integer not null,
    loc_no integer not null,
    quantity integer not null constraint part_locations_quantity_check check (quantity between 1 and 1000000000),
    last_counted_at timestamptz,
    created_at timestamptz not null default now(),
    constraint part_locations_pkey primary key (part_id4, box_no, loc_no),
    constraint part_locations_slot_fk foreign key (box_no, loc_no) references locations (box_no, loc_no)
  )`
  yield* sql`create index part_locations_slot_index on part_locations (box_no, loc_no, part_id4)`

  yield* sql`create table stock_operations (
    id uuid constraint stock_operations_pkey primary key,
    kind text not null constraint stock_operations_kind_check
      check (kind in ('put', 'take', 'move', 'count', 'receive', 'pick', 'reorg', 'import', 'undo')),
    at timestamptz not null,
    principal text not null,
    note text,
    undoes uuid constraint stock_operations_undoes_key unique constraint stock_operations_undoes_fk references stock_operations (id),
    created_at timestamptz not null default now()
  )`
  yield* sql`create index stock_operations_at_index on stock_operations (at, id)`
  yield* sql`create index stock_operations_kind_index on stock_operations (kind, at, id)`
  yield* sql`create index stock_operations_principal_index on stock_operations (principal, at, id)`

  // Part and slot are values, not references: the ledger outlives both.
  yield* sql`create table stock_movements (
    id bigint generated always as identity constraint stock_movements_pkey primary key,
    operation_id uuid not null constraint stock_movements_operation_fk references stock_operations (id),
    part_id4 text collate "C" not null,
    box_no integer not null,
    loc_no integer not null,
    delta_qty integer not null constraint stock_movements_delta_check check (delta_qty <> 0),
    balance_after integer not null constraint stock_movements_balance_check check (balance_after between 0 and 1000000000),
    at timestamptz not null
  )`
  yield* sql`create index stock_movements_part_index on stock_movements (part_id4, id)`
  yield* sql`create index stock_movements_slot_index on stock_movements (part_id4, box_no, loc_no, id)`
  yield* sql`create index stock_movements_operation_index on stock_movements (operation_id)`
  yield* sql`create index stock_movements_box_index on stock_movements (box_no, operation_id)`

  for (const table of ["stock_operations", "stock_movements"]) {
    yield* sql`create trigger ${sql(`${table}_append_only`)} before update or delete or truncate on ${sql(table)}
      for each statement execute function refuse_change()`
  }
})
