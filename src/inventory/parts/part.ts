import { createHash } from "node:crypto"
import { Effect, Random, Schema, SchemaTransformation } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { Instant, int, optionalText, text, webAddress } from "#platform/http/text.ts"
import { fold, squash } from "../search/fold.ts"
import { NewSellerLink, SellerLink } from "../sellers/seller.ts"
import { TypeId } from "../types/type.ts"
import { Kicad, KicadEdit, mergeKicad, NewKicad } from "./kicad.ts"
import { mostTags, Tag } from "./part-tag.ts"

/** The label on the bag: four capitals, written by hand and read aloud. */
export const Id4 = Schema.String.check(Schema.isPattern(/^[A-Z]{4}$/u))
  .pipe(Schema.brand("Id4"))
  .annotate({ identifier: "Id4" })
export type Id4 = typeof Id4.Type

/** The place of an id among all there can be, in alphabetical order: for what is remembered of every part in little room. */
export const id4Place = (id4: string) => [0, 1, 2, 3].reduce((place, at) => place * 26 + id4.charCodeAt(at) - 65, 0)
export const id4Places = 26 ** 4

/** As people type it. The check stands on the wire side, where the OpenAPI document can see it. */
export const Id4InAnyCase = Schema.String.check(Schema.isPattern(/^[A-Za-z]{4}$/u)).pipe(
  Schema.decodeTo(Id4, SchemaTransformation.toUpperCase())
)

/** In a path, where an impossible id is answered like an unknown one: it decodes to itself and is not found. */
export const Id4InPath = Schema.String.annotate({ description: "The four letters of a part, in any case" }).pipe(
  Schema.decodeTo(
    Schema.String as unknown as Schema.Codec<Id4, Id4>,
    SchemaTransformation.transform<Id4, string>({
      decode: (s) => (/^[A-Za-z]{4}$/u.test(s) ? s.toUpperCase() : "") as Id4,
      encode: (id4) => id4
    })
  )
)

const letters = "ABCDEFGHJKMNPQRSTUVWXYZ" // no I, L, O: misread in handwriting

/** How many ids can be drawn. */
export const id4Count = letters.length ** 4

/** The n-th id that can be drawn, in alphabetical order, from 0. */
export const nthId4 = (n: number): Id4 => {
  const at = (place: number) => letters.charAt(Math.floor(n / letters.length ** place) % letters.length)
  return (at(3) + at(2) + at(1) + at(0)) as Id4
}

// Read aloud across a workshop; a short list of what nobody wants to find on a bag.
const offensive = new Set(
  "ANUS ARSE CRAP CUNT DAMN DYKE FAGG FART FUCK FUKK GAYS HEBE JEWS KKKK NAZY PAKY RAPE SEXY SPAZ SUCK TARD TURD TWAT WANK".split(" ")
)

export const isDrawable = (id4: string) => !offensive.has(id4)

export const randomId4: Effect.Effect<Id4> = Random.nextIntBetween(0, id4Count, { halfOpen: true }).pipe(
  Effect.map(nthId4),
  Effect.repeat({ until: isDrawable })
)

/** Which one it is, see {@link nthId4}; -1 for one with other letters, which is never drawn. */
export const id4Number = (id4: string) => {
  let n = 0
  for (const letter of id4) {
    const digit = letters.indexOf(letter)
    if (digit < 0) return -1
    n = n * letters.length + digit
  }
  return n
}

/** What can be drawn and is neither taken, by its number, nor refused, in alphabetical order from the n-th on, then from the first. */
export function* freeId4s(from: number, taken: ArrayLike<number>, refused: (id4: string) => boolean): Generator<Id4, undefined> {
  for (let n = 0; n < id4Count; n++) {
    const at = (from + n) % id4Count
    if (taken[at] === 1) continue
    const id4 = nthId4(at)
    if (isDrawable(id4) && !refused(id4)) yield id4
  }
}

type Texts = ReadonlyArray<string>

/** Of equal ones the first stays. */
const distinct = (wire: Schema.Codec<Texts, Texts>) =>
  wire.pipe(
    Schema.decodeTo(
      Schema.Array(Schema.String),
      SchemaTransformation.transform<Texts, Texts>({ decode: (all) => [...new Set(all)], encode: (all) => all })
    )
  )

/** Null and a missing key mean none. */
const orNone = (wire: Schema.Codec<Texts, Texts>) =>
  Schema.NullOr(wire).pipe(
    Schema.decodeTo(
      Schema.Array(Schema.String),
      SchemaTransformation.transform<Texts, Texts | null>({ decode: (all) => all ?? [], encode: (all) => all })
    ),
    Schema.withDecodingDefaultTypeKey(Effect.succeed([]))
  )

