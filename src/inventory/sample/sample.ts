import type { Slot } from "../boxes/slot.ts"
import { type Id4, id4Count, isDrawable, nthId4 } from "../parts/part.ts"
import type { Kind } from "../stock/stock.ts"
import { drawPart, drawType, sellers } from "./catalogue.ts"
import type { CataloguePart } from "./catalogue-part.ts"
import { Draws } from "./draws.ts"

export interface SampleSize {
  readonly parts: number
  readonly boxes: number
  readonly operations: number
  readonly seed: number
}

/** A box to be made; its number is given by whoever makes it. */
export interface SampleBox {
  readonly type: string
  readonly description: string
  readonly capacity: number
  /** Whether it is meant for its type only. */
  readonly designated: boolean
}

export interface SamplePart {
  readonly id4: Id4
  readonly catalogue: CataloguePart & { readonly type: string }
  readonly minQuantity: number | null
  readonly createdAt: number
  readonly links: ReadonlyArray<{ readonly seller: number; readonly link: string; readonly number: string }>
}

export interface SampleLine extends Slot {
  readonly part: number
  readonly delta: number
  readonly balanceAfter: number
}

export interface SampleOperation {
  readonly id: string
  readonly kind: Kind
  readonly at: number
  readonly note: string | null
  readonly undoes: string | null
  readonly lines: ReadonlyArray<SampleLine>
}

export interface SampleStock extends Slot {
  readonly part: number
  readonly quantity: number
  readonly countedAt: number | null
}

const day = 86_400_000
const ledgerDays = 60
const catalogueDays = 400

/** Every concern draws from its own numbers, so that one of them can be asked for more without changing the others. */
const drawsFor = (seed: number, concern: string) =>
  new Draws([...concern].reduce((hash, letter) => Math.imul(hash, 31) + letter.charCodeAt(0), seed))

/** Boxes of types, as full as a workshop's: rather more slots than parts, as far as a box can have them. */
export const sampleBoxes = ({ boxes, parts, seed }: SampleSize): ReadonlyArray<SampleBox> => {
  const draws = drawsFor(seed, "boxes")
  const typical = (parts / boxes) * 1.6
  const count = new Map<string, number>()
  return Array.from({ length: boxes }, () => {
    const type = drawType(draws)
    const nth = (count.get(type) ?? 0) + 1
    count.set(type, nth)
    const capacity = Math.min(1000, Math.max(10, Math.round(typical * (0.6 + 0.8 * draws.unit()))))
    return { type, description: nth === 1 ? type : `${type} ${nth}`, capacity, designated: draws.chance(0.1) }
  })
}

/** The parts in the order in which they came in. An id for which `taken` holds is passed over. */
export function* sampleParts(
  { parts, seed }: SampleSize,
  until: number,
  taken: (id4: string) => boolean
): Generator<SamplePart, void, undefined> {
  const draws = drawsFor(seed, "parts")
  const order = drawsFor(seed, "ids").shuffle(Uint32Array.from({ length: id4Count }, (_, n) => n))
  let drawn = 0
  const freeId = () => {
    while (drawn < id4Count) {
      const id4 = nthId4(order[drawn++]!)
      if (isDrawable(id4) && !taken(id4)) return id4
    }
    throw new Error("all labels are used")
  }
  const known = new Set<string>()
  const arrival = (ledgerDays + catalogueDays) * day
  for (let n = 0; n < parts; n++) {
    const catalogue = newPart(draws, known)
    const [least, most] = catalogue.bag
    const firstSeller = draws.between(0, sellers.length - 1)
    const count = draws.pick([0, 1, 1, 1, 2])
    yield {
      id4: freeId(),
      catalogue,
      minQuantity: draws.chance(0.15) ? draws.between(1, Math.max(2, Math.round((least + most) / 10))) : null,
      createdAt: Math.floor(until - arrival + ((n + draws.unit()) / parts) * catalogueDays * day),
      links: Array.from({ length: count }, (_, at) => {
        const seller = (firstSeller + at) % sellers.length
        const { number, page } = sellers[seller]!
        // One number per part: a seller's numbers are unique.
        const own = number(order[n]!)
        return { seller, link: page + encodeURIComponent(own), number: own }
      })
    }
  }
}

// A family that is nearly used up gives way to the others; a few things are on the shelf twice, as they are in every workshop.
const newPart = (draws: Draws, known: Set<string>) => {
  for (let tries = 0; ; tries++) {
    const part = drawPart(draws)
    const key = `${part.manufacturer} ${part.manufacturerCode ?? part.description}`
    if (!known.has(key) || tries === 20) {
      known.add(key)
      return part
    }
  }
}

