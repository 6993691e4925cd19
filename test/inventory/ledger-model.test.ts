import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Draws, drawsOf } from "../support/draws.ts"
import { get, ledgerFaults, newBox, newPart, post } from "../support/inventory.ts"
import { type Answer, Http, world } from "../support/world.ts"

const most = 1_000_000_000

interface Slot {
  readonly boxNo: number
  readonly locNo: number
}
type Verb = { readonly id4: string; readonly note?: string } & (
  | { readonly verb: "put"; readonly slot: Slot; readonly quantity: number }
  | { readonly verb: "take"; readonly slot?: Slot; readonly quantity: number }
  | { readonly verb: "move"; readonly from: Slot; readonly to: Slot; readonly quantity?: number }
  | { readonly verb: "count"; readonly slot: Slot; readonly counted: number; readonly expected?: number }
)
type Command =
  | Verb
  | { readonly verb: "undo"; readonly booking: number }
  | { readonly verb: "batch"; readonly atomic: boolean; readonly operations: ReadonlyArray<Verb> }
  | { readonly verb: "resize"; readonly capacity: number }

interface Movement {
  readonly id4: string
  readonly at: string
  readonly delta: number
  readonly balance: number
}
interface Booking {
  readonly kind: string
  readonly movements: ReadonlyArray<Movement>
  undone: boolean
}
/** What a client should see. */
type Expected = { readonly code: string; readonly status: number; readonly [member: string]: unknown } | Seen
interface Seen {
  readonly kind: string
  readonly movements: ReadonlyArray<Movement>
  readonly total: number
  readonly slots: Readonly<Record<string, number>>
}

const location = ({ boxNo, locNo }: Slot) => `${boxNo}-${locNo}`
const inOrder = (a: string, b: string) => a.localeCompare(b, "en", { numeric: true })

/** The ledger as a person would keep it on paper: how many of a part are in which slot, and a list of bookings. */
class Paper {
  stock = new Map<string, number>()
  readonly known = new Set<string>()
  readonly bookings: Array<Booking> = []
  readonly boxNo: number
  readonly ids: ReadonlySet<string>
  capacity: number

  constructor(boxNo: number, capacity: number, ids: ReadonlyArray<string>) {
    this.boxNo = boxNo
    this.capacity = capacity
    this.ids = new Set(ids)
  }

  of(id4: string, at: string) {
    return this.stock.get(`${id4} ${at}`) ?? 0
  }

  slots(id4: string) {
    const held = [...this.stock].filter(([key]) => key.startsWith(`${id4} `)).map(([key, quantity]) => [key.slice(5), quantity] as const)
    return Object.fromEntries(held.toSorted(([a], [b]) => inOrder(a, b)))
  }

  exists({ boxNo, locNo }: Slot) {
    return boxNo === this.boxNo && locNo <= this.capacity
  }

  change(id4: string, at: string, delta: number): Movement {
    const balance = this.of(id4, at) + delta
    if (balance === 0) this.stock.delete(`${id4} ${at}`)
    else this.stock.set(`${id4} ${at}`, balance)
    this.known.add(`${id4} ${at}`)
    return { id4, at, delta, balance }
  }

  book(kind: string, id4: string, changes: ReadonlyArray<readonly [id4: string, at: string, delta: number]>): Seen {
    const movements = changes.map(([part, at, delta]) => this.change(part, at, delta))
    this.bookings.push({ kind, movements, undone: false })
    const slots = this.slots(id4)
    return { kind, movements, slots, total: Object.values(slots).reduce((sum, quantity) => sum + quantity, 0) }
  }

