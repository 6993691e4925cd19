import { NodeServices } from "@effect/platform-node"
import { Duration, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { Db, run } from "#platform/db/db.ts"
import { Events } from "#platform/events/events.service.ts"
import { JobHandlers, jobHandler } from "#platform/jobs/handlers.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { Runner } from "#platform/jobs/runner.ts"
import { Application } from "../../src/server.ts"

/** A process that runs jobs of one kind up to a point, says so, and stays there until it is killed. */
const [connection = "", name = "", where = "", env = "{}"] = process.argv.slice(2)

const kind = jobKind({ name, payload: Schema.Struct({ script: Schema.String }), result: Schema.Int })

const here = (place: string) =>
  place === where
    ? Effect.andThen(
        Effect.sync(() => process.stderr.write(place)),
        Effect.never
      )
    : Effect.void

const Handler = jobHandler(kind, (_, job) =>
  Effect.gen(function* () {
    const db = yield* Db
    const sql = yield* SqlClient.SqlClient
    return yield* db.transaction(
      Effect.gen(function* () {
        yield* here("before its effects")
        yield* run(sql`insert into effects (job, worker) values (${job.id}::uuid, 'killed')`)
        yield* here("after its effects, before it completes")
        const completed = yield* job.complete(0)
        yield* here("after it completes, before the commit")
        return completed
      })
    )
  })
)

await Layer.launch(
  Runner.layerNoDeps({ concurrency: 1, lease: Duration.seconds(1) }).pipe(
    Layer.provideMerge(Handler),
    Layer.provide([QueueLayer, Events.layer, JobHandlers.layer]),
    Layer.provideMerge(Application(JSON.parse(connection))),
    Layer.provideMerge(AppConfig.fromEnv(JSON.parse(env))),
    Layer.provideMerge(NodeServices.layer)
  )
).pipe(Effect.runPromise)
