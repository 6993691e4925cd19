import { Effect, Layer } from "effect"
import { AppConfig } from "../config.ts"
import { layerFiles } from "./object-store.files.ts"

/** The store that the configuration names: an S3 server, else files in DATA_DIR. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const config = yield* AppConfig
    const { s3AccessKeyId, s3Endpoint, s3SecretAccessKey } = config
    if (s3Endpoint === null || s3AccessKeyId === null || s3SecretAccessKey === null) return layerFiles(config.dataDir)
    // The client of S3 takes a while to load, which nobody should wait for who does not use it.
    const { layerS3 } = yield* Effect.promise(() => import("./object-store.s3.ts"))
    return layerS3({
      endpoint: s3Endpoint,
      region: config.s3Region,
      forcePathStyle: config.s3ForcePathStyle,
      accessKeyId: s3AccessKeyId,
      secretAccessKey: s3SecretAccessKey,
      bucketNames: { docs: config.s3BucketDocs, images: config.s3BucketImages }
    })
  })
)