  apply(command: Verb): Expected {
    const { id4 } = command
    if (!this.ids.has(id4)) return { status: 404, code: "part-not-found", id4 }
    const named = command.verb === "move" ? [command.from, command.to] : command.slot === undefined ? [] : [command.slot]
    const missing = named.find((slot) => !this.exists(slot))
    const from = command.verb === "move" ? command.from : command.verb === "take" ? command.slot : undefined
    // A move looks at where it takes from before it looks at where it goes.
    if (from !== undefined && this.exists(from) && !this.known.has(`${id4} ${location(from)}`)) {
      return { status: 404, code: "part-not-in-location", id4, location: location(from) }
    }
    if (missing !== undefined) return { status: 404, code: "location-not-found", ...missing }
    const tooMany = (at: string, quantity: number): Expected | undefined =>
      this.of(id4, at) + quantity > most
        ? { status: 409, code: "quantity-too-large", location: at, current: this.of(id4, at), requested: quantity }
        : undefined
    const tooFew = (at: string, quantity: number): Expected | undefined =>
      this.of(id4, at) < quantity
        ? { status: 409, code: "insufficient-stock", location: at, available: this.of(id4, at), requested: quantity }
        : undefined
    switch (command.verb) {
      case "put": {
        const at = location(command.slot)
        return tooMany(at, command.quantity) ?? this.book("put", id4, [[id4, at, command.quantity]])
      }
      case "take": {
        const held = Object.keys(this.slots(id4))
        if (command.slot === undefined && held.length === 0) {
          return { status: 409, code: "insufficient-stock", location: null, available: 0, requested: command.quantity }
        }
        if (command.slot === undefined && held.length > 1) return { status: 409, code: "location-ambiguous" }
        const at = command.slot === undefined ? held[0]! : location(command.slot)
        return tooFew(at, command.quantity) ?? this.book("take", id4, [[id4, at, -command.quantity]])
      }
      case "move": {
        const [out, into] = [location(command.from), location(command.to)]
        const quantity = command.quantity ?? Math.max(this.of(id4, out), 1)
        return (
          tooFew(out, quantity) ??
          tooMany(into, quantity) ??
          this.book("move", id4, [
            [id4, out, -quantity],
            [id4, into, quantity]
          ])
        )
      }
      case "count": {
        const at = location(command.slot)
        const current = this.of(id4, at)
        if (command.expected !== undefined && command.expected !== current) {
          return { status: 409, code: "stock-changed", location: at, current }
        }
        return this.book("count", id4, command.counted === current ? [] : [[id4, at, command.counted - current]])
      }
    }
  }

  undo(nth: number): Expected {
    const booking = this.bookings[nth]!
    if (booking.kind === "undo" || booking.movements.length === 0) return { status: 409, code: "not-undoable" }
    if (booking.undone) return { status: 409, code: "already-undone" }
    // Backwards, each on what the one before left; all or nothing.
    const before = new Map(this.stock)
    const refuse = (refusal: Expected) => {
      this.stock = before
      return refusal
    }
    const changes: Array<readonly [string, string, number]> = []
    for (const { at, delta, id4 } of booking.movements.toReversed()) {
      const locNo = Number(at.split("-")[1])
      if (!this.exists({ boxNo: this.boxNo, locNo })) return refuse({ status: 409, code: "location-gone", location: at })
      const current = this.of(id4, at)
      if (current - delta < 0) {
        return refuse({ status: 409, code: "insufficient-stock", location: at, available: current, requested: delta })
      }
      if (current - delta > most) {
        return refuse({ status: 409, code: "quantity-too-large", location: at, current, requested: -delta })
      }
      this.change(id4, at, -delta)
      changes.push([id4, at, -delta])
    }
    this.stock = before
    booking.undone = true
    return this.book("undo", booking.movements[0]!.id4, changes)
  }

  batch(atomic: boolean, operations: ReadonlyArray<Verb>): Expected | ReadonlyArray<Expected> {
    const before = { stock: new Map(this.stock), known: [...this.known], bookings: this.bookings.length }
    const results: Array<Expected> = []
    for (const [index, operation] of operations.entries()) {
      const result = this.apply(operation)
      if (atomic && "code" in result) {
        this.stock = before.stock
        this.known.clear()
        for (const key of before.known) this.known.add(key)
        this.bookings.length = before.bookings
        return { ...result, index }
      }
      results.push(result)
    }
    return results
  }

