import { createHash } from "node:crypto"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { SqlClient } from "effect/sql"
import sharp from "sharp"
import { AppConfig } from "#platform/config.ts"
import { Sweeper } from "#platform/objects/sweeper.service.ts"
import { ObjectsMaintenance } from "../../src/platform/objects/objects.layer.ts"
import { blackPng, image, largePdf, pdf, upload } from "./files.ts"
import { get, inParallel, newPart, post, tally } from "./inventory.ts"
import { bombOf, encrypted, pagesOf } from "./pdf.ts"
import { type Answer, Http, type world } from "./world.ts"

const send = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
  Effect.flatMap(Http, (http) => http.send(method, path, body, headers === undefined ? {} : { headers }))

const bytesOf = (path: string, headers: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const { fetch } = yield* Http
    const response = yield* fetch(new Request(`http://test${path}`, { headers }))
    return { response, bytes: new Uint8Array(yield* Effect.promise(() => response.arrayBuffer())) }
  })

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** What the store and the rows disagree about, after the sweeper has done all it has to. */
export const faults = Effect.gen(function* () {
  const sweeper = yield* Sweeper
  const sql = yield* SqlClient.SqlClient
  // What the fast path has not done yet is due by itself.
  yield* sql`update object_deletions set next_attempt_at = now()`
  yield* sweeper.sweep({ grace: Duration.zero })
  const { missing, unowned, wrong, pendingDeletions, pendingUploads } = yield* sweeper.verify({ hash: true })
  return [...missing, ...wrong, ...unowned, ...(pendingDeletions + pendingUploads > 0 ? [{ pendingDeletions, pendingUploads }] : [])]
}).pipe(Effect.provide(ObjectsMaintenance))

/** What arrived and was not cleared away. */
export const spooled = Effect.flatMap(AppConfig, ({ dataDir }) =>
  Effect.promise(() => readdir(join(dataDir, "spool", String(process.pid))))
)

const objectCount = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ readonly count: number }>`select count(*)::int as count from objects`
  return row?.count ?? 0
})

const uploaded = Effect.fnUntraced(function* (id4: string, bytes: Uint8Array, filename = "file.bin", fields: Record<string, string> = {}) {
  const answer = yield* upload(id4, bytes, { filename, fields })
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body
})

