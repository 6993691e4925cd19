import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  // A copy of the part's level beside its stock: which parts are low must be read from an index in the order of their stock, and
  // no index spans two tables. The triggers keep it, whoever writes parts.
  yield* sql`alter table part_stock add column min_quantity integer`
  yield* sql`update part_stock s set min_quantity = p.min_quantity from parts p where p.id4 = s.part_id4 and p.min_quantity is not null`
  yield* sql`create index part_stock_below_minimum_index on part_stock (total, part_id4) where total <= min_quantity`

  yield* sql`create function part_stock_take_minimum() returns trigger language plpgsql as $$
    begin
      new.min_quantity := (select p.min_quantity from parts p where p.id4 = new.part_id4);
      return new;
    end $$`
  yield* sql`create trigger part_stock_take_minimum before insert on part_stock for each row execute function part_stock_take_minimum()`
  yield* sql`create function parts_pass_minimum() returns trigger language plpgsql as $$
    begin
      update part_stock set min_quantity = new.min_quantity where part_id4 = new.id4;
      return null;
    end $$`
  yield* sql`create trigger parts_pass_minimum after update of min_quantity on parts for each row
    when (old.min_quantity is distinct from new.min_quantity) execute function parts_pass_minimum()`

  // A booking holds the part's row in part_stock. If its new slots referred to parts, it would wait there for an edit of the part,
  // and the edit for it: a deadlock.
  yield* sql`alter table part_locations drop constraint part_locations_part_fk`
  yield* sql`alter table part_locations add constraint part_locations_part_fk foreign key (part_id4) references part_stock (part_id4)`
})
