import { Result } from "effect"
import { formatSlot, type Slot } from "../boxes/slot.ts"
import { InsufficientStock, LocationAmbiguous, mostPieces, PartNotInLocation, QuantityTooLarge, StockChanged } from "./stock.ts"

/** What a person or a job wants booked for one part. `kind` says what the booking is called; a receipt is a put, a pick a take. */
export type Command = {
  readonly id4: string
  readonly note: string | null
  readonly kind?: "receive" | "pick" | "reorg" | "import"
} & (
  | { readonly verb: "put"; readonly slot: Slot; readonly quantity: number }
  | { readonly verb: "take"; readonly slot?: Slot; readonly quantity: number }
  | { readonly verb: "move"; readonly from: Slot; readonly to: Slot; readonly quantity?: number }
  | { readonly verb: "count"; readonly slot: Slot; readonly counted: number; readonly expected?: number }
)

export interface Line {
  readonly id4: string
  readonly boxNo: number
  readonly locNo: number
  readonly delta: number
  readonly balanceAfter: number
}

/** A booking that has been decided but not written. `counted` names the slot whose time of counting is set. */
export interface Booking {
  readonly lines: ReadonlyArray<Line>
  readonly counted: Slot | null
}

export type Refused = InsufficientStock | LocationAmbiguous | PartNotInLocation | QuantityTooLarge | StockChanged

const key = ({ boxNo, locNo }: Slot) => boxNo * 10_000 + locNo
const slotOf = (k: number): Slot => ({ boxNo: Math.floor(k / 10_000), locNo: k % 10_000 })

/**
 * The books of some parts while bookings are decided: quantities as they were read under lock, then changed booking by booking.
 * Never negative; a slot that reaches 0 is gone.
 */
export class Books {
  readonly #parts = new Map<string, Map<number, number>>()
  readonly #before = new Map<string, Map<number, number>>()
  readonly #touched = new Set<string>()

  constructor(stock: Iterable<{ readonly id4: string; readonly boxNo: number; readonly locNo: number; readonly quantity: number }> = []) {
    for (const { boxNo, id4, locNo, quantity } of stock) {
      const slot = { boxNo, locNo }
      this.#of(this.#parts, id4).set(key(slot), quantity)
      this.#of(this.#before, id4).set(key(slot), quantity)
    }
  }

