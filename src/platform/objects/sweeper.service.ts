import { createHash } from "node:crypto"
import { Clock, Context, Duration, Effect, Layer, Option, Stream } from "effect"
import { AppConfig } from "../config.ts"
import type { StorageUnavailable } from "../http/problems.ts"
import { buckets, type ObjectAddress, type ObjectsReport, type StoredObject } from "./object.ts"
import { ObjectStore } from "./object-store.ts"
import { ObjectsRepo } from "./objects.repo.ts"

/** Ends what failures and crashes have left: announced uploads without a row, condemned objects, objects that nobody knows. */
export class Sweeper extends Context.Service<
  Sweeper,
  {
    /** Gives up old uploads and deletes what is condemned, as far as it is due. Any number may run beside each other. */
    readonly sweep: (options?: {
      readonly grace?: Duration.Duration
    }) => Effect.Effect<{ readonly deleted: number; readonly failed: number; readonly uploads: number }>
    /** Condemns what lies in the store longer than the grace and that neither a row nor an intent knows. */
    readonly scan: (grace: Duration.Duration) => Effect.Effect<{ readonly condemned: number }, StorageUnavailable>
    /** Compares the rows with the store, both ways, and with `hash` every byte. Changes nothing. */
    readonly verify: (options: {
      readonly hash: boolean
      readonly progress?: (done: number) => Effect.Effect<void>
    }) => Effect.Effect<ObjectsReport, StorageUnavailable>
  }
>()("platform/Sweeper") {
  static readonly layerNoDeps = Layer.effect(
    Sweeper,
    Effect.gen(function* () {
      const repo = yield* ObjectsRepo
      const files = yield* ObjectStore
      const { objectIntentGrace } = yield* AppConfig

      const deleteOne = (place: ObjectAddress) =>
        files.remove(place).pipe(
          Effect.andThen(repo.deleted(place.key)),
          Effect.as(true),
          Effect.catch(({ detail }) => Effect.as(repo.notDeleted(place.key, detail ?? "The store does not answer."), false))
        )

      const sweep: Sweeper["Service"]["sweep"] = Effect.fn("Sweeper.sweep")(function* ({ grace = objectIntentGrace } = {}) {
        let [deleted, failed, uploads] = [0, 0, 0]
        for (;;) {
          const { length } = yield* repo.giveUpOld(grace, batch)
          uploads += length
          if (length < batch) break
        }
        for (;;) {
          const due = yield* repo.due(batch)
          const done = yield* Effect.forEach(due, deleteOne, { concurrency: 8 })
          deleted += done.filter(Boolean).length
          failed += done.filter((one) => !one).length
          if (due.length < batch || failed > 0) return { deleted, failed, uploads }
        }
      })

      /** What lies in the store and is not known, older than the grace. */
      const unowned = (grace: Duration.Duration) =>
        // A store that nothing was put into yet may have no buckets.
        Stream.fromEffect(files.check).pipe(
          Stream.flatMap(() => Stream.fromIterable(buckets)),
          Stream.flatMap((bucket) => Stream.map(files.list(bucket), (found) => ({ bucket, ...found }))),
          Stream.grouped(1000),
          Stream.mapEffect(
            Effect.fnUntraced(function* (found) {
              const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(grace)
              const known = yield* repo.known(found.map(({ key }) => key))
              return found.filter(({ key, modifiedAt }) => !known.has(key) && modifiedAt.getTime() < before)
            })
          ),
          Stream.flattenIterable
        )

      const scan: Sweeper["Service"]["scan"] = Effect.fn("Sweeper.scan")(function* (grace) {
        let condemned = 0
        yield* unowned(grace).pipe(
          Stream.grouped(1000),
          Stream.runForEach((places) => {
            condemned += places.length
            return repo.condemn(places)
          })
        )
        return { condemned }
      })

      /** Why the bytes are not those of the row; none when they are. */
      const fault = Effect.fnUntraced(function* (object: StoredObject, hash: boolean) {
        const found = yield* files.head(object).pipe(
          Effect.map(Option.some),
          Effect.catchTag("ObjectMissing", () => Effect.succeedNone)
        )
        if (Option.isNone(found)) return (yield* isStillThere(object)) ? ("missing" as const) : undefined
        if (found.value.size !== object.size) return `has ${found.value.size} bytes instead of ${object.size}`
        if (!hash) return undefined
        const sha256 = createHash("sha256")
        const read = yield* files.get(object).pipe(
          Effect.flatMap(({ body }) => Stream.runForEach(body, (chunk) => Effect.sync(() => sha256.update(chunk)))),
          Effect.scoped,
          Effect.as(true),
          Effect.catchTag("ObjectMissing", () => Effect.succeed(false))
        )
        if (!read) return (yield* isStillThere(object)) ? ("missing" as const) : undefined
        return sha256.digest("hex") === object.sha256 ? undefined : "has other bytes than its hash says"
      })
      // It may have been deleted since its row was read, which is no fault.
      const isStillThere = ({ id, key }: StoredObject) =>
        Effect.map(repo.find(id), (found) => Option.isSome(found) && found.value.key === key)

      const verify: Sweeper["Service"]["verify"] = Effect.fn("Sweeper.verify")(function* ({ hash, progress = () => Effect.void }) {
        const missing: Array<ObjectAddress> = []
        const wrong: Array<ObjectAddress & { readonly reason: string }> = []
        let objects = 0
        for (let page = yield* repo.page(0, batch); page.length > 0; page = yield* repo.page(page.at(-1)!.id, batch)) {
          yield* Effect.forEach(
            page,
            Effect.fnUntraced(function* (object) {
              const { bucket, key } = object
              const reason = yield* fault(object, hash)
              if (reason === "missing") missing.push({ bucket, key })
              else if (reason !== undefined) wrong.push({ bucket, key, reason })
            }),
            { concurrency: hash ? 2 : 8, discard: true }
          )
          objects += page.length
          yield* progress(objects)
        }
        const strays = yield* Stream.runCollect(unowned(Duration.zero))
        // An upload that was announced and settled between the listing and the look at the rows is known by now.
        const known = yield* repo.known(strays.map(({ key }) => key))
        const { deletions, uploads } = yield* repo.pending
        return {
          objects,
          missing,
          wrong,
          unowned: strays.filter(({ key }) => !known.has(key)).map(({ bucket, key }) => ({ bucket, key })),
          pendingUploads: uploads,
          pendingDeletions: deletions
        }
      })

      return Sweeper.of({ sweep, scan, verify })
    })
  )
}

const batch = 200
