import { Schema } from "effect"
import { Id4, textFields } from "../parts/part.ts"
import { TypeId } from "../types/type.ts"

export const kinds = ["tags", "type", "photo", "datasheet", "part", "cleanup"] as const
export const ProposalKind = Schema.Literals(kinds)
export type ProposalKind = typeof ProposalKind.Type

export const Confidence = Schema.Literals(["high", "medium", "low"])

const text = Schema.String
const orNull = Schema.NullOr(text)

/** A type by the name that the model gave it, and ours if one is called so. */
const named = {
  existingTypeId: Schema.NullOr(TypeId).annotate({
    description: "The type of that name or alias; null when there is none, and accepting it needs createType or another type"
  })
}

export const DocumentType = Schema.Literals(["datasheet", "product-page", "pinout"])
export type DocumentType = typeof DocumentType.Type

/** Where a value was read. */
export const Evidence = Schema.Struct({
  field: text,
  source: Schema.Literals(["input", "photo", "datasheet", "web"]),
  url: orNull,
  page: Schema.NullOr(Schema.Int),
  quote: text.annotate({ description: "At most 200 characters, as they stand there" })
}).annotate({ identifier: "ProposalEvidence" })
export type Evidence = typeof Evidence.Type

/** The texts of a part that the model may fill in. */
export const analysisTexts = Object.keys(textFields) as ReadonlyArray<keyof typeof textFields>

export const Analysis = Schema.Struct({
  description: orNull,
  manufacturerCode: orNull,
  manufacturer: orNull,
  typeName: orNull,
  ...named,
  tags: Schema.Array(text),
  productPage: orNull,
  package: orNull,
  pinCount: Schema.NullOr(Schema.Int),
  pinPitch: orNull,
  voltageRating: orNull,
  inputVoltage: orNull,
  outputVoltage: orNull,
  mountingType: orNull,
  series: orNull,
  dimensions: orNull,
  documents: Schema.Array(Schema.Struct({ url: text, documentType: DocumentType, title: text })),
  evidence: Schema.Array(Evidence)
}).annotate({ identifier: "PartAnalysis" })
export type Analysis = typeof Analysis.Type

export const DatasheetCandidate = Schema.Struct({
  url: text,
  title: text,
  documentType: DocumentType,
  reason: text,
  mediaType: orNull.annotate({ description: "Of the bytes that were found there; null for a page" }),
  verified: Schema.NullOr(Schema.Boolean).annotate({
    description: "Whether its text has the part number in it; null when it has no text, or there is no part number"
  })
}).annotate({ identifier: "DatasheetCandidate" })
export type DatasheetCandidate = typeof DatasheetCandidate.Type

export const FieldChange = Schema.Struct({ field: text, before: Schema.Json, after: Schema.Json }).annotate({
  identifier: "ProposedChange"
})
export type FieldChange = typeof FieldChange.Type

/** What is proposed, by kind. */
export const outputs = {
  tags: Schema.Struct({ tags: Schema.Array(text) }).annotate({ identifier: "TagsProposal" }),
  type: Schema.Struct({
    candidates: Schema.Array(Schema.Struct({ name: text, ...named, confidence: Confidence, reason: text }))
  }).annotate({ identifier: "TypeProposal" }),
  photo: Schema.Struct({
    manufacturerCodes: Schema.Array(Schema.Struct({ value: text, confidence: Confidence })),
    manufacturer: orNull,
    description: orNull,
    typeName: orNull,
    ...named,
    package: orNull,
    quantity: Schema.NullOr(Schema.Int),
    dateCode: orNull,
    lotCode: orNull,
    seller: orNull,
    codes: Schema.Array(text),
    visibleText: text,
    documentQueries: Schema.Array(text)
  }).annotate({ identifier: "PhotoProposal" }),
  datasheet: Schema.Struct({ candidates: Schema.Array(DatasheetCandidate) }).annotate({ identifier: "DatasheetProposal" }),
  part: Schema.Struct({
    analysis: Schema.NullOr(Analysis),
    duplicates: Schema.Array(Schema.Struct({ id4: Id4, confidence: Schema.Literals(["high", "medium"]), reason: text })),
    failureReason: orNull
  }).annotate({ identifier: "PartProposal" }),
  cleanup: Schema.Struct({ analysis: Analysis, changes: Schema.Array(FieldChange) }).annotate({ identifier: "CleanupProposal" })
} as const satisfies Record<ProposalKind, Schema.Top>

export type Output<K extends ProposalKind = ProposalKind> = (typeof outputs)[K]["Type"]

/** A kind with what is proposed. */
export type Proposed = { readonly [K in ProposalKind]: { readonly kind: K; readonly output: Output<K> } }[ProposalKind]
