import { randomUUIDv7 } from "node:crypto"
import { Effect } from "effect"

/** A time-ordered id (RFC 9562, version 7), made here because PostgreSQL knows uuidv7() only since 18. */
export const uuidv7 = Effect.sync(() => randomUUIDv7())

/** Whether a text from a path can be an id at all; what cannot is answered like an unknown one. */
export const isUuid = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu.test(text)
