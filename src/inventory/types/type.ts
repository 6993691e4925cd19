import { Effect, Schema } from "effect"
import { idInPath } from "#platform/http/ids.ts"
import { Problem } from "#platform/http/problems.ts"
import { Instant, int, optionalText, text } from "#platform/http/text.ts"

export const TypeId = int(1, 2_147_483_647).pipe(Schema.brand("TypeId")).annotate({ identifier: "TypeId" })
export type TypeId = typeof TypeId.Type

/** In a path: an impossible id is answered like an unknown one, so it must decode. */
export const TypeIdInPath = idInPath(TypeId)

/** How KiCad names a symbol or footprint: `Device:R`. */
export const LibraryName = text(200)
  .check(Schema.isPattern(/^[^:]+:[^:]+$/u, { expected: "the form Library:Name" }))
  .annotate({ description: "Library:Name" })
const optionalName = Schema.NullOr(LibraryName).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null)))

const fields = {
  name: text(100),
  group: optionalText(50),
  aliases: Schema.Array(text(50))
    .check(Schema.isMaxLength(20))
    .pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed([]))),
  reference: optionalText(10),
  kicadSymbol: optionalName,
  kicadFootprint: optionalName
}

/** The category of a part: Resistor, Relay. `reference` is the designator in schematics; `aliases` are other words for it that search knows. */
export const NewType = Schema.Struct(fields).annotate({ identifier: "NewPartType" })
export type NewType = typeof NewType.Type

export const TypeEdit = Schema.Struct({
  name: Schema.optionalKey(text(100)),
  group: Schema.optionalKey(Schema.NullOr(text(50))),
  aliases: Schema.optionalKey(Schema.NullOr(Schema.Array(text(50)).check(Schema.isMaxLength(20)))),
  reference: Schema.optionalKey(Schema.NullOr(text(10))),
  kicadSymbol: Schema.optionalKey(Schema.NullOr(LibraryName)),
  kicadFootprint: Schema.optionalKey(Schema.NullOr(LibraryName))
}).annotate({ identifier: "PartTypeEdit" })
export type TypeEdit = typeof TypeEdit.Type

export const PartType = Schema.Struct({
  id: TypeId,
  /** The key of the starter type it came from; null for one that a person made. */
  key: Schema.NullOr(Schema.String),
  name: Schema.String,
  group: Schema.NullOr(Schema.String),
  aliases: Schema.Array(Schema.String),
  reference: Schema.NullOr(Schema.String),
  kicadSymbol: Schema.NullOr(Schema.String),
  kicadFootprint: Schema.NullOr(Schema.String),
  partCount: Schema.Int,
  createdAt: Instant,
  updatedAt: Instant,
  version: Schema.Int
}).annotate({ identifier: "PartType" })
export type PartType = typeof PartType.Type

/** An entry of starter-types.json. */
export interface StarterType {
  readonly key: string
  readonly name: string
  readonly group: string
  readonly reference: string
  readonly aliases: ReadonlyArray<string>
  readonly kicadSymbol?: string
}

export class TypeNotFound extends Problem<TypeNotFound>()(
  "TypeNotFound",
  { code: "type-not-found", status: 404, title: "No such type", help: "No part type has this id. GET /api/types lists them." },
  { typeId: Schema.Int }
) {}

export class TypeNameTaken extends Problem<TypeNameTaken>()(
  "TypeNameTaken",
  {
    code: "type-name-taken",
    status: 409,
    title: "Another type has this name",
    help: "Names of types are unique, ignoring case. Use the existing type or choose another name."
  },
  { name: Schema.String }
) {}

export class TypeInUse extends Problem<TypeInUse>()(
  "TypeInUse",
  {
    code: "type-in-use",
    status: 409,
    title: "Parts have this type",
    help: "A type can be deleted when no part has it. Give those parts another type first (POST /api/parts/bulk-edit)."
  },
  { partCount: Schema.Int }
) {}
