import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { RangeNotSatisfiable } from "#platform/http/download.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { InvalidRequest, StorageUnavailable } from "#platform/http/problems.ts"
import { BarcodeTaken, Id4InAnyCase, Id4SpaceExhausted, PartNotFound, PartRetired } from "../parts/part.ts"
import { ProposalKind } from "./output.ts"
import {
  Acceptance,
  Proposal,
  ProposalDocumentNotFound,
  ProposalNotFound,
  ProposalSettled,
  ProposalStale,
  ProposalStatus,
  Rejection,
  TypeUnknown
} from "./proposal.ts"

const byId = { params: { id: Schema.String.annotate({ description: "The id of a proposal" }) } }
const exampleId = "00000000-0000-7000-8000-000000000001"

export class ProposalsApi extends HttpApiGroup.make("proposals")
  .add(
    HttpApiEndpoint.get("list", "/ai/proposals", {
      query: {
        ...PageParams,
        kind: Schema.optional(ProposalKind),
        status: Schema.optional(ProposalStatus),
        id4: Schema.optional(Id4InAnyCase.annotate({ description: "Only those about this part" }))
      },
      success: Page(Proposal),
      error: [InvalidCursor]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "What the language model proposed",
        description: "Newest first, with the evidence for each value and the documents that were found.",
        example: { path: "/api/ai/proposals?status=pending" }
      })
    ),
    HttpApiEndpoint.get("get", "/ai/proposals/:id", { ...byId, success: Proposal, error: [ProposalNotFound] }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One proposal",
        description: "Nothing of it is written before somebody accepts it.",
        example: { path: `/api/ai/proposals/${exampleId}` }
      })
    ),
    HttpApiEndpoint.get("document", "/ai/proposals/:id/documents/:index", {
      params: { ...byId.params, index: Schema.String.annotate({ description: "The index of one of its documents" }) },
      success: HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" }),
      error: [ProposalNotFound, ProposalDocumentNotFound, RangeNotSatisfiable, StorageUnavailable]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "A file of a pending proposal",
        description: "The photo that was sent, or a file that was found. Answers Range, If-None-Match and HEAD.",
        example: { path: `/api/ai/proposals/${exampleId}/documents/0` }
      })
    ),
    HttpApiEndpoint.post("accept", "/ai/proposals/:id/accept", {
      ...byId,
      headers: IdempotencyHeader,
      payload: Acceptance,
      success: [Proposal, HttpApiSchema.WithHeaders(Proposal.pipe(HttpApiSchema.status(201)), { location: Schema.String })],
      error: [
        ProposalNotFound,
        ProposalSettled,
        ProposalStale,
        TypeUnknown,
        PartNotFound,
        PartRetired,
        InvalidRequest,
        BarcodeTaken,
        Id4SpaceExhausted
      ]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Accept a proposal, in part or whole",
          description:
            "Writes the chosen fields and documents in one transaction, or nothing. One that is about no part makes a new one (201, its address in Location), or goes to the part named by id4. Tags that were proposed for tags come to those that the part has. A field that was edited since is refused unless force is true.",
          example: {
            path: `/api/ai/proposals/${exampleId}/accept`,
            body: { fields: ["description", "typeId"], overrides: { package: "0805" }, documentIndexes: [0], createType: true }
          }
        })
      ),
    HttpApiEndpoint.post("reject", "/ai/proposals/:id/reject", {
      ...byId,
      headers: IdempotencyHeader,
      payload: Rejection,
      success: Proposal,
      error: [ProposalNotFound, ProposalSettled]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Reject a proposal",
          description: "Nothing is written, and its files are let go.",
          example: { path: `/api/ai/proposals/${exampleId}/reject`, body: { reason: "another part" } }
        })
      )
  )
  .annotateMerge(
    OpenApi.annotations({ title: "Proposals", description: "What the language model proposed, and what people make of it." })
  ) {}
