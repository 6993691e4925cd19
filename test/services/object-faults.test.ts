import { createHash, randomUUID } from "node:crypto"
import { join } from "node:path"
import { DeleteBucketPolicyCommand, PutBucketPolicyCommand, S3Client } from "@aws-sdk/client-s3"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { inject } from "vitest"
import { image, largePdf } from "../support/files.ts"
import { objectFaults } from "../support/object-faults-suite.ts"
import { eventually, startServer, temporaryDirectory } from "../support/server-process.ts"
import { slowWire } from "../support/slow-wire.ts"
import {
  ask,
  clean,
  command,
  documentsOn,
  download,
  newPartOn,
  ours,
  quiet,
  uncounted,
  uploadTo,
  verify
} from "../support/workshop-files.ts"
import { ceph } from "./ceph.ts"

const running = Effect.promise(() => ceph(inject("cephHome")))

/** Ceph with buckets of this test's own: what others store would have no row here. */
const store = Effect.map(running, ({ env }) => {
  const run = randomUUID().slice(0, 8)
  return { ...env, S3_BUCKET_DOCS: `docs-${run}`, S3_BUCKET_IMAGES: `images-${run}` }
})

/** Forbids everybody to do this with images; gives what allows it again. */
const forbidding = (Action: "s3:DeleteObject" | "s3:PutObject", env: Record<string, string>) =>
  Effect.promise(async () => {
    const { accessKeyId, endpoint, secretAccessKey } = await ceph(inject("cephHome"))
    const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
    const Bucket = env.S3_BUCKET_IMAGES ?? ""
    const Statement = [{ Effect: "Deny", Principal: "*", Action, Resource: `arn:aws:s3:::${Bucket}/*` }]
    await client.send(new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Version: "2012-10-17", Statement }) }))
    return Effect.promise(async () => {
      await client.send(new DeleteBucketPolicyCommand({ Bucket }))
      client.destroy()
    })
  })

objectFaults("Ceph", store, 4, (_, env) => forbidding("s3:DeleteObject", env))

/** A server on Ceph with a part. */
const fresh = Effect.gen(function* () {
  const env = yield* store
  const DATA_DIR = join(yield* temporaryDirectory, "data")
  const server = yield* startServer({ env: { DATA_DIR, ...env } })
  return { env, DATA_DIR, server, id4: yield* newPartOn(server.port), store: yield* running }
})

const unavailable = (answer: { readonly status: number; readonly body: { readonly code: string } } | undefined) =>
  assert.deepStrictEqual([answer?.status, answer?.body.code], [503, "storage-unavailable"])

