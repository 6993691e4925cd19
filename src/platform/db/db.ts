import { PgClient } from "@effect/sql-pg"
import {
  type Cause,
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  Layer,
  Metric,
  Option,
  Random,
  Redacted,
  Schema,
  Semaphore,
  Tracer
} from "effect"
import { SqlClient, SqlError, type Statement } from "effect/sql"
import { DatabaseUnavailable } from "../http/problems.ts"
import { startAtZero } from "../telemetry/metrics.ts"
import { constraintOf, isConflict, isNotConnected, sqlErrorIn } from "./sql-errors.ts"

/** Proof that a transaction is open. Whatever must be all or nothing with other writes asks for it in its requirements. */
export class Transaction extends Context.Service<Transaction, { readonly _: unique symbol }>()("platform/Transaction") {}

const open = Transaction.of({} as never)

/** Where PostgreSQL is. A host that starts with `/` is the directory of a unix socket. */
export type Connection =
  | { readonly url: Redacted.Redacted }
  | {
      readonly host: string
      readonly port: number
      readonly username: string
      readonly password?: Redacted.Redacted
      readonly database: string
    }

const poolWait = Metric.histogram("db_pool_wait_seconds", {
  description: "Time a transaction waited for a connection",
  boundaries: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]
})
const poolInUse = Metric.gauge("db_pool_in_use", { description: "Connections held by transactions now" })
const poolSize = Metric.gauge("db_pool_size", { description: "Connections the pool may open" })
const retries = Metric.counter("db_transaction_retries_total", {
  description: "Transactions run again after a conflict",
  incremental: true
})
const failures = Metric.counter("db_errors_total", { description: "Statements and transactions that failed, by reason", incremental: true })
const statements = Metric.histogram("db_statement_duration_seconds", {
  description: "Time of a statement as its caller sees it, the wait for a connection included",
  boundaries: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30]
})

const failureReasons = [
  "PoolExhausted",
  "ConnectionError",
  "AuthenticationError",
  "AuthorizationError",
  "StatementTimeoutError",
  "LockTimeoutError",
  "SerializationError",
  "DeadlockError",
  "UniqueViolation",
  "ConstraintError",
  "SqlSyntaxError",
  "UnknownError"
] as const

// A statement that fails fails its transaction too, with the same error.
const countedFailures = new WeakSet<SqlError.SqlError>()
const countFailure = (error: SqlError.SqlError) =>
  Effect.suspend(() => {
    if (countedFailures.has(error)) return Effect.void
    countedFailures.add(error)
    return Metric.update(Metric.withAttributes(failures, { reason: error.reason._tag }), 1)
  })

const maxRetries = 5
const acquireTimeout = Duration.seconds(5)

export class Db extends Context.Service<
  Db,
  {
    /**
     * Runs the effect in a transaction, the only way to one. Inside another it joins: one commit, one rollback. Conflicts with
     * other transactions (40001, 40P01) are run again, at the outermost level only, at most five times.
     * Dies with `DatabaseUnavailable` when no connection is free within five seconds.
     */
    readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Transaction>>
    /** Something that may fail inside a transaction without poisoning it: an expected unique violation. */
    readonly savepoint: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | Transaction>
    /** A read-only view of one moment, for exports and checks that take many statements. Never inside another transaction. */
    readonly snapshot: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Transaction>>
    /** Runs after the outermost commit, never after a rollback; lost when the process dies in between. Keep it short. */
    readonly afterCommit: (effect: Effect.Effect<void>) => Effect.Effect<void, never, Transaction>
    /** Beside the transaction that is open, if one is: committed at once, and kept when that is rolled back. Never for rows it has locked. */
    readonly outside: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Whether the database answers within two seconds. */
    readonly ping: Effect.Effect<void, DatabaseUnavailable>
  }
