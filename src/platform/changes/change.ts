import { Schema } from "effect"
import { Instant } from "../http/text.ts"
import type { Topic } from "./topic.ts"

/** One committed write: who did what to which entity, and how it looked before and after. */
export const Change = Schema.Struct({
  seq: Schema.Int,
  at: Instant,
  principal: Schema.String,
  requestId: Schema.NullOr(Schema.String),
  topic: Schema.String,
  action: Schema.String,
  entity: Schema.String,
  entityId: Schema.String,
  before: Schema.NullOr(Schema.Json),
  after: Schema.NullOr(Schema.Json)
}).annotate({ identifier: "Change" })
export type Change = typeof Change.Type

/**
 * What a service records: `topic.action` names the event, `entity` and `entityId` what it is about. No secrets in `before` and `after`.
 * The audit shows both. The feed, which more people may read, names only the changed fields of `updated`, and nothing of `created`
 * and `deleted`; of every other action it sends the members of `after`.
 */
export interface NewChange {
  readonly topic: Topic
  readonly action: string
  readonly entity: string
  readonly entityId: string
  readonly before?: unknown
  readonly after?: unknown
}