  /** Only the slots above the capacity that are empty can go. */
  resize(capacity: number): boolean {
    if ([...this.stock.keys()].some((key) => Number(key.split("-")[1]) > capacity)) return false
    this.capacity = capacity
    return true
  }
}

const drawVerb = (draws: Draws, boxNo: number, ids: ReadonlyArray<string>): Verb => {
  const id4 = draws.chance(0.03) ? "OOOO" : draws.pick(ids)
  const slot = () => ({ boxNo: draws.chance(0.02) ? boxNo + 1000 : boxNo, locNo: 1 + draws.below(6) })
  const quantity = draws.chance(0.06) ? most - draws.below(3) : 1 + draws.below(9)
  switch (draws.pick(["put", "put", "take", "take", "move", "count"] as const)) {
    case "put":
      return { verb: "put", id4, slot: slot(), quantity }
    case "take":
      return draws.chance(0.3) ? { verb: "take", id4, quantity } : { verb: "take", id4, slot: slot(), quantity }
    case "move": {
      const from = slot()
      const to = { boxNo, locNo: (from.locNo % 6) + 1 }
      return draws.chance(0.4) ? { verb: "move", id4, from, to } : { verb: "move", id4, from, to, quantity }
    }
    case "count": {
      const counted = draws.below(9)
      return draws.chance(0.4)
        ? { verb: "count", id4, slot: slot(), counted, expected: draws.below(4) }
        : { verb: "count", id4, slot: slot(), counted }
    }
  }
}

const drawCommand = (draws: Draws, boxNo: number, ids: ReadonlyArray<string>, bookings: number): Command => {
  if (bookings > 0 && draws.chance(0.18)) return { verb: "undo", booking: draws.below(bookings) }
  if (draws.chance(0.08)) {
    const operations = Array.from({ length: 1 + draws.below(6) }, () => drawVerb(draws, boxNo, ids))
    return { verb: "batch", atomic: draws.chance(0.5), operations }
  }
  if (draws.chance(0.05)) return { verb: "resize", capacity: 3 + draws.below(4) }
  return drawVerb(draws, boxNo, ids)
}

const send = (command: Exclude<Command, { readonly verb: "resize" }>, operationIds: ReadonlyArray<string>) => {
  if (command.verb === "undo") return post(`/api/stock/operations/${operationIds[command.booking]}/undo`, {})
  const { verb, ...body } = command
  if (verb === "batch") return post("/api/stock/batch", body)
  const { id4, ...rest } = body as Verb
  return post(`/api/parts/${id4}/${verb}`, rest)
}

/** What the client saw, in the model's words. */
const seen = (body: Answer["body"]): Seen => ({
  kind: body.operation.kind,
  movements: body.operation.movements.map((movement: Record<string, unknown>) => ({
    id4: movement.partId4,
    at: movement.location,
    delta: movement.deltaQty,
    balance: movement.balanceAfter
  })),
  total: body.totalQuantity,
  slots: Object.fromEntries(body.locations.map((slot: Record<string, unknown>) => [slot.location, slot.quantity]))
})

const assertSame = (got: Answer["body"], expected: Expected, message: string) => {
  if ("code" in expected) assert.deepInclude(got, expected, message)
  else assert.deepStrictEqual(seen(got), expected, message)
}

const seeds = [1, 2, 3, 4, 5, 6, Date.now() % 1_000_000_007]

