import { Duration, Schema } from "effect"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { SellerId } from "./seller.ts"

/** Fetches the icon of a seller's website, once. */
export const iconKind = jobKind({
  name: "inventory.seller.icon",
  payload: Schema.Struct({ sellerId: SellerId, website: Schema.String }),
  result: Schema.Struct({ found: Schema.Boolean }),
  priority: "background",
  maxAttempts: 3,
  timeout: Duration.minutes(2)
})

/** Nobody shows them larger. */
export const iconSize = 256