>()("platform/Db") {
  static readonly layerNoDeps = (options: { readonly maxConnections: number }) =>
    Layer.effect(
      Db,
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Metric.update(poolSize, options.maxConnections)
        yield* Metric.update(poolInUse, 0)
        yield* Effect.all([startAtZero(poolWait), startAtZero(statements), startAtZero(retries)])
        yield* startAtZero(
          failures,
          failureReasons.map((reason) => ({ reason }))
        )

        // The pool itself lets callers wait without limit. Transactions take a permit first, one less than there are connections,
        // so the wait is bounded and single statements, which are short, always find one.
        const permits = yield* Semaphore.make(options.maxConnections - 1)
        let inUse = 0
        const acquire = Effect.gen(function* () {
          const since = yield* Clock.monotonicTimeNanos
          yield* permits.take(1).pipe(
            Effect.timeoutOrElse({
              duration: acquireTimeout,
              orElse: () =>
                Effect.andThen(
                  Metric.update(Metric.withAttributes(failures, { reason: "PoolExhausted" }), 1),
                  Effect.die(new DatabaseUnavailable({ detail: poolExhausted }))
                )
            }),
            Effect.ensuring(Effect.flatMap(Clock.monotonicTimeNanos, (now) => Metric.update(poolWait, Number(now - since) / 1e9)))
          )
          yield* Metric.update(poolInUse, ++inUse)
        })
        const release = Effect.andThen(
          permits.release(1),
          Effect.suspend(() => Metric.update(poolInUse, --inUse))
        )
        const withPermit = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.acquireUseRelease(
            acquire,
            () => effect,
            () => release
          )

        const isOpen = Effect.map(Effect.serviceOption(Transaction), Option.isSome)

        const outermost = <A, E, R>(effect: Effect.Effect<A, E, R>, begin: string | undefined) => {
          const once = sql
            .withTransaction(Effect.provideService(effect, Transaction, open))
            .pipe(begin === undefined ? (self) => self : Effect.provideService(SqlClient.BeginTransaction, begin), withPermit)
          const attempt = (n: number): Effect.Effect<A, E | SqlError.SqlError, Exclude<R, Transaction>> =>
            Effect.flatMap(Effect.exit(connecting(once)), (exit) => {
              if (Exit.isSuccess(exit)) return exit
              const error = sqlErrorIn(exit.cause)
              if (error === undefined) return exit
              if (n >= maxRetries || !isConflict(exit.cause)) return Effect.andThen(countFailure(error), exit)
              return Metric.update(retries, 1).pipe(
                Effect.andThen(Random.nextIntBetween(1, 10 * 2 ** n)),
                Effect.flatMap((ms) => Effect.sleep(Duration.millis(ms))),
                Effect.andThen(attempt(n + 1))
              )
            })
          return attempt(0).pipe(Effect.catchIf(SqlError.isSqlError, Effect.die)) as Effect.Effect<A, E, Exclude<R, Transaction>>
        }

        const joined = <A, E, R>(effect: Effect.Effect<A, E, R>, begin?: string) =>
          Effect.flatMap(isOpen, (inside) =>
            inside
              ? (Effect.provideService(effect, Transaction, open) as Effect.Effect<A, E, Exclude<R, Transaction>>)
              : outermost(effect, begin)
          )

        return Db.of({
          transaction: (effect) => joined(effect),
          snapshot: (effect) => joined(effect, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
          savepoint: (effect) =>
            sql.withTransaction(effect).pipe(Effect.catchIf(SqlError.isSqlError, Effect.die)) as Effect.Effect<
              Effect.Success<typeof effect>,
              Effect.Error<typeof effect>,
              Effect.Services<typeof effect>
            >,
          // Without the span it was asked in: spans keep their results, and a long transaction would keep them all to its end.
          afterCommit: (effect) => Effect.updateContext(sql.afterCommit(effect), withoutSpan),
          outside: (effect) =>
            Effect.updateContext(
              effect,
              Context.omit(sql.transactionService, Transaction) as <R>(context: Context.Context<R>) => Context.Context<R>
            ),
          ping: connecting(sql`select 1`).pipe(
            Effect.timeout("2 seconds"),
            Effect.catch(() => Effect.fail(new DatabaseUnavailable({ detail: "The database does not answer." }))),
            Effect.asVoid,
            // For probes, which are not traced.
            Effect.withTracerEnabled(false)
          )
        })
      })
    )
}

const withoutSpan = Context.omit(Tracer.ParentSpan) as <R>(context: Context.Context<R>) => Context.Context<R>

const poolExhausted = "All connections to the database were busy for 5 seconds. Try again in a moment."

