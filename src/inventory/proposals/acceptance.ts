import { isDeepStrictEqual } from "node:util"
import { Result } from "effect"
import { type InvalidRequest, invalidField } from "#platform/http/problems.ts"
import type { PartFields } from "../parts/part.ts"
import type { TypeId } from "../types/type.ts"
import { type Analysis, analysisTexts, type Proposed } from "./output.ts"
import { type Acceptance, type WritableField, writableFields } from "./proposal.ts"

type Values = { readonly [F in Exclude<WritableField, "typeId">]?: PartFields[F] }

/** What a proposal would write. Nothing is proposed by null. */
export interface Offer {
  readonly values: Values
  readonly type: { readonly name: string; readonly existingTypeId: TypeId | null } | null
}

/** What a person chose of it. */
export interface Choice {
  readonly fields: ReadonlyArray<WritableField>
  readonly values: Values
  /** Undefined when the type is not among the fields. */
  readonly type: { readonly id: TypeId | null } | { readonly name: string } | undefined
}

const present = (values: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== undefined)) as Values

const typeOf = ({ existingTypeId, typeName }: Pick<Analysis, "typeName" | "existingTypeId">): Offer["type"] =>
  typeName === null ? null : { name: typeName, existingTypeId }

const offerOfAnalysis = (analysis: Analysis): Offer => ({
  values: present({
    description: analysis.description,
    productPage: analysis.productPage,
    pinCount: analysis.pinCount,
    tags: analysis.tags.length === 0 ? null : analysis.tags,
    ...Object.fromEntries(analysisTexts.map((field) => [field, analysis[field]]))
  }),
  type: typeOf(analysis)
})

export const offerOf = ({ kind, output }: Proposed): Offer => {
  switch (kind) {
    case "tags":
      return { values: present({ tags: output.tags.length === 0 ? null : output.tags }), type: null }
    case "type": {
      const [first] = output.candidates
      return { values: {}, type: first === undefined ? null : { name: first.name, existingTypeId: first.existingTypeId } }
    }
    case "photo": {
      const { description, manufacturer, manufacturerCodes, package: housing } = output
      // What is hardly legible is chosen by a person, or not at all.
      const manufacturerCode = manufacturerCodes.find(({ confidence }) => confidence !== "low")?.value
      return { values: present({ description, manufacturer, manufacturerCode, package: housing }), type: typeOf(output) }
    }
    case "datasheet":
      return { values: {}, type: null }
    case "part":
      return output.analysis === null ? { values: {}, type: null } : offerOfAnalysis(output.analysis)
    case "cleanup": {
      // Only what differs from the part is proposed.
      const { type, values } = offerOfAnalysis(output.analysis)
      const changed = new Set(output.changes.map(({ field }) => field))
      return {
        values: present(Object.fromEntries(Object.entries(values).filter(([field]) => changed.has(field)))),
        type: changed.has("typeId") ? type : null
      }
    }
  }
}

/** The fields that a person chose, and what they get. What is overridden is chosen. */
export const choose = (offer: Offer, { fields, overrides = {} }: Acceptance): Result.Result<Choice, InvalidRequest> => {
  const { name, typeId, ...said } = overrides
  if (name !== undefined && typeId !== undefined) {
    return Result.fail(invalidField("body", "/overrides/name", "Expected either typeId or name"))
  }
  const type =
    typeId !== undefined ? { id: typeId } : name !== undefined ? { name } : offer.type === null ? undefined : { name: offer.type.name }
  const overridden = new Set<string>([...Object.keys(said), ...((name ?? typeId) === undefined ? [] : ["typeId"])])
  const offered = new Set<string>([...Object.keys(offer.values), ...(offer.type === null ? [] : ["typeId"])])
  const wanted = fields?.map((field): WritableField => (field === "typeName" ? "typeId" : field))
  const empty = wanted?.findIndex((field) => !offered.has(field) && !overridden.has(field)) ?? -1
  if (empty >= 0) {
    return Result.fail(
      invalidField("body", `/fields/${empty}`, "Nothing is proposed for this field: give it in overrides, or leave it out")
    )
  }
  const chosen = writableFields.filter(
    (field) => overridden.has(field) || (wanted === undefined ? offered.has(field) : wanted.includes(field))
  )
  const all: Readonly<Record<string, unknown>> = { ...offer.values, ...said }
  return Result.succeed({
    fields: chosen,
    values: Object.fromEntries(chosen.flatMap((field) => (field === "typeId" ? [] : [[field, all[field]]]))) as Values,
    type: chosen.includes("typeId") ? type : undefined
  })
}

/** What would be replaced of a part that nobody had before their eyes when this was proposed. */
export const replacedUnseen = (part: Readonly<Record<string, unknown>>, values: Readonly<Record<string, unknown>>) =>
  writableFields.filter((field) => {
    const [now, then] = [part[field], values[field]]
    const isEmpty = now === null || (Array.isArray(now) && now.length === 0)
    return then !== undefined && !isEmpty && !isDeepStrictEqual(now, then)
  })

/** The chosen fields that are not as they were. */
export const changedSince = (
  before: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
  fields: ReadonlyArray<WritableField>
) => fields.filter((field) => !isDeepStrictEqual(before[field], now[field]))
