import { Duration, Schema } from "effect"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { DocumentId } from "./document.ts"

/** The document that was uploaded, and the bytes: while another document shows them, the work is not in vain. */
const Source = Schema.Struct({ documentId: DocumentId, objectId: Schema.Int })

// One at a time: whoever waits for an upload to be looked at, or for a thumbnail, finds a free decoder.
const inBackground = { priority: "background", concurrency: 1, timeout: Duration.minutes(5) } as const

export const thumbnailsKind = jobKind({
  name: "inventory.document.thumbnails",
  payload: Source,
  result: Schema.Struct({ made: Schema.Int }),
  ...inBackground
})

export const textKind = jobKind({
  name: "inventory.document.text",
  payload: Source,
  result: Schema.Struct({ words: Schema.Int }),
  ...inBackground
})
