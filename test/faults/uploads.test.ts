import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { image, largePdf } from "../support/files.ts"
import { nextAnswer, rawConnection } from "../support/raw-http.ts"
import { eventually, startServer, temporaryDirectory } from "../support/server-process.ts"
import { filesSeenBy, onSmallDisk, oursBeside } from "../support/small-disk.ts"
import { ask, clean, command, documentsOn, newPartOn, ours, quiet, type Sent, uncounted, uploadTo } from "../support/workshop-files.ts"

/** A server with files in a data directory of its own, in which a folder is a small disk. */
const fresh = (small?: { readonly folder: string; readonly megabytes: number }, env: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const DATA_DIR = join(yield* temporaryDirectory, "data")
    const disk = small === undefined ? {} : { command: onSmallDisk(join(DATA_DIR, small.folder), small.megabytes) }
    const server = yield* startServer({ env: { DATA_DIR, S3_ENDPOINT: "", ...env }, ...disk })
    return {
      server,
      id4: yield* newPartOn(server.port),
      filesIn: (folder: string) => filesSeenBy(server.pid, join(DATA_DIR, folder)),
      verify: (...options: ReadonlyArray<string>) => {
        const args = ["objects", "verify", "--hash", ...options]
        return command(DATA_DIR, { S3_ENDPOINT: "" }, small === undefined ? ours(...args) : oursBeside(server.pid, ...args))
      }
    }
  })

const assertFull = (answer: Sent | undefined, detail: RegExp) => {
  assert.deepStrictEqual([answer?.status, answer?.body.code], [503, "storage-unavailable"])
  assert.match(answer?.body.detail, detail)
}

describe("a disk that is full", () => {
  it.live("of files that arrive refuses those it has no room for, keeps nothing of them, and takes the next", () =>
    Effect.gen(function* () {
      const { filesIn, id4, server, verify } = yield* fresh({ folder: "spool", megabytes: 4 })
      assertFull(yield* uploadTo(server.port, id4, largePdf("too large", 6_000_000), "a.pdf"), /disk of the server is full/u)
      assert.deepStrictEqual(filesIn("spool"), [])
      const answers = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => largePdf(`${n}`, 1_500_000)),
        (bytes) => uploadTo(server.port, id4, bytes, "b.pdf"),
        { concurrency: "unbounded" }
      )
      const kept = answers.filter((answer) => answer?.status === 201).length
      for (const answer of answers.filter((answer) => answer?.status !== 201)) assertFull(answer, /disk of the server is full/u)
      assert.isBelow(kept, 32)
      yield* quiet(server.port)
      const photo = yield* uploadTo(server.port, id4, yield* image({ seed: 1 }), "small.png")
      assert.strictEqual(photo?.status, 201)
      assert.strictEqual((yield* ask(server.port, "GET", `/api/documents/${photo?.body.id}/thumbnail?size=20`))?.status, 200)
      assert.strictEqual((yield* documentsOn(server.port, id4)).length, kept + 1)
      yield* quiet(server.port)
      assert.deepStrictEqual(filesIn("spool"), [])
      assert.strictEqual((yield* ask(server.port, "GET", "/readyz"))?.status, 200)
      assert.deepStrictEqual(uncounted(yield* verify()), clean(0))
    }).pipe(Effect.scoped)
  )

  it.live("of objects refuses what it has no room for, keeps nothing of it, and takes it when there is room", () =>
    Effect.gen(function* () {
      const { filesIn, id4, server, verify } = yield* fresh({ folder: "objects", megabytes: 6 })
      const [first, second] = [largePdf("first", 4_000_000), largePdf("second", 4_000_000)]
      const kept = yield* uploadTo(server.port, id4, first, "first.pdf")
      assert.strictEqual(kept?.status, 201)
      yield* quiet(server.port)
      assertFull(yield* uploadTo(server.port, id4, second, "second.pdf"), /disk with the objects is full/u)
      assert.strictEqual((yield* documentsOn(server.port, id4)).length, 1)
      assert.deepStrictEqual(filesIn("objects/incoming"), [])
      assert.strictEqual((yield* uploadTo(server.port, id4, yield* image({ seed: 2 }), "small.png"))?.status, 201)
      yield* quiet(server.port)
      const repaired = yield* verify("--repair", "--grace", "0s")
      assert.deepStrictEqual(uncounted(repaired), {
        ...clean(0),
        out: `repaired: 1 uploads given up, 1 objects deleted, 0 not yet\n${clean(0).out}`
      })
      assert.strictEqual((yield* ask(server.port, "DELETE", `/api/documents/${kept?.body.id}`))?.status, 204)
      yield* eventually("there is room", verify(), (verified) => uncounted(verified).out === clean(0).out)
      assert.strictEqual((yield* uploadTo(server.port, id4, second, "second.pdf"))?.status, 201)
      yield* quiet(server.port)
      assert.deepStrictEqual(uncounted(yield* verify()), clean(0))
    }).pipe(Effect.scoped)
  )
})

