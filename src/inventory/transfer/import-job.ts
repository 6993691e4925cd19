import { Duration, Effect, Schema } from "effect"
import { Problem } from "#platform/http/problems.ts"
import { formFlag } from "#platform/http/upload.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { defaults, ImportOptions, Mapping, Mode, RowOutcome, StockMode } from "./import.ts"

const orDefault = <S extends Schema.Top, K extends keyof ImportOptions>(schema: S, option: K) =>
  schema.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(defaults[option] as S["Type"])))

/** The parts of an upload beside its file: every option but the name of the file. */
export const ImportFields = Schema.Struct({
  mapping: orDefault(Schema.fromJsonString(Mapping), "mapping"),
  mode: orDefault(Mode, "mode"),
  stockMode: orDefault(StockMode, "stockMode"),
  createTypes: orDefault(formFlag, "createTypes"),
  createSellers: orDefault(formFlag, "createSellers"),
  createBoxes: orDefault(formFlag, "createBoxes"),
  atomic: orDefault(formFlag, "atomic"),
  dryRun: orDefault(formFlag, "dryRun")
})

/** So many rejected rows are told without the report. */
export const toldRejections = 20

/** What a job says of its import. */
export const ImportReport = Schema.Struct({
  rows: Schema.Int,
  created: Schema.Int,
  updated: Schema.Int,
  unchanged: Schema.Int,
  rejected: Schema.Int,
  /** False for a dry run, and when a rejected row undid an atomic import: then the counts say what would have been. */
  applied: Schema.Boolean,
  dryRun: Schema.Boolean,
  /** The first ones. */
  rejections: Schema.Array(Schema.Struct({ line: RowOutcome.fields.line, problems: RowOutcome.fields.problems })),
  /** Where what became of every row is told, as CSV. */
  reportUrl: Schema.String
}).annotate({ identifier: "ImportReport" })
export type ImportReport = typeof ImportReport.Type

export const reportAddress = (jobId: string) => `/api/inventory/imports/${jobId}/report`

export const importKind = jobKind({
  name: "inventory.import",
  payload: Schema.Struct({ options: ImportOptions }),
  result: ImportReport,
  timeout: Duration.hours(2),
  // They wait for each other anyway.
  concurrency: 1
})

export class ImportNotFound extends Problem<ImportNotFound>()("ImportNotFound", {
  code: "import-not-found",
  status: 404,
  title: "There is no such import",
  help: "No import has a job with this id. Imports are kept as long as their jobs, 30 days: GET /api/jobs?kind=inventory.import lists them."
}) {}

export class ImportNotFinished extends Problem<ImportNotFinished>()("ImportNotFinished", {
  code: "import-not-finished",
  status: 409,
  title: "The import has not ended yet",
  retryAfter: 2,
  help: "Its report is there when it has ended; of one that was cancelled or broke off a moment later. Ask for its job, or follow GET /api/events?topics=job."
}) {}
