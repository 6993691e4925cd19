import { Cause, Context, Duration, Effect, Exit, FiberSet, Layer, Option, type Scope, type Stream } from "effect"
import { Db, Transaction } from "../db/db.ts"
import { uuidv7 } from "../db/uuid.ts"
import type { StorageUnavailable } from "../http/problems.ts"
import type { ByteRange, Limit, NewObject, ObjectAddress, ObjectMissing, ObjectRef, Staged, StoredObject, TooLarge } from "./object.ts"
import { ObjectStore } from "./object-store.ts"
import { ObjectsRepo } from "./objects.repo.ts"
import { Spool } from "./spool.ts"

/**
 * Files that rows refer to. Two rules hold by construction: an object is in the store before a row that refers to it commits, and
 * the deletion of its last row is committed before the object is deleted. Whatever fails in between leaves an announced upload or a
 * condemned object, never a row without its object; the sweeper ends both.
 */
export class Objects extends Context.Service<
  Objects,
  {
    /** What the sweeper has to end. */
    readonly pending: ObjectsRepo["Service"]["pending"]
    /** Lets bytes arrive, counted and hashed, and keeps them until the scope closes. */
    readonly stage: <E, R>(
      bytes: Stream.Stream<Uint8Array, E, R>,
      options: { readonly maxBytes: Limit }
    ) => Effect.Effect<Staged, E | TooLarge | StorageUnavailable, R | Scope.Scope>
    /**
     * Puts the bytes into the store, unless it has them already, and then runs `use` in the transaction that makes them an object.
     * Begins that transaction itself, as nothing may wait for a store inside one: called in another one, it dies. `use` is run again
     * when the transaction is.
     */
    readonly store: <A, E, R>(
      object: NewObject,
      use: (ref: ObjectRef) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | StorageUnavailable, Exclude<R, Transaction>>
    /** Keeps an object that has a row from being deleted before the transaction ends; none when it is gone. */
    readonly hold: (id: number) => Effect.Effect<Option.Option<ObjectRef>, never, Transaction>
    /** To be called before the rows that refer to these objects are locked: objects come first in the order of all locks. */
    readonly lock: (ids: ReadonlyArray<number>) => Effect.Effect<void, never, Transaction>
    /** To be called when a row that referred to these objects is gone. Those that nothing refers to are deleted after the commit. */
    readonly release: (ids: ReadonlyArray<number>) => Effect.Effect<void, never, Transaction>
    readonly find: (id: number) => Effect.Effect<Option.Option<StoredObject>>
    /** The bytes, or those of a range of them. */
    readonly read: (
      object: ObjectAddress,
      range?: ByteRange
    ) => Effect.Effect<
      { readonly size: number; readonly body: Stream.Stream<Uint8Array, StorageUnavailable> },
      ObjectMissing | StorageUnavailable,
      Scope.Scope
    >
    /** Whether the store answers, within a few seconds. */
    readonly check: Effect.Effect<void, StorageUnavailable>
    /** What was made of an object under this name. */
    readonly variant: (source: number, name: string) => Effect.Effect<Option.Option<StoredObject>>
    /** Keeps what was made of an object beside it, as long as it lives; false when it is gone. */
    readonly storeVariant: (source: number, name: string, made: NewObject) => Effect.Effect<boolean, StorageUnavailable>
  }
>()("platform/Objects") {
  static readonly layerNoDeps = Layer.effect(
    Objects,
    Effect.gen(function* () {
      const repo = yield* ObjectsRepo
      const files = yield* ObjectStore
      const spool = yield* Spool
      const db = yield* Db
      const inBackground = yield* FiberSet.makeRuntime<never>()

      /** The sweeper does it when this does not. */
      const remove = ({ bucket, key }: ObjectAddress) =>
        Effect.andThen(files.remove({ bucket, key }), repo.deleted(key)).pipe(
          Effect.timeout(removeWithin),
          Effect.catchCause(() => Effect.void)
        )
      // A store that hangs must not keep the answer of a request whose work is done.
      const removeSoon = (places: ReadonlyArray<ObjectAddress>) =>
        Effect.sync(() => {
          for (const place of places) inBackground(remove(place))
        })

      const condemn = Effect.fnUntraced(function* (places: ReadonlyArray<ObjectAddress>) {
        yield* repo.condemn(places)
        yield* db.afterCommit(removeSoon(places))
      })

      /** One object for these bytes, whoever was first. Ours, if we have uploaded any, or the other one's. */
      const adopt = Effect.fnUntraced(function* (object: NewObject, uploaded: ObjectAddress | undefined) {
        if (uploaded === undefined) return yield* repo.holdHash(object.staged.sha256)
        // An upload that took so long that the sweeper has given it up may be deleted at any moment.
        const isOurs = yield* repo.settle(uploaded.key)
        for (let look = 0; look < looks && isOurs; look++) {
          const ours = yield* repo.insert(object, uploaded.key)
          if (Option.isSome(ours)) return ours
          const theirs = yield* repo.holdHash(object.staged.sha256)
          if (Option.isSome(theirs)) {
            yield* condemn([uploaded])
            return theirs
          }
        }
        yield* condemn([uploaded])
        return Option.none()
      })

      const upload = Effect.fnUntraced(function* ({ bucket, mediaType, staged }: NewObject) {
        const place = { bucket, key: `${staged.sha256}/${yield* uuidv7}` }
        yield* repo.announce(place)
        // When this fails or is interrupted, nobody knows whether the bytes arrived. The announcement stays for the sweeper.
        yield* files.put({ ...place, path: staged.path, size: staged.size, sha256: staged.sha256, mediaType })
        return place
      })

      const attempt = Effect.fnUntraced(function* <A, E, R>(
        object: NewObject,
        use: (ref: ObjectRef) => Effect.Effect<A, E, R>,
        mustUpload: boolean
      ) {
        const live = mustUpload ? Option.none() : yield* repo.withHash(object.staged.sha256)
        const uploaded = Option.isSome(live) ? undefined : yield* upload(object)
        return yield* Effect.gen(function* () {
          const ref = yield* adopt(object, uploaded)
          return Option.isNone(ref) ? Option.none<A>() : Option.some(yield* use(ref.value))
        }).pipe(
          db.transaction,
          // Harmless also when nobody knows whether the commit took place: the announcement went with it, and without it nothing is done.
          Effect.onExit((exit) =>
            uploaded === undefined || Exit.isSuccess(exit) || Cause.hasInterrupts(exit.cause)
              ? Effect.void
              : Effect.flatMap(repo.giveUp(uploaded.key), removeSoon).pipe(Effect.catchCause(() => Effect.void))
          )
        )
      })

      const store: Objects["Service"]["store"] = Effect.fn("Objects.store")(function* (object, use) {
        if (Option.isSome(yield* Effect.serviceOption(Transaction))) {
          return yield* Effect.die(new Error("Objects.store inside a transaction"))
        }
        for (let tries = 0; tries < mostTries; tries++) {
          const stored = yield* attempt(object, use, tries > 0)
          if (Option.isSome(stored)) return stored.value
        }
        return yield* Effect.die(new Error(`the object ${object.staged.sha256} vanished ${mostTries} times while it was stored`))
      })

      const release: Objects["Service"]["release"] = Effect.fn("Objects.release")(function* (ids) {
        const places: Array<ObjectAddress> = []
        const pending = [...new Set(ids)].sort((a, b) => a - b)
        for (let id = pending.shift(); id !== undefined; id = pending.shift()) {
          const dropped = yield* repo.drop(id)
          if (Option.isNone(dropped)) continue
          places.push(dropped.value.place)
          pending.push(...dropped.value.variants)
        }
        if (places.length > 0) yield* condemn(places)
      })

      return Objects.of({
        pending: repo.pending,
        stage: spool.stage,
        store,
        hold: Effect.fn("Objects.hold")(repo.hold),
        lock: Effect.fn("Objects.lock")((ids) => (ids.length === 0 ? Effect.void : repo.lock(ids))),
        release,
        find: Effect.fn("Objects.find")(repo.find),
        read: ({ bucket, key }, range) => files.get({ bucket, key, ...(range === undefined ? {} : { range }) }),
        check: files.check,
        variant: Effect.fn("Objects.variant")(repo.variant),
        storeVariant: Effect.fn("Objects.storeVariant")((source, name, made) =>
          store(
            made,
            Effect.fnUntraced(function* (ref) {
              const held = yield* repo.hold(source)
              if (Option.isSome(held)) yield* repo.addVariant(source, name, ref)
              else yield* release([ref.id])
              return Option.isSome(held)
            })
          )
        )
      })
    })
  )
}

const removeWithin = Duration.seconds(30)
/** How often an object of the same bytes may come and go between two statements. */
const looks = 10
const mostTries = 5
