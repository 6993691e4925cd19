import { Data, Schema } from "effect"

/** What is kept apart in the store. Which bucket of a server that is, the configuration says. */
export const buckets = ["docs", "images"] as const
export type Bucket = (typeof buckets)[number]

/** Where an object lies. A key belongs to one upload and is never used again, so its bytes never change. */
export interface ObjectAddress {
  readonly bucket: Bucket
  readonly key: string
}

/** First and last byte, both included, as HTTP counts. An end beyond the last byte means up to the last one. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Internal: the store answers and has nothing there. Never reaches a client. */
export class ObjectMissing extends Data.TaggedError("ObjectMissing")<ObjectAddress> {}

/** Bytes that arrived whole and lie in the spool; gone with the scope they were staged in. */
export interface Staged {
  readonly path: string
  readonly size: number
  /** Of all bytes, in lower-case hexadecimal. */
  readonly sha256: string
}

/** Staged bytes and what they are. */
export interface NewObject {
  readonly staged: Staged
  readonly bucket: Bucket
  readonly mediaType: string
}

/** An object that is in the store and in use. */
export const StoredObject = Schema.Struct({
  id: Schema.Int,
  sha256: Schema.String,
  bucket: Schema.Literals(buckets),
  key: Schema.String,
  size: Schema.Int,
  mediaType: Schema.String
})
export type StoredObject = typeof StoredObject.Type

declare const held: unique symbol

/**
 * Proof that the object is in the store and cannot be deleted before the transaction ends: what a repository asks for before it
 * writes a row that refers to an object. Only `Objects` makes one, and none outlives its transaction.
 */
export interface ObjectRef {
  readonly [held]: true
  readonly id: number
}

/** More bytes arrived than the stage takes. */
/** How many bytes may arrive: a number, or what their first 64 KiB allow. */
export type Limit = number | ((head: Uint8Array) => number)

export class TooLarge extends Data.TaggedError("TooLarge")<{ readonly maxBytes: number }> {}

/** What `objects verify` found. The first three are faults. */
export interface ObjectsReport {
  readonly objects: number
  readonly missing: ReadonlyArray<ObjectAddress>
  readonly wrong: ReadonlyArray<ObjectAddress & { readonly reason: string }>
  readonly unowned: ReadonlyArray<ObjectAddress>
  readonly pendingUploads: number
  readonly pendingDeletions: number
}
