import { Schema } from "effect"
import { Multipart } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { RangeNotSatisfiable } from "#platform/http/download.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, IdempotencyKeyInUse, IdempotencyKeyReused } from "#platform/http/idempotency.ts"
import { InvalidRequest, PayloadTooLarge, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { formLimits } from "#platform/http/upload.ts"
import { Job } from "#platform/jobs/job.ts"
import { Mode, StockMode } from "./import.ts"
import { ImportNotFinished, ImportNotFound } from "./import-job.ts"

const option = <S extends Schema.Top>(schema: S, description: string) => Schema.optionalKey(schema.annotate({ description }))

const Form = Schema.Struct({
  file: Multipart.SingleFileSchema,
  mapping: option(
    Schema.String,
    'JSON: names of columns in the file and the fields that they mean, null to leave one out: {"Part no.": "manufacturerCode", "Remark": null}. Columns that are not named are found by their names.'
  ),
  mode: option(Mode, "create rejects rows that mean a part which is known; default upsert"),
  stockMode: option(StockMode, "Whether a quantity is what lies in the slot, or what comes to it; default count"),
  createTypes: option(Schema.Boolean, "Make types that do not exist; default false"),
  createSellers: option(Schema.Boolean, "Make sellers that do not exist; default false"),
  createBoxes: option(Schema.Boolean, "Make boxes that do not exist, with as many slots as the file needs; default false"),
  atomic: option(Schema.Boolean, "All rows or none; default true. Otherwise the rows that can be imported are, in batches"),
  dryRun: option(Schema.Boolean, "Do everything, then undo it; default false")
}).pipe(HttpApiSchema.asMultipartStream(formLimits))

const exampleId = "00000000-0000-7000-8000-000000000001"

export class ImportApi extends HttpApiGroup.make("import")
  .add(
    HttpApiEndpoint.post("start", "/inventory/import", {
      headers: IdempotencyHeader,
      payload: Form,
      success: HttpApiSchema.WithHeaders(Job.pipe(HttpApiSchema.status(202)), { location: Schema.String }),
      error: [InvalidRequest, PayloadTooLarge, UnreadableFile, StorageUnavailable, IdempotencyKeyInUse, IdempotencyKeyReused]
    }).annotateMerge(
      operation({
        role: "admin",
        summary: "Import parts and stock from CSV",
        description:
          "A form with the file and its options. UTF-8 or else Windows-1252; comma, semicolon or tab; up to 64 MiB and 200,000 rows; what GET /api/inventory/export/parts.csv writes, it reads. Answers with a job, whose progress counts rows and whose result has the counts and the address of the report. An atomic import that rejects a row ends as a failed job with the same result. Cancelled, an atomic import leaves nothing; any other keeps the rows up to there, and the report lists them.",
        example: { path: "/api/inventory/import", form: { file: "@parts.csv", createBoxes: true, dryRun: true } }
      })
    ),
    HttpApiEndpoint.get("report", "/inventory/imports/:jobId/report", {
      params: { jobId: Schema.String.annotate({ description: "The id of the import's job" }) },
      success: HttpApiSchema.StreamUint8Array({ contentType: "text/csv" }),
      error: [ImportNotFound, ImportNotFinished, RangeNotSatisfiable, StorageUnavailable]
    }).annotateMerge(
      operation({
        role: "admin",
        summary: "What became of every row of an import",
        description:
          "CSV with the line in the file, the outcome, the label of the part, and for a rejected row its columns and reasons. Kept for 30 days.",
        example: { path: `/api/inventory/imports/${exampleId}/report` }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Import", description: "The inventory from files." })) {}
