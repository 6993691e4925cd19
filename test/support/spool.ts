import { createHash, randomBytes, randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import type { Bucket } from "#platform/objects/object.ts"
import type { NewObject } from "#platform/objects/object-store.ts"
import { scratchFolder } from "./files.ts"

export const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** The bytes in a file of their own, as an upload has them when it has arrived. */
export const spooled = (bytes: Uint8Array, options: { readonly key?: string; readonly bucket?: Bucket } = {}) =>
  Effect.map(scratchFolder, (folder): NewObject => {
    const path = join(folder, "spool")
    fs.writeFileSync(path, bytes)
    const { bucket = "docs", key = `${randomUUID()}/1` } = options
    return { bucket, key, path, size: bytes.length, sha256: sha256Of(bytes), mediaType: "application/octet-stream" }
  })

/** Random bytes: what comes back in another order, or twice, is not equal to them. */
export const someBytes = (size: number): Uint8Array => randomBytes(size)

export const bytesOf = <E, R>(body: Stream.Stream<Uint8Array, E, R>) =>
  Effect.map(Stream.runCollect(body), (chunks) => Buffer.concat(chunks))