describe("a store that", () => {
  it.live(
    "refuses an object is told to whoever runs us, and takes it when it is allowed to",
    () =>
      Effect.gen(function* () {
        const { DATA_DIR, env, id4, server } = yield* fresh
        const bytes = yield* image({ seed: 6 })
        const first = yield* uploadTo(server.port, id4, yield* image({ seed: 5 }), "first.png")
        assert.strictEqual(first?.status, 201)
        yield* quiet(server.port)
        const allow = yield* forbidding("s3:PutObject", env)
        const refused = yield* uploadTo(server.port, id4, bytes, "a.png")
        unavailable(refused)
        assert.match(refused?.body.detail, /refuses this server/u)
        // A picture of it cannot be kept either.
        unavailable(yield* ask(server.port, "GET", `/api/documents/${first?.body.id}/thumbnail?size=10`))
        assert.strictEqual((yield* documentsOn(server.port, id4)).length, 1)
        yield* allow
        assert.strictEqual((yield* uploadTo(server.port, id4, bytes, "a.png"))?.status, 201)
        assert.strictEqual((yield* ask(server.port, "GET", `/api/documents/${first?.body.id}/thumbnail?size=10`))?.status, 200)
        yield* quiet(server.port)
        const repaired = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s", "--hash")
        assert.deepStrictEqual(uncounted(repaired), {
          ...clean(0),
          out: `repaired: 2 uploads given up, 2 objects deleted, 0 not yet\n${clean(0).out}`
        })
      }).pipe(Effect.scoped),
    90_000
  )

  it.live(
    "is slow holds up nobody but those who wait for it: no database connection is in use while bytes move",
    () =>
      Effect.gen(function* () {
        const env = yield* store
        const { endpoint } = yield* running
        const wire = yield* slowWire(Number(new URL(endpoint).port))
        const DATA_DIR = join(yield* temporaryDirectory, "data")
        const slow = { DATA_DIR, ...env, S3_ENDPOINT: `http://127.0.0.1:${wire.port}`, DATABASE_POOL_MAX: "2" }
        yield* command(DATA_DIR, env, ours("migrate"))
        // It runs no jobs: they would wait for the store too.
        const { port } = yield* startServer({ env: slow, command: ours("api") })
        const id4 = yield* newPartOn(port)
        const files = Array.from({ length: 8 }, (_, n) => largePdf(`slow ${n}`, 2_000_000))
        /** While nothing moves, others are served as ever. */
        const meanwhile = <A>(what: string, all: ReadonlyArray<Effect.Effect<A>>) =>
          Effect.gen(function* () {
            wire.hold()
            const fibers = yield* Effect.forEach(all, (each) => Effect.forkChild(each))
            yield* eventually(`all ${what} are under way`, Effect.sync(wire.held), (held) => held === all.length)
            const others = yield* Effect.forEach(
              Array.from({ length: 64 }, (_, n) => n),
              (n) =>
                n % 4 === 0
                  ? ask(port, "POST", "/api/parts", JSON.stringify({ description: "Meanwhile" }), { "content-type": "application/json" })
                  : ask(port, "GET", `/api/parts/${id4}`),
              { concurrency: "unbounded" }
            )
            assert.deepStrictEqual([...new Set(others.map((answer) => answer?.status))].sort(), [200, 201])
            assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() === undefined))
            wire.trickle()
            return yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
          })
        const added = yield* meanwhile(
          "uploads",
          files.map((bytes) => uploadTo(port, id4, bytes, "slow.pdf"))
        )
        assert.deepStrictEqual([...new Set(added.map((answer) => answer?.status))], [201])
        const hashes = yield* meanwhile(
          "downloads",
          added.map((answer) => download(port, `/api/documents/${answer?.body.id}/content`))
        )
        assert.deepStrictEqual(
          hashes,
          files.map((bytes) => createHash("sha256").update(bytes).digest("hex"))
        )
        assert.deepStrictEqual(yield* verify(DATA_DIR, env, "--hash"), clean(8))
      }).pipe(Effect.scoped),
    90_000
  )

  it.live(
    "is away refuses uploads and shows in readiness, and works again without a restart",
    () =>
      Effect.gen(function* () {
        const { DATA_DIR, env, id4, server, store } = yield* fresh
        const kept = yield* uploadTo(server.port, id4, yield* image({ seed: 7 }), "kept.png")
        assert.strictEqual(kept?.status, 201)
        yield* quiet(server.port)
        yield* Effect.promise(store.killGateway)
        unavailable(yield* uploadTo(server.port, id4, yield* image({ seed: 8 }), "a.png"))
        unavailable(yield* ask(server.port, "GET", `/api/documents/${kept?.body.id}/content`))
        const ready = yield* ask(server.port, "GET", "/readyz")
        assert.deepStrictEqual([ready?.status, ready?.body.checks.database], [503, "ok"])
        assert.notStrictEqual(ready?.body.checks.objects, "ok")
        assert.strictEqual((yield* documentsOn(server.port, id4)).length, 1)
        yield* Effect.promise(store.startGateway)
        yield* eventually("ready again", ask(server.port, "GET", "/readyz"), (answer) => answer?.status === 200)
        assert.strictEqual((yield* uploadTo(server.port, id4, yield* image({ seed: 8 }), "a.png"))?.status, 201)
        yield* quiet(server.port)
        const repaired = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s", "--hash")
        assert.match(repaired.out, /\d objects, 0 missing, 0 wrong, 0 without a row; pending: 0 uploads, 0 deletions\n$/u)
      }).pipe(Effect.scoped, Effect.ensuring(Effect.flatMap(running, (ceph) => Effect.promise(ceph.startGateway)))),
    90_000
  )

  it.live(
    "hangs refuses uploads in time, and one that is killed in the middle of a PUT leaves no row",
    () =>
      Effect.gen(function* () {
        const { DATA_DIR, env, id4, server, store } = yield* fresh
        store.signal("rgw", "SIGSTOP")
        unavailable(
          yield* uploadTo(server.port, id4, yield* image({ seed: 9 }), "a.png").pipe(
            Effect.ensuring(Effect.sync(() => store.signal("rgw", "SIGCONT")))
          )
        )
        assert.deepStrictEqual(yield* documentsOn(server.port, id4), [])

        store.signal("osd", "SIGSTOP")
        const uploading = yield* Effect.forkChild(uploadTo(server.port, id4, largePdf("large", 20_000_000), "large.pdf"))
        // Announced: the bytes are on their way.
        yield* eventually(
          "the upload is announced",
          Effect.map(ask(server.port, "GET", "/metrics"), (answer) =>
            /^partwright_object_store_operations_total\{operation="put",outcome="ok"\} (\d+)/mu.test(String(answer?.body))
          ),
          Boolean
        )
        yield* Effect.promise(store.killGateway)
        store.signal("osd", "SIGCONT")
        unavailable(yield* Fiber.join(uploading))
        assert.deepStrictEqual(yield* documentsOn(server.port, id4), [])
        yield* Effect.promise(store.startGateway)
        const repaired = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s", "--hash")
        assert.strictEqual(repaired.code, 0, repaired.out + repaired.err)
        assert.match(repaired.out, /\n0 objects, 0 missing, 0 wrong, 0 without a row; pending: 0 uploads, 0 deletions\n$/u)
      }).pipe(Effect.scoped, Effect.ensuring(Effect.flatMap(running, (ceph) => Effect.promise(ceph.startGateway)))),
    120_000
  )

  it.live(
    "hangs when a document is deleted keeps nobody waiting; what it did not delete goes later, also after kill -9",
    () =>
      Effect.gen(function* () {
        const { DATA_DIR, env, id4, server, store } = yield* fresh
        const added = yield* uploadTo(server.port, id4, yield* image({ seed: 10 }), "a.png")
        yield* quiet(server.port)
        store.signal("rgw", "SIGSTOP")
        const removed = yield* ask(server.port, "DELETE", `/api/documents/${added?.body.id}`)
        assert.strictEqual(removed?.status, 204)
        server.kill("SIGKILL")
        yield* server.ended
        store.signal("rgw", "SIGCONT")
        const before = yield* verify(DATA_DIR, env)
        const [, deletions] = /^0 objects, .* pending: 0 uploads, (\d+) deletions\n$/u.exec(before.out) ?? []
        assert.isAbove(Number(deletions), 0, before.out)
        // The sweeper of the server may come before.
        yield* startServer({ env: { DATA_DIR, ...env } })
        const { code, out } = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s")
        assert.strictEqual(code, 0)
        assert.match(out, /^repaired: 0 uploads given up, \d objects deleted, 0 not yet\n/u)
        assert.strictEqual(out.slice(out.indexOf("\n") + 1), clean(0).out)
      }).pipe(Effect.scoped, Effect.ensuring(Effect.flatMap(running, (ceph) => Effect.promise(ceph.startGateway)))),
    90_000
  )
})
