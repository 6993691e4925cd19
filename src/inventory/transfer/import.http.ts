import { Effect, Layer, Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { AppConfig } from "#platform/config.ts"
import { download } from "#platform/http/download.ts"
import { Answers, type IdempotencyKeyInUse, type IdempotencyKeyReused, type Once } from "#platform/http/idempotency.ts"
import { decodeFields, receiveFile } from "#platform/http/upload.ts"
import { Job } from "#platform/jobs/job.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { fileName } from "../documents/document.ts"
import { largestFile } from "./csv.ts"
import { ImportFields } from "./import-job.ts"
import { ImportJobs, type Within } from "./import-jobs.service.ts"

const decodeOptions = decodeFields(ImportFields)
const encode = Schema.encodeSync(Job)
const accepted = (job: Job) => HttpServerResponse.jsonUnsafe(encode(job), { status: 202, headers: { location: `/api/jobs/${job.id}` } })

const answered =
  (once: Once): Within<HttpServerResponse.HttpServerResponse, IdempotencyKeyInUse | IdempotencyKeyReused> =>
  (made) =>
    once(Effect.map(made, accepted))

export const ImportHttp = HttpApiBuilder.group(
  Api,
  "import",
  Effect.fn(function* (handlers) {
    const imports = yield* ImportJobs
    const objects = yield* Objects
    const answers = yield* Answers
    const { maxUploadBytes } = yield* AppConfig

    return handlers.handleAll({
      start: Effect.fnUntraced(function* ({ payload, request }) {
        const { fields, filename, staged } = yield* receiveFile(payload, {
          stage: objects.stage,
          maxBytes: Math.min(largestFile, maxUploadBytes)
        })
        const options = { ...(yield* decodeOptions(fields)), source: fileName(filename) }
        return yield* answers.around(request, [staged.sha256, JSON.stringify(options)], (once) =>
          imports.accept({ staged, options }, answered(once))
        )
      }, Effect.scoped),
      report: ({ params }) => Effect.flatMap(imports.report(params.jobId), download)
    })
  })
).pipe(Layer.provide([ImportJobs.layer, Answers.layer]))
