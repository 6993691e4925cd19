import { randomUUID } from "node:crypto"
import { Effect, Layer } from "effect"
import { inject } from "vitest"
import { documentsSuite } from "../support/documents-suite.ts"
import { world } from "../support/world.ts"
import { ceph } from "./ceph.ts"

/** Buckets of its own: what others store would have no row here. */
const buckets = () => {
  const run = randomUUID().slice(0, 8)
  return { S3_BUCKET_DOCS: `docs-${run}`, S3_BUCKET_IMAGES: `images-${run}` }
}

documentsSuite("documents in Ceph", (env) =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => ceph(inject("cephHome"))),
      (running) => world({ ...running.env, ...buckets(), ...env })
    )
  )
)