const notes = ["prototype", "for the course", "new bag", "returned", "broken", "second shelf", "lent to a friend", "stocktaking"]

const none = -1

/**
 * The bookings of sixty days, and the stock they lead to. A part lies in at most two slots; slots are numbered through all boxes.
 * Holds a few numbers per part, whatever the number of bookings.
 */
export class SampleLedger {
  readonly #size: SampleSize
  readonly #until: number
  readonly #draws: Draws
  readonly #ids: Draws
  readonly #boxNos: ReadonlyArray<number>
  readonly #firstSlots: Uint32Array
  readonly #boxesOf = new Map<string, Array<number>>()
  readonly #used: Uint8Array
  readonly #slots: readonly [Int32Array, Int32Array]
  readonly #quantities: readonly [Uint32Array, Uint32Array]
  readonly #counted: readonly [Float64Array, Float64Array]
  readonly #types: Array<string> = []
  readonly #bags: Array<readonly [number, number]> = []

  constructor(size: SampleSize, until: number, boxes: ReadonlyArray<SampleBox & { readonly boxNo: number }>) {
    this.#size = size
    this.#until = until
    this.#draws = drawsFor(size.seed, "ledger")
    this.#boxNos = boxes.map(({ boxNo }) => boxNo)
    // A box number is given out once: a second sample of the same seed gets other ids for its bookings.
    this.#ids = drawsFor(size.seed, `ids from box ${this.#boxNos[0]}`)
    this.#firstSlots = new Uint32Array(boxes.length + 1)
    for (const [at, { capacity, type }] of boxes.entries()) {
      this.#firstSlots[at + 1] = (this.#firstSlots[at] as number) + capacity
      this.#boxesOf.set(type, [...(this.#boxesOf.get(type) ?? []), at])
    }
    this.#used = new Uint8Array(this.#firstSlots[boxes.length] as number)
    const perPart = size.parts
    this.#slots = [new Int32Array(perPart).fill(none), new Int32Array(perPart).fill(none)]
    this.#quantities = [new Uint32Array(perPart), new Uint32Array(perPart)]
    this.#counted = [new Float64Array(perPart), new Float64Array(perPart)]
  }

  /** In the order of their numbers; bookings need all of them. */
  addPart({ bag, type }: { readonly type: string; readonly bag: readonly [number, number] }): void {
    this.#types.push(type)
    this.#bags.push(bag)
  }

  total(part: number): number {
    return this.#quantities[0][part]! + this.#quantities[1][part]!
  }

