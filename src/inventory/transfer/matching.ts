import { Equal, Schema } from "effect"
import type { Slot } from "../boxes/slot.ts"
import { formatSlot } from "../boxes/slot.ts"
import { applyEdit, type Id4, id4Place, id4Places, type PartEdit, PartFields, type PartRow } from "../parts/part.ts"
import { fold, squash } from "../search/fold.ts"
import type { SellerId } from "../sellers/seller.ts"
import type { PrimaryLink } from "../sellers/seller-links.service.ts"
import type { TypeId } from "../types/type.ts"
import { type Column, type ImportOptions, kicadKeyOf, type PartColumn, type Problem, partColumns, type ReadRow } from "./import.ts"
import type { SeenPart } from "./import-batch.ts"
import type { Survey } from "./survey.ts"

/**
 * What the rows so far said of which part, for the rows to come. There is a place for every label there can be, so it takes the same
 * 6 MB for ten rows and for all, and a number per booked slot; what was filled in is in the database.
 */
export class Seen {
  readonly #said = new BigUint64Array(id4Places)
  readonly #lines = new Uint32Array(id4Places)
  readonly #made = new Uint8Array(id4Places)
  readonly #slots = new Set<number>()

  of(id4: string) {
    const at = id4Place(id4)
    return { said: this.#said[at] as bigint, line: this.#lines[at] || null, made: this.#made[at] === 1 }
  }

  hasSlot(id4: string, slot: Slot): boolean {
    return this.#slots.has(slotPlace(id4, slot))
  }

  remember({ id4, line, made, said, slots }: SeenPart): void {
    const at = id4Place(id4)
    this.#said[at] = said
    this.#lines[at] ||= line ?? 0
    if (made) this.#made[at] = 1
    for (const slot of slots) this.#slots.add(slotPlace(id4, slot))
  }
}

const slotPlace = (id4: string, { boxNo, locNo }: Slot) => id4Place(id4) * 100_000_000 + boxNo * 1000 + locNo - 1

/** What is known of everything that some rows may mean. */
export interface Known {
  readonly types: ReadonlyMap<string, TypeId>
  readonly sellers: ReadonlyMap<string, SellerId>
  readonly parts: ReadonlyArray<PartRow>
  readonly links: ReadonlyMap<string, PrimaryLink>
  readonly retired: ReadonlySet<string>
  /** Barcode → the part that has it. */
  readonly barcodes: ReadonlyMap<string, string>
  /** Box → number of its slots. */
  readonly boxes: ReadonlyMap<number, number>
  readonly quantity: (id4: string, slot: Slot) => number
}

/** A part that rows mean, as these rows leave it. */
export interface Meant {
  /** Null for a part that these rows make. */
  readonly before: PartRow | null
  /** Null for one whose label is still to be drawn. */
  readonly id4: Id4 | null
  /** Whether this file made it, here or further up. */
  readonly made: boolean
  fields: PartFields
  changed: boolean
  seller: PrimaryLink | null
  sellerEdit: {
    readonly sellerId: SellerId
    readonly link?: string | undefined
    readonly sellerPartNumbers?: ReadonlyArray<string> | undefined
  } | null
  /** The columns that were filled for it so far, a bit each. */
  said: bigint
  /** Where it was named first. */
  line: number | null
  readonly slots: Array<Slot>
}

export interface PlannedRow {
  readonly line: number
  readonly part: Meant
  readonly created: boolean
  /** Whether it changes the part's own fields. */
  readonly changed: boolean
  readonly saysSeller: boolean
  /** What is to be booked. */
  readonly stock: { readonly slot: Slot; readonly quantity: number } | null
}

export interface Plan {
  readonly rows: ReadonlyArray<PlannedRow>
  readonly rejected: ReadonlyMap<number, ReadonlyArray<Problem>>
  readonly parts: ReadonlyArray<Meant>
}

const blank = { ...Schema.decodeUnknownSync(PartFields)({ description: "?" }), description: "" }

const bits = new Map(partColumns.map((column, at) => [column, 1n << BigInt(at)]))
const bitsOf = (filled: ReadonlyArray<PartColumn>) => filled.reduce((all, column) => all | (bits.get(column) as bigint), 0n)

const isSellerColumn = (column: PartColumn) => column.startsWith("seller")

/** What the part has in the column. */
const valueIn = (column: PartColumn, fields: PartFields, seller: PrimaryLink | null): unknown => {
  const kicadKey = kicadKeyOf(column)
  if (kicadKey !== undefined) return fields.kicad?.[kicadKey]
  switch (column) {
    case "type":
      return fields.typeId
    case "seller":
      return seller?.sellerId
    case "sellerLink":
      return seller?.link
    case "sellerPartNumbers":
      return seller?.sellerPartNumbers
    default:
      return fields[column as keyof PartFields]
  }
}

const partNumber = ({ manufacturerCode }: { readonly manufacturerCode?: string | null }) => squash(manufacturerCode ?? "")

const folded = (text: string | null | undefined) => fold(text ?? "")

/** Decides row after row what it means and does, on what the rows before it leave. Nothing is written. */
export const plan = (
  rows: ReadonlyArray<ReadRow>,
  known: Known,
  context: { readonly seen: Seen; readonly options: ImportOptions; readonly survey: Survey }
): Plan => {
  const { options, seen, survey } = context
  const index = new PartIndex()
  const holders = new Map<string, Meant | string>(known.barcodes)
  for (const part of known.parts) {
    const { line, made, said } = seen.of(part.id4)
    const meant: Meant = {
      before: part,
      id4: part.id4,
      made,
      fields: part,
      changed: false,
      seller: known.links.get(part.id4) ?? null,
      sellerEdit: null,
      said,
      line,
      slots: []
    }
    index.add(meant)
    for (const barcode of part.barcodes) holders.set(barcode, meant)
  }

  const planned: Array<PlannedRow> = []
  const rejected = new Map<number, ReadonlyArray<Problem>>()
  for (const row of rows) {
    const decided = decideRow(row, { known, index, holders, seen, options, survey })
    if (Array.isArray(decided)) rejected.set(row.line, decided)
    else planned.push(decided as PlannedRow)
  }
  return { rows: planned, rejected, parts: [...new Set(planned.map(({ part }) => part))] }
}

interface Desk {
  readonly known: Known
  readonly index: PartIndex
  readonly holders: Map<string, Meant | string>
  readonly seen: Seen
  readonly options: ImportOptions
  readonly survey: Survey
}

const decideRow = (row: ReadRow, desk: Desk): PlannedRow | Array<Problem> => {
  const { holders, index, known, options, seen, survey } = desk
  const { boxDescription, boxNo, id4, locNo, quantity, seller: sellerName, sellerLink, sellerPartNumbers, type, ...plain } = row.cells
  const { nameOf } = survey.header
  const problems: Array<Problem> = []
  const problem = (column: Column, reason: string) => void problems.push({ column: nameOf(column), reason })

  const typeId = type === undefined ? undefined : known.types.get(type)
  if (type !== undefined && typeId === undefined) problem("type", `No type is called ${type}`)
  const wantedSeller = sellerName === undefined ? undefined : known.sellers.get(sellerName)
  if (sellerName !== undefined && wantedSeller === undefined) problem("seller", `No seller is called ${sellerName}`)

  const slot = boxNo === undefined || locNo === undefined ? null : { boxNo, locNo }
  if (slot !== null) {
    const capacity = known.boxes.get(slot.boxNo)
    const box = survey.boxes.get(slot.boxNo)
    if (capacity === undefined) {
      problem("boxNo", options.createBoxes ? `The number ${boxNo} belonged to a box that is gone` : `There is no box ${boxNo}`)
    } else if (slot.locNo > capacity) problem("locNo", `Box ${boxNo} has ${capacity} slots`)
    if (boxDescription !== undefined && box !== undefined && box.description !== boxDescription) {
      problem("boxDescription", `Line ${box.line} calls box ${boxNo} "${box.description}"`)
    }
  }

  const means = index.find(row, typeId)
  const by = means.by
  if (means.parts.length > 1) {
    const some = means.parts.slice(0, 5).map((part) => part.id4 ?? `the new one of line ${part.line}`)
    problem(by, `Means ${means.parts.length} parts: ${some.join(", ")}${means.parts.length > 5 ? " …" : ""}`)
    return problems
  }
  const found = means.parts[0]
  if (found === undefined) {
    if (id4 !== undefined && known.retired.has(id4)) problem("id4", `${id4} was deleted, and its label is never used again`)
    if (plain.description === undefined) {
      problem(
        "description",
        id4 === undefined && by === "description" ? "Expected a label, a part number or a description" : "A new part needs one"
      )
    }
  } else if (options.mode === "create" && !found.made) problem(by, `Means ${found.id4}, which is known already`)

  const part: Meant = found ?? {
    before: null,
    id4: id4 ?? null,
    made: true,
    fields: blank,
    changed: false,
    seller: null,
    sellerEdit: null,
    said: 0n,
    line: null,
    slots: []
  }

  const edit: PartEdit = typeId === undefined ? plain : { ...plain, typeId }
  const fields = applyEdit(part.fields, edit)
  for (const barcode of plain.barcodes ?? []) {
    const holder = holders.get(barcode)
    if (holder !== undefined && holder !== part && holder !== part.id4) {
      problem(
        "barcodes",
        `${barcode} belongs to ${typeof holder === "string" ? holder : (holder.id4 ?? `the part of line ${holder.line}`)}`
      )
    }
  }

  const saysSeller = row.filled.some(isSellerColumn)
  const sellerId = wantedSeller ?? (sellerName === undefined ? part.seller?.sellerId : undefined)
  if (saysSeller && sellerName === undefined && sellerId === undefined) problem("seller", "Expected the seller of this link or number")
  const earlier = part.seller?.sellerId === sellerId ? part.seller : null
  const seller =
    saysSeller && sellerId !== undefined
      ? { sellerId, link: sellerLink ?? earlier?.link ?? null, sellerPartNumbers: sellerPartNumbers ?? earlier?.sellerPartNumbers ?? [] }
      : part.seller

  const filled = saysSeller && sellerName === undefined ? [...row.filled, "seller" as const] : row.filled
  const differs = filled.filter((column) => !Equal.equals(valueIn(column, part.fields, part.seller), valueIn(column, fields, seller)))
  for (const column of differs) {
    if ((part.said & (bits.get(column) as bigint)) !== 0n && problems.every((other) => other.column !== nameOf(column))) {
      problem(column, `An earlier line of this part says something else`)
    }
  }

  const booked = slot !== null && quantity !== undefined ? slot : null
  const said = part.said | bitsOf(filled)
  if (booked !== null) {
    const again = part.slots.some((other) => Equal.equals(other, booked)) || (part.id4 !== null && seen.hasSlot(part.id4, booked))
    if (again) problem("locNo", `An earlier line of this part says what is in ${formatSlot(booked)}`)
  } else if (part.line !== null && said === part.said) problem(by, `Line ${part.line} is about this part, and this one adds nothing to it`)
  if (problems.length > 0) return problems

  for (const barcode of part.fields.barcodes) if (plain.barcodes !== undefined) holders.delete(barcode)
  for (const barcode of fields.barcodes) holders.set(barcode, part)
  part.fields = fields
  part.seller = seller
  const changed = differs.some((column) => !isSellerColumn(column))
  part.changed ||= changed
  part.said = said
  part.line ??= row.line
  if (saysSeller && sellerId !== undefined) {
    part.sellerEdit = {
      ...part.sellerEdit,
      sellerId,
      ...(sellerLink == null ? {} : { link: sellerLink }),
      ...(sellerPartNumbers == null ? {} : { sellerPartNumbers })
    }
  }
  if (booked !== null) part.slots.push(booked)
  index.add(part)
  return { line: row.line, part, created: found === undefined, changed, saysSeller, stock: stockOf(part, booked, quantity ?? 0, desk) }
}

const stockOf = (part: Meant, slot: Slot | null, quantity: number, { known, options }: Desk): PlannedRow["stock"] => {
  if (slot === null) return null
  const changes = options.stockMode === "add" ? quantity > 0 : quantity !== (part.id4 === null ? 0 : known.quantity(part.id4, slot))
  return changes ? { slot, quantity } : null
}

/** The parts that rows may mean, by everything a row may mean them by. */
class PartIndex {
  readonly #ids = new Map<string, Meant>()
  readonly #numbers = new Map<string, Set<Meant>>()
  readonly #descriptions = new Map<string, Set<Meant>>()

