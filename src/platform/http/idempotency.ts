import { createHash } from "node:crypto"
import { Context, Effect, Layer, Option, Schedule, Schema } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiMiddleware } from "effect/http-api"
import { SqlClient } from "effect/sql"
import { Db, row, run, type Transaction } from "../db/db.ts"
import { Problem } from "./problems.ts"
import { CurrentRequest } from "./request.ts"

export class IdempotencyKeyInUse extends Problem<IdempotencyKeyInUse>()("IdempotencyKeyInUse", {
  code: "idempotency-key-in-use",
  status: 409,
  title: "A request with this Idempotency-Key is still running",
  retryAfter: 1,
  help: "The first request with this key has not been answered yet. Wait a second and send the same request again to get its answer."
}) {}

export class IdempotencyKeyReused extends Problem<IdempotencyKeyReused>()("IdempotencyKeyReused", {
  code: "idempotency-key-reused",
  status: 422,
  title: "This Idempotency-Key was used for another request",
  help: "Within 24 hours a key names one request. Make a new key for a new request, or send exactly the body of the first one."
}) {}

const pattern = /^[\x21-\x7e]{1,255}$/u

/** Declare it on every POST with effects, so that the document shows it; the middleware reads the header itself. */
export const IdempotencyHeader = {
  "idempotency-key": Schema.optional(
    Schema.String.check(Schema.isPattern(pattern)).annotate({
      description:
        "Makes the request safe to repeat for 24 hours: the same key and body get the first answer again, the effect happens once"
    })
  )
}

const Stored = row(
  Schema.Struct({
    bodyHash: Schema.String,
    status: Schema.Int,
    headers: Schema.Record(Schema.String, Schema.String),
    body: Schema.String
  })
)

/** Around whatever a request writes, inside its transaction. */
export type Once = <E, R>(
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => Effect.Effect<HttpServerResponse.HttpServerResponse, E | IdempotencyKeyInUse | IdempotencyKeyReused, R | Transaction>

type Request = HttpServerRequest.HttpServerRequest

/** The answers that were given under a key. */
export class Answers extends Context.Service<
  Answers,
  {
    /**
     * The answer is kept exactly when its effects are committed, and given again instead of them when the same request comes again.
     * `bodyHash` stands for everything that makes it the same.
     */
    readonly once: (request: Request, key: string, bodyHash: string) => Once
    /**
     * For a request that cannot run inside a transaction as a whole: `work` puts `once` around what it writes. What was answered before
     * is answered again without any work, also when the work would fail by now.
     */
    readonly around: <E, R>(
      request: Request,
      whatMakesItTheSame: ReadonlyArray<string>,
      work: (once: Once) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E | IdempotencyKeyInUse | IdempotencyKeyReused, R>
  }
>()("platform/Answers") {
  static readonly layer = Layer.effect(
    Answers,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const scopeOf = ({ method, url }: Request, key: string) =>
        Effect.map(CurrentRequest, ({ principal }) => hash(JSON.stringify([principal, method, routePath(url), key])))

      const earlier = Effect.fnUntraced(function* (scope: string, key: string, bodyHash: string) {
        const stored = yield* Stored(sql`
          select body_hash as "bodyHash", status, headers, body from idempotency_keys
          where scope = ${scope} and created_at >= now() - interval '24 hours'`)
        if (Option.isNone(stored)) return undefined
        if (stored.value.bodyHash === bodyHash) return replay(stored.value)
        return yield* new IdempotencyKeyReused({ detail: `The Idempotency-Key ${key} was used with another body.` })
      })

      const once = (request: Request, key: string, bodyHash: string) =>
        Effect.fnUntraced(function* (answer) {
          const scope = yield* scopeOf(request, key)
          // Held to the end of the transaction; a second request does not wait for the first, it is told to come back.
          const [lock] = yield* Effect.orDie(
            sql<{ readonly free: boolean }>`select pg_try_advisory_xact_lock(hashtextextended(${scope}, 7)) as free`
          )
          if (lock?.free !== true) {
            return yield* inUse(key)
          }
          const given = yield* earlier(scope, key, bodyHash)
          if (given !== undefined) return given
          const response = yield* answer
          if (response.status >= 300) return response // refused by the framework before any effect, such as 415
          yield* run(sql`
            insert into idempotency_keys ${sql.insert({ scope, body_hash: bodyHash, ...kept(response) })}
            on conflict (scope) do update set body_hash = excluded.body_hash, status = excluded.status,
              headers = excluded.headers, body = excluded.body, created_at = now()`)
          return response
        }) as Once

      // Of this process. A request of another one that is as quick does the same work, and finds the answer when it wants to write.
      const underWay = new Set<string>()

      return Answers.of({
        once,
        around: Effect.fnUntraced(function* (request, whatMakesItTheSame, work) {
          const key = keyOf(request)
          if (key === undefined) return yield* work((answer) => answer)
          const bodyHash = hash(JSON.stringify(whatMakesItTheSame))
          const scope = yield* scopeOf(request, key)
          const given = yield* earlier(scope, key, bodyHash)
          if (given !== undefined) return given
          return yield* Effect.acquireUseRelease(
            Effect.suspend(() => (underWay.has(scope) ? Effect.fail(inUse(key)) : Effect.sync(() => underWay.add(scope)))),
            () => work(once(request, key, bodyHash)),
            () => Effect.sync(() => underWay.delete(scope))
          )
        })
      })
    })
  )
}

