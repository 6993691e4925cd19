import { createHash } from "node:crypto"
import { Duration, Effect, Layer, Option, Schedule, Schema } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiMiddleware } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { Db, row, run } from "../db/db.ts"
import { InvalidRequest, Problem } from "./problems.ts"
import { CurrentRequest } from "./request.ts"

export class IdempotencyKeyInUse extends Problem<IdempotencyKeyInUse>()("IdempotencyKeyInUse", {
  code: "idempotency-key-in-use",
  status: 409,
  title: "A request with this Idempotency-Key is still running",
  help: "The first request with this key has not been answered yet. Wait a second and send the same request again to get its answer."
}) {}

export class IdempotencyKeyReused extends Problem<IdempotencyKeyReused>()("IdempotencyKeyReused", {
  code: "idempotency-key-reused",
  status: 422,
  title: "This Idempotency-Key was used for another request",
  help: "Within 24 hours a key names one request. Make a new key for a new request, or send exactly the body of the first one."
}) {}

/** Declare it on every POST with effects, so that the document shows it; the middleware reads the header itself. */
export const IdempotencyHeader = {
  "idempotency-key": Schema.optional(
    Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,255}$/u)).annotate({
      description:
        "Makes the request safe to repeat for 24 hours: the same key and body get the first answer again, the effect happens once"
    })
  )
}

const keepFor = Duration.hours(24)

const Stored = Schema.Struct({
  bodyHash: Schema.String,
  status: Schema.Int,
  headers: Schema.Record(Schema.String, Schema.String),
  body: Schema.String
})

/**
 * Runs the whole request in one transaction with the storing of its answer: an answer is kept exactly when its effects are
 * committed, so a refused request may be tried again with its key. The services' own transactions join this one.
 */
export class Idempotent extends HttpApiMiddleware.Service<Idempotent>()("platform/Idempotent", {
  error: [IdempotencyKeyInUse, IdempotencyKeyReused, InvalidRequest]
}) {
  static readonly layer = Layer.effect(
    Idempotent,
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient

      yield* run(sql`delete from idempotency_keys where created_at < now() - interval '24 hours'`).pipe(
        Effect.catchCause((cause) => Effect.logWarning("old idempotency keys could not be removed", cause)),
        Effect.repeat(Schedule.spaced("1 hour")),
        Effect.delay("1 hour"),
        Effect.forkScoped
      )

      return (app, { endpoint }) =>
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const key = request.headers["idempotency-key"]
          if (key === undefined) return yield* app
          if (!/^[\x21-\x7e]{1,255}$/u.test(key)) return yield* app // refused with everything else that does not fit
          const { principal } = yield* CurrentRequest
          const path = request.url.split("?")[0] ?? ""
          const scope = createHash("sha256")
            .update(JSON.stringify([principal, endpoint.method, path, key]))
            .digest("hex")
          const bodyHash = createHash("sha256")
            .update(request.url)
            .update("\n")
            .update(yield* Effect.orDie(request.text))
            .digest("hex")

          return yield* db.transaction(
            Effect.gen(function* () {
              // Held to the end of the transaction; a second request does not wait for the first, it is told to come back.
              const lock = yield* Effect.orDie(
                sql<{ readonly free: boolean }>`select pg_try_advisory_xact_lock(hashtextextended(${scope}, 7)) as free`
              )
              if (lock[0]?.free !== true) {
                return yield* new IdempotencyKeyInUse({ detail: `The request with the Idempotency-Key ${key} is still running.` })
              }
              const earlier = yield* stored(sql`
                select body_hash as "bodyHash", status, headers, body from idempotency_keys
                where scope = ${scope} and created_at >= now() - ${`${Duration.toSeconds(keepFor)} seconds`}::interval`)
              if (Option.isSome(earlier)) {
                const answer = earlier.value
                if (answer.bodyHash !== bodyHash) {
                  return yield* new IdempotencyKeyReused({ detail: `The Idempotency-Key ${key} was used with another body.` })
                }
                return HttpServerResponse.text(answer.body, {
                  status: answer.status,
                  contentType: answer.headers["content-type"] ?? "application/json"
                }).pipe(HttpServerResponse.setHeaders({ ...answer.headers, "idempotency-replayed": "true" }))
              }
              const response = yield* app
              yield* run(sql`
                insert into idempotency_keys ${sql.insert({
                  scope,
                  body_hash: bodyHash,
                  status: response.status,
                  headers: JSON.stringify(headersOf(response)),
                  body: bodyOf(response)
                })}
                on conflict (scope) do update set body_hash = excluded.body_hash, status = excluded.status,
                  headers = excluded.headers, body = excluded.body, created_at = now()`)
              return response
            })
          )
        })
    })
  )
}

const stored = row(Stored)

const headersOf = (response: HttpServerResponse.HttpServerResponse) => {
  const { "content-length": _, ...headers } = response.headers
  return headers
}

const bodyOf = ({ body }: HttpServerResponse.HttpServerResponse) => (body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : "")
