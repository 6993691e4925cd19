import { Effect, Layer, Redacted } from "effect"
import { inject } from "vitest"
import { layerS3 } from "#platform/objects/object-store.s3.ts"
import { objectStoreContract } from "../support/object-store-contract.ts"
import { ceph } from "./ceph.ts"

objectStoreContract(
  "objects in Ceph",
  Layer.unwrap(
    Effect.promise(async () => {
      const { accessKeyId, endpoint, secretAccessKey } = await ceph(inject("cephHome"))
      const bucketNames = { docs: "contract-docs", images: "contract-images" }
      return layerS3({
        endpoint,
        accessKeyId,
        secretAccessKey: Redacted.make(secretAccessKey),
        region: "us-east-1",
        forcePathStyle: true,
        bucketNames
      })
    })
  )
)
