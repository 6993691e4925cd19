import { Result } from "effect"
import { formatSlot, type LocationNotFound, locationNotFound, type Slot } from "../boxes/slot.ts"
import {
  type BatchItem,
  InsufficientStock,
  LocationAmbiguous,
  LocationGone,
  mostPieces,
  PartNotInLocation,
  QuantityTooLarge,
  type Refusal,
  StockChanged
} from "./stock.ts"

/** What a person or a job wants booked for one part. `kind` says what the booking is called: a receipt is a put, a pick a take. */
export type Command<Verb extends BatchItem["verb"] = BatchItem["verb"]> = Extract<BatchItem, { readonly verb: Verb }> & {
  readonly kind?: "receive" | "pick" | "reorg" | "import"
  readonly jobId?: string | null
}

/** A slot as far as it holds one part. */
export interface Place extends Slot {
  readonly id4: string
}

/** Stands for the time of a booking that is not written yet. */
export const now = Symbol("now")

export interface Content extends Slot {
  readonly quantity: number
  readonly lastCountedAt: string | null | typeof now
}

export interface Line extends Place {
  readonly delta: number
  readonly balanceAfter: number
}

/** A booking that was decided but not written. `counted` is the place whose time of counting it sets. */
export interface Booking {
  readonly lines: ReadonlyArray<Line>
  readonly counted: Place | null
}

const keyOf = (place: Place) => `${place.id4} ${formatSlot(place)}`

/**
 * What lies where, as it was read under the locks and as the bookings entered since have left it. A command is decided on the books
 * that the ones before it left, so the commands of a batch see each other.
 */
export class Books {
  readonly #slots: ReadonlySet<string>
  readonly #read = new Map<string, Content>()
  readonly #contents = new Map<string, Map<string, Content>>()
  readonly #everHeld: Set<string>
  readonly #touched = new Map<string, Place>()

  /** `slots` are those that exist, `emptied` the places that held something once and hold nothing now. */
  constructor(read: {
    readonly slots: Iterable<Slot>
    readonly stock: Iterable<Place & Content>
    readonly emptied?: Iterable<Place>
  }) {
    this.#slots = new Set(Array.from(read.slots, formatSlot))
    this.#everHeld = new Set(Array.from(read.emptied ?? [], keyOf))
    for (const { id4, ...content } of read.stock) {
      const key = keyOf({ id4, ...content })
      this.#read.set(key, content)
      this.#everHeld.add(key)
      this.#of(id4).set(formatSlot(content), content)
    }
  }

  #of(id4: string) {
    const known = this.#contents.get(id4)
    if (known !== undefined) return known
    const none = new Map<string, Content>()
    this.#contents.set(id4, none)
    return none
  }

  hasSlot(slot: Slot): boolean {
    return this.#slots.has(formatSlot(slot))
  }

  /** Whether the part is or was in this slot. */
  everHeld(place: Place): boolean {
    return this.#everHeld.has(keyOf(place))
  }

  quantity({ id4, ...slot }: Place): number {
    return this.#contents.get(id4)?.get(formatSlot(slot))?.quantity ?? 0
  }

  total(id4: string): number {
    return this.contents(id4).reduce((sum, { quantity }) => sum + quantity, 0)
  }

  /** In slot order. */
  contents(id4: string): ReadonlyArray<Content> {
    return [...(this.#contents.get(id4)?.values() ?? [])].sort((a, b) => a.boxNo - b.boxNo || a.locNo - b.locNo)
  }

  /** A slot that reaches 0 forgets when it was counted. */
  enter({ counted, lines }: Booking): void {
    for (const { balanceAfter, boxNo, id4, locNo } of lines) {
      const slots = this.#of(id4)
      const location = formatSlot({ boxNo, locNo })
      const lastCountedAt = slots.get(location)?.lastCountedAt ?? null
      if (balanceAfter === 0) slots.delete(location)
      else slots.set(location, { boxNo, locNo, quantity: balanceAfter, lastCountedAt })
      this.#touch({ id4, boxNo, locNo })
    }
    if (counted === null) return
    const content = this.#contents.get(counted.id4)?.get(formatSlot(counted))
    if (content === undefined) return
    this.#of(counted.id4).set(formatSlot(counted), { ...content, lastCountedAt: now })
    this.#touched.set(keyOf(counted), counted)
  }

  #touch(place: Place) {
    this.#touched.set(keyOf(place), place)
    this.#everHeld.add(keyOf(place))
  }

  /** The places that are another way than they were read; those that are used up hold 0. */
  changes(): ReadonlyArray<Place & Content> {
    return [...this.#touched].flatMap(([key, { boxNo, id4, locNo }]) => {
      const before = this.#read.get(key)
      const after = this.#contents.get(id4)?.get(formatSlot({ boxNo, locNo }))
      return before?.quantity === after?.quantity && before?.lastCountedAt === after?.lastCountedAt
        ? []
        : [{ id4, boxNo, locNo, quantity: after?.quantity ?? 0, lastCountedAt: after?.lastCountedAt ?? null }]
    })
  }
}

export const put = (books: Books, { id4, quantity, slot }: Command<"put">): Result.Result<Booking, LocationNotFound | QuantityTooLarge> =>
  Result.gen(function* () {
    const place = yield* placeIn(books, id4, slot)
    return { lines: [yield* add(place, books.quantity(place), quantity)], counted: null }
  })

export const take = (
  books: Books,
  { id4, quantity, slot }: Command<"take">
): Result.Result<Booking, LocationNotFound | PartNotInLocation | InsufficientStock | LocationAmbiguous> =>
  Result.gen(function* () {
    const place = slot === undefined ? yield* onlyPlace(books, id4, quantity) : yield* heldPlace(books, id4, slot)
    return { lines: [yield* remove(place, books.quantity(place), quantity)], counted: null }
  })