const opening = (id4: string, length: string) =>
  [
    `POST /api/parts/${id4}/documents HTTP/1.1`,
    "host: test",
    "content-type: multipart/form-data; boundary=b",
    length,
    "",
    "--b",
    'Content-Disposition: form-data; name="file"; filename="a.pdf"',
    "Content-Type: application/pdf",
    "",
    "%PDF-1.7\n"
  ].join("\r\n")

describe("an upload over a real socket", () => {
  it.live("that grows over the limit is refused while its client still sends, and nothing of it is kept", () =>
    Effect.gen(function* () {
      const { filesIn, id4, server, verify } = yield* fresh(undefined, { MAX_UPLOAD_BYTES: "1MiB" })
      for (const [length, frame] of [
        ["content-length: 100000000000", (bytes: string) => bytes],
        ["transfer-encoding: chunked", (bytes: string) => `${bytes.length.toString(16)}\r\n${bytes}\r\n`]
      ] as const) {
        const socket = yield* rawConnection(server.port)
        const [head, start = ""] = opening(id4, length).split(/(?<=\r\n\r\n)(.*)/su)
        socket.write(head + frame(start))
        const chunk = frame(" ".repeat(65_536))
        let sent = 0
        const sendOn = () => {
          while (!socket.destroyed && sent < 2 ** 30 && socket.write(chunk)) sent += chunk.length
        }
        socket.on("drain", sendOn)
        sendOn()
        const answer = yield* nextAnswer(socket)
        assert.deepStrictEqual(
          [answer?.status, answer?.body.code, answer?.body.detail],
          [413, "payload-too-large", "The file is larger than 1 MiB."]
        )
        assert.isBelow(sent, 2 ** 30)
        yield* eventually(
          "the connection is closed",
          Effect.sync(() => socket.destroyed),
          Boolean
        )
      }
      assert.deepStrictEqual(filesIn("spool"), [])
      assert.deepStrictEqual(yield* verify(), clean(0))
    }).pipe(Effect.scoped)
  )

  it.live("whose client goes away in the middle leaves nothing behind", () =>
    Effect.gen(function* () {
      const { filesIn, id4, server, verify } = yield* fresh()
      const sockets = yield* Effect.forEach(Array.from({ length: 32 }), () => rawConnection(server.port))
      for (const socket of sockets) socket.write(opening(id4, "content-length: 100000000") + " ".repeat(1_000_000))
      yield* eventually(
        "all arrive",
        Effect.sync(() => filesIn("spool").length),
        (count) => count === 32
      )
      for (const socket of sockets) socket.destroy()
      yield* eventually(
        "nothing is left",
        Effect.sync(() => filesIn("spool")),
        (files) => files.length === 0
      )
      assert.deepStrictEqual(yield* documentsOn(server.port, id4), [])
      assert.deepStrictEqual(yield* verify(), clean(0))
    }).pipe(Effect.scoped)
  )
})
