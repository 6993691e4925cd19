import { Schema } from "effect"
import { Instant } from "../http/text.ts"

/** What an operator wants to know of one process, beyond whether it answers. */
export const SystemHealth = Schema.Struct({
  status: Schema.Literals(["ok", "stopping"]),
  version: Schema.String,
  node: Schema.String,
  startedAt: Instant,
  uptimeSeconds: Schema.Int,
  residentMemoryBytes: Schema.Int,
  database: Schema.Struct({
    version: Schema.String,
    /** The highest migration that was applied; this version knows `schemaKnown`. */
    schema: Schema.Int,
    schemaKnown: Schema.Int,
    sizeBytes: Schema.Int,
    connections: Schema.Int,
    poolMax: Schema.Int
  })
}).annotate({ identifier: "SystemHealth" })
export type SystemHealth = typeof SystemHealth.Type
