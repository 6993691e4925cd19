import { Deferred, Effect } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { Db } from "#platform/db/db.ts"
import { uuidv7 } from "#platform/db/uuid.ts"

interface Part {
  readonly id4: string
  readonly description?: string
  readonly manufacturerCode?: string | null
  readonly typeId?: number | null
}

interface Slot {
  readonly boxNo: number
  readonly locNo: number
}

/** Parts without stock, straight into the tables. */
export const insertParts = Effect.fnUntraced(function* (parts: ReadonlyArray<Part>) {
  const sql = yield* SqlClient.SqlClient
  for (const { description = "Part", id4, manufacturerCode = null, typeId = null } of parts) {
    yield* sql`insert into parts ${sql.insert({ id4, description, manufacturer_code: manufacturerCode, type_id: typeId })}`
    yield* sql`insert into part_stock (part_id4) values (${id4})`
  }
}, Effect.orDie)

/** AAAA, AAAB, AAAC … */
export const nthId4 = (n: number) => [17_576, 676, 26, 1].map((place) => String.fromCharCode(65 + (Math.floor(n / place) % 26))).join("")

/**
 * Books the difference as a put or a take, with the locks of every booking: the part, then the slot, then the figures. False when
 * the slot does not exist. For tests that need to hold a booking open; `delta` must not take more than there is.
 */
export const book = Effect.fnUntraced(
  function* (id4: string, { boxNo, locNo }: Slot, delta: number) {
    const sql = yield* SqlClient.SqlClient
    yield* sql`select 1 from part_stock where part_id4 = ${id4} for update`
    const slots = yield* sql`select 1 from locations where box_no = ${boxNo} and loc_no = ${locNo} for key share`
    if (slots.length === 0) return false
    const here = sql`part_id4 = ${id4} and box_no = ${boxNo} and loc_no = ${locNo}`
    const [before] = yield* sql<{ readonly quantity: number }>`select quantity from part_locations where ${here}`
    const balance = (before?.quantity ?? 0) + delta
    if (balance === 0) yield* sql`delete from part_locations where ${here}`
    else if (before !== undefined) yield* sql`update part_locations set quantity = ${balance} where ${here}`
    else yield* sql`insert into part_locations ${sql.insert({ part_id4: id4, box_no: boxNo, loc_no: locNo, quantity: balance })}`
    yield* sql`update part_stock set total = total + ${delta} where part_id4 = ${id4}`
    const id = yield* uuidv7
    const kind = delta > 0 ? "put" : "take"
    yield* sql`insert into stock_operations (id, kind, at, principal) values (${id}::uuid, ${kind}, now(), 'test')`
    yield* sql`
      insert into stock_movements (operation_id, part_id4, box_no, loc_no, delta_qty, balance_after, at)
      values (${id}::uuid, ${id4}, ${boxNo}, ${locNo}, ${delta}, ${balance}, now())`
    return true
  },
  Effect.orDie,
  (booking) => Effect.flatMap(Db, (db) => db.transaction(booking))
)

/**
 * Opens every connection of the pool. While transactions hold each other up, the pool does not open another one for a statement
 * that came before them: a test that watches them would wait as long as they do.
 */
export const openAllConnections = Effect.gen(function* () {
  const db = yield* Db
  const { databasePoolMax } = yield* AppConfig
  const transactions = databasePoolMax - 1
  const allOpen = yield* Deferred.make<void>()
  let open = 0
  const arrive = Effect.suspend(() => (++open === transactions ? Deferred.succeed(allOpen, undefined) : Effect.void))
  yield* Effect.forEach(Array.from({ length: transactions }), () => db.transaction(Effect.andThen(arrive, Deferred.await(allOpen))), {
    concurrency: "unbounded"
  })
})

/** Waits until at least so many transactions of this database wait for a row that another one holds. */
export const untilBlocked = (waiting: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [found] = yield* sql<{ readonly waiting: number }>`
      select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    return found?.waiting ?? 0
  }).pipe(Effect.repeat({ until: (found) => found >= waiting }), Effect.orDie, Effect.asVoid)