  /** Again after every change of its fields. */
  add(part: Meant): void {
    if (part.id4 !== null) this.#ids.set(part.id4, part)
    const number = partNumber(part.fields)
    if (number === "") into(this.#descriptions, folded(part.fields.description), part)
    else into(this.#numbers, number, part)
  }

  /** By its label; else by its part number, where manufacturers agree or one is not said; else by description, type and manufacturer. */
  find({ cells }: ReadRow, typeId: TypeId | undefined): { readonly by: Column; readonly parts: ReadonlyArray<Meant> } {
    if (cells.id4 !== undefined) {
      const part = this.#ids.get(cells.id4)
      return { by: "id4", parts: part === undefined ? [] : [part] }
    }
    const number = partNumber(cells)
    const maker = folded(cells.manufacturer)
    if (number !== "") {
      const parts = [...(this.#numbers.get(number) ?? [])].filter(({ fields }) => {
        const other = folded(fields.manufacturer)
        return partNumber(fields) === number && (other === maker || other === "" || maker === "")
      })
      return { by: "manufacturerCode", parts }
    }
    const description = folded(cells.description)
    const parts = [...(this.#descriptions.get(description) ?? [])].filter(
      ({ fields }) =>
        partNumber(fields) === "" &&
        folded(fields.description) === description &&
        (fields.typeId ?? undefined) === typeId &&
        folded(fields.manufacturer) === maker
    )
    return { by: "description", parts }
  }
}

const into = (index: Map<string, Set<Meant>>, key: string, part: Meant) => {
  const parts = index.get(key)
  if (parts === undefined) index.set(key, new Set([part]))
  else parts.add(part)
}