/**
 * Runs the whole request in one transaction with the storing of its answer, so a refused request may be tried again with its key. The
 * services' own transactions join this one. What cannot run inside a transaction as a whole uses `Answers.around`.
 */
export class Idempotent extends HttpApiMiddleware.Service<Idempotent>()("platform/Idempotent", {
  error: [IdempotencyKeyInUse, IdempotencyKeyReused]
}) {
  static readonly layer = Layer.effect(
    Idempotent,
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      const answers = yield* Answers

      yield* run(sql`delete from idempotency_keys where created_at < now() - interval '24 hours'`).pipe(
        Effect.catchCause((cause) => Effect.logWarning("old idempotency keys could not be removed", cause)),
        Effect.repeat(Schedule.spaced("1 hour")),
        Effect.delay("1 hour"),
        Effect.forkScoped
      )

      return (app) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
          const key = keyOf(request)
          if (key === undefined) return app
          return Effect.flatMap(Effect.orDie(request.arrayBuffer), (body) =>
            db.transaction(answers.once(request, key, hash(request.url.split("?").slice(1).join("?"), "\n", new Uint8Array(body)))(app))
          )
        })
    })
  )
}

const inUse = (key: string) => new IdempotencyKeyInUse({ detail: `The request with the Idempotency-Key ${key} is still running.` })

/** A key that does not fit is refused together with everything else that does not fit. */
export const keyOf = ({ headers }: HttpServerRequest.HttpServerRequest): string | undefined => {
  const key = headers["idempotency-key"]
  return key !== undefined && pattern.test(key) ? key : undefined
}

/** The router takes no notice of case, of doubled slashes and of one at the end: all are the same operation on the same thing. */
const routePath = (url: string) => (url.split("?", 1)[0] ?? "").replaceAll(/\/+/gu, "/").replace(/\/$/u, "").toLowerCase()

export const hash = (...parts: ReadonlyArray<string | Uint8Array>) => {
  const sha256 = createHash("sha256")
  for (const part of parts) sha256.update(part)
  return sha256.digest("hex")
}

const kept = ({ body, headers, status }: HttpServerResponse.HttpServerResponse) => {
  if (body._tag !== "Empty" && body._tag !== "Uint8Array") throw new Error("An idempotent operation cannot answer with a stream")
  const { "content-length": _, ...others } = headers
  return {
    status,
    headers: JSON.stringify(others),
    body: body._tag === "Empty" ? "" : (body.text ?? new TextDecoder().decode(body.body))
  }
}

const replay = ({ body, headers, status }: { readonly body: string; readonly headers: Record<string, string>; readonly status: number }) =>
  HttpServerResponse.setHeaders(
    body === "" ? HttpServerResponse.empty({ status }) : HttpServerResponse.text(body, { status, contentType: headers["content-type"] }),
    { ...headers, "idempotency-replayed": "true" }
  )
