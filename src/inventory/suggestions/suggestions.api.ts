import { Schema } from "effect"
import { Multipart } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AiBudgetExhausted, AiNotConfigured } from "#platform/ai/ask.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, IdempotencyKeyInUse, IdempotencyKeyReused } from "#platform/http/idempotency.ts"
import { InvalidRequest, PayloadTooLarge, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { Job } from "#platform/jobs/job.ts"
import { UnsupportedMedia } from "#platform/media/media.ts"
import { DocumentNotFound } from "../documents/document.ts"
import { PartNotFound, PartRetired } from "../parts/part.ts"
import { AboutNumber, AboutPart, OnePart, PartFieldsInput, PhotoFields, photoFormLimits } from "./suggestion.ts"

const accepted = HttpApiSchema.WithHeaders(Job.pipe(HttpApiSchema.status(202)), { location: Schema.String })
const refusals = [AiNotConfigured, AiBudgetExhausted, InvalidRequest, PartNotFound, PartRetired, IdempotencyKeyInUse, IdempotencyKeyReused]
const fileRefusals = [DocumentNotFound, UnsupportedMedia, UnreadableFile, PayloadTooLarge, StorageUnavailable]

const form = <F extends Schema.Struct.Fields>(fields: F) =>
  Schema.Struct({
    image: Schema.optionalKey(Multipart.SingleFileSchema.annotate({ description: "A JPEG, PNG or WebP photo" })),
    ...fields
  }).pipe(HttpApiSchema.asMultipartStream(photoFormLimits))

const exampleId = "00000000-0000-7000-8000-000000000001"
const job = "Answers with a job, whose result names the proposal. Nothing is written before somebody accepts that."

export class SuggestionsApi extends HttpApiGroup.make("suggestions")
  .add(
    HttpApiEndpoint.post("tags", "/ai/suggest/tags", {
      headers: IdempotencyHeader,
      payload: AboutPart,
      success: accepted,
      error: refusals
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Propose tags",
        description: `At most 8, none that repeats another field. ${job}`,
        example: { path: "/api/ai/suggest/tags", body: { id4: "ABCD" } }
      })
    ),
    HttpApiEndpoint.post("type", "/ai/suggest/type", {
      headers: IdempotencyHeader,
      payload: AboutPart,
      success: accepted,
      error: refusals
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Propose a type",
        description: `At most 3, each with the type that exists under that name or alias. ${job}`,
        example: { path: "/api/ai/suggest/type", body: { description: "10 kΩ ±1 % 0805", manufacturerCode: "RC0805FR-0710KL" } }
      })
    ),
    HttpApiEndpoint.post("photo", "/ai/suggest/photo", {
      headers: IdempotencyHeader,
      payload: [form(PhotoFields.fields), PhotoFields],
      success: accepted,
      error: [...refusals, ...fileRefusals]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Read a photo",
        description: `Part numbers, quantity, codes and everything else that can be read on a part or its bag. The photo is sent as image, or is one that a part has. ${job}`,
        example: {
          path: "/api/ai/suggest/photo",
          form: { image: "@bag.jpg", text: "from the drawer with the relays" },
          body: { documentId: exampleId, text: "the label on the back" }
        }
      })
    ),
    HttpApiEndpoint.post("datasheet", "/ai/suggest/datasheet", {
      headers: IdempotencyHeader,
      payload: AboutNumber,
      success: accepted,
      error: refusals
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Look for a data sheet",
        description: `At most 5 addresses, each fetched; a data sheet is verified when the part number stands in its text. ${job}`,
        example: { path: "/api/ai/suggest/datasheet", body: { manufacturerCode: "LM358P", manufacturer: "TI" } }
      })
    ),
    HttpApiEndpoint.post("part", "/ai/suggest/part", {
      headers: IdempotencyHeader,
      payload: [form(PartFieldsInput.fields), PartFieldsInput],
      success: accepted,
      error: [...refusals, ...fileRefusals]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Propose a part",
        description: `From up to 8,000 characters, a photo, or both: all fields with evidence, data sheets, and parts that may be the same. ${job}`,
        example: {
          path: "/api/ai/suggest/part",
          form: { image: "@bag.jpg", text: "10 pcs RC0805FR-0710KL" },
          body: { text: "10 pcs RC0805FR-0710KL" }
        }
      })
    ),
    HttpApiEndpoint.post("cleanup", "/ai/suggest/cleanup", {
      headers: IdempotencyHeader,
      payload: OnePart,
      success: accepted,
      error: refusals
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Propose a cleaner part",
        description: `What should change, field by field, with what is there now. ${job}`,
        example: { path: "/api/ai/suggest/cleanup", body: { id4: "ABCD" } }
      })
    )
  )
  .annotateMerge(
    OpenApi.annotations({
      title: "Suggestions",
      description: "What a language model can help with, when one is configured (OPENAI_API_KEY or OPENAI_BASE_URL)."
    })
  ) {}
