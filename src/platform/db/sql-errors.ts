import { Cause, Option } from "effect"
import { SqlError } from "effect/sql"
import { DatabaseUnavailable } from "../http/problems.ts"

/**
 * SQLSTATE → answer, one table for the whole product. Constraint violations are not here: a repository maps the constraints it
 * knows, by name, to its domain's errors, and one it does not know is a bug.
 *
 * | reason of the SqlError | SQLSTATE | answer |
 * |---|---|---|
 * | ConnectionError, AuthenticationError | 08*, 28* | 503 database-unavailable |
 * | UnknownError | 53*, 57P0*, 58*, 25P03 | 503 database-unavailable |
 * | StatementTimeoutError, LockTimeoutError | 57014, 55P03 | 503 database-unavailable |
 * | SerializationError, DeadlockError | 40001, 40P01 | tried again; 503 when five more tries did not help |
 * | everything else | | a defect: 500, reported once |
 */
export const unavailable = (error: unknown): DatabaseUnavailable | undefined => {
  if (error instanceof DatabaseUnavailable) return error
  const details = detailOf(error)
  return details === undefined ? undefined : new DatabaseUnavailable({ detail: details })
}

const detailOf = (error: unknown): string | undefined => {
  if (!(error instanceof SqlError.SqlError)) return undefined
  switch (error.reason._tag) {
    case "ConnectionError":
    case "AuthenticationError":
      return "The database cannot be reached. Try again in a moment."
    case "StatementTimeoutError":
    case "LockTimeoutError":
      return "The database did not finish in time. Try again in a moment or ask for less at once."
    case "SerializationError":
    case "DeadlockError":
      return "Too many writers want the same rows at once. Try again in a moment."
    default:
      // 53*: too many connections, out of memory or disk. 57P0*: the server is starting or stopping. 58*: its disk fails.
      // 25P03: it ended a transaction in which nothing happened for too long.
      return /^(08|53|57P0|58|25P03)/u.test(sqlState(error) ?? "")
        ? "The database is out of resources or restarting. Try again in a moment."
        : undefined
  }
}

/** The five characters PostgreSQL gives an error, when the server said anything at all. */
export const sqlState = (error: SqlError.SqlError): string | undefined => {
  const cause: unknown = error.reason.cause
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : undefined
}

/** The constraint that was violated, for errors of class 23. */
export const constraintOf = (error: SqlError.SqlError): string | undefined => {
  if (error.reason._tag === "UniqueViolation") return error.reason.constraint
  const cause: unknown = error.reason.cause
  return typeof cause === "object" && cause !== null && "constraint" in cause && typeof cause.constraint === "string"
    ? cause.constraint
    : undefined
}

/** The first SqlError among the failures and the defects: repositories turn unexpected ones into defects. */
export const sqlErrorIn = (cause: Cause.Cause<unknown>): SqlError.SqlError | undefined => {
  for (const reason of cause.reasons) {
    const error = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    if (error instanceof SqlError.SqlError) return error
  }
  return undefined
}

/** Whether running the whole transaction again may succeed: PostgreSQL chose it as the victim of a conflict. */
export const isConflict = (cause: Cause.Cause<unknown>): boolean =>
  Option.match(Option.fromNullishOr(sqlErrorIn(cause)), {
    onNone: () => false,
    onSome: ({ reason }) => reason._tag === "SerializationError" || reason._tag === "DeadlockError"
  })

/** No connection could be opened, so nothing of the statement or the transaction was sent. */
export const isNotConnected = ({ reason }: SqlError.SqlError) => reason._tag === "ConnectionError" && reason.operation === "connect"

/** A row could not be deleted because another one refers to it. PostgreSQL 18 has a state of its own for `on delete restrict`. */
export const isStillReferenced = (error: SqlError.SqlError) => ["23503", "23001"].includes(sqlState(error) ?? "")
