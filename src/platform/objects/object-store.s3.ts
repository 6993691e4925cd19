import { type FileHandle, open } from "node:fs/promises"
import { Agent as HttpAgent } from "node:http"
import { Agent as HttpsAgent } from "node:https"
import { Readable } from "node:stream"
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client
} from "@aws-sdk/client-s3"
import { NodeStream } from "@effect/platform-node"
import { NodeHttpHandler } from "@smithy/node-http-handler"
import { Data, Duration, Effect, Layer, Option, Redacted, Schedule, Stream } from "effect"
import { StorageUnavailable } from "../http/problems.ts"
import { type Bucket, type ByteRange, buckets, type ObjectAddress, ObjectMissing } from "./object.ts"
import { type NewObject, ObjectStore, observed } from "./object-store.ts"

export interface S3Options {
  readonly endpoint: string
  readonly region: string
  readonly forcePathStyle: boolean
  readonly accessKeyId: string
  readonly secretAccessKey: Redacted.Redacted
  readonly bucketNames: Readonly<Record<Bucket, string>>
  readonly patience?: Partial<Patience>
}

/** How long the server may keep us waiting. */
export interface Patience {
  readonly connect: Duration.Duration
  /** For the answer to a request without a body. */
  readonly answer: Duration.Duration
  /** For the next bytes of a body, either way; for the answer to one, while the kernel may still be sending megabytes of it. */
  readonly idle: Duration.Duration
  readonly check: Duration.Duration
}

const patient: Patience = {
  connect: Duration.seconds(2),
  answer: Duration.seconds(10),
  idle: Duration.seconds(30),
  check: Duration.seconds(3)
}

// A server that takes less than this of a body is as good as away, although some bytes keep moving.
const slowest = 256 * 1024

// A download holds its connection for as long as its reader takes.
const connections = { keepAlive: true, noDelay: true, maxSockets: 256 }

const chunkSize = 128 * 1024

const quiet = () => {}

/** Objects on an S3 server. */
export const layerS3 = (options: S3Options) => Layer.effect(ObjectStore, Effect.flatMap(make(options), observed))

