import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "../db/paging.ts"
import { operation } from "../http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "../http/idempotency.ts"
import { text } from "../http/text.ts"
import { Job, JobFinished, JobNotFailed, JobNotFound, JobSuperseded, jobStates } from "./job.ts"
import { NewProbes, Probes } from "./probe.ts"

const params = { jobId: Schema.String }
const example = "01a1fdc0-38ea-7ead-b45a-ba7f26585f4b"

export class JobsApi extends HttpApiGroup.make("jobs")
  .add(
    HttpApiEndpoint.get("list", "/jobs", {
      query: {
        ...PageParams,
        kind: Schema.optional(text(100)),
        state: Schema.optional(Schema.Literals(jobStates)),
        entity: Schema.optional(text(100).annotate({ description: "The type of what the job is about: document" })),
        entityId: Schema.optional(text(200))
      },
      success: Page(Job),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Jobs, newest first",
        description: "What was asked for and how far it is. Jobs that ended are kept for 30 days.",
        example: { path: "/api/jobs?state=failed&limit=10" }
      })
    ),
    HttpApiEndpoint.get("get", "/jobs/:jobId", { params, success: Job, error: JobNotFound }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One job",
        description: "Ask again while state is queued or running, or follow GET /api/events?topics=job.",
        example: { path: `/api/jobs/${example}` }
      })
    ),
    HttpApiEndpoint.post("cancel", "/jobs/:jobId/cancel", {
      params,
      headers: IdempotencyHeader,
      success: Job,
      error: [JobNotFound, JobFinished]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Cancel a job",
          description: "One that is queued never starts; one that runs is interrupted, and what it has not committed yet is undone.",
          example: { path: `/api/jobs/${example}/cancel` }
        })
      ),
    HttpApiEndpoint.post("retry", "/jobs/:jobId/retry", {
      params,
      headers: IdempotencyHeader,
      success: Job,
      error: [JobNotFound, JobNotFailed, JobSuperseded]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Try a failed job again",
          description: "The same job with a new series of attempts.",
          example: { path: `/api/jobs/${example}/retry` }
        })
      ),
    HttpApiEndpoint.post("probe", "/jobs/probe", {
      headers: IdempotencyHeader,
      payload: NewProbes,
      success: Probes.pipe(HttpApiSchema.status(202))
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "admin",
          summary: "Ask for harmless jobs",
          description:
            "To see that queue and workers live: jobs of the kind platform.probe that wait, compute, report progress and fail as told.",
          example: { path: "/api/jobs/probe", body: { count: 3, steps: 2, stepMs: 10 } }
        })
      )
  )
  .annotateMerge(OpenApi.annotations({ title: "Jobs", description: "Work that takes longer than a request." })) {}
