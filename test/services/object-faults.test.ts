import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { inject } from "vitest"
import { ask, clean, documentsOn, newPartOn, uploadTo, verify } from "../life/workshop-files.ts"
import { image, largePdf } from "../support/files.ts"
import { objectFaults } from "../support/object-faults-suite.ts"
import { eventually, startServer, temporaryDirectory } from "../support/server-process.ts"
import { ceph } from "./ceph.ts"

const running = Effect.promise(() => ceph(inject("cephHome")))

/** Ceph with buckets of this test's own: what others store would have no row here. */
const store = Effect.map(running, ({ env }) => {
  const run = randomUUID().slice(0, 8)
  return { ...env, S3_BUCKET_DOCS: `docs-${run}`, S3_BUCKET_IMAGES: `images-${run}` }
})

objectFaults("Ceph", store, 4)

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
    "is away refuses uploads and shows in readiness, and works again without a restart",
    () =>
      Effect.gen(function* () {
        const { DATA_DIR, env, id4, server, store } = yield* fresh
        const kept = yield* uploadTo(server.port, id4, yield* image({ seed: 7 }), "kept.png")
        assert.strictEqual(kept?.status, 201)
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
        const repaired = yield* verify(DATA_DIR, env, "--repair", "--grace", "0s", "--hash")
        assert.match(repaired.out, /2 objects, 0 missing, 0 wrong, 0 without a row; pending: 0 uploads, 0 deletions\n$/u)
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
        store.signal("rgw", "SIGSTOP")
        const removed = yield* ask(server.port, "DELETE", `/api/documents/${added?.body.id}`)
        assert.strictEqual(removed?.status, 204)
        server.kill("SIGKILL")
        yield* server.ended
        store.signal("rgw", "SIGCONT")
        yield* startServer({ env: { DATA_DIR, ...env } })
        const before = yield* verify(DATA_DIR, env)
        assert.match(before.out, /^0 objects, .* pending: 0 uploads, 1 deletions\n$/u)
        assert.deepStrictEqual(yield* verify(DATA_DIR, env, "--repair", "--grace", "0s"), {
          ...clean(0),
          out: `repaired: 0 uploads given up, 1 objects deleted, 0 not yet\n${clean(0).out}`
        })
      }).pipe(Effect.scoped, Effect.ensuring(Effect.flatMap(running, (ceph) => Effect.promise(ceph.startGateway)))),
    90_000
  )
})
