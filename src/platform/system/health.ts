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
  }),
  ai: Schema.Struct({
    configured: Schema.Boolean,
    model: Schema.String,
    budgetUsd: Schema.NullOr(Schema.Finite).annotate({ description: "What a calendar month (UTC) may cost; null: nothing limits it" }),
    spentUsd: Schema.Finite.annotate({ description: "In this month, with the most that calls under way can cost" })
  })
}).annotate({ identifier: "SystemHealth" })
export type SystemHealth = typeof SystemHealth.Type