  *stock(): Generator<SampleStock, void, undefined> {
    for (let part = 0; part < this.#size.parts; part++) {
      for (const place of [0, 1] as const) {
        const slot = this.#slots[place][part]!
        if (slot === none) continue
        const countedAt = this.#counted[place][part]!
        yield { part, ...this.#slotAt(slot), quantity: this.#quantities[place][part]!, countedAt: countedAt === 0 ? null : countedAt }
      }
    }
  }

  *operations(): Generator<SampleOperation, void, undefined> {
    const { operations, parts } = this.#size
    const draws = this.#draws
    const order = draws.shuffle(Uint32Array.from({ length: parts }, (_, part) => part))
    const stocked = Math.floor(parts * 0.95)
    const begin = this.#until - ledgerDays * day
    let before: SampleOperation | undefined
    for (let n = 0; n < operations; n++) {
      const at = Math.floor(begin + ((n + draws.unit()) / operations) * ledgerDays * day)
      const operation = { id: uuidv7(at, this.#ids), at, note: draws.chance(0.05) ? draws.pick(notes) : null, undoes: null }
      if (n < stocked) {
        before = { ...operation, kind: "import", lines: [this.#put(order[n]!, 0, this.#bag(order[n]!))] }
      } else if (before?.kind === "take" && draws.chance(0.02)) {
        before = { ...operation, kind: "undo", undoes: before.id, lines: before.lines.map((line) => this.#takeBack(line)) }
      } else {
        // Squared, so that some parts are used all the time and most now and then.
        before = { ...operation, ...this.#daily(order[Math.floor(parts * draws.unit() ** 2)]!, at) }
      }
      yield before
    }
  }

  #daily(part: number, at: number): Pick<SampleOperation, "kind" | "lines"> {
    const draws = this.#draws
    const [first, second] = [this.#quantities[0][part]!, this.#quantities[1][part]!]
    const held = first > 0 ? 0 : 1
    if (first + second === 0) return { kind: "put", lines: [this.#put(part, 0, this.#bag(part))] }
    const what = draws.unit()
    if (what < 0.2) return { kind: "put", lines: [this.#put(part, draws.chance(0.3) && second === 0 ? 1 : held, this.#bag(part))] }
    if (what < 0.35) return { kind: "move", lines: this.#move(part, first > 0 && second > 0) }
    if (what < 0.45) return { kind: "count", lines: this.#count(part, held, at) }
    const available = this.#quantities[held][part]!
    const quantity = draws.chance(0.05) ? available : draws.between(1, Math.max(1, Math.floor(available / 4)))
    return { kind: "take", lines: [this.#change(part, held, -quantity)] }
  }

  #bag(part: number): number {
    const [least, most] = this.#bags[part]!
    const quantity = this.#draws.between(least, most)
    return quantity > 100 ? Math.round(quantity / 50) * 50 : quantity
  }

  #put(part: number, place: 0 | 1, quantity: number): SampleLine {
    this.#takeSlot(part, place)
    return this.#change(part, place, quantity)
  }

  #takeSlot(part: number, place: 0 | 1): void {
    if (this.#slots[place][part] === none) this.#slots[place][part] = this.#findSlot(part)
  }

  /** Everything that is in the second slot into the first, or a part of the first, at times all of it, into another. */
  #move(part: number, together: boolean): ReadonlyArray<SampleLine> {
    const from = together || this.#quantities[0][part] === 0 ? 1 : 0
    const to = together ? 0 : ((1 - from) as 0 | 1)
    const available = this.#quantities[from][part]!
    const quantity = together || this.#draws.chance(0.5) ? available : this.#draws.between(1, available)
    // Before the first slot is given up, or it could be found again.
    this.#takeSlot(part, to)
    return [this.#change(part, from, -quantity), this.#change(part, to, quantity)]
  }

  #count(part: number, place: 0 | 1, at: number): ReadonlyArray<SampleLine> {
    const found = this.#quantities[place][part]!
    const delta = this.#draws.chance(0.6) ? 0 : Math.max(-found, this.#draws.between(-3, 3))
    this.#counted[place][part] = at
    return delta === 0 ? [] : [this.#change(part, place, delta)]
  }

  #takeBack({ boxNo, delta, locNo, part }: SampleLine): SampleLine {
    const slot = this.#slotNumber({ boxNo, locNo })
    const place = this.#slots[0][part] === slot ? 0 : this.#slots[1][part] === slot ? 1 : this.#slots[0][part] === none ? 0 : 1
    this.#slots[place][part] = slot
    return this.#change(part, place, -delta)
  }

  #change(part: number, place: 0 | 1, delta: number): SampleLine {
    const slot = this.#slots[place][part]!
    const balanceAfter = this.#quantities[place][part]! + delta
    this.#quantities[place][part] = balanceAfter
    if (balanceAfter === 0) {
      this.#slots[place][part] = none
      this.#counted[place][part] = 0
    }
    return { part, ...this.#slotAt(slot), delta, balanceAfter }
  }

  /** Mostly in a box of the part's type, and in an empty slot when one is found quickly; never where the part lies already. */
  #findSlot(part: number): number {
    const draws = this.#draws
    const own = this.#boxesOf.get(this.#types[part]!)
    const box = own === undefined || draws.chance(0.15) ? draws.between(0, this.#boxNos.length - 1) : draws.pick(own)
    const [first, next] = [this.#firstSlots[box]!, this.#firstSlots[box + 1]!]
    const holds = (slot: number) => this.#slots[0][part] === slot || this.#slots[1][part] === slot
    let slot = draws.between(first, next - 1)
    for (let tries = 0; holds(slot) || (this.#used[slot] === 1 && tries < 8); tries++) slot = draws.between(first, next - 1)
    this.#used[slot] = 1
    return slot
  }

  #slotAt(slot: number): Slot {
    let [low, high] = [0, this.#boxNos.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#firstSlots[middle]! <= slot) low = middle
      else high = middle - 1
    }
    return { boxNo: this.#boxNos[low]!, locNo: slot - this.#firstSlots[low]! + 1 }
  }

  #slotNumber({ boxNo, locNo }: Slot): number {
    return this.#firstSlots[this.#boxNos.indexOf(boxNo)]! + locNo - 1
  }
}

/** As RFC 9562 has it, with drawn bits: ids of bookings sort by time, and are the same for the same seed. */
const uuidv7 = (at: number, draws: Draws) => {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0").slice(-digits)
  const time = hex(at, 12)
  const variant = "89ab".charAt(draws.between(0, 3))
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(draws.bits(), 3)}-${variant}${hex(draws.bits(), 3)}-${hex(draws.bits(), 6)}${hex(draws.bits(), 6)}`
}
