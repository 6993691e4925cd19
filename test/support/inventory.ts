import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { type Answer, Http, type SendOptions } from "./world.ts"

export interface Slot {
  readonly boxNo: number
  readonly locNo: number
}

/** The label of a new part. */
export const newPart = Effect.fnUntraced(function* (fields: Record<string, unknown> = {}) {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/parts", { description: "Part", ...fields })
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body.id4 as string
})

/** The number of a new box. */
export const newBox = Effect.fnUntraced(function* (capacity = 10) {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/boxes", { description: "Box", capacity })
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body.boxNo as number
})

export const post = (path: string, body: unknown, options?: SendOptions) =>
  Effect.flatMap(Http, ({ send }) => send("POST", path, body, options))

export const get = (path: string) => Effect.flatMap(Http, ({ send }) => send("GET", path))

/** How often each outcome came: `200`, or `409 insufficient-stock`. */
export const tally = (answers: ReadonlyArray<Answer>) => {
  const counts: Record<string, number> = {}
  for (const { body, status } of answers) {
    const outcome = status < 400 ? String(status) : `${status} ${body.code}`
    counts[outcome] = (counts[outcome] ?? 0) + 1
  }
  return counts
}

export const inParallel = <A, E, R>(times: number, effect: (n: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    Array.from({ length: times }, (_, n) => n),
    effect,
    { concurrency: "unbounded" }
  )

/** Everything that is wrong with the ledger, in words; nothing when it is right. */
export const ledgerFaults = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const found = yield* sql<{ readonly fault: string }>`
    select 'the sum of ' || part_id4 || ' in ' || box_no || '-' || loc_no || ' is ' || coalesce(m.sum, 0) || ', the slot says ' || coalesce(x.quantity, 0) as fault
    from (select part_id4, box_no, loc_no, sum(delta_qty) from stock_movements group by 1, 2, 3) m
      full join part_locations x using (part_id4, box_no, loc_no)
    where coalesce(m.sum, 0) <> coalesce(x.quantity, 0)
    union all
    select 'movement ' || id || ' leaves ' || balance_after || ' after ' || before || ' and ' || delta_qty from (
      select id, delta_qty, balance_after, lag(balance_after, 1, 0) over (partition by part_id4, box_no, loc_no order by id) as before
      from stock_movements) c
    where balance_after <> before + delta_qty
    union all
    select 'move ' || o.id || ' makes ' || sum(m.delta_qty) from stock_operations o join stock_movements m on m.operation_id = o.id
    where o.kind = 'move' group by o.id having sum(m.delta_qty) <> 0
    union all
    select 'undo ' || u.id || ' does not negate its original' from stock_operations u
    where u.undoes is not null and exists (
      select from stock_movements m where m.operation_id in (u.id, u.undoes)
      group by m.part_id4, m.box_no, m.loc_no having sum(m.delta_qty) <> 0)
    union all
    select 'the total of ' || p.id4 || ' is ' || s.total || ', its slots hold ' || coalesce(x.sum, 0)
    from parts p left join part_stock s on s.part_id4 = p.id4
      left join (select part_id4, sum(quantity) from part_locations group by 1) x on x.part_id4 = p.id4
    where s.total is distinct from coalesce(x.sum, 0)`
  return found.map(({ fault }) => fault)
}).pipe(Effect.orDie)

/** What lies in each slot of the part, as the API tells it: `{ "1-1": 5 }`. */
export const stockOf = Effect.fnUntraced(function* (id4: string) {
  const { body } = yield* get(`/api/parts/${id4}`)
  const locations = body.locations as ReadonlyArray<{ readonly location: string; readonly quantity: number }>
  assert.strictEqual(
    body.totalQuantity,
    locations.reduce((sum, { quantity }) => sum + quantity, 0)
  )
  return Object.fromEntries(locations.map(({ location, quantity }) => [location, quantity]))
})
