import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { formatSlot } from "#inventory/boxes/slot.ts"
import { Id4 } from "#inventory/parts/part.ts"
import { Books, type Command, decide, negate, now } from "#inventory/stock/ledger.ts"
import { mostPieces } from "#inventory/stock/stock.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Few parts and slots, so that commands meet; slot 4 does not exist. */
const Drawn = Schema.Array(
  Schema.Struct({
    verb: Schema.Literals(["put", "take", "move", "count"]),
    part: Schema.Literals(["AAAA", "BBBB"]),
    locNo: between(1, 4),
    other: between(1, 3),
    amount: Schema.Literals([0, 1, 2, 3, 7, mostPieces - 1, mostPieces]),
    open: Schema.Boolean
  })
).check(Schema.isMaxLength(30))
type Drawn = (typeof Drawn.Type)[number]

const commandOf = ({ amount, locNo, open, other, part, verb }: Drawn): Command => {
  const command = { id4: Id4.make(part), note: null }
  const slot = { boxNo: 1, locNo }
  const quantity = Math.max(amount, 1)
  switch (verb) {
    case "put":
      return { ...command, verb, slot, quantity }
    case "take":
      return open ? { ...command, verb, quantity } : { ...command, verb, slot, quantity }
    case "move": {
      const to = { boxNo: 1, locNo: other === locNo ? (other % 3) + 1 : other }
      return open ? { ...command, verb, from: slot, to } : { ...command, verb, from: slot, to, quantity }
    }
    case "count":
      return open ? { ...command, verb, slot, counted: amount } : { ...command, verb, slot, counted: amount, expected: 2 }
  }
}

const before = [
  { id4: "AAAA", boxNo: 1, locNo: 1, quantity: 5, lastCountedAt: "2026-01-02T03:04:05.678Z" },
  { id4: "BBBB", boxNo: 1, locNo: 2, quantity: mostPieces, lastCountedAt: null }
]
const open = () => new Books({ slots: [1, 2, 3].map((locNo) => ({ boxNo: 1, locNo })), stock: before, emptied: [] })
const parts = ["AAAA", "BBBB"]
const all = (books: Books) => parts.flatMap((id4) => books.contents(id4).map((content) => ({ id4, ...content })))
const quantities = (books: Books) =>
  Object.fromEntries(all(books).map(({ id4, quantity, ...slot }) => [`${id4} ${formatSlot(slot)}`, quantity]))

describe("the books", () => {
  it.prop("a booking continues the balance of each place; a refusal changes nothing", [Drawn], ([drawn]) => {
    const books = open()
    for (const command of drawn.map(commandOf)) {
      const then = quantities(books)
      const decided = decide(books, command)
      assert.deepStrictEqual(quantities(books), then, "deciding enters nothing")
      if (Result.isFailure(decided)) continue
      books.enter(decided.success)
      for (const line of decided.success.lines) {
        const place = `${line.id4} ${formatSlot(line)}`
        assert.notStrictEqual(line.delta, 0)
        assert.strictEqual(line.balanceAfter, (then[place] ?? 0) + line.delta)
        assert.isTrue(line.balanceAfter >= 0 && line.balanceAfter <= mostPieces)
        then[place] = line.balanceAfter
        if (line.balanceAfter === 0) delete then[place]
      }
      assert.deepStrictEqual(quantities(books), then)
    }
  })

  it.prop("a move keeps the total, a count sets the slot, a put and a take change it by their quantity", [Drawn], ([drawn]) => {
    const books = open()
    for (const command of drawn.map(commandOf)) {
      const total = books.total(command.id4)
      const decided = decide(books, command)
      if (Result.isFailure(decided)) continue
      books.enter(decided.success)
      const changed = books.total(command.id4) - total
      if (command.verb === "move") assert.strictEqual(changed, 0)
      if (command.verb === "put") assert.strictEqual(changed, command.quantity)
      if (command.verb === "take") assert.strictEqual(changed, -command.quantity)
      if (command.verb === "count") assert.strictEqual(books.quantity({ id4: command.id4, ...command.slot }), command.counted)
    }
  })

  it.prop("everything undone, backwards, is as it was", [Drawn], ([drawn]) => {
    const books = open()
    const then = quantities(books)
    const booked = drawn.map(commandOf).flatMap((command) => {
      const decided = decide(books, command)
      if (Result.isFailure(decided)) return []
      books.enter(decided.success)
      return [decided.success]
    })
    const movementsOf = (lines: (typeof booked)[number]["lines"]) =>
      lines.map(({ boxNo, delta, id4, locNo }) => ({ partId4: id4, boxNo, locNo, deltaQty: delta }))
    // As one booking of many movements through the same places …
    const whole = negate(
      books,
      booked.flatMap(({ lines }) => movementsOf(lines))
    )
    // … and one after the other.
    for (const { lines } of booked.toReversed()) books.enter(Result.getOrThrow(negate(books, movementsOf(lines))))
    assert.deepStrictEqual(quantities(books), then)
    const sums = new Map<string, number>()
    for (const { delta, ...place } of Result.getOrThrow(whole).lines) {
      const key = `${place.id4} ${formatSlot(place)}`
      sums.set(key, (sums.get(key) ?? 0) - delta)
    }
    for (const { delta, ...place } of booked.flatMap(({ lines }) => lines)) {
      const key = `${place.id4} ${formatSlot(place)}`
      sums.set(key, (sums.get(key) ?? 0) - delta)
    }
    assert.isTrue([...sums.values()].every((sum) => sum === 0))
  })

  it.prop("the changes are exactly what differs from what was read", [Drawn], ([drawn]) => {
    const books = open()
    for (const command of drawn.map(commandOf)) {
      const decided = decide(books, command)
      if (Result.isSuccess(decided)) books.enter(decided.success)
    }
    const after = new Map(
      before.map(({ id4, quantity, lastCountedAt, ...slot }) => [
        `${id4} ${formatSlot(slot)}`,
        { quantity, lastCountedAt: lastCountedAt as unknown }
      ])
    )
    for (const { id4, lastCountedAt, quantity, ...slot } of books.changes()) {
      const key = `${id4} ${formatSlot(slot)}`
      const known = after.get(key)
      assert.isFalse(known?.quantity === quantity && known.lastCountedAt === lastCountedAt, "nothing that stayed")
      if (quantity === 0) assert.isTrue(after.delete(key), "only what was there goes")
      else after.set(key, { quantity, lastCountedAt })
    }
    assert.deepStrictEqual(
      after,
      new Map(all(books).map(({ id4, lastCountedAt, quantity, ...slot }) => [`${id4} ${formatSlot(slot)}`, { quantity, lastCountedAt }]))
    )
  })

  it("what is used up forgets when it was counted", () => {
    const books = open()
    const command = { id4: Id4.make("AAAA"), note: null }
    const slot = { boxNo: 1, locNo: 1 }
    const book = (command: Command) => books.enter(Result.getOrThrow(decide(books, command)))
    book({ ...command, verb: "count", slot, counted: 5 })
    assert.deepStrictEqual(books.contents("AAAA"), [{ ...slot, quantity: 5, lastCountedAt: now }])
    book({ ...command, verb: "take", slot, quantity: 5 })
    assert.deepStrictEqual(books.changes(), [{ id4: "AAAA", ...slot, quantity: 0, lastCountedAt: null }])
    book({ ...command, verb: "put", slot, quantity: 5 })
    assert.deepStrictEqual(books.changes(), [{ id4: "AAAA", ...slot, quantity: 5, lastCountedAt: null }])
  })
})
