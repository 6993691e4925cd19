import { Cause, Clock, Context, Effect, type Exit, Metric, type Scope, Stream } from "effect"
import type { StorageUnavailable } from "../http/problems.ts"
import { startAtZero } from "../telemetry/metrics.ts"
import type { Bucket, ByteRange, ObjectAddress, ObjectMissing } from "./object.ts"
import { passed } from "./passing.ts"

/** Bytes to be stored: a file that stays as it is until the put has ended, so that it can be sent again. */
export interface NewObject extends ObjectAddress {
  readonly path: string
  readonly size: number
  /** In lower-case hexadecimal. What arrives with another one is refused. */
  readonly sha256: string
  readonly mediaType: string
}

export interface StoredObject {
  /** Of the whole object, also when only a range of it is read. */
  readonly size: number
  readonly body: Stream.Stream<Uint8Array, StorageUnavailable>
}

export interface ListedObject {
  readonly key: string
  readonly size: number
  readonly modifiedAt: Date
}

interface Operations {
  /** Afterwards the whole object is there and outlives a power cut. When it fails nothing, or all of it, is there. */
  readonly put: (object: NewObject) => Effect.Effect<void, StorageUnavailable>
  /** The body may be read until the scope closes. A range must begin within the object. */
  readonly get: (
    address: ObjectAddress & { readonly range?: ByteRange }
  ) => Effect.Effect<StoredObject, ObjectMissing | StorageUnavailable, Scope.Scope>
  readonly head: (address: ObjectAddress) => Effect.Effect<{ readonly size: number }, ObjectMissing | StorageUnavailable>
  /** What is not there counts as removed. */
  readonly remove: (address: ObjectAddress) => Effect.Effect<void, StorageUnavailable>
  /** In the order of the bytes of the keys, from the first one after `after`. */
  readonly list: (
    bucket: Bucket,
    options?: { readonly prefix?: string; readonly after?: string }
  ) => Stream.Stream<ListedObject, StorageUnavailable>
  /** Whether the store answers and could take an object, within a few seconds. */
  readonly check: Effect.Effect<void, StorageUnavailable>
}

/**
 * Where bytes lie: a folder or an S3 server. Nobody outside this folder may use it, because it would let them remove an object
 * that a row still names, or name one that is not there.
 */
export class ObjectStore extends Context.Service<ObjectStore, Operations>()("platform/ObjectStore") {}

const operations = Metric.counter("object_store_operations_total", {
  description: "Calls of the object store, by how they ended",
  incremental: true
})
const durations = Metric.histogram("object_store_duration_seconds", {
  description: "Time of a call of the object store; of a get until its first byte",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
})
const bytes = Metric.counter("object_store_bytes_total", {
  description: "Bytes written to and read from the object store",
  incremental: true
})

// `read` is the body of a get, counted only when it breaks off.
const names = ["put", "get", "read", "head", "remove", "list", "check"] as const
const outcomes = ["ok", "missing", "unavailable", "interrupted", "defect"] as const

const outcomeOf = (exit: Exit.Exit<unknown, ObjectMissing | StorageUnavailable>): (typeof outcomes)[number] => {
  if (exit._tag === "Success") return "ok"
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure !== undefined) return failure.error._tag === "ObjectMissing" ? "missing" : "unavailable"
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "defect"
}

const ended = (operation: (typeof names)[number], since: bigint) => (exit: Exit.Exit<unknown, ObjectMissing | StorageUnavailable>) =>
  Effect.gen(function* () {
    yield* Metric.update(Metric.withAttributes(operations, { operation, outcome: outcomeOf(exit) }), 1)
    yield* Metric.update(Metric.withAttributes(durations, { operation }), Number((yield* Clock.monotonicTimeNanos) - since) / 1e9)
  })

const counted = (direction: "written" | "read", amount: number) => Metric.update(Metric.withAttributes(bytes, { direction }), amount)

/** The store with its metrics and spans, the same for every kind of it. */
export const observed = (store: Operations): Effect.Effect<ObjectStore["Service"]> => {
  const watch = <A, E extends ObjectMissing | StorageUnavailable, R>(
    operation: (typeof names)[number],
    attributes: Record<string, unknown>,
    effect: Effect.Effect<A, E, R>
  ) =>
    Effect.flatMap(Clock.monotonicTimeNanos, (since) => Effect.onExit(effect, ended(operation, since))).pipe(
      Effect.withSpan(`ObjectStore.${operation}`, { attributes })
    )
  const at = ({ bucket, key }: ObjectAddress) => ({ bucket, key })
  const service = ObjectStore.of({
    put: (object) => watch("put", { ...at(object), size: object.size }, Effect.andThen(store.put(object), counted("written", object.size))),
    get: (address) =>
      Effect.map(watch("get", { ...at(address), ...address.range }, store.get(address)), ({ body, size }) => ({
        size,
        body: body.pipe(
          Stream.tap((chunk) => {
            passed(chunk.length)
            return counted("read", chunk.length)
          }),
          Stream.tapError(() => Metric.update(Metric.withAttributes(operations, { operation: "read", outcome: "unavailable" }), 1))
        )
      })),
    head: (address) => watch("head", at(address), store.head(address)),
    remove: (address) => watch("remove", at(address), store.remove(address)),
    list: (bucket, options) =>
      Stream.unwrap(Effect.map(Clock.monotonicTimeNanos, (since) => Stream.onExit(store.list(bucket, options), ended("list", since)))).pipe(
        Stream.withSpan("ObjectStore.list", { attributes: { bucket, ...options } })
      ),
    // For probes, which are not traced.
    check: Effect.flatMap(Clock.monotonicTimeNanos, (since) => Effect.onExit(store.check, ended("check", since))).pipe(
      Effect.withTracerEnabled(false)
    )
  })
  return Effect.as(
    Effect.all([
      startAtZero(
        operations,
        names.flatMap((operation) =>
          (operation === "read" ? (["unavailable"] as const) : outcomes).map((outcome) => ({ operation, outcome }))
        )
      ),
      startAtZero(
        durations,
        names.filter((name) => name !== "read").map((operation) => ({ operation }))
      ),
      startAtZero(
        bytes,
        ["written", "read"].map((direction) => ({ direction }))
      )
    ]),
    service
  )
}
