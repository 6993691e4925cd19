import { randomUUID } from "node:crypto"
import { Effect, Layer } from "effect"
import { inject } from "vitest"
import { commitSuite } from "../support/documents-commit-suite.ts"
import { documentsSuite } from "../support/documents-suite.ts"
import { severableWorld } from "../support/severable.ts"
import { world } from "../support/world.ts"
import { ceph } from "./ceph.ts"

/** Buckets of its own: what others store would have no row here. */
const buckets = () => {
  const run = randomUUID().slice(0, 8)
  return { S3_BUCKET_DOCS: `docs-${run}`, S3_BUCKET_IMAGES: `images-${run}` }
}

const inCeph = <A, E, R>(worldOf: (env: Record<string, string>) => Layer.Layer<A, E, R>) =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => ceph(inject("cephHome"))),
      (running) => worldOf({ ...running.env, ...buckets() })
    )
  )

documentsSuite("documents in Ceph", (env) => inCeph((store) => world({ ...store, ...env })))

commitSuite("documents in Ceph", (name) => inCeph((store) => severableWorld(name, store)))
