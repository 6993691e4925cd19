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
  }),
  objects: Schema.Struct({
    status: Schema.String.annotate({ description: "ok, or what is wrong with the store" }),
    pendingUploads: Schema.Int,
    pendingDeletions: Schema.Int
  }),
  queue: Schema.Struct({
    engine: Schema.Literals(["postgres", "rabbitmq"]),
    status: Schema.String.annotate({ description: "ok, or what is wrong with the broker" }),
    queued: Schema.Int,
    running: Schema.Int,
    failed: Schema.Int,
    oldestQueuedSeconds: Schema.Finite.annotate({ description: "How long the job that waits longest has been due" })
  })
}).annotate({ identifier: "SystemHealth" })
export type SystemHealth = typeof SystemHealth.Type