const make = Effect.fnUntraced(function* ({ bucketNames, patience: given, ...options }: S3Options) {
  const patience = { ...patient, ...given }
  const idleMs = Duration.toMillis(patience.idle)
  const client = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new S3Client({
          endpoint: options.endpoint,
          region: options.region,
          forcePathStyle: options.forcePathStyle,
          credentials: { accessKeyId: options.accessKeyId, secretAccessKey: Redacted.value(options.secretAccessKey) },
          // Otherwise a streamed body is framed for a checksum at its end, which Ceph refuses with 411.
          requestChecksumCalculation: "WHEN_REQUIRED",
          responseChecksumValidation: "WHEN_REQUIRED",
          // It would try again without a bound on the time that takes, and cannot know which calls may be repeated.
          maxAttempts: 1,
          // It warns on the console of what fails here as well.
          logger: { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet },
          // The client would wait six seconds and more for a 100 Continue before it sends a body.
          expectContinueHeader: false,
          requestHandler: new NodeHttpHandler({
            connectionTimeout: Duration.toMillis(patience.connect),
            requestTimeout: Duration.toMillis(patience.answer),
            // Without it the timeout above is a line in the log and nothing else.
            throwOnRequestTimeout: true,
            // It would also run while the reader of a download takes its time. Bodies have their own watch below.
            socketTimeout: 0,
            httpAgent: new HttpAgent(connections),
            httpsAgent: new HttpsAgent(connections)
          })
        })
    ),
    (client) => Effect.sync(() => client.destroy())
  )

  /** One call. It is aborted when it is interrupted, and when it fails, because its connection may still be sending. */
  const call = <A>(send: (signal: AbortSignal, abort: (reason: Error) => void) => Promise<A>) =>
    Effect.tryPromise({
      try: async (interrupted) => {
        const controller = new AbortController()
        let reason: Error | undefined
        interrupted.addEventListener("abort", () => controller.abort())
        try {
          return await send(controller.signal, (error) => {
            reason ??= error
            controller.abort()
          })
        } catch (error) {
          controller.abort()
          throw reason ?? error
        }
      },
      catch: faultOf
    })

  /** One that is answered at once. The client's own timeout ends with the headers, and the rest may still hang. */
  const ask = <A>(send: (signal: AbortSignal) => Promise<A>, within = patience.answer) =>
    Effect.timeoutOrElse(call(send), { duration: within, orElse: () => Effect.fail(silence) })

  const putOnce = ({ bucket, key, mediaType, sha256, size }: NewObject, file: FileHandle) =>
    call(async (signal, abort) => {
      const watch = setTimeout(() => abort(silence), idleMs)
      const body = Readable.from(
        chunksOf(file, size, () => watch.refresh()),
        { objectMode: false, highWaterMark: chunkSize }
      )
      // The client does not look for errors of what it sends: it would wait for the rest.
      body.on("error", abort)
      try {
        const command = new PutObjectCommand({
          Bucket: bucketNames[bucket],
          Key: key,
          Body: size === 0 ? Buffer.alloc(0) : body,
          ContentLength: size,
          ContentType: mediaType
        })
        // Signed with the request (AWS Signature Version 4), so every server that checks signatures compares it with what arrives.
        // The checksums beside it are younger than Ceph 16, which does not look at them.
        command.middlewareStack.add(
          (next) => (args) => {
            Object.assign((args.request as { readonly headers: object }).headers, { "x-amz-content-sha256": sha256 })
            return next(args)
          },
          { step: "build" }
        )
        await client.send(command, { abortSignal: signal, requestTimeout: longestPut(size) })
      } finally {
        clearTimeout(watch)
        body.destroy()
      }
    })

  const longestPut = (size: number) => 10_000 + 2 * idleMs + (size / slowest) * 1000

  const create = Effect.fnUntraced(function* (bucket: Bucket) {
    const name = bucketNames[bucket]
    yield* ask((abortSignal) => client.send(new CreateBucketCommand({ Bucket: name }), { abortSignal })).pipe(
      // Another process was faster.
      Effect.catchIf(
        ({ reason }) => reason === "BucketAlreadyOwnedByYou",
        () => Effect.void
      ),
      Effect.mapError((fault) =>
        (fault.status ?? 500) < 500
          ? new StorageUnavailable({ detail: `The object store has no bucket ${name} and does not let this server make it.` })
          : fault
      )
    )
    yield* Effect.logInfo(`made the bucket ${name}`)
  })

  const headBucket = (bucket: Bucket) =>
    ask((abortSignal) => client.send(new HeadBucketCommand({ Bucket: bucketNames[bucket] }), { abortSignal }), patience.check).pipe(
      Effect.mapError((fault) => (fault.status === 404 ? new StoreFault({ reason: "NoSuchBucket", status: 404 }) : fault))
    )

  const madeWhenMissing = <A, E, R>(bucket: Bucket, effect: Effect.Effect<A, E | StoreFault, R>) =>
    Effect.catchIf(effect, isFault("NoSuchBucket"), () => Effect.andThen(create(bucket), effect))

  const put = (object: NewObject) =>
    Effect.acquireUseRelease(
      // A spool file that is not there is a bug of the caller, a full table of open files is not.
      Effect.tryPromise({ try: () => open(object.path, "r"), catch: faultOf }).pipe(Effect.catchIf(isFault("ENOENT"), Effect.die)),
      (file) => madeWhenMissing(object.bucket, repeating(putOnce(object, file))),
      (file) => Effect.promise(() => file.close().catch(() => {}))
    ).pipe(Effect.timeoutOrElse({ duration: Duration.millis(longestPut(object.size)), orElse: () => Effect.fail(silence) }))

  const get = Effect.fnUntraced(function* ({ bucket, key, range }: ObjectAddress & { readonly range?: ByteRange }) {
    // The answer comes before its body: the call is over, but its connection is in use until the scope closes.
    const reading = yield* Effect.acquireRelease(
      Effect.sync(() => new AbortController()),
      (controller) => Effect.sync(() => controller.abort())
    )
    const answer = yield* repeating(
      ask((signal) =>
        client.send(
          new GetObjectCommand({
            Bucket: bucketNames[bucket],
            Key: key,
            ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` })
          }),
          { abortSignal: AbortSignal.any([signal, reading.signal]) }
        )
      )
    ).pipe(Effect.catchIf(isFault("InvalidRange"), Effect.die))
    const size = Number(/\/(\d+)$/u.exec(answer.ContentRange ?? "")?.[1] ?? answer.ContentLength)
    const source = answer.Body
    if (!Number.isSafeInteger(size) || !(source instanceof Readable)) return yield* Effect.fail(faultOf(undefined))
    // A body that nobody reads any more may break off.
    source.on("error", () => {})
    const body = NodeStream.fromReadable({ evaluate: () => source, onError: faultOf }).pipe(
      Stream.timeoutOrElse({ duration: patience.idle, orElse: () => Stream.fail(silence) }),
      Stream.catch((fault) => Stream.fromEffect(unavailable(Effect.fail(fault))))
    )
    return { size, body }
  })

  const head = ({ bucket, key }: ObjectAddress) =>
    repeating(ask((abortSignal) => client.send(new HeadObjectCommand({ Bucket: bucketNames[bucket], Key: key }), { abortSignal }))).pipe(
      // A HEAD has no body that would tell a missing bucket from a missing object.
      Effect.tapError(({ status }) => (status === 404 ? headBucket(bucket) : Effect.void)),
      Effect.map(({ ContentLength = 0 }) => ({ size: ContentLength }))
    )

  const remove = ({ bucket, key }: ObjectAddress) =>
    Effect.asVoid(
      repeating(ask((abortSignal) => client.send(new DeleteObjectCommand({ Bucket: bucketNames[bucket], Key: key }), { abortSignal })))
    ).pipe(Effect.catchIf(isFault("NoSuchKey"), () => Effect.void))

  const list = (bucket: Bucket, { after, prefix }: { readonly prefix?: string; readonly after?: string } = {}) =>
    Stream.paginate(after, (StartAfter) =>
      repeating(
        ask((abortSignal) =>
          client.send(new ListObjectsV2Command({ Bucket: bucketNames[bucket], Prefix: prefix, StartAfter }), { abortSignal })
        )
      ).pipe(
        unavailable,
        Effect.map(({ Contents = [], IsTruncated }) => {
          const found = Contents.map(({ Key = "", LastModified = new Date(0), Size = 0 }) => ({
            key: Key,
            size: Size,
            modifiedAt: LastModified
          }))
          return [found, IsTruncated === true ? Option.fromNullishOr(found.at(-1)?.key) : Option.none()] as const
        })
      )
    )

  const orMissing = <A, E, R>({ bucket, key }: ObjectAddress, effect: Effect.Effect<A, E | StoreFault, R>) =>
    unavailable(Effect.catchIf(effect, isFault("NoSuchKey", "NotFound"), () => Effect.fail(new ObjectMissing({ bucket, key }))))

  return {
    put: (object: NewObject) => unavailable(put(object)),
    get: (address: ObjectAddress & { readonly range?: ByteRange }) => orMissing(address, get(address)),
    head: (address: ObjectAddress) => orMissing(address, head(address)),
    remove: (address: ObjectAddress) => unavailable(remove(address)),
    list,
    check: unavailable(
      Effect.forEach(buckets, (bucket) => madeWhenMissing(bucket, headBucket(bucket)), { concurrency: "unbounded", discard: true })
    )
  }
})

/**
 * The file in chunks. Their memory is used again, or a fast upload would fill the memory with them before anything collects
 * them: one is on its way to the socket, one waits in the stream, one is being filled. Were there ever more, the digest would
 * not be right.
 */
async function* chunksOf(file: FileHandle, size: number, moved: () => void) {
  const ring = Buffer.allocUnsafeSlow(Math.min(4 * chunkSize, size))
  let position = 0
  while (position < size) {
    const buffer = ring.subarray(position % ring.length).subarray(0, chunkSize)
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - position), position)
    if (bytesRead === 0) throw new StoreFault({ reason: "Changed" })
    position += bytesRead
    moved()
    yield buffer.subarray(0, bytesRead)
  }
}

/** What went wrong with a call: the name that the server or Node gives it. Never an address or a key. */
class StoreFault extends Data.TaggedError("StoreFault")<{ readonly reason: string; readonly status?: number | undefined }> {}

const silence = new StoreFault({ reason: "Silence" })

const faultOf = (error: unknown) => {
  if (error instanceof StoreFault) return error
  const { $metadata, code, name } = (error ?? {}) as {
    readonly $metadata?: { readonly httpStatusCode?: number }
    readonly code?: unknown
    readonly name?: string
  }
  return new StoreFault({ reason: typeof code === "string" ? code : (name ?? "Unknown"), status: $metadata?.httpStatusCode })
}

const isFault =
  (...reasons: ReadonlyArray<string>) =>
  (error: unknown): error is StoreFault =>
    error instanceof StoreFault && reasons.includes(error.reason)

const away = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]
const broken = ["ECONNRESET", "EPIPE", "ECONNABORTED"]
const late = ["Silence", "TimeoutError", "ETIMEDOUT", "AbortError"]
const damaged = ["Changed", "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"]

/** Every call may be made again: a key is written by one upload only, from a file. Silence may not, or the waits would add up. */
const repeating = <A, E, R>(effect: Effect.Effect<A, E | StoreFault, R>) =>
  Effect.retry(effect, {
    while: (error) =>
      error instanceof StoreFault && ((error.status ?? 0) >= 500 || [...away, ...broken].includes(error.reason) || error.status === 429),
    schedule: Schedule.jittered(Schedule.exponential("50 millis", 4)),
    times: 3
  })

const detailOf = ({ reason, status = 0 }: StoreFault) => {
  if (late.includes(reason)) return "The object store did not answer in time. Try again in a moment."
  if (away.includes(reason)) return "The object store cannot be reached. Try again in a moment."
  if (broken.includes(reason)) return "The connection to the object store broke. Try again in a moment."
  if (damaged.includes(reason)) return "The bytes changed on their way to the object store, so they were not kept. Send the request again."
  if (reason === "NoSuchBucket") return "The object store lost the bucket of these objects. Whoever runs it must bring it back."
  if (reason === "QuotaExceeded" || status === 507) return "The object store is full."
  if (status === 401 || status === 403)
    return "The object store refuses this server. Whoever runs it must correct S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY or the rights they give."
  if (status >= 500 || status === 429) return "The object store is out of order or overloaded. Try again in a moment."
  return `The object store answered with something else than was asked (${reason}).`
}

const unavailable = <A, E, R>(effect: Effect.Effect<A, E | StoreFault, R>) =>
  Effect.catchIf(
    effect,
    (error): error is StoreFault => error instanceof StoreFault,
    (fault) =>
      Effect.logWarning("the object store failed").pipe(
        Effect.annotateLogs({ reason: fault.reason, status: fault.status }),
        Effect.andThen(Effect.fail(new StorageUnavailable({ detail: detailOf(fault) })))
      )
  )
