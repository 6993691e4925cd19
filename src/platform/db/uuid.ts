import { randomUUIDv7 } from "node:crypto"
import { Effect, Schema } from "effect"

/** A time-ordered id (RFC 9562, version 7), made here because PostgreSQL knows uuidv7() only since 18. */
export const uuidv7 = Effect.sync(() => randomUUIDv7())

/** An id in a path. Any case, stored and compared in lower case. */
export const UuidInPath = Schema.String.check(Schema.isPattern(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/u))