/** What documents promise, on whatever store the world has. */
export const documentsSuite = (where: string, worldOf: typeof world) => {
  layer(worldOf({}), { excludeTestServices: true, timeout: "60 seconds" })(where, (it) => {
    it.effect("are what their bytes say, whatever the client calls them", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const png = yield* image({ seed: 1, width: 60, height: 40 })
        const answer = yield* upload(id4, png, { filename: "C:\\scans\\Foto \u00b5 1.pdf", type: "application/pdf" })
        assert.strictEqual(answer.status, 201, answer.text)
        const { body } = answer
        assert.strictEqual(answer.headers.get("location"), `/api/documents/${body.id}`)
        assert.strictEqual(answer.headers.get("etag"), '"1"')
        assert.deepStrictEqual(
          [
            body.partId4,
            body.kind,
            body.title,
            body.originalFilename,
            body.mediaType,
            body.size,
            body.width,
            body.height,
            body.pageCount,
            body.isCover
          ],
          [id4, "image", "Foto \u00b5 1", "Foto \u00b5 1.pdf", "image/png", png.length, 60, 40, null, true]
        )
        const sheet = yield* uploaded(id4, pdf("three pages", 3), "sheet.pdf", { title: "  Data sheet " })
        assert.deepStrictEqual(
          [sheet.kind, sheet.title, sheet.mediaType, sheet.pageCount, sheet.isCover],
          ["pdf", "Data sheet", "application/pdf", 3, false]
        )
        const list = yield* get(`/api/parts/${id4}/documents`)
        assert.deepStrictEqual(
          list.body.items.map((item: { readonly id: string }) => item.id),
          [body.id, sheet.id]
        )
        assert.deepStrictEqual((yield* get(`/api/documents/${body.id}`)).body, body)
      })
    )

    it.effect("may be larger than any JSON body", () =>
      Effect.gen(function* () {
        const bytes = largePdf("large", 20_000_000)
        const document = yield* uploaded(yield* newPart(), bytes)
        assert.strictEqual(document.size, bytes.length)
        assert.strictEqual(sha256((yield* bytesOf(document.contentUrl)).bytes), sha256(bytes))
      })
    )

    it.effect("come back as they were, whole, in ranges and not at all when they are known", () =>
      Effect.gen(function* () {
        const bytes = pdf("ranges")
        const { contentUrl } = yield* uploaded(yield* newPart(), bytes, "Wid\u00e9rstand (neu).pdf")
        const whole = yield* bytesOf(contentUrl)
        assert.deepStrictEqual(whole.bytes, bytes)
        const { headers } = whole.response
        assert.strictEqual(headers.get("content-type"), "application/pdf")
        assert.strictEqual(headers.get("content-length"), String(bytes.length))
        assert.strictEqual(headers.get("etag"), `"${sha256(bytes)}"`)
        assert.strictEqual(headers.get("cache-control"), "private, max-age=31536000, immutable")
        assert.strictEqual(headers.get("accept-ranges"), "bytes")
        assert.strictEqual(
          headers.get("content-disposition"),
          `inline; filename="Wid_rstand (neu).pdf"; filename*=UTF-8''Wid%C3%A9rstand%20%28neu%29.pdf`
        )
        const part = yield* bytesOf(contentUrl, { range: "bytes=10-19" })
        assert.deepStrictEqual([part.response.status, part.response.headers.get("content-range")], [206, `bytes 10-19/${bytes.length}`])
        assert.deepStrictEqual(part.bytes, bytes.slice(10, 20))
        assert.deepStrictEqual((yield* bytesOf(contentUrl, { range: "bytes=-5" })).bytes, bytes.slice(-5))
        assert.deepStrictEqual((yield* bytesOf(contentUrl, { range: `bytes=${bytes.length - 3}-99999999` })).bytes, bytes.slice(-3))
        for (const range of [
          "bytes=1-2,4-5",
          "lines=1-2",
          "bytes=9-3",
          "bytes=x-",
          "bytes=-",
          "bytes=",
          "1-2",
          `bytes=${"9".repeat(40)}-`
        ]) {
          assert.strictEqual((yield* bytesOf(contentUrl, { range })).response.status, 200, range)
        }
        for (const range of [`bytes=${bytes.length}-`, "bytes=999999999999-", "bytes=-0"]) {
          const beyond = yield* send("GET", contentUrl, undefined, { range })
          assert.deepStrictEqual([beyond.status, beyond.body.code], [416, "range-not-satisfiable"], range)
        }
        assert.strictEqual((yield* bytesOf(contentUrl, { range: "bytes=0-1", "if-range": '"other"' })).response.status, 200)
        const known = yield* bytesOf(contentUrl, { "if-none-match": `"x", W/"${sha256(bytes)}"` })
        assert.deepStrictEqual([known.response.status, known.bytes.length], [304, 0])
        const saved = yield* bytesOf(`${contentUrl}?disposition=attachment`)
        assert.match(saved.response.headers.get("content-disposition") ?? "", /^attachment/u)
        const head = yield* send("HEAD", contentUrl)
        assert.deepStrictEqual([head.status, head.headers.get("content-length"), head.text], [200, String(bytes.length), ""])
      })
    )

    it.effect("have names that lead nowhere and deceive nobody", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const bytes = yield* image({ seed: 3 })
        for (const [sent, kept] of [
          ["../../etc/passwd", "passwd"],
          ["..\\\\..\\\\boot.ini", "boot.ini"],
          ["a%00b%0d%0ac.png", "a%00b%0d%0ac.png"],
          ["line\u0085break\u2028.png", "linebreak\u2028.png"],
          ["photo_\u202egnp.exe", "photo_gnp.exe"],
          ["\u2067\u200f\u05e9\u05dc\u05d5\u05dd.png\u2069", "\u05e9\u05dc\u05d5\u05dd.png"],
          ["..", null],
          ["", null],
          [`${"n".repeat(300)}.png`, `${"n".repeat(250)}….png`]
        ] as const) {
          const raw = Buffer.concat([
            Buffer.from(`--b\r\nContent-Disposition: form-data; name="file"; filename="${sent}"\r\nContent-Type: image/png\r\n\r\n`),
            bytes,
            Buffer.from("\r\n--b--\r\n")
          ])
          const answer = yield* post(`/api/parts/${id4}/documents`, undefined, {
            raw,
            headers: { "content-type": "multipart/form-data; boundary=b" }
          })
          assert.deepStrictEqual([answer.status, answer.body.originalFilename], [201, kept], JSON.stringify(sent))
          const { response } = yield* bytesOf(answer.body.contentUrl)
          assert.match(
            response.headers.get("content-disposition") ?? "",
            /^inline; filename="[ -~]*"; filename\*=UTF-8''[A-Za-z0-9%._~-]+$/u
          )
        }
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("of photos are seen upright, and may have 90 megapixels", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const turned = yield* Effect.promise(() =>
          sharp({ create: { width: 80, height: 40, channels: 3, background: "red" } })
            .withMetadata({ orientation: 6 })
            .jpeg()
            .toBuffer()
        )
        const photo = yield* uploaded(id4, turned, "turned.jpg")
        assert.deepStrictEqual([photo.width, photo.height], [40, 80])
        const { bytes } = yield* bytesOf(`/api/documents/${photo.id}/thumbnail?size=20`)
        const { height, orientation, width } = yield* Effect.promise(() => sharp(bytes).metadata())
        assert.deepStrictEqual([width, height, orientation], [10, 20, undefined])
        const large = yield* uploaded(id4, blackPng(10_000, 9000), "large.png")
        assert.deepStrictEqual([large.width, large.height], [10_000, 9000])
      })
    )

    it.effect("of SVG are never active content", () =>
      Effect.gen(function* () {
        const svg = new TextEncoder().encode(
          '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><script>alert(1)</script><rect width="20" height="10" fill="red"/></svg>'
        )
        const document = yield* uploaded(yield* newPart(), svg, "logo.html")
        assert.deepStrictEqual([document.kind, document.mediaType], ["image", "image/svg+xml"])
        const { bytes, response } = yield* bytesOf(document.contentUrl)
        assert.deepStrictEqual(bytes, svg)
        assert.match(response.headers.get("content-disposition") ?? "", /^attachment/u)
        assert.match(response.headers.get("content-security-policy") ?? "", /^sandbox/u)
        const thumbnail = yield* bytesOf(`/api/documents/${document.id}/thumbnail?size=100`)
        assert.strictEqual(thumbnail.response.headers.get("content-type"), "image/jpeg")
      })
    )

    it.effect("have thumbnails that are made once and kept", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const photo = yield* uploaded(id4, yield* image({ width: 801, height: 400, seed: 2, format: "jpeg" }))
        const before = yield* objectCount
        const all = yield* inParallel(32, () =>
          bytesOf(`/api/documents/${photo.id}/thumbnail?size=150`, { accept: "image/avif,image/webp,*/*" })
        )
        assert.deepStrictEqual([...new Set(all.map(({ bytes }) => sha256(bytes)))].length, 1)
        const { bytes, response } = all[0]!
        assert.strictEqual(response.headers.get("content-type"), "image/webp")
        assert.strictEqual(response.headers.get("vary")?.includes("Accept"), true)
        const { height, width } = yield* Effect.promise(() => sharp(bytes).metadata())
        assert.deepStrictEqual([width, height], [150, 75])
        assert.strictEqual(yield* objectCount, before + 1)
        const sheet = yield* uploaded(id4, pdf("first page"))
        const page = yield* bytesOf(`/api/documents/${sheet.id}/thumbnail?size=300`)
        const drawn = yield* Effect.promise(() => sharp(page.bytes).metadata())
        assert.deepStrictEqual([drawn.format, drawn.width, drawn.height], ["jpeg", 232, 300])
        for (const size of ["0", "-1", "1001", "1e9", "1.5", "0x10", "x", "", "150&size=300"]) {
          const refused = yield* get(`/api/documents/${photo.id}/thumbnail?size=${size}`)
          assert.deepStrictEqual([refused.status, refused.body.code], [400, "invalid-request"], size)
        }
        assert.strictEqual((yield* send("DELETE", `/api/documents/${photo.id}`)).status, 204)
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("of one image make it the cover, and the oldest image left takes its place", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const cover = Effect.map(get(`/api/parts/${id4}`), ({ body }) => [body.coverDocumentId, body.imageUrl, body.thumbnailUrl])
        const sheet = yield* uploaded(id4, pdf("cover rules"))
        assert.deepStrictEqual(yield* cover, [null, null, null])
        const [first, second, third] = [
          yield* uploaded(id4, yield* image({ seed: 10 })),
          yield* uploaded(id4, yield* image({ seed: 11 })),
          yield* uploaded(id4, yield* image({ seed: 12 }))
        ]
        assert.deepStrictEqual(yield* cover, [first.id, first.contentUrl, first.thumbnailUrl])
        assert.strictEqual((yield* send("PUT", `/api/parts/${id4}/cover`, { documentId: sheet.id })).body.isCover, true)
        assert.deepStrictEqual(yield* cover, [sheet.id, null, sheet.thumbnailUrl])
        yield* send("PUT", `/api/parts/${id4}/cover`, { documentId: third.id })
        assert.strictEqual((yield* send("DELETE", `/api/documents/${third.id}`)).status, 204)
        assert.strictEqual((yield* cover)[0], first.id)
        yield* send("DELETE", `/api/documents/${first.id}`)
        assert.strictEqual((yield* cover)[0], second.id)
        assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}/cover`)).status, 204)
        assert.deepStrictEqual(yield* cover, [null, null, null])
        const other = yield* uploaded(yield* newPart(), yield* image({ seed: 13 }))
        const foreign = yield* send("PUT", `/api/parts/${id4}/cover`, { documentId: other.id })
        assert.deepStrictEqual([foreign.status, foreign.body.code], [404, "document-not-found"])
        const listed = yield* get(`/api/parts?hasDocuments=true&sort=id4&limit=200`)
        assert.isTrue(listed.body.items.some((part: { readonly id4: string }) => part.id4 === id4))
      })
    )

    it.effect("are edited, conditionally, and found by their titles and file names at once", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart({ description: "Nothing else" })
        const document = yield* uploaded(id4, pdf("searched"), "zweikanalverstaerker_revC.pdf")
        const search = (q: string) =>
          Effect.map(get(`/api/search?q=${q}`), ({ body }) => body.items.map((item: { readonly id4: string }) => item.id4))
        assert.deepStrictEqual(yield* search("zweikanalverstaerker"), [id4])
        const edited = yield* send("PATCH", `/api/documents/${document.id}`, { title: "Schaltplanauszug" }, { "if-match": '"1"' })
        assert.deepStrictEqual([edited.status, edited.body.title, edited.headers.get("etag")], [200, "Schaltplanauszug", '"2"'])
        assert.deepStrictEqual(yield* search("schaltplanauszug"), [id4])
        const stale = yield* send("PATCH", `/api/documents/${document.id}`, { title: "x" }, { "if-match": '"1"' })
        assert.deepStrictEqual([stale.status, stale.body.code], [412, "precondition-failed"])
        const blank = yield* send("PATCH", `/api/documents/${document.id}`, { title: "  ", kind: "link" })
        assert.deepStrictEqual(blank.body.errors.map(({ pointer }: { readonly pointer: string }) => pointer).toSorted(), [
          "/kind",
          "/title"
        ])
        yield* send("DELETE", `/api/documents/${document.id}`)
        assert.deepStrictEqual(yield* search("schaltplanauszug"), [])
      })
    )

    it.effect("of the same bytes are stored once; the last one takes the bytes along", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* newPart(), yield* newPart()]
        const bytes = yield* image({ seed: 20 })
        const before = yield* objectCount
        const first = yield* uploaded(a, bytes, "one.png")
        const second = yield* uploaded(a, bytes, "two.png")
        const copied = yield* post(`/api/documents/${first.id}/copy`, { targetId4: b.toLowerCase(), setAsCover: true })
        assert.deepStrictEqual(
          [copied.status, copied.body.partId4, copied.body.originalFilename, copied.body.isCover],
          [201, b, "one.png", true]
        )
        assert.strictEqual(yield* objectCount, before + 1)
        yield* send("DELETE", `/api/documents/${first.id}`)
        yield* send("DELETE", `/api/documents/${second.id}`)
        assert.deepStrictEqual((yield* bytesOf(copied.body.contentUrl)).bytes, bytes)
        assert.strictEqual((yield* send("DELETE", `/api/parts/${b}`)).status, 204)
        assert.strictEqual(yield* objectCount, before)
        assert.strictEqual((yield* get(copied.body.contentUrl)).body.code, "document-not-found")
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("are copied as cover only when they are images", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* newPart(), yield* newPart()]
        const sheet = yield* uploaded(a, pdf("copied"))
        const refused = yield* post(`/api/documents/${sheet.id}/copy`, { targetId4: b, setAsCover: true })
        assert.deepStrictEqual([refused.status, refused.body.code], [409, "not-an-image"])
        const picture = yield* uploaded(a, yield* image({ seed: 30 }))
        const copy = yield* post(`/api/documents/${picture.id}/copy`, { targetId4: b })
        assert.strictEqual(copy.body.isCover, false)
        assert.strictEqual((yield* post(`/api/documents/${picture.id}/copy`, { targetId4: "ZZZZ" })).body.code, "part-not-found")
      })
    )

    it.effect("are kept once under an Idempotency-Key, also by 32 callers at once", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const bytes = yield* image({ seed: 40 })
        const headers = { "idempotency-key": "photo-1" }
        const answers: ReadonlyArray<Answer> = yield* inParallel(32, () => upload(id4, bytes, { filename: "p.png", headers }))
        const made = new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id))
        assert.strictEqual(made.size, 1)
        assert.isTrue(answers.every(({ body, status }) => status === 201 || body.code === "idempotency-key-in-use"))
        const again = yield* upload(id4, bytes, { filename: "p.png", headers })
        assert.deepStrictEqual([again.status, again.headers.get("idempotency-replayed"), again.body.id], [201, "true", [...made][0]])
        const other = yield* upload(id4, yield* image({ seed: 41 }), { filename: "p.png", headers })
        assert.deepStrictEqual([other.status, other.body.code], [422, "idempotency-key-reused"])
        assert.strictEqual((yield* get(`/api/parts/${id4}/documents?includeTotal=true`)).body.total, 1)
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("refused leave nothing behind", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const before = yield* objectCount
        const boundary = "xyz"
        const type = { "content-type": `multipart/form-data; boundary=${boundary}` }
        const form = (...parts: ReadonlyArray<string>) =>
          `${parts.map((part) => `--${boundary}\r\n${part}\r\n`).join("")}--${boundary}--\r\n`
        const field = (name: string, value: string) => `Content-Disposition: form-data; name="${name}"\r\n\r\n${value}`
        const file = (name: string, content: string) =>
          `Content-Disposition: form-data; name="${name}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n${content}`
        const raw = (body: string) => post(`/api/parts/${id4}/documents`, undefined, { raw: body, headers: type })
        const otherType = { "content-type": "multipart/form-data; boundary=abc" }
        const bareType = { "content-type": "multipart/form-data" }
        const zip = Buffer.from("504b03040a0000000000000000000000000000000000000000000500000068656c6c6f", "hex")
        const page = Buffer.from(
          '<!doctype html><title>x</title><script>alert(1)</script><svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
        )
        const cases: ReadonlyArray<readonly [string, Effect.Effect<Answer, never, Http>, number, string]> = [
          ["no file", raw(form(field("title", "x"))), 400, "invalid-request"],
          ["no part", raw(form()), 400, "invalid-request"],
          ["two files", raw(form(file("file", "a"), file("file", "b"))), 400, "invalid-request"],
          ["another name", raw(form(file("upload", "a"))), 400, "invalid-request"],
          ["text for a file", raw(form(field("file", "a"))), 400, "invalid-request"],
          ["an unknown field", raw(form(file("file", "a"), field("colour", "red"))), 400, "invalid-request"],
          ["a broken form", raw("no form at all"), 400, "invalid-request"],
          ["a form that breaks off", raw(`--${boundary}\r\n${file("file", "abc")}`), 400, "invalid-request"],
          ["a blank title", upload(id4, yield* image({ seed: 50 }), { fields: { title: "  " } }), 400, "invalid-request"],
          ["an endless title", upload(id4, yield* image({ seed: 50 }), { fields: { title: "x".repeat(256) } }), 400, "invalid-request"],
          [
            "a title of megabytes",
            upload(id4, yield* image({ seed: 50 }), { fields: { title: "x".repeat(2_000_000) } }),
            413,
            "payload-too-large"
          ],
          ["no byte", upload(id4, new Uint8Array(), { filename: "a.pdf" }), 422, "unreadable-file"],
          ["text that is called PDF", upload(id4, new TextEncoder().encode("hello"), { filename: "a.pdf" }), 415, "unsupported-media"],
          [
            "half an image",
            upload(id4, (yield* image({ seed: 51, width: 500, height: 500, format: "jpeg" })).slice(0, 900)),
            422,
            "unreadable-file"
          ],
          ["half a PDF", upload(id4, pdf("half").slice(0, 200)), 422, "unreadable-file"],
          ["a file name with NUL", raw(form(file("file", "a").replace("a.png", "a\0.png"))), 400, "invalid-request"],
          ["a file name of two lines", raw(form(file("file", "a").replace("a.png", "a\r\nb.png"))), 400, "invalid-request"],
          ["a ZIP that is called PDF", upload(id4, zip, { filename: "a.pdf", type: "application/pdf" }), 415, "unsupported-media"],
          ["a page with a script", upload(id4, page, { filename: "a.png", type: "image/png" }), 415, "unsupported-media"],
          ["a page with an SVG in it", upload(id4, page, { filename: "a.svg", type: "image/svg+xml" }), 415, "unsupported-media"],
          ["400 megapixels in 50 KB", upload(id4, blackPng(20_000, 20_000), { filename: "a.png" }), 422, "unreadable-file"],
          ["110 megapixels", upload(id4, blackPng(11_000, 10_000), { filename: "a.png" }), 422, "unreadable-file"],
          ["4 GiB in a small PDF", upload(id4, pagesOf([bombOf(4096)]), { filename: "a.pdf" }), 422, "unreadable-file"],
          ["a PDF with a password", upload(id4, encrypted("secret"), { filename: "a.pdf" }), 422, "unreadable-file"],
          [
            "another boundary",
            post(`/api/parts/${id4}/documents`, undefined, { raw: form(file("file", "a")), headers: otherType }),
            400,
            "invalid-request"
          ],
          [
            "no boundary",
            post(`/api/parts/${id4}/documents`, undefined, { raw: form(file("file", "a")), headers: bareType }),
            400,
            "invalid-request"
          ],
          ["a part that is not there", upload("QQQQ", yield* image({ seed: 52 })), 404, "part-not-found"],
          [
            "no type",
            post(`/api/parts/${id4}/documents`, undefined, { raw: "x", headers: { "content-type": "text/plain" } }),
            415,
            "unsupported-media-type"
          ],
          ["a link without address", post(`/api/parts/${id4}/documents`, { title: "x" }), 400, "invalid-request"],
          ["a link to a file", post(`/api/parts/${id4}/documents`, { url: "file:///etc/passwd" }), 400, "invalid-request"]
        ]
        for (const [what, sent, status, code] of cases) {
          const answer = yield* sent
          assert.deepStrictEqual([answer.status, answer.body?.code], [status, code], `${what}: ${answer.text}`)
        }
        assert.strictEqual(yield* objectCount, before)
        assert.deepStrictEqual((yield* get(`/api/parts/${id4}/documents`)).body.items, [])
        assert.deepStrictEqual(yield* spooled, [])
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("of 32 uploads at once are all there, with the same bytes stored once", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const before = yield* objectCount
        const bytes = yield* Effect.forEach([60, 61, 62, 63], (seed) => image({ seed, width: 200, height: 200 }))
        const answers = yield* inParallel(32, (n) => upload(id4, bytes[n % 4]!, { filename: `${n}.png` }))
        assert.deepStrictEqual(tally(answers), { 201: 32 })
        assert.strictEqual(yield* objectCount, before + 4)
        const { body } = yield* get(`/api/parts/${id4}/documents?limit=200`)
        assert.strictEqual(body.items.filter(({ isCover }: { readonly isCover: boolean }) => isCover).length, 1)
        assert.deepStrictEqual(tally(yield* inParallel(32, (n) => send("DELETE", `/api/documents/${body.items[n].id}`))), { 204: 32 })
        assert.strictEqual(yield* objectCount, before)
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("survive 200 rounds of deleting the last one beside an upload of the same bytes", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const bytes = yield* image({ seed: 70 })
        let { id } = yield* uploaded(id4, bytes)
        for (let round = 0; round < 200; round++) {
          const [removed, added] = yield* Effect.all([send("DELETE", `/api/documents/${id}`), upload(id4, bytes)], { concurrency: 2 })
          assert.deepStrictEqual([removed.status, added.status], [204, 201])
          id = added.body.id
        }
        assert.deepStrictEqual((yield* bytesOf(`/api/documents/${id}/content`)).bytes, bytes)
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("copied while they are deleted are either there or not found", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* newPart(), yield* newPart()]
        for (let round = 0; round < 200; round++) {
          const { id } = yield* uploaded(a, yield* image({ seed: 1000 + round }))
          const [removed, copied] = yield* Effect.all(
            [send("DELETE", `/api/documents/${id}`), post(`/api/documents/${id}/copy`, { targetId4: b })],
            {
              concurrency: 2
            }
          )
          assert.strictEqual(removed.status, 204)
          assert.include([201, 404], copied.status)
          if (copied.status === 201) assert.strictEqual((yield* bytesOf(copied.body.contentUrl)).response.status, 200)
        }
        assert.deepStrictEqual(yield* faults, [])
      })
    )

    it.effect("go with their part, and every change of them is recorded", () =>
      Effect.gen(function* () {
        const id4 = yield* newPart()
        const before = yield* objectCount
        const document = yield* uploaded(id4, yield* image({ seed: 80 }))
        yield* uploaded(id4, pdf("gone with its part"))
        const changes = yield* get(`/api/changes?entity=document&entityId=${document.id}`)
        assert.deepStrictEqual(
          changes.body.items.map(({ action, after }: { readonly action: string; readonly after: unknown }) => [action, after]),
          [["created", document]]
        )
        assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}`)).status, 204)
        assert.strictEqual(yield* objectCount, before)
        assert.strictEqual((yield* get(`/api/documents/${document.id}`)).status, 404)
        assert.deepStrictEqual(yield* faults, [])
      })
    )
  })

  layer(worldOf({ MAX_UPLOAD_BYTES: "64KiB" }), { excludeTestServices: true, timeout: "60 seconds" })(
    `${where}: an upload over the limit`,
    (it) => {
      it.effect("is refused with its first byte too many, while it arrives", () =>
        Effect.gen(function* () {
          const id4 = yield* newPart()
          const { fetch } = yield* Http
          let sent = 0
          // Endless: only a refusal before its end lets this test end.
          const body = new ReadableStream<Uint8Array>({
            start: (controller) =>
              controller.enqueue(
                new TextEncoder().encode(
                  '--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\nContent-Type: application/pdf\r\n\r\n%PDF-1.7\n'
                )
              ),
            pull: (controller) => {
              sent += 8192
              controller.enqueue(new Uint8Array(8192))
            }
          })
          const response = yield* fetch(
            new Request(`http://test/api/parts/${id4}/documents`, {
              method: "POST",
              body,
              duplex: "half",
              headers: { "content-type": "multipart/form-data; boundary=b" }
            } as RequestInit)
          )
          const problem = (yield* Effect.promise(() => response.json())) as { readonly code: string }
          assert.deepStrictEqual([response.status, problem.code], [413, "payload-too-large"])
          assert.isBelow(sent, 10 * 65_536)
          assert.deepStrictEqual(yield* faults, [])
        })
      )
    }
  )
}
