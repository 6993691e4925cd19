import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import sharp from "sharp"
import { DocumentId } from "#inventory/documents/document.ts"
import { textKind, thumbnailsKind } from "#inventory/documents/document-jobs.ts"
import { SearchIndex } from "#inventory/search/search-index.service.ts"
import { Db } from "#platform/db/db.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { faults } from "../support/documents-suite.ts"
import { image, pdf, upload } from "../support/files.ts"
import { idle } from "../support/idle.ts"
import { get, inParallel, newPart, post, tally } from "../support/inventory.ts"
import { jobEnded } from "../support/jobs.ts"
import { line, pagesOf, pdfOf } from "../support/pdf.ts"
import { sends, Web, webbed } from "../support/web.ts"
import { Http, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

const remove = (path: string) => Effect.flatMap(Http, ({ send }) => send("DELETE", path))

const attached = Effect.fnUntraced(function* (id4: string, bytes: Uint8Array, filename = "file.bin") {
  const answer = yield* upload(id4, bytes, { filename })
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body
})

const thumbnail = Effect.fnUntraced(function* (id: string, { accept, size }: { readonly size: number; readonly accept: string }) {
  const { fetch } = yield* Http
  const response = yield* fetch(new Request(`http://test/api/documents/${id}/thumbnail?size=${size}`, { headers: { accept } }))
  const bytes = new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()))
  return { status: response.status, hash: createHash("sha256").update(bytes).digest("hex"), bytes }
})

interface Listed {
  readonly state: string
  readonly error: { readonly code: string } | null
  readonly result: Record<string, number> | null
  readonly entity: { readonly id: string }
}
const jobsOf = (kind: string) => Effect.map(get(`/api/jobs?kind=${kind}&limit=200`), ({ body }) => body.items as ReadonlyArray<Listed>)

const variants = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const found = yield* sql<{ readonly name: string }>`select name from object_variants order by name`
  return found.map(({ name }) => name)
})
const usual = [150, 300, 500].flatMap((size) => [`thumbnail-${size}.jpeg`, `thumbnail-${size}.webp`])

const empty = Effect.gen(function* () {
  yield* idle
  const sql = yield* SqlClient.SqlClient
  const documents = yield* sql<{ readonly id: string }>`select id from documents`
  yield* Effect.forEach(documents, ({ id }) => remove(`/api/documents/${id}`))
  assert.deepStrictEqual(yield* variants, [])
  yield* sql`delete from jobs`
})

