import { Schema } from "effect"

/** What changes and events are about: the words before the dot of an event's name, and what clients of the feed choose from. */
export const Topic = Schema.Literals([
  "box",
  "document",
  "inventory-import",
  "inventory-sample",
  "job",
  "ledger",
  "part",
  "proposal",
  "seller",
  "stock",
  "type"
])
export type Topic = typeof Topic.Type
