import { Schema } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { Instant, text } from "#platform/http/text.ts"
import { Id4, Id4InAnyCase, PartEdit, textFields } from "../parts/part.ts"
import { DocumentType, outputs, ProposalKind } from "./output.ts"

export const ProposalId = Schema.String.pipe(Schema.brand("ProposalId")).annotate({ identifier: "ProposalId", format: "uuid" })
export type ProposalId = typeof ProposalId.Type

export const ProposalStatus = Schema.Literals(["pending", "accepted", "rejected", "expired", "superseded"])
export type ProposalStatus = typeof ProposalStatus.Type

/** How long a proposal waits for a person. */
export const pendingDays = 30

/** What accepting a proposal may write. */
export const writableFields = [
  "description",
  ...(Object.keys(textFields) as ReadonlyArray<keyof typeof textFields>),
  "productPage",
  "typeId",
  "pinCount",
  "tags"
] as const
export type WritableField = (typeof writableFields)[number]

/** What it was made from, shortened. */
const ProposalInput = Schema.Struct({
  documentId: Schema.optionalKey(Schema.String),
  text: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  manufacturerCode: Schema.optionalKey(Schema.String),
  manufacturer: Schema.optionalKey(Schema.String),
  image: Schema.optionalKey(Schema.NullOr(Schema.String).annotate({ description: "The name of the photo that was sent, if it had one" }))
}).annotate({ identifier: "ProposalInput" })
export type ProposalInput = typeof ProposalInput.Type

const ProposalDocument = Schema.Struct({
  index: Schema.Int,
  kind: Schema.Literals(["image", "pdf", "link"]),
  /** Null for the photo that was sent. */
  documentType: Schema.NullOr(DocumentType),
  title: Schema.String,
  url: Schema.NullOr(Schema.String),
  mediaType: Schema.NullOr(Schema.String),
  size: Schema.NullOr(Schema.Int),
  verified: Schema.NullOr(Schema.Boolean).annotate({
    description: "Of a data sheet: whether its text has the part number in it; null when it has no text, or there is no part number"
  }),
  /** Null for a page, which is opened by its url. */
  contentUrl: Schema.NullOr(Schema.String)
}).annotate({ identifier: "ProposalDocument" })

export const Proposal = Schema.Struct({
  id: ProposalId,
  kind: ProposalKind,
  jobId: Schema.String,
  /** The part it is about, or that was made of it. */
  partId4: Schema.NullOr(Id4),
  /** The version of that part when this was proposed. */
  partVersion: Schema.NullOr(Schema.Int),
  status: ProposalStatus,
  input: ProposalInput,
  output: Schema.Union([outputs.part, outputs.cleanup, outputs.photo, outputs.datasheet, outputs.type, outputs.tags]),
  /** What was fetched or sent. Gone when the proposal is settled: then the part has what was chosen. */
  documents: Schema.Array(ProposalDocument),
  usage: Schema.Struct({
    model: Schema.String,
    inputTokens: Schema.Int,
    outputTokens: Schema.Int,
    /** Null when the price of the model is not known. */
    costUsd: Schema.NullOr(Schema.Finite),
    /** The answer was known from the same question before: it cost nothing. */
    cached: Schema.Boolean
  }),
  createdAt: Instant,
  expiresAt: Instant,
  settledBy: Schema.NullOr(Schema.String),
  settledAt: Schema.NullOr(Instant),
  acceptedFields: Schema.NullOr(Schema.Array(Schema.String))
}).annotate({ identifier: "Proposal" })
export type Proposal = typeof Proposal.Type

const { barcodes: _, kicad: __, minQuantity: ___, ...proposable } = PartEdit.fields

export const Acceptance = Schema.Struct({
  fields: Schema.optionalKey(
    Schema.Array(Schema.Literals([...writableFields, "typeName"]))
      .check(Schema.isMaxLength(100))
      .annotate({
        description: "Which of the proposed fields are written; absent for all. typeName means typeId"
      })
  ),
  overrides: Schema.optionalKey(
    Schema.Struct({
      ...proposable,
      name: Schema.optionalKey(text(100).annotate({ description: "The name or alias of the type, instead of typeId" }))
    }).annotate({ description: "Written instead of what was proposed, also for fields of which nothing was" })
  ),
  documentIndexes: Schema.optionalKey(
    Schema.Array(Schema.Int)
      .check(Schema.isMaxLength(100))
      .annotate({ description: "Which of its documents the part gets; absent for all" })
  ),
  coverIndex: Schema.optionalKey(
    Schema.Int.annotate({ description: "The index of the chosen image that becomes the cover; absent: the first, when the part has none" })
  ),
  createType: Schema.optionalKey(Schema.Boolean.annotate({ description: "Make the type when none has its name; default false" })),
  force: Schema.optionalKey(Schema.Boolean.annotate({ description: "Also when a field has changed since; default false" })),
  id4: Schema.optionalKey(
    Id4InAnyCase.annotate({ description: "For a proposal that is about no part: the part that gets it. Absent, a new part is made" })
  )
}).annotate({ identifier: "ProposalAcceptance" })
export type Acceptance = typeof Acceptance.Type

export const Rejection = Schema.Struct({
  reason: Schema.optionalKey(text(500).annotate({ description: "Why, for whoever looks at the history" }))
}).annotate({ identifier: "ProposalRejection" })

export interface ProposalsFilter {
  readonly kind?: ProposalKind | undefined
  readonly status?: ProposalStatus | undefined
  readonly id4?: string | undefined
}

export class ProposalNotFound extends Problem<ProposalNotFound>()(
  "ProposalNotFound",
  {
    code: "proposal-not-found",
    status: 404,
    title: "No such proposal",
    help: "No proposal has this id. GET /api/ai/proposals lists them."
  },
  { proposalId: Schema.String }
) {}

export class ProposalDocumentNotFound extends Problem<ProposalDocumentNotFound>()(
  "ProposalDocumentNotFound",
  {
    code: "proposal-document-not-found",
    status: 404,
    title: "The proposal has no such document",
    help: "A pending proposal lists its documents with their indexes; pages are opened by their url. When it is settled, the part has what was chosen."
  },
  { proposalId: Schema.String, index: Schema.String }
) {}

export class ProposalSettled extends Problem<ProposalSettled>()(
  "ProposalSettled",
  {
    code: "proposal-settled",
    status: 409,
    title: "The proposal is settled",
    help: "A proposal is accepted or rejected once; after 30 days it expires, and a newer one of the same kind for the same part takes its place. Ask for a new one."
  },
  { proposalId: Schema.String, proposalStatus: ProposalStatus }
) {}

export class ProposalStale extends Problem<ProposalStale>()(
  "ProposalStale",
  {
    code: "proposal-stale",
    status: 409,
    title: "The part has changed since this was proposed",
    help: "fields names what somebody edited meanwhile. Look at the part; leave those fields out, or send force: true to overwrite them."
  },
  { fields: Schema.Array(Schema.String) }
) {}

export class TypeUnknown extends Problem<TypeUnknown>()(
  "TypeUnknown",
  {
    code: "type-unknown",
    status: 409,
    title: "There is no type of that name",
    help: "Send createType: true to make it, overrides.typeId or overrides.name for another one, or fields without typeId."
  },
  { name: Schema.String }
) {}