  #of(books: Map<string, Map<number, number>>, id4: string) {
    let part = books.get(id4)
    if (part === undefined) books.set(id4, (part = new Map()))
    return part
  }

  quantity(id4: string, slot: Slot): number {
    return this.#parts.get(id4)?.get(key(slot)) ?? 0
  }

  total(id4: string): number {
    let sum = 0
    for (const quantity of this.#parts.get(id4)?.values() ?? []) sum += quantity
    return sum
  }

  /** In slot order. */
  slots(id4: string): ReadonlyArray<Slot & { readonly quantity: number }> {
    return [...(this.#parts.get(id4) ?? [])].sort(([a], [b]) => a - b).map(([k, quantity]) => ({ ...slotOf(k), quantity }))
  }

  /** Whether something was booked here since the books were opened. */
  wasTouched(id4: string, slot: Slot): boolean {
    return this.#touched.has(`${id4} ${key(slot)}`)
  }

  apply(lines: ReadonlyArray<Line>): void {
    for (const { balanceAfter, boxNo, id4, locNo } of lines) {
      const slot = { boxNo, locNo }
      this.#touched.add(`${id4} ${key(slot)}`)
      const part = this.#of(this.#parts, id4)
      if (balanceAfter === 0) part.delete(key(slot))
      else part.set(key(slot), balanceAfter)
    }
  }

  /** The slots whose quantity is another than when the books were opened, 0 for those that are gone. */
  changed(): ReadonlyArray<{ readonly id4: string } & Slot & { readonly quantity: number }> {
    const all: Array<{ readonly id4: string } & Slot & { readonly quantity: number }> = []
    for (const [id4, now] of this.#parts) {
      const before = this.#before.get(id4)
      for (const [k, quantity] of now) if (before?.get(k) !== quantity) all.push({ id4, ...slotOf(k), quantity })
      for (const k of before?.keys() ?? []) if (!now.has(k)) all.push({ id4, ...slotOf(k), quantity: 0 })
    }
    return all
  }
}

/**
 * Decides a command against the books without changing them. All slots of the command exist; that is checked by whoever holds
 * their locks. `everHeld` tells a slot that is used up from one where the part has never been.
 */
export const decide = (books: Books, command: Command, everHeld: (id4: string, slot: Slot) => boolean): Result.Result<Booking, Refused> => {
  const { id4 } = command
  switch (command.verb) {
    case "put":
      return Result.map(add(books, id4, command.slot, command.quantity), (line) => ({ lines: [line], counted: null }))
    case "take": {
      const slot = command.slot === undefined ? onlySlot(books, id4, command.quantity) : Result.succeed(command.slot)
      if (Result.isFailure(slot)) return Result.fail(slot.failure)
      return Result.map(remove(books, id4, slot.success, command.quantity, everHeld), (line) => ({ lines: [line], counted: null }))
    }
    case "move": {
      const quantity = command.quantity ?? books.quantity(id4, command.from)
      const out = remove(books, id4, command.from, Math.max(quantity, 1), everHeld)
      if (Result.isFailure(out)) return Result.fail(out.failure)
      return Result.map(add(books, id4, command.to, quantity), (line) => ({ lines: [out.success, line], counted: null }))
    }
    case "count": {
      const current = books.quantity(id4, command.slot)
      const location = formatSlot(command.slot)
      if (command.expected !== undefined && command.expected !== current) {
        return Result.fail(
          new StockChanged({ detail: `${id4} in ${location} was expected to be ${command.expected}, the books say ${current}.`, id4, location, current })
        )
      }
      const delta = command.counted - current
      const line = { id4, ...command.slot, delta, balanceAfter: command.counted }
      return Result.succeed({ lines: delta === 0 ? [] : [line], counted: command.slot })
    }
  }
}

/** The exact negation of what was booked; its lines in the order in which they were booked. */
export const negate = (
  books: Books,
  movements: ReadonlyArray<{ readonly partId4: string; readonly boxNo: number; readonly locNo: number; readonly deltaQty: number }>
): Result.Result<Booking, Refused> => {
  const lines: Array<Line> = []
  for (const { boxNo, deltaQty, locNo, partId4 } of movements) {
    const slot = { boxNo, locNo }
    const line = deltaQty > 0 ? remove(books, partId4, slot, deltaQty, () => true) : add(books, partId4, slot, -deltaQty)
    if (Result.isFailure(line)) return Result.fail(line.failure)
    lines.push(line.success)
  }
  return Result.succeed({ lines, counted: null })
}

const add = (books: Books, id4: string, slot: Slot, quantity: number): Result.Result<Line, Refused> => {
  const current = books.quantity(id4, slot)
  const location = formatSlot(slot)
  if (current + quantity > mostPieces) {
    return Result.fail(
      new QuantityTooLarge({
        detail: `${location} holds ${current} of ${id4}; ${quantity} more would be over ${mostPieces}.`,
        id4,
        location,
        current,
        requested: quantity
      })
    )
  }
  return Result.succeed({ id4, ...plain(slot), delta: quantity, balanceAfter: current + quantity })
}

const remove = (
  books: Books,
  id4: string,
  slot: Slot,
  quantity: number,
  everHeld: (id4: string, slot: Slot) => boolean
): Result.Result<Line, Refused> => {
  const available = books.quantity(id4, slot)
  const location = formatSlot(slot)
  if (available === 0 && !everHeld(id4, slot)) {
    return Result.fail(new PartNotInLocation({ detail: `${id4} has never been in ${location}.`, id4, location }))
  }
  if (available < quantity) {
    return Result.fail(
      new InsufficientStock({ detail: `${location} holds ${available} of ${id4}, ${quantity} were asked for.`, id4, requested: quantity, available, location })
    )
  }
  return Result.succeed({ id4, ...plain(slot), delta: -quantity, balanceAfter: available - quantity })
}

const onlySlot = (books: Books, id4: string, quantity: number): Result.Result<Slot, Refused> => {
  const slots = books.slots(id4)
  const [only] = slots
  if (only === undefined) {
    return Result.fail(
      new InsufficientStock({ detail: `Nothing of ${id4} is in stock, ${quantity} were asked for.`, id4, requested: quantity, available: 0, location: null })
    )
  }
  if (slots.length === 1) return Result.succeed(plain(only))
  return Result.fail(
    new LocationAmbiguous({
      detail: `${id4} lies in ${slots.map(formatSlot).join(", ")}: say from which slot.`,
      id4,
      locations: slots.map((slot) => ({ ...slot, location: formatSlot(slot) }))
    })
  )
}

const plain = ({ boxNo, locNo }: Slot): Slot => ({ boxNo, locNo })