const Tags = distinct(Schema.Array(Tag).check(Schema.isMaxLength(mostTags)))
const Barcodes = distinct(Schema.Array(text(200)).check(Schema.isMaxLength(20)))

const PinCount = int(1, 10_000)
const MinQuantity = int(0, 1_000_000_000)

/** The texts of a part that are just texts, with their longest length: a new attribute of a part starts here. */
export const textFields = {
  manufacturerCode: 255,
  manufacturer: 255,
  package: 100,
  pinPitch: 50,
  voltageRating: 100,
  inputVoltage: 100,
  outputVoltage: 100,
  mountingType: 50,
  series: 100,
  dimensions: 100
} as const
type TextField = keyof typeof textFields

const mapTexts = <S extends Schema.Constraint>(make: (max: number) => S) =>
  Object.fromEntries(Object.entries(textFields).map(([name, max]) => [name, make(max)])) as { readonly [K in TextField]: S }

const optional = <S extends Schema.Top>(schema: S) => Schema.NullOr(schema).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null)))

/** The fields that a person may set, as they stand in a part. */
export const PartFields = Schema.Struct({
  description: text(2000),
  ...mapTexts(optionalText),
  productPage: optional(webAddress(2000)),
  typeId: optional(TypeId),
  pinCount: optional(PinCount),
  minQuantity: optional(MinQuantity),
  tags: orNone(Tags),
  barcodes: orNone(Barcodes),
  kicad: optional(NewKicad)
})
export type PartFields = typeof PartFields.Type

/** What parts without part number are found by: equal for equal folded descriptions. Null when there is a part number. */
export const descriptionHash = ({ description, manufacturerCode }: Pick<PartFields, "description" | "manufacturerCode">): number | null =>
  manufacturerCode !== null && squash(manufacturerCode) !== ""
    ? null
    : createHash("sha1").update(fold(description)).digest().readUIntBE(0, 6)

export const NewPart = Schema.Struct({
  ...PartFields.fields,
  sellerLinks: Schema.Array(NewSellerLink)
    .check(Schema.isMaxLength(50))
    .pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed([])))
}).annotate({ identifier: "NewPart" })
export type NewPart = typeof NewPart.Type

/** A JSON merge patch: absent keys stay, null empties, `kicad` merges key by key. */
export const PartEdit = Schema.Struct({
  description: Schema.optionalKey(text(2000)),
  ...mapTexts((max) => Schema.optionalKey(Schema.NullOr(text(max)))),
  productPage: Schema.optionalKey(Schema.NullOr(webAddress(2000))),
  typeId: Schema.optionalKey(Schema.NullOr(TypeId)),
  pinCount: Schema.optionalKey(Schema.NullOr(PinCount)),
  minQuantity: Schema.optionalKey(Schema.NullOr(MinQuantity)),
  tags: Schema.optionalKey(Schema.NullOr(Tags)),
  barcodes: Schema.optionalKey(Schema.NullOr(Barcodes)),
  kicad: Schema.optionalKey(Schema.NullOr(KicadEdit))
}).annotate({ identifier: "PartEdit" })
export type PartEdit = typeof PartEdit.Type

/** The fields after an edit. */
export const applyEdit = (part: PartFields, edit: PartEdit): PartFields => {
  const { barcodes, kicad, tags, ...plain } = edit
  return {
    ...part,
    ...plain,
    tags: tags === undefined ? part.tags : (tags ?? []),
    barcodes: barcodes === undefined ? part.barcodes : (barcodes ?? []),
    kicad: kicad === undefined ? part.kicad : kicad === null ? null : mergeKicad(part.kicad, kicad)
  }
}

/** Stock of a part in one slot. */
export const StockInSlot = Schema.Struct({
  boxNo: Schema.Int,
  locNo: Schema.Int,
  location: Schema.String,
  quantity: Schema.Int,
  lastCountedAt: Schema.NullOr(Instant)
}).annotate({ identifier: "StockInSlot" })
export type StockInSlot = typeof StockInSlot.Type

const nullableText = Schema.NullOr(Schema.String)

/** A part as it stands in lists: its own fields and the figures that every answer with a part carries. */
export const PartRow = Schema.Struct({
  id4: Id4,
  description: Schema.String,
  ...mapTexts(() => nullableText),
  productPage: nullableText,
  typeId: Schema.NullOr(TypeId),
  type: Schema.NullOr(Schema.Struct({ id: TypeId, name: Schema.String })),
  pinCount: Schema.NullOr(Schema.Int),
  minQuantity: Schema.NullOr(Schema.Int),
  tags: Schema.Array(Schema.String),
  barcodes: Schema.Array(Schema.String),
  kicad: Schema.NullOr(Kicad),
  totalQuantity: Schema.Int,
  /** Name of the primary seller, and its link for this part. */
  seller: nullableText,
  sellerLink: nullableText,
  /** The document that stands for the part in lists; the addresses are null when it is no image, or has nothing to see. */
  coverDocumentId: nullableText,
  imageUrl: nullableText,
  thumbnailUrl: nullableText,
  createdAt: Instant,
  updatedAt: Instant,
  version: Schema.Int
}).annotate({ identifier: "PartRow" })
export type PartRow = typeof PartRow.Type

