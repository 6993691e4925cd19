import { Effect, Schema } from "effect"
import { text } from "#platform/http/text.ts"
import { LibraryName } from "../types/type.ts"

const fields = {
  symbol: Schema.NullOr(LibraryName),
  footprint: Schema.NullOr(LibraryName),
  reference: Schema.NullOr(text(200)),
  value: Schema.NullOr(text(200)),
  excludeFromBom: Schema.Boolean,
  excludeFromBoard: Schema.Boolean,
  excludeFromSim: Schema.Boolean
}

/** What a schematic editor needs to place the part. */
export const Kicad = Schema.Struct(fields).annotate({ identifier: "Kicad" })
export type Kicad = typeof Kicad.Type

const noKicad: Kicad = {
  symbol: null,
  footprint: null,
  reference: null,
  value: null,
  excludeFromBom: false,
  excludeFromBoard: false,
  excludeFromSim: false
}

const absent = Effect.succeed(null)
const included = Effect.succeed(false)

export const NewKicad = Schema.Struct({
  symbol: fields.symbol.pipe(Schema.withDecodingDefaultTypeKey(absent)),
  footprint: fields.footprint.pipe(Schema.withDecodingDefaultTypeKey(absent)),
  reference: fields.reference.pipe(Schema.withDecodingDefaultTypeKey(absent)),
  value: fields.value.pipe(Schema.withDecodingDefaultTypeKey(absent)),
  excludeFromBom: fields.excludeFromBom.pipe(Schema.withDecodingDefaultTypeKey(included)),
  excludeFromBoard: fields.excludeFromBoard.pipe(Schema.withDecodingDefaultTypeKey(included)),
  excludeFromSim: fields.excludeFromSim.pipe(Schema.withDecodingDefaultTypeKey(included))
})

/** Merges key by key; null sets a key back to what it is in a new part. */
export const KicadEdit = Schema.Struct({
  symbol: Schema.optionalKey(fields.symbol),
  footprint: Schema.optionalKey(fields.footprint),
  reference: Schema.optionalKey(fields.reference),
  value: Schema.optionalKey(fields.value),
  excludeFromBom: Schema.optionalKey(Schema.NullOr(fields.excludeFromBom)),
  excludeFromBoard: Schema.optionalKey(Schema.NullOr(fields.excludeFromBoard)),
  excludeFromSim: Schema.optionalKey(Schema.NullOr(fields.excludeFromSim))
})
export type KicadEdit = typeof KicadEdit.Type

export const mergeKicad = (kicad: Kicad | null, edit: KicadEdit): Kicad => {
  const { excludeFromBoard, excludeFromBom, excludeFromSim, ...texts } = { ...noKicad, ...kicad, ...edit }
  return {
    ...texts,
    excludeFromBom: excludeFromBom ?? false,
    excludeFromBoard: excludeFromBoard ?? false,
    excludeFromSim: excludeFromSim ?? false
  }
}