/** The client below `Db`, for repositories. Every statement has a connection of its own, so none waits behind a slow one. */
export const layerClient = (
  connection: Connection,
  options: { readonly maxConnections: number; readonly statementTimeout?: Duration.Input }
) =>
  PgClient.layer({
    ...("url" in connection ? { url: connection.url } : { password: Redacted.make(""), ...connection }),
    maxConnections: options.maxConnections,
    // A pool that is not full does not grow for statements that wait behind blocked transactions: open all of it at once.
    minConnections: options.maxConnections,
    connectTimeout: "5 seconds",
    idleTimeout: "60 seconds",
    applicationName: "partwright",
    startupParameters: {
      statement_timeout: String(Duration.toMillis(options.statementTimeout ?? "30 seconds")),
      idle_in_transaction_session_timeout: "60000",
      timezone: "UTC"
    },
    transformJson: false,
    // Shared connections are a few percent faster, but new statements and transactions would go to the first one, busy or not.
    multiplex: false
  })

/**
 * A connection that could not be opened leaves its error in the pool for whoever comes next, also when the database is back by then;
 * after an outage there is one for every connection. Nothing was sent, so it is asked again: once, and further as long as the answer comes
 * at once, as such an old error does.
 */
const connecting = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const again = (tries: number): Effect.Effect<A, E, R> =>
    Effect.flatMap(Clock.monotonicTimeNanos, (since) =>
      Effect.catchCauseIf(work, isUnconnected, (cause) =>
        Effect.flatMap(Clock.monotonicTimeNanos, (now) =>
          tries < mostOldErrors && now - since < atOnce ? again(tries + 1) : Effect.failCause(cause)
        )
      )
    )
  return Effect.catchCauseIf(work, isUnconnected, () => again(0))
}

const mostOldErrors = 20
const atOnce = 20_000_000n

const isUnconnected = (cause: Cause.Cause<unknown>) => {
  const error = sqlErrorIn(cause)
  return error !== undefined && isNotConnected(error)
}

const timed = <A, E extends SqlError.SqlError, R>(statement: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const since = clock.monotonicTimeNanosUnsafe()
    return Effect.onExit(connecting(statement), () => {
      statements.updateUnsafe(Number(clock.monotonicTimeNanosUnsafe() - since) / 1e9, fiber.context)
      return Effect.void
    })
  })

/** A bug or an outage. A conflict counts only when no further try has mended it, see `Db.transaction`. */
const failed = (error: SqlError.SqlError) =>
  error.reason._tag === "SerializationError" || error.reason._tag === "DeadlockError"
    ? Effect.die(error)
    : Effect.andThen(countFailure(error), Effect.die(error))

/** Rows, decoded. What does not decode is a bug in a query or a migration, so it is a defect. */
export const rows = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownEffect(Schema.Array(schema) as unknown as Schema.ConstraintDecoder<ReadonlyArray<S["Type"]>>)
  return <A>(statement: Statement.Statement<A>): Effect.Effect<ReadonlyArray<S["Type"]>> =>
    Effect.orDie(Effect.flatMap(Effect.catch(timed(statement), failed), decode))
}

/** At most one row, decoded. */
export const row = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const all = rows(schema)
  return <A>(statement: Statement.Statement<A>): Effect.Effect<Option.Option<S["Type"]>> =>
    Effect.map(all(statement), (found) => Option.fromNullishOr(found[0]))
}

/** The number a `select count(*)::int as count` gives. */
export const count = <A>(statement: Statement.Statement<A>): Effect.Effect<number> =>
  Effect.map(counted(statement), ([found]) => found?.count ?? 0)

const counted = rows(Schema.Struct({ count: Schema.Int }))

/** A statement for its effect: whatever it violates is a bug, unless `onConstraint` comes first. */
export const run = <A>(statement: Statement.Statement<A>): Effect.Effect<void> => Effect.asVoid(Effect.catch(timed(statement), failed))

/**
 * Constraint name → domain error, for one statement. Unknown constraints stay defects.
 * Inside a transaction the violation has poisoned it: either fail, or wrap the statement in `Db.savepoint`.
 */
export const onConstraint =
  <Errors extends Record<string, () => unknown>>(errors: Errors) =>
  <A, R>(effect: Effect.Effect<A, SqlError.SqlError, R>): Effect.Effect<A, ReturnType<Errors[keyof Errors]>, R> =>
    Effect.catch(timed(effect), (error) => {
      const make = errors[constraintOf(error) ?? ""]
      return make === undefined ? failed(error) : Effect.fail(make() as ReturnType<Errors[keyof Errors]>)
    })