export const Part = Schema.Struct({
  ...PartRow.fields,
  locations: Schema.Array(StockInSlot),
  sellerLinks: Schema.Array(SellerLink)
}).annotate({ identifier: "Part" })
export type Part = typeof Part.Type

/** A row of a list with what `include` asked for. */
export const ListedPart = Schema.Struct({ ...PartRow.fields, locations: Schema.optionalKey(Schema.Array(StockInSlot)) }).annotate({
  identifier: "ListedPart"
})
export type ListedPart = typeof ListedPart.Type

export const includes = ["locations"] as const

export const partSorts = ["id4", "createdAt", "updatedAt", "description", "manufacturerCode", "totalQuantity"] as const

export interface PartsFilter {
  readonly typeId?: ReadonlyArray<number> | undefined
  readonly tag?: ReadonlyArray<string> | undefined
  readonly sellerId?: number | undefined
  readonly boxNo?: number | undefined
  readonly manufacturer?: string | undefined
  readonly package?: string | undefined
  readonly mountingType?: string | undefined
  readonly inStock?: boolean | undefined
  readonly belowMinimum?: boolean | undefined
  readonly hasDocuments?: boolean | undefined
  readonly updatedSince?: string | undefined
}

/** One change to many parts, all or nothing. */
export const BulkEdit = Schema.Struct({
  ids: Schema.Array(Id4InAnyCase).check(Schema.isMinLength(1), Schema.isMaxLength(500)),
  set: Schema.Struct({
    typeId: Schema.optionalKey(Schema.NullOr(TypeId)),
    manufacturer: Schema.optionalKey(Schema.NullOr(text(255))),
    package: Schema.optionalKey(Schema.NullOr(text(100))),
    mountingType: Schema.optionalKey(Schema.NullOr(text(50))),
    minQuantity: Schema.optionalKey(Schema.NullOr(MinQuantity))
  }).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed({}))),
  addTags: orNone(Tags),
  removeTags: orNone(Tags)
}).annotate({ identifier: "PartBulkEdit" })
export type BulkEdit = typeof BulkEdit.Type

/** What is left of a deleted part. */
export interface RetiredPart {
  readonly id4: string
  readonly description: string
  readonly retiredAt: string
}

export class PartNotFound extends Problem<PartNotFound>()(
  "PartNotFound",
  {
    code: "part-not-found",
    status: 404,
    title: "No such part",
    help: "No part has this label. Labels are four letters; GET /api/search?q= finds parts by anything else."
  },
  { id4: Schema.String, index: Schema.optionalKey(Schema.Int) }
) {}

export class PartRetired extends Problem<PartRetired>()(
  "PartRetired",
  {
    code: "part-retired",
    status: 404,
    title: "This part was deleted",
    help: "The label belonged to a part that was deleted. It is never given out again, so an old bag cannot be taken for something else."
  },
  { id4: Schema.String, description: Schema.String, retiredAt: Instant, index: Schema.optionalKey(Schema.Int) }
) {}

export class PartInUse extends Problem<PartInUse>()(
  "PartInUse",
  {
    code: "part-in-use",
    status: 409,
    title: "The part is still in use",
    help: "A part can be deleted when its stock is 0 and nothing planned needs it. blockedBy names what holds it: take the stock out or remove the part there first."
  },
  { blockedBy: Schema.Array(Schema.Struct({ kind: Schema.Literals(["stock"]), id: Schema.String, name: Schema.String })) }
) {}

export class BarcodeTaken extends Problem<BarcodeTaken>()(
  "BarcodeTaken",
  {
    code: "barcode-taken",
    status: 409,
    title: "Another part has this barcode",
    help: "A barcode resolves to one part only. Remove it from the other part first."
  },
  { barcode: Schema.String, id4: Schema.NullOr(Schema.String) }
) {}

export class Id4SpaceExhausted extends Problem<Id4SpaceExhausted>()("Id4SpaceExhausted", {
  code: "id4-space-exhausted",
  status: 409,
  title: "All labels are used",
  help: "Every label that can be drawn was given out once; labels of deleted parts are not used again."
}) {}
