import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Db } from "../db/db.ts"
import { Jobs } from "./jobs.service.ts"
import { probeKind } from "./probe.ts"

export const JobsHttp = HttpApiBuilder.group(
  Api,
  "jobs",
  Effect.fn(function* (handlers) {
    const jobs = yield* Jobs
    const db = yield* Db
    return handlers.handleAll({
      list: ({ query }) => jobs.list(query, query),
      get: ({ params }) => jobs.get(params.jobId),
      cancel: ({ params }) => jobs.cancel(params.jobId),
      retry: ({ params }) => jobs.retry(params.jobId),
      probe: ({ payload: { count, ...work } }) =>
        Effect.map(db.transaction(jobs.enqueueAll(probeKind, Array(count).fill(work))), (ids) => ({ ids }))
    })
  })
)