layer(world(), { excludeTestServices: true, timeout: "120 seconds" })("the ledger against a model", (it) => {
  for (const seed of seeds) {
    it.effect(`answers and keeps what the model does, seed ${seed}`, () =>
      Effect.gen(function* () {
        const http = yield* Http
        const draws = drawsOf(seed)
        const boxNo = yield* newBox(6)
        const ids = [yield* newPart(), yield* newPart(), yield* newPart()]
        const paper = new Paper(boxNo, 6, ids)
        const operationIds: Array<string> = []
        for (let step = 0; step < 150; step++) {
          const command = drawCommand(draws, boxNo, ids, paper.bookings.length)
          const message = `seed ${seed}, step ${step}: ${JSON.stringify(command)}`
          if (command.verb === "resize") {
            const { status } = yield* http.send("PATCH", `/api/boxes/${boxNo}`, { capacity: command.capacity })
            assert.strictEqual(status, paper.resize(command.capacity) ? 200 : 409, message)
            continue
          }
          const { body, status } = yield* send(command, operationIds)
          const expected =
            command.verb === "undo"
              ? paper.undo(command.booking)
              : command.verb === "batch"
                ? paper.batch(command.atomic, command.operations)
                : paper.apply(command)
          if (Array.isArray(expected)) {
            assert.strictEqual(status, 200, message)
            assert.strictEqual(body.results.length, expected.length, message)
            for (const [at, one] of (expected as ReadonlyArray<Expected>).entries()) {
              assertSame(body.results[at].problem ?? body.results[at], one, message)
              if (!("code" in one)) operationIds.push(body.results[at].operation.id)
            }
            continue
          }
          assert.strictEqual(status, "code" in (expected as Expected) ? (expected as { status: number }).status : 200, message)
          assertSame(body, expected as Expected, message)
          if (status === 200) operationIds.push(body.operation.id)
        }
        for (const id4 of ids) {
          const { locations, totalQuantity } = (yield* get(`/api/parts/${id4}`)).body
          const slots = Object.fromEntries(locations.map((slot: Record<string, unknown>) => [slot.location, slot.quantity]))
          assert.deepStrictEqual(slots, paper.slots(id4), `seed ${seed}`)
          assert.strictEqual(
            totalQuantity,
            Object.values(paper.slots(id4)).reduce((sum, quantity) => sum + quantity, 0)
          )
        }
        assert.deepStrictEqual(yield* ledgerFaults, [], `seed ${seed}`)
      })
    )
  }

  for (const seed of seeds) {
    it.effect(`adds up when 64 clients send such commands at once, seed ${seed}`, () =>
      Effect.gen(function* () {
        const draws = drawsOf(seed)
        const boxNo = yield* newBox(6)
        const ids = [yield* newPart(), yield* newPart(), yield* newPart()]
        // Undos of bookings that other clients are just making: whatever was answered so far, again and again.
        const operationIds: Array<string> = []
        const booked: Array<Seen> = []
        const outcomes = new Set<number>()
        const client = (commands: ReadonlyArray<Command>) =>
          Effect.forEach(commands, (command) =>
            Effect.gen(function* () {
              if (command.verb === "resize" || (command.verb === "undo" && operationIds.length === 0)) return
              const target = command.verb === "undo" ? { ...command, booking: command.booking % operationIds.length } : command
              const { body, status } = yield* send(target, operationIds)
              outcomes.add(status)
              if (status !== 200) return
              for (const result of body.results ?? [body]) {
                if (result.operation === undefined) continue
                operationIds.push(result.operation.id)
                booked.push(seen(result))
              }
            })
          )
        const scripts = Array.from({ length: 64 }, () => Array.from({ length: 6 }, () => drawCommand(draws, boxNo, ids, 1000)))
        yield* Effect.forEach(scripts, client, { concurrency: "unbounded" })

        assert.deepStrictEqual([...outcomes].toSorted(), [200, 404, 409], `seed ${seed}`)
        const sums = new Map<string, number>()
        for (const { at, delta, id4 } of booked.flatMap(({ movements }) => movements)) {
          sums.set(`${id4} ${at}`, (sums.get(`${id4} ${at}`) ?? 0) + delta)
        }
        for (const id4 of ids) {
          const { locations } = (yield* get(`/api/parts/${id4}`)).body
          const held = locations.map((slot: Record<string, unknown>) => [`${id4} ${slot.location}`, slot.quantity])
          const expected = [...sums].filter(([key, sum]) => key.startsWith(id4) && sum !== 0).toSorted(([a], [b]) => inOrder(a, b))
          assert.deepStrictEqual(held, expected, `seed ${seed}`)
        }
        assert.deepStrictEqual(yield* ledgerFaults, [], `seed ${seed}`)
      })
    )
  }
})