layer(webbed, options)("thumbnails", (it) => {
  it.effect("of the usual sizes are there soon after the upload, in both formats", () =>
    Effect.gen(function* () {
      const photo = yield* attached(yield* newPart(), yield* image({ width: 800, height: 400, seed: 1, format: "jpeg" }))
      yield* idle
      assert.deepStrictEqual(yield* variants, usual)
      const [job] = yield* jobsOf("inventory.document.thumbnails")
      assert.deepStrictEqual([job?.state, job?.result, job?.entity.id], ["succeeded", { made: 6 }, photo.id])
      for (const [size, accept, format] of [
        [150, "image/webp", "webp"],
        [500, "image/jpeg", "jpeg"]
      ] as const) {
        const { bytes } = yield* thumbnail(photo.id, { size, accept })
        const seen = yield* Effect.promise(() => sharp(bytes).metadata())
        assert.deepStrictEqual([seen.format, seen.width, seen.height], [format, size, size / 2])
      }
      assert.deepStrictEqual(yield* variants, usual)
      yield* empty
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of a PDF and of the picture of a page are made too, of a bare link nothing", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      pages.set("/shop", sends(`<title>Shop</title><meta property="og:image" content="/shop.png">`))
      pages.set("/shop.png", sends(yield* image({ width: 700, height: 700, seed: 2 }), { "content-type": "image/png" }))
      yield* attached(id4, pdf("drawn"))
      yield* post(`/api/parts/${id4}/documents`, { url: `${url}/shop` })
      yield* post(`/api/parts/${id4}/documents`, { url: `${url}/shop`, capture: false })
      yield* idle
      const jobs = yield* jobsOf("inventory.document.thumbnails")
      assert.deepStrictEqual(
        jobs.map(({ result }) => result),
        [{ made: 6 }, { made: 6 }]
      )
      yield* empty
    })
  )

  it.effect("are made once for 32 uploads of the same bytes", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const bytes = yield* image({ width: 600, height: 600, seed: 3 })
      assert.deepStrictEqual(tally(yield* inParallel(32, () => upload(id4, bytes))), { 201: 32 })
      yield* idle
      const jobs = yield* jobsOf("inventory.document.thumbnails")
      assert.isTrue(jobs.every(({ state }) => state === "succeeded"))
      assert.strictEqual(
        jobs.reduce((sum, { result }) => sum + (result?.made ?? 0), 0),
        6
      )
      assert.deepStrictEqual(yield* variants, usual)
      yield* empty
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("are the same for 32 callers beside the job and after it", () =>
    Effect.gen(function* () {
      const photo = yield* attached(yield* newPart(), yield* image({ width: 1500, height: 900, seed: 4, format: "jpeg" }))
      const ways = [150, 300, 500].flatMap((size) => ["image/webp", "image/jpeg"].map((accept) => ({ size, accept })))
      const beside = yield* inParallel(32, (n) => thumbnail(photo.id, ways[n % 6]!))
      assert.isTrue(beside.every(({ status }) => status === 200))
      yield* idle
      const after = yield* Effect.forEach(ways, (way) => thumbnail(photo.id, way))
      for (const [n, { hash }] of beside.entries()) assert.strictEqual(hash, after[n % 6]?.hash)
      assert.deepStrictEqual(yield* variants, usual)
      assert.deepStrictEqual((yield* jobsOf("inventory.document.thumbnails"))[0]?.state, "succeeded")
      yield* empty
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of a document that is deleted meanwhile are not made, and leave nothing", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      yield* inParallel(32, (n) =>
        Effect.gen(function* () {
          const { id } = yield* attached(id4, yield* image({ width: 300, height: 300, seed: 100 + n }))
          if (n % 2 === 0) yield* thumbnail(id, { size: 300, accept: "image/webp" })
          assert.strictEqual((yield* remove(`/api/documents/${id}`)).status, 204)
        })
      )
      yield* idle
      const jobs = yield* jobsOf("inventory.document.thumbnails")
      assert.strictEqual(jobs.length, 32)
      assert.deepStrictEqual([...new Set(jobs.map(({ state }) => state))], ["succeeded"])
      assert.deepStrictEqual(yield* variants, [])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("and texts of bytes that nobody has any more are no failure", () =>
    Effect.gen(function* () {
      const [jobs, db] = [yield* Jobs, yield* Db]
      const source = { documentId: DocumentId.make("00000000-0000-7000-8000-000000000001"), objectId: 4711 }
      const pictures = yield* db.transaction(jobs.enqueue(thumbnailsKind, source))
      const text = yield* db.transaction(jobs.enqueue(textKind, source))
      assert.deepInclude(yield* jobEnded(pictures.id), { state: "succeeded", result: { made: 0 } })
      assert.deepInclude(yield* jobEnded(text.id), { state: "succeeded", result: { words: 0 } })
    })
  )
})

const search = Effect.fnUntraced(function* (q: string) {
  const { body } = yield* get(`/api/search?q=${encodeURIComponent(q)}`)
  return body as {
    readonly relaxed: boolean
    readonly items: ReadonlyArray<{
      readonly id4: string
      readonly tier: number
      readonly score: number
      readonly matchedOn: ReadonlyArray<{ readonly field: string; readonly term: string }>
    }>
  }
})
const found = (q: string) => Effect.map(search(q), ({ items }) => items.map(({ id4 }) => id4))

/** A PDF with a line of words on each page. */
const sheet = (...lines: ReadonlyArray<string>) => pagesOf(lines.map(line))

const texts = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [counted] = yield* sql<{ readonly texts: number; readonly indexed: number }>`
    select (select count(*)::int from document_texts) as texts, (select count(*)::int from search_texts) as indexed`
  return counted
})

layer(SearchIndex.layer.pipe(Layer.provideMerge(world())), options)("the text of a PDF", (it) => {
  it.effect("is found soon after the upload, and says where it stands", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "Timer" })
      const document = yield* attached(id4, sheet("Astable operation", "Monostable operation with 4k7"), "timer.pdf")
      assert.strictEqual(document.textState, "queued")
      assert.strictEqual((yield* attached(id4, yield* image({ seed: 5 }))).textState, "none")
      yield* idle
      const now = (yield* get(`/api/documents/${document.id}`)).body
      assert.deepStrictEqual(now, { ...document, textState: "done" })
      assert.strictEqual((yield* get(`/api/parts/${id4}/documents`)).body.items[0].textState, "done")
      const { items, relaxed } = yield* search("monostable")
      assert.isFalse(relaxed)
      assert.deepStrictEqual(
        items.map(({ id4, matchedOn, score, tier }) => ({ id4, matchedOn, score, tier })),
        [{ id4, tier: 3, score: 0.2, matchedOn: [{ field: "documentText", term: "monostable" }] }]
      )
      assert.deepStrictEqual((yield* search("Timer"))?.items[0]?.matchedOn, [
        { field: "description", term: "Timer" },
        { field: "documentTitle", term: "Timer" },
        { field: "documentFile", term: "Timer" }
      ])
      const changes = yield* get(`/api/changes?entity=document&entityId=${document.id}`)
      assert.deepStrictEqual(
        changes.body.items.map(({ action, after, before }: Record<string, unknown>) => [action, before, after]),
        [
          ["updated", { textState: "queued" }, { textState: "done" }],
          ["created", null, document]
        ]
      )
      const [job] = yield* jobsOf("inventory.document.text")
      assert.strictEqual(job?.state, "succeeded")
      assert.isAbove(job?.result?.words ?? 0, 4)
    })
  )

  it.effect("counts together with words in the fields, and where they are the same, less", () =>
    Effect.gen(function* () {
      const named = yield* newPart({ description: "Zorbulator", manufacturerCode: "ZQ-4711" })
      const written = yield* newPart({ description: "Nothing else", manufacturerCode: "ZQ-4712" })
      yield* attached(written, sheet("zorbulator wumpus"))
      yield* idle
      assert.deepStrictEqual(yield* found("zorbulator"), [named, written])
      const { items } = yield* search("zq4712 wumpus")
      assert.deepStrictEqual(
        items.map(({ id4, matchedOn, score, tier }) => ({ id4, matchedOn, score, tier })),
        [
          {
            id4: written,
            tier: 3,
            score: 0.6,
            matchedOn: [
              { field: "manufacturerCode", term: "zq4712" },
              { field: "documentText", term: "wumpus" }
            ]
          }
        ]
      )
      assert.deepStrictEqual(yield* found("zorbulator wumpus"), [written])
      assert.deepStrictEqual(yield* found("zorbulator zq4711"), [named])
    })
  )

  it.effect("has its words only as they are: no beginnings, no typos; and what stands there is no typo of something else", () =>
    Effect.gen(function* () {
      const capacitor = yield* newPart({ description: "Quadrofilter" })
      const id4 = yield* newPart({ description: "Other" })
      yield* attached(id4, sheet("Quadrofiltre 8 mOhm, hyperflux"))
      yield* idle
      assert.deepStrictEqual(yield* found("hyperfl"), [])
      assert.deepStrictEqual(yield* found("hiperflux"), [])
      assert.deepStrictEqual(yield* found("HYPERFLUX"), [id4])
      assert.deepStrictEqual(yield* found("quadrofiltre"), [id4])
      assert.deepStrictEqual(yield* found("quadrofitler"), [capacitor])
    })
  )

  it.effect("is looked into when no part has all words", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* newPart({ description: "Blorble" }), yield* newPart({ description: "Snarf" })]
      yield* attached(b, sheet("frumious"))
      yield* idle
      const { items, relaxed } = yield* search("blorble frumious")
      assert.isTrue(relaxed)
      assert.deepStrictEqual(
        items.map(({ id4, score, tier }) => [id4, score, tier]),
        [
          [a, 0.35, 5],
          [b, 0.1, 5]
        ]
      )
      const only = yield* search("frumious nowhere-at-all")
      assert.deepStrictEqual([only.relaxed, only.items.map(({ id4 }) => id4)], [true, [b]])
    })
  )

  it.effect("passes the filters of the search", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      yield* attached(id4, sheet("brillig"))
      yield* idle
      const items = (filter: string) => Effect.map(get(`/api/search?q=brillig&${filter}`), ({ body }) => body.items.length)
      assert.strictEqual(yield* items("inStock=false"), 1)
      assert.strictEqual(yield* items("inStock=true"), 0)
      assert.strictEqual(yield* items("boxNo=1"), 0)
    })
  )

  it.effect("is read once for copies, found in each of them at once, and gone with the last one", () =>
    Effect.gen(function* () {
      const before = yield* texts
      const [a, b] = [yield* newPart(), yield* newPart()]
      const bytes = sheet("slithy toves")
      const first = yield* attached(a, bytes)
      yield* idle
      const copy = (yield* post(`/api/documents/${first.id}/copy`, { targetId4: b })).body
      assert.strictEqual(copy.textState, "done")
      assert.deepStrictEqual((yield* found("slithy")).toSorted(), [a, b].toSorted())
      const again = yield* attached(b, bytes)
      assert.strictEqual(again.textState, "done")
      yield* remove(`/api/documents/${first.id}`)
      assert.deepStrictEqual(yield* found("slithy"), [b])
      yield* remove(`/api/documents/${copy.id}`)
      assert.deepStrictEqual(yield* found("slithy"), [b])
      assert.strictEqual((yield* remove(`/api/parts/${b}`)).status, 204)
      assert.deepStrictEqual(yield* found("slithy"), [])
      yield* idle
      assert.deepStrictEqual(yield* texts, before)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("is read once for 32 uploads of the same bytes beside each other", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const before = (yield* jobsOf("inventory.document.text")).filter(({ result }) => (result?.words ?? 0) > 0).length
      const answers = yield* inParallel(32, () => upload(id4, sheet("gyre and gimble")))
      assert.deepStrictEqual(tally(answers), { 201: 32 })
      yield* idle
      const jobs = (yield* jobsOf("inventory.document.text")).filter(({ result }) => (result?.words ?? 0) > 0)
      assert.strictEqual(jobs.length, before + 1)
      assert.deepStrictEqual(yield* found("gimble"), [id4])
      const { body } = yield* get(`/api/parts/${id4}/documents?limit=200`)
      assert.deepStrictEqual([...new Set(body.items.map(({ textState }: { readonly textState: string }) => textState))], ["done"])
      // Whoever deletes beside a copy or an upload: the words stay as long as one document does.
      yield* inParallel(31, (n) => remove(`/api/documents/${body.items[n].id}`))
      assert.deepStrictEqual(yield* found("gimble"), [id4])
    })
  )

  it.effect("that cannot be read is a failed job; the same bytes, attached again, are tried again", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const bytes = pdfOf([
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count 2 /Kids [3 0 R 9 0 R] >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] >>"
      ])
      const document = yield* attached(id4, bytes)
      yield* idle
      const [job] = (yield* jobsOf("inventory.document.text")).filter(({ entity }) => entity.id === document.id)
      assert.deepStrictEqual([job?.state, job?.error?.code], ["failed", "unreadable-file"])
      assert.strictEqual((yield* get(`/api/documents/${document.id}`)).body.textState, "failed")
      const again = yield* attached(id4, bytes)
      assert.strictEqual(again.textState, "queued")
      yield* idle
      assert.strictEqual((yield* get(`/api/documents/${again.id}`)).body.textState, "failed")
    })
  )

  it.effect("may be long: of the words the first ten thousand are found", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart()
      const words = Array.from({ length: 12_000 }, (_, n) => `w${n.toString(36)}q`)
      const page = (n: number) =>
        Array.from({ length: 25 }, (_, row) => `(${words.slice(250 * n + 10 * row, 250 * n + 10 * (row + 1)).join(" ")}) Tj T*`).join(" ")
      yield* attached(id4, pagesOf(Array.from({ length: 48 }, (_, n) => `BT /F1 8 Tf 20 TL 40 800 Td ${page(n)} ET`)))
      yield* idle
      assert.deepStrictEqual(yield* found(words[0]!), [id4])
      assert.deepStrictEqual(yield* found(words[9_999]!), [id4])
      assert.deepStrictEqual(yield* found(words[10_000]!), [])
    })
  )

  it.effect("is in the index that is made from nothing", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      const all = sql<{ readonly words: string }>`select object_id, words::text as words from search_texts order by object_id`
      const before = yield* all
      assert.isAbove(before.length, 5)
      yield* sql`update search_texts set words = 'other' where object_id = (select min(object_id) from search_texts)`
      yield* sql`delete from search_texts where object_id = (select max(object_id) from search_texts)`
      yield* index.rebuild()
      assert.deepStrictEqual(yield* all, before)
    })
  )
})