export const move = (
  books: Books,
  command: Command<"move">
): Result.Result<Booking, LocationNotFound | PartNotInLocation | InsufficientStock | QuantityTooLarge> =>
  Result.gen(function* () {
    const from = yield* heldPlace(books, command.id4, command.from)
    const to = yield* placeIn(books, command.id4, command.to)
    const available = books.quantity(from)
    const quantity = command.quantity ?? Math.max(available, 1)
    return { lines: [yield* remove(from, available, quantity), yield* add(to, books.quantity(to), quantity)], counted: null }
  })

export const count = (books: Books, command: Command<"count">): Result.Result<Booking, LocationNotFound | StockChanged> =>
  Result.gen(function* () {
    const place = yield* placeIn(books, command.id4, command.slot)
    const current = books.quantity(place)
    const { counted, expected = current } = command
    if (expected !== current) {
      const location = formatSlot(place)
      return yield* Result.fail(
        new StockChanged({
          detail: `${place.id4} in ${location} was expected to be ${expected}, the books say ${current}.`,
          id4: place.id4,
          location,
          current
        })
      )
    }
    const lines = counted === current ? [] : [{ ...place, delta: counted - current, balanceAfter: counted }]
    return { lines, counted: place }
  })

/** What the books say to a command. Nothing is entered yet. */
export const decide = (books: Books, command: Command): Result.Result<Booking, Refusal> => {
  switch (command.verb) {
    case "put":
      return put(books, command)
    case "take":
      return take(books, command)
    case "move":
      return move(books, command)
    case "count":
      return count(books, command)
  }
}

/** The exact negation of what was booked, backwards: what went through a place and on is there again when it is taken back. */
export const negate = (
  books: Books,
  movements: ReadonlyArray<Slot & { readonly partId4: string; readonly deltaQty: number }>
): Result.Result<Booking, LocationGone | InsufficientStock | QuantityTooLarge> =>
  Result.gen(function* () {
    const balances = new Map<string, number>()
    const lines: Array<Line> = []
    for (const { boxNo, deltaQty, locNo, partId4 } of movements.toReversed()) {
      const place = { id4: partId4, boxNo, locNo }
      if (!books.hasSlot(place)) {
        const location = formatSlot(place)
        return yield* Result.fail(new LocationGone({ detail: `The slot ${location} does not exist any more.`, location }))
      }
      const current = balances.get(keyOf(place)) ?? books.quantity(place)
      const line = deltaQty > 0 ? yield* remove(place, current, deltaQty) : yield* add(place, current, -deltaQty)
      balances.set(keyOf(place), line.balanceAfter)
      lines.push(line)
    }
    return { lines, counted: null }
  })

const placeIn = (books: Books, id4: string, { boxNo, locNo }: Slot): Result.Result<Place, LocationNotFound> =>
  books.hasSlot({ boxNo, locNo }) ? Result.succeed({ id4, boxNo, locNo }) : Result.fail(locationNotFound({ boxNo, locNo }))

/** A slot where nothing of the part ever was is rather a wrong slot than one that is used up. */
const heldPlace = (books: Books, id4: string, slot: Slot): Result.Result<Place, LocationNotFound | PartNotInLocation> =>
  Result.flatMap(placeIn(books, id4, slot), (place) => {
    const location = formatSlot(place)
    return books.everHeld(place)
      ? Result.succeed(place)
      : Result.fail(new PartNotInLocation({ detail: `${id4} has never been in ${location}.`, id4, location }))
  })

const onlyPlace = (books: Books, id4: string, requested: number): Result.Result<Place, InsufficientStock | LocationAmbiguous> => {
  const [only, ...others] = books.contents(id4)
  if (only === undefined) {
    const detail = `Nothing of ${id4} is in stock, ${requested} ${requested === 1 ? "was" : "were"} asked for.`
    return Result.fail(new InsufficientStock({ detail, id4, requested, available: 0, location: null }))
  }
  if (others.length === 0) return Result.succeed({ id4, boxNo: only.boxNo, locNo: only.locNo })
  const locations = [only, ...others].map(({ boxNo, locNo, quantity }) => ({
    boxNo,
    locNo,
    location: formatSlot({ boxNo, locNo }),
    quantity
  }))
  const detail = `${id4} lies in ${locations.map(({ location }) => location).join(", ")}: say from which slot.`
  return Result.fail(new LocationAmbiguous({ detail, id4, locations }))
}

const add = (place: Place, current: number, quantity: number): Result.Result<Line, QuantityTooLarge> => {
  if (current + quantity <= mostPieces) return Result.succeed({ ...place, delta: quantity, balanceAfter: current + quantity })
  const location = formatSlot(place)
  const detail = `${location} holds ${current} of ${place.id4}; ${quantity} more would be over ${mostPieces}.`
  return Result.fail(new QuantityTooLarge({ detail, id4: place.id4, location, current, requested: quantity }))
}

const remove = (place: Place, available: number, quantity: number): Result.Result<Line, InsufficientStock> => {
  if (available >= quantity) return Result.succeed({ ...place, delta: -quantity, balanceAfter: available - quantity })
  const location = formatSlot(place)
  const detail = `${location} holds ${available} of ${place.id4}, ${quantity} ${quantity === 1 ? "was" : "were"} asked for.`
  return Result.fail(new InsufficientStock({ detail, id4: place.id4, requested: quantity, available, location }))
}
