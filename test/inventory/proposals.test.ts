import { createHash } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { expireKind } from "#inventory/proposals/proposals.jobs.ts"
import { Db } from "#platform/db/db.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { faults, spooled } from "../support/documents-suite.ts"
import { image, pdf, upload } from "../support/files.ts"
import { idle } from "../support/idle.ts"
import { get, inParallel, newPart, post, tally } from "../support/inventory.ts"
import { jobEnded } from "../support/jobs.ts"
import { answer, tools } from "../support/openai.ts"
import {
  accept,
  analysed,
  blank,
  failureOf,
  grown,
  photo,
  proposalNow,
  proposalOf,
  proposed,
  proposedOf,
  reject,
  rowCounts,
  says,
  scripted,
  suggest,
  suggestForm,
  suggesting,
  untilAsked
} from "../support/suggestions.ts"
import { sends, Web } from "../support/web.ts"
import { type Answer, Http } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  Http.use((http) => http.send(method, path, body, { headers }))

const bytesOf = Effect.fnUntraced(function* (path: string, init: RequestInit = {}) {
  const { fetch } = yield* Http
  const response = yield* fetch(new Request(`http://test${path}`, init))
  return { status: response.status, headers: response.headers, bytes: new Uint8Array(yield* Effect.promise(() => response.arrayBuffer())) }
})

let made = 0
/** A part number that no other part of these tests has. */
const freshNumber = () => `XY${1000 + ++made}Q`

/** What was found for a part with that number: its data sheet, a photo and a page. */
const findable = Effect.fnUntraced(function* (number: string) {
  const { pages, url } = yield* Web
  const word = `zebrafish${number}`
  const sheet = pdf(`${number} precision timer ${word}`)
  const pinout = yield* image({ width: 90, height: 30, seed: made })
  pages.set(`/${number}.pdf`, sends(sheet, { "content-type": "application/pdf" }))
  pages.set(`/${number}.png`, sends(pinout, { "content-type": "image/png" }))
  pages.set(`/${number}`, sends(`<title>${number} at its maker's</title><p>Buy ${number}</p>`))
  const at = (end: string) => `${url}/${number}${end}`
  return {
    sheet,
    word,
    pinout,
    answer: analysed({
      description: `${number} precision timer 4.5–16 V`,
      manufacturerCode: number,
      manufacturer: "TI",
      typeName: `proposed: Timer of ${number}`,
      tags: ["timer", "Astable "],
      package: "DIP-8",
      pinCount: 8,
      productPage: at(""),
      documents: [
        { url: at(".pdf"), documentType: "datasheet", title: "Data sheet" },
        { url: at(".png"), documentType: "pinout", title: "Pins" },
        { url: at(""), documentType: "product-page", title: "Page" }
      ],
      evidence: [
        { field: "manufacturerCode", source: "datasheet", url: at(".pdf"), page: 1, quote: number },
        { field: "package", source: "photo", url: null, page: null, quote: "DIP-8" }
      ]
    })
  }
})

/** A pending proposal for a new part, from a photo. */
const pending = Effect.gen(function* () {
  const number = freshNumber()
  const found = yield* findable(number)
  yield* says(found.answer)
  const bytes = yield* photo(made)
  const proposal = yield* proposedOf("part", bytes, { text: `bag with ${number}` })
  return { ...found, proposal, number, bytes }
})

/** A pending proposal of kind cleanup for the part. */
const cleaned = Effect.fnUntraced(function* (id4: string, fields: object) {
  yield* says({ analysis: { ...blank, ...fields } })
  return yield* proposed("cleanup", { id4 })
})

const settled = Effect.fnUntraced(function* (id: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`update proposals set expires_at = now() - interval '1 second' where id = ${id}::uuid`
})

const expire = Effect.gen(function* () {
  const [jobs, db] = [yield* Jobs, yield* Db]
  const { id } = yield* db.transaction(jobs.enqueue(expireKind, {}))
  return (yield* jobEnded(id)).result
})

/** The hashes of what is kept because a person sent it or it was found; what is made of it comes by itself, and later. */
const objects = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const found = yield* sql<{ readonly sha256: string }>`
    select sha256 from objects o where not exists (select from object_variants v where v.object_id = o.id)`
  return new Set(found.map(({ sha256 }) => sha256))
})
const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

layer(suggesting(), options)("R38: a proposal for a new part", (it) => {
  it.effect("is all that is written before somebody accepts it", () =>
    Effect.gen(function* () {
      const before = yield* rowCounts
      const { bytes, number, pinout, proposal, sheet } = yield* pending
      const changed = grown(before, yield* rowCounts)
      assert.deepStrictEqual(changed, { objects: 3, proposal_files: 4, proposals: 1 })
      assert.strictEqual(proposal.status, "pending")
      assert.deepStrictEqual(
        [proposal.kind, proposal.partId4, proposal.partVersion, proposal.settledBy, proposal.settledAt, proposal.acceptedFields],
        ["part", null, null, null, null, null]
      )
      assert.deepStrictEqual(proposal.input, { text: `bag with ${number}`, image: "bag.jpg" })
      assert.deepStrictEqual(proposal.usage, {
        model: "gpt-4.1-mini-2026-03-17",
        inputTokens: 1000,
        outputTokens: 100,
        costUsd: 0.00056,
        cached: false
      })
      assert.strictEqual(Date.parse(proposal.expiresAt) - Date.parse(proposal.createdAt), 30 * 24 * 60 * 60 * 1000)
      assert.deepStrictEqual(
        proposal.documents.map(({ contentUrl, documentType, index, kind, mediaType, size, verified }: Record<string, unknown>) => [
          index,
          kind,
          documentType,
          mediaType,
          size,
          verified,
          contentUrl
        ]),
        [
          [0, "image", null, "image/jpeg", bytes.length, null, `/api/ai/proposals/${proposal.id}/documents/0`],
          [1, "pdf", "datasheet", "application/pdf", sheet.length, true, `/api/ai/proposals/${proposal.id}/documents/1`],
          [2, "image", "pinout", "image/png", pinout.length, null, `/api/ai/proposals/${proposal.id}/documents/2`],
          [3, "link", "product-page", null, null, null, null]
        ]
      )
      const { analysis } = proposal.output
      assert.deepStrictEqual(
        [analysis.manufacturerCode, analysis.typeName, analysis.existingTypeId, analysis.tags, analysis.evidence.length],
        [number, `Timer of ${number}`, null, ["timer", "astable"], 2]
      )
      assert.deepStrictEqual((yield* get(`/api/search?q=${number}`)).body.items, [])
      assert.deepStrictEqual(yield* spooled, [])
    })
  )

  it.effect("gives its files whole, in part and not at all when they are known", () =>
    Effect.gen(function* () {
      const { bytes, proposal, sheet } = yield* pending
      const [shot, found] = proposal.documents
      assert.deepStrictEqual((yield* bytesOf(shot.contentUrl)).bytes, bytes)
      const whole = yield* bytesOf(found.contentUrl)
      assert.deepStrictEqual(whole.bytes, sheet)
      assert.deepStrictEqual(
        ["content-type", "etag", "accept-ranges", "content-length"].map((name) => whole.headers.get(name)),
        ["application/pdf", `"${hash(sheet)}"`, "bytes", String(sheet.length)]
      )
      const part = yield* bytesOf(found.contentUrl, { headers: { range: "bytes=5-9" } })
      assert.deepStrictEqual(
        [part.status, part.bytes, part.headers.get("content-range")],
        [206, sheet.slice(5, 10), `bytes 5-9/${sheet.length}`]
      )
      const known = yield* bytesOf(found.contentUrl, { headers: { "if-none-match": `"${hash(sheet)}"` } })
      assert.deepStrictEqual([known.status, known.bytes.length], [304, 0])
      const beyond = yield* send("GET", found.contentUrl, undefined, { range: "bytes=99999999-" })
      assert.deepStrictEqual([beyond.status, beyond.body.code], [416, "range-not-satisfiable"])
      const head = yield* bytesOf(found.contentUrl, { method: "HEAD" })
      assert.deepStrictEqual([head.status, head.headers.get("content-length"), head.bytes.length], [200, String(sheet.length), 0])
      for (const index of ["3", "4", "-1", "00", "x", "1e0", "99999999999999999999"]) {
        const missing = yield* get(`/api/ai/proposals/${proposal.id}/documents/${index}`)
        assert.deepStrictEqual([missing.status, missing.body.code], [404, "proposal-document-not-found"], index)
      }
      for (const id of ["x", "00000000-0000-7000-8000-000000000000", proposal.id.replaceAll("-", "")]) {
        for (const path of [`/api/ai/proposals/${id}`, `/api/ai/proposals/${id}/documents/0`]) {
          const missing = yield* get(path)
          assert.deepStrictEqual([missing.status, missing.body.code], [404, "proposal-not-found"], path)
        }
        for (const verb of ["accept", "reject"]) {
          const missing = yield* post(`/api/ai/proposals/${id}/${verb}`, {})
          assert.deepStrictEqual([missing.status, missing.body.code], [404, "proposal-not-found"], verb)
        }
      }
    })
  )

  it.effect("becomes a part with photo, type, tags and a stored data sheet in one accept", () =>
    Effect.gen(function* () {
      const { bytes, number, pinout, proposal, sheet } = yield* pending
      const unknown = yield* accept(proposal.id)
      assert.deepStrictEqual([unknown.status, unknown.body.code, unknown.body.name], [409, "type-unknown", `Timer of ${number}`])
      assert.strictEqual((yield* proposalNow(proposal.id)).status, "pending")
      const accepted = yield* accept(proposal.id, { createType: true })
      assert.strictEqual(accepted.status, 201, accepted.text)
      const id4 = accepted.body.partId4
      assert.strictEqual(accepted.headers.get("location"), `/api/parts/${id4}`)
      assert.deepStrictEqual(
        [accepted.body.status, accepted.body.documents, accepted.body.acceptedFields],
        ["accepted", [], ["description", "manufacturerCode", "manufacturer", "package", "productPage", "typeId", "pinCount", "tags"]]
      )
      assert.isString(accepted.body.settledAt)
      assert.deepStrictEqual(yield* proposalNow(proposal.id), accepted.body)
      const { body: part } = yield* get(`/api/parts/${id4}`)
      assert.deepStrictEqual(
        [part.description, part.manufacturerCode, part.manufacturer, part.package, part.pinCount, part.tags, part.type.name],
        [`${number} precision timer 4.5–16 V`, number, "TI", "DIP-8", 8, ["timer", "astable"], `Timer of ${number}`]
      )
      const { body: documents } = yield* get(`/api/parts/${id4}/documents`)
      assert.deepStrictEqual(
        documents.items.map(({ isCover, kind, originalFilename, title, url }: Record<string, unknown>) => [
          kind,
          title,
          originalFilename,
          (url as string | null)?.replace(/^.*\//u, "/") ?? null,
          isCover
        ]),
        [
          ["image", "bag", "bag.jpg", null, true],
          ["pdf", "Data sheet", `${number}.pdf`, `/${number}.pdf`, false],
          ["image", "Pins", `${number}.png`, `/${number}.png`, false],
          ["link", "Page", null, `/${number}`, false]
        ]
      )
      const [cover, data, pins] = documents.items
      for (const [document, expected] of [
        [cover, bytes],
        [data, sheet],
        [pins, pinout]
      ] as const) {
        assert.deepStrictEqual((yield* bytesOf(document.contentUrl)).bytes, expected)
      }
      assert.strictEqual(part.coverDocumentId, cover.id)
      yield* idle
      assert.strictEqual((yield* get(`/api/documents/${data.id}`)).body.textState, "done")
      assert.deepStrictEqual(
        (yield* get("/api/search?q=precision%20timer&limit=100")).body.items.filter((item: { readonly id4: string }) => item.id4 === id4)
          .length,
        1
      )
      const sql = yield* SqlClient.SqlClient
      const [text] = yield* sql<{ readonly state: string }>`
        select t.state from document_texts t join documents d on d.object_id = t.object_id where d.id = ${data.id}::uuid`
      assert.strictEqual(text?.state, "done")
      assert.strictEqual((yield* bytesOf(`/api/documents/${data.id}/thumbnail?size=150`)).status, 200)
      assert.deepStrictEqual(yield* sql`select from proposal_files where proposal_id = ${proposal.id}::uuid`, [])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("gives what stands in its data sheet to the search once it is accepted", () =>
    Effect.gen(function* () {
      const { proposal, word } = yield* pending
      assert.deepStrictEqual((yield* get(`/api/search?q=${word}`)).body.items, [])
      const accepted = yield* accept(proposal.id, {
        fields: ["manufacturer"],
        overrides: { description: "Something" },
        documentIndexes: [1]
      })
      assert.strictEqual(accepted.status, 201, accepted.text)
      yield* idle
      const { body } = yield* get(`/api/search?q=${word}`)
      assert.deepStrictEqual(
        body.items.map((item: { readonly id4: string; readonly matchedOn: ReadonlyArray<{ readonly field: string }> }) => [
          item.id4,
          item.matchedOn[0]?.field
        ]),
        [[accepted.body.partId4, "documentText"]]
      )
      const { body: part } = yield* get(`/api/parts/${accepted.body.partId4}`)
      assert.deepStrictEqual([part.description, part.manufacturer, part.manufacturerCode, part.typeId], ["Something", "TI", null, null])
    })
  )

  it.effect("is accepted in part: fields, values instead of its own, documents and the cover among them", () =>
    Effect.gen(function* () {
      const { proposal } = yield* pending
      const accepted = yield* accept(proposal.id, {
        fields: ["description", "tags"],
        overrides: { package: "SO-8", typeId: 1 },
        documentIndexes: [2, 0],
        coverIndex: 2
      })
      assert.strictEqual(accepted.status, 201, accepted.text)
      assert.deepStrictEqual(accepted.body.acceptedFields, ["description", "package", "typeId", "tags"])
      const { body: part } = yield* get(`/api/parts/${accepted.body.partId4}`)
      assert.deepStrictEqual(
        [part.manufacturerCode, part.manufacturer, part.package, part.typeId, part.productPage, part.tags],
        [null, null, "SO-8", 1, null, ["timer", "astable"]]
      )
      const { body } = yield* get(`/api/parts/${part.id4}/documents`)
      assert.deepStrictEqual(
        body.items.map(({ isCover, title }: Record<string, unknown>) => [title, isCover]),
        [
          ["bag", false],
          ["Pins", true]
        ]
      )
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("may go to a part that is there already", () =>
    Effect.gen(function* () {
      const { number, proposal } = yield* pending
      const id4 = yield* newPart({ description: "To be completed", tags: ["old"] })
      const accepted = yield* accept(proposal.id, { id4: id4.toLowerCase(), fields: ["manufacturerCode", "tags"], documentIndexes: [1] })
      assert.deepStrictEqual([accepted.status, accepted.body.partId4, accepted.headers.get("location")], [200, id4, null])
      const { body: part } = yield* get(`/api/parts/${id4}`)
      assert.deepStrictEqual([part.description, part.manufacturerCode, part.tags], ["To be completed", number, ["old", "timer", "astable"]])
      assert.strictEqual((yield* get(`/api/parts/${id4}/documents`)).body.items.length, 1)
    })
  )

  it.effect("gives a part that has a cover another one only when one is chosen, and what it has found at two addresses once", () =>
    Effect.gen(function* () {
      const { number, bytes } = yield* pending
      const { pages, url } = yield* Web
      const id4 = yield* newPart({ description: "Covered", manufacturer: "Mine", typeId: 1 })
      const { body: own } = yield* upload(id4, yield* image({ seed: 4711 }))
      const coverOf = Effect.map(get(`/api/parts/${id4}`), ({ body }) => body.coverDocumentId)
      pages.set("/twice", (_, response) => response.writeHead(302, { location: `/${number}.pdf` }).end())
      const documents = [`${url}/${number}.pdf`, `${url}/twice`].map((at) => ({ url: at, documentType: "datasheet", title: at.slice(-5) }))
      yield* says(analysed({ description: "Covered", documents }))
      const first = yield* proposedOf("part", bytes, { text: "twice" })
      const accepted = yield* accept(first.id, { id4, overrides: { typeId: null, manufacturer: null } })
      assert.strictEqual(accepted.status, 200, accepted.text)
      assert.deepStrictEqual(accepted.body.acceptedFields, ["description", "manufacturer", "typeId"])
      const { body: part } = yield* get(`/api/parts/${id4}`)
      assert.deepStrictEqual([part.coverDocumentId, part.manufacturer, part.typeId], [own.id, null, null])
      const { body } = yield* get(`/api/parts/${id4}/documents`)
      assert.deepStrictEqual(
        body.items.map(({ kind }: Record<string, unknown>) => kind),
        ["image", "image", "pdf"]
      )
      const second = yield* proposedOf("part", bytes, { text: "twice" })
      assert.strictEqual((yield* accept(second.id, { id4, documentIndexes: [0], coverIndex: 0 })).status, 200)
      const { body: after } = yield* get(`/api/parts/${id4}/documents`)
      assert.deepStrictEqual(
        after.items.flatMap(({ id, isCover }: Record<string, unknown>) => (isCover === true ? [id] : [])),
        [after.items[3].id]
      )
      assert.strictEqual(yield* coverOf, after.items[3].id)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("is told to whoever listens, and counted", () =>
    Effect.gen(function* () {
      const counted = Effect.map(get("/metrics"), ({ text }) =>
        Object.fromEntries(
          [...text.matchAll(/^partwright_inventory_proposals_(?:total\{.*kind="part".*outcome="(\w+)".*\}|(pending)) (\d+)$/gmu)].map(
            ([, outcome, waiting, count]) => [outcome ?? waiting, Number(count)]
          )
        )
      )
      const before = yield* counted
      assert.deepStrictEqual(Object.keys(before).toSorted(), ["accepted", "created", "expired", "pending", "rejected", "superseded"])
      const [one, other] = [yield* pending, yield* pending]
      yield* accept(one.proposal.id, { createType: true })
      for (const wrong of [{ reason: "" }, { reason: "x".repeat(501) }, { why: "x" }]) {
        assert.strictEqual((yield* post(`/api/ai/proposals/${other.proposal.id}/reject`, wrong)).status, 400)
      }
      yield* post(`/api/ai/proposals/${other.proposal.id}/reject`, { reason: "another bag" })
      const after = yield* counted
      assert.deepStrictEqual(grown(before, after), { accepted: 1, created: 2, rejected: 1 })
      const { body } = yield* get(`/api/changes?entity=proposal&entityId=${one.proposal.id}`)
      assert.deepStrictEqual(
        body.items.map(({ action, principal }: Record<string, unknown>) => [action, principal]),
        [
          ["accepted", "owner"],
          ["created", "owner"]
        ]
      )
      const [rejected] = (yield* get(`/api/changes?entity=proposal&entityId=${other.proposal.id}`)).body.items
      assert.deepStrictEqual([rejected.action, rejected.after.reason], ["rejected", "another bag"])
    })
  )

  it.effect("that cannot be accepted as wanted is not accepted at all", () =>
    Effect.gen(function* () {
      const { proposal } = yield* pending
      yield* idle
      const before = yield* rowCounts
      for (const [body, status, code, pointer] of [
        [{ overrides: { typeId: 999_999 } }, 400, "invalid-request", "/overrides/typeId"],
        [{ overrides: { typeId: 1, name: "Timer" } }, 400, "invalid-request", "/overrides/name"],
        [{ overrides: { name: "No such type" } }, 409, "type-unknown", undefined],
        [{ overrides: { description: null } }, 400, "invalid-request", "/overrides/description"],
        [{ overrides: { description: " " } }, 400, "invalid-request", "/overrides/description"],
        [{ overrides: { pinCount: 0 } }, 400, "invalid-request", "/overrides/pinCount"],
        [{ overrides: { minQuantity: 3 } }, 400, "invalid-request", "/overrides/minQuantity"],
        [{ overrides: { barcodes: ["1"] } }, 400, "invalid-request", "/overrides/barcodes"],
        [{ fields: ["manufacturerCode"] }, 400, "invalid-request", "/overrides/description"],
        // The type would be made before that is noticed.
        [{ fields: ["typeId"], createType: true }, 400, "invalid-request", "/overrides/description"],
        [{ fields: ["description", "series"] }, 400, "invalid-request", "/fields/1"],
        [{ fields: ["quantity"] }, 400, "invalid-request", "/fields/0"],
        [{ fields: [], documentIndexes: [] }, 400, "invalid-request", ""],
        [{ documentIndexes: [0, 4], createType: true }, 400, "invalid-request", "/documentIndexes/1"],
        [{ documentIndexes: [-1] }, 400, "invalid-request", "/documentIndexes/0"],
        [{ documentIndexes: [1.5] }, 400, "invalid-request", "/documentIndexes/0"],
        [{ coverIndex: 1, createType: true }, 400, "invalid-request", "/coverIndex"],
        [{ coverIndex: 3, createType: true }, 400, "invalid-request", "/coverIndex"],
        [{ coverIndex: 0, documentIndexes: [1], createType: true }, 400, "invalid-request", "/coverIndex"],
        [{ id4: "QQQQ", createType: true }, 404, "part-not-found", undefined],
        [{ id4: "QQ" }, 400, "invalid-request", "/id4"],
        [{ id4: 5 }, 400, "invalid-request", "/id4"],
        [{ createType: "yes" }, 400, "invalid-request", "/createType"],
        [{ accept: true }, 400, "invalid-request", "/accept"],
        [[], 400, "invalid-request", ""]
      ] as const) {
        const answer = yield* accept(proposal.id, body)
        assert.deepStrictEqual(
          [answer.status, answer.body.code, answer.body.errors?.[0].pointer],
          [status, code, pointer],
          `${JSON.stringify(body)}: ${answer.text}`
        )
      }
      assert.deepStrictEqual(grown(before, yield* rowCounts), {})
      assert.deepStrictEqual(yield* proposalNow(proposal.id), proposal)
      assert.strictEqual((yield* accept(proposal.id, { createType: true })).status, 201)
    })
  )

  it.effect("that names parts instead of proposing one makes none, but may give its photo to one of them", () =>
    Effect.gen(function* () {
      const number = freshNumber()
      const id4 = yield* newPart({ description: "There already", manufacturerCode: number })
      yield* says({ analysis: null, duplicates: [{ id4, confidence: "high", reason: "the same number" }], failureReason: null })
      const bytes = yield* photo(made)
      const proposal = yield* proposedOf("part", bytes, { text: number })
      const refused = yield* accept(proposal.id)
      assert.deepStrictEqual([refused.status, refused.body.errors[0].pointer], [400, "/overrides/description"])
      assert.strictEqual((yield* accept(proposal.id, { id4 })).status, 200)
      const { body } = yield* get(`/api/parts/${id4}/documents`)
      assert.deepStrictEqual(
        body.items.map(({ isCover, size }: Record<string, unknown>) => [isCover, size]),
        [[true, bytes.length]]
      )
    })
  )

  it.effect("that is accepted 32 times at once makes one part", () =>
    Effect.gen(function* () {
      const { number, proposal } = yield* pending
      const answers = yield* inParallel(32, () => accept(proposal.id, { createType: true }))
      assert.deepStrictEqual(tally(answers), { 201: 1, "409 proposal-settled": 31 })
      const { body } = yield* get("/api/parts?limit=200")
      assert.strictEqual(body.items.filter((part: { readonly manufacturerCode: string }) => part.manufacturerCode === number).length, 1)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that some accept while others reject it is settled once", () =>
    Effect.gen(function* () {
      for (let round = 0; round < 3; round++) {
        const { number, proposal } = yield* pending
        const answers = yield* inParallel(32, (n) => (n % 2 === 0 ? reject(proposal.id) : accept(proposal.id, { createType: true })))
        const won = answers.filter(({ status }) => status < 300)
        assert.strictEqual(won.length, 1)
        assert.isTrue(answers.every(({ body, status }) => status < 300 || body.code === "proposal-settled"))
        const { status } = yield* proposalNow(proposal.id)
        assert.strictEqual(status, won[0]?.status === 201 ? "accepted" : "rejected")
        const { body } = yield* get("/api/parts?limit=200")
        assert.strictEqual(
          body.items.filter((part: { readonly manufacturerCode: string }) => part.manufacturerCode === number).length,
          status === "accepted" ? 1 : 0
        )
      }
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("is accepted once however often the same request comes", () =>
    Effect.gen(function* () {
      const { proposal } = yield* pending
      const key = { "idempotency-key": `accept-${proposal.id}` }
      const first = yield* accept(proposal.id, { createType: true }, key)
      const again = yield* accept(proposal.id, { createType: true }, key)
      assert.deepStrictEqual([again.status, again.body], [201, first.body])
      assert.strictEqual(again.headers.get("location"), first.headers.get("location"))
      assert.strictEqual(again.headers.get("idempotency-replayed"), "true")
      const other = yield* accept(proposal.id, { createType: false }, key)
      assert.deepStrictEqual([other.status, other.body.code], [422, "idempotency-key-reused"])
    })
  )
})

layer(suggesting(), options)("R38: the objects of a proposal", (it) => {
  it.effect("are let go when it is rejected, with what was made of them and the files in the store", () =>
    Effect.gen(function* () {
      const { bytes, pinout, proposal, sheet } = yield* pending
      const hashes = [bytes, sheet, pinout].map(hash)
      const before = yield* objects
      assert.isTrue(hashes.every((one) => before.has(one)))
      const rejected = yield* reject(proposal.id)
      assert.deepStrictEqual([rejected.status, rejected.body.status, rejected.body.documents], [200, "rejected", []])
      assert.deepStrictEqual(rejected.body.output, proposal.output)
      const after = yield* objects
      assert.isFalse(hashes.some((one) => after.has(one)))
      for (const { contentUrl } of proposal.documents.slice(0, 3)) {
        const gone = yield* get(contentUrl)
        assert.deepStrictEqual([gone.status, gone.body.code], [404, "proposal-document-not-found"])
      }
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that were not chosen are let go, those that were are the part's", () =>
    Effect.gen(function* () {
      const { bytes, pinout, proposal, sheet } = yield* pending
      const accepted = yield* accept(proposal.id, { createType: true, documentIndexes: [1] })
      assert.strictEqual(accepted.status, 201, accepted.text)
      const kept = yield* objects
      assert.deepStrictEqual(
        [bytes, sheet, pinout].map((one) => kept.has(hash(one))),
        [false, true, false]
      )
      yield* idle
      const [document] = (yield* get(`/api/parts/${accepted.body.partId4}/documents`)).body.items
      assert.strictEqual((yield* send("DELETE", `/api/documents/${document.id}`)).status, 204)
      assert.isFalse((yield* objects).has(hash(sheet)))
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("stay when a part has the same bytes", () =>
    Effect.gen(function* () {
      const { bytes, proposal } = yield* pending
      const id4 = yield* newPart()
      const { body } = yield* upload(id4, bytes)
      yield* reject(proposal.id)
      assert.isTrue((yield* objects).has(hash(bytes)))
      assert.deepStrictEqual((yield* bytesOf(body.contentUrl)).bytes, bytes)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("go when its time is over", () =>
    Effect.gen(function* () {
      const { proposal } = yield* pending
      const other = yield* pending
      yield* settled(proposal.id)
      assert.deepStrictEqual(yield* expire, { expired: 1, abandoned: 0 })
      const now = yield* proposalNow(proposal.id)
      assert.deepStrictEqual([now.status, now.documents, typeof now.settledAt], ["expired", [], "string"])
      assert.deepStrictEqual([(yield* proposalNow(other.proposal.id)).status, yield* expire], ["pending", { expired: 0, abandoned: 0 }])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of a job that never proposed anything go with the hourly job", () =>
    Effect.gen(function* () {
      const bytes = yield* photo(70_001)
      yield* scripted(() => ({ type: "hang" }))
      const { body } = yield* suggestForm("photo", bytes)
      yield* untilAsked(1)
      const cancelled = yield* post(`/api/jobs/${body.id}/cancel`, {})
      assert.strictEqual(cancelled.status, 200, cancelled.text)
      yield* jobEnded(body.id)
      assert.isTrue((yield* objects).has(hash(bytes)))
      assert.deepStrictEqual(yield* expire, { expired: 0, abandoned: 1 })
      assert.isFalse((yield* objects).has(hash(bytes)))
      assert.deepStrictEqual(yield* faults, [])
    })
  )
})

layer(suggesting(), options)("R38: a proposal about a part", (it) => {
  it.effect("of tags adds them, unless others are given", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "Coil", tags: ["b", "a"] })
      yield* says({ tags: ["C", "a", "d e"] })
      const first = yield* proposed("tags", { id4 })
      assert.deepStrictEqual([first.output, first.partId4, first.partVersion], [{ tags: ["c", "d-e"] }, id4, 1])
      assert.strictEqual((yield* accept(first.id)).status, 200)
      assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body.tags, ["b", "a", "c", "d-e"])
      yield* says({ tags: ["f"] })
      const second = yield* proposed("tags", { id4 })
      assert.strictEqual((yield* accept(second.id, { overrides: { tags: ["only"] } })).status, 200)
      assert.deepStrictEqual((yield* get(`/api/parts/${id4}`)).body.tags, ["only"])
    })
  )

  it.effect("is refused for a part that would have too many tags", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "Tagged", tags: Array.from({ length: 29 }, (_, n) => `t${n}`) })
      yield* says({ tags: ["x", "y"] })
      const { id } = yield* proposed("tags", { id4 })
      const refused = yield* accept(id)
      assert.deepStrictEqual([refused.status, refused.body.errors[0].pointer], [400, "/fields"])
      assert.strictEqual((yield* accept(id, { overrides: { tags: ["x"] } })).status, 200)
    })
  )

  it.effect("of a type writes the first candidate, or another one that is named", () =>
    Effect.gen(function* () {
      const [one, other] = (yield* get("/api/types?limit=2")).body.items
      yield* says({
        candidates: [
          { name: one.name, confidence: "high", reason: "looks like it" },
          { name: other.name, confidence: "low", reason: "perhaps" }
        ]
      })
      const typeOf = (id4: string) => Effect.map(get(`/api/parts/${id4}`), ({ body }) => body.typeId)
      const accepted = Effect.fnUntraced(function* (body: object) {
        const id4 = yield* newPart({ description: `Of some type ${++made}` })
        const answer = yield* accept((yield* proposed("type", { id4 })).id, body)
        assert.strictEqual(answer.status, 200, answer.text)
        assert.deepStrictEqual(answer.body.acceptedFields, ["typeId"])
        return yield* typeOf(id4)
      })
      assert.strictEqual(yield* accepted({}), one.id)
      assert.strictEqual(yield* accepted({ fields: ["typeName"] }), one.id)
      assert.strictEqual(yield* accepted({ overrides: { name: other.name.toUpperCase() } }), other.id)
      assert.strictEqual(yield* accepted({ overrides: { typeId: other.id } }), other.id)
      const made_ = yield* accepted({ overrides: { name: "Whole new type" }, createType: true })
      assert.strictEqual((yield* get(`/api/types/${made_}`)).body.name, "Whole new type")
    })
  )

  it.effect("is stale when a chosen field has changed since, unless it is forced", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "timer", manufacturer: "Texas Instruments", package: "dip 8" })
      const proposal = yield* cleaned(id4, { description: "Timer 555", manufacturer: "TI", package: "DIP-8", pinCount: 8 })
      assert.deepStrictEqual(proposal.output.changes, [
        { field: "description", before: "timer", after: "Timer 555" },
        { field: "pinCount", before: null, after: 8 },
        { field: "manufacturer", before: "Texas Instruments", after: "TI" },
        { field: "package", before: "dip 8", after: "DIP-8" }
      ])
      yield* send("PATCH", `/api/parts/${id4}`, { package: "PDIP-8", description: "Timer", series: "555" })
      const stale = yield* accept(proposal.id)
      assert.deepStrictEqual([stale.status, stale.body.code, stale.body.fields], [409, "proposal-stale", ["description", "package"]])
      const { body: untouched } = yield* get(`/api/parts/${id4}`)
      assert.deepStrictEqual([untouched.manufacturer, untouched.pinCount], ["Texas Instruments", null])
      const overridden = yield* accept(proposal.id, { fields: ["pinCount"], overrides: { package: "DIL-8" } })
      assert.deepStrictEqual([overridden.status, overridden.body.fields], [409, ["package"]])
      const partly = yield* accept(proposal.id, { fields: ["pinCount", "manufacturer"] })
      assert.strictEqual(partly.status, 200, partly.text)
      const { body: part } = yield* get(`/api/parts/${id4}`)
      assert.deepStrictEqual(
        [part.description, part.package, part.manufacturer, part.pinCount, part.series],
        ["Timer", "PDIP-8", "TI", 8, "555"]
      )
      const again = yield* cleaned(id4, { description: "Timer 555" })
      yield* send("PATCH", `/api/parts/${id4}`, { description: "Something else" })
      assert.strictEqual((yield* accept(again.id)).body.code, "proposal-stale")
      assert.strictEqual((yield* accept(again.id, { force: true })).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.description, "Timer 555")
    })
  )

  it.effect("counts what changed while the model was thinking", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "slow" })
      const { pages, url } = yield* Web
      const db = yield* SqlClient.SqlClient
      yield* scripted((_, nth) =>
        nth === 0 ? tools({ name: "read_address", arguments: { url: `${url}/while` } }) : answer({ candidates: [] })
      )
      pages.set("/while", (_, response) => {
        void Effect.runPromise(db`update parts set description = 'fast', version = version + 1 where id4 = ${id4}`).then(() =>
          response.writeHead(200, { "content-type": "text/html" }).end("<p>read</p>")
        )
      })
      const proposal = yield* proposed("datasheet", { id4 })
      assert.deepStrictEqual([proposal.partVersion, proposal.output], [1, { candidates: [] }])
      const stale = yield* accept(proposal.id, { overrides: { description: "other" } })
      assert.deepStrictEqual([stale.status, stale.body.fields], [409, ["description"]])
    })
  )

  it.effect("cannot be accepted when the part was deleted, and the proposal can still be rejected", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "short lived" })
      const proposal = yield* cleaned(id4, { description: "Long lived" })
      assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}`)).status, 204)
      const refused = yield* accept(proposal.id, { force: true })
      assert.deepStrictEqual([refused.status, refused.body.code], [404, "part-retired"])
      assert.strictEqual((yield* proposalNow(proposal.id)).status, "pending")
      const asked = yield* suggest("cleanup", { id4 })
      assert.deepStrictEqual([asked.status, asked.body.code], [404, "part-retired"])
      assert.strictEqual((yield* reject(proposal.id)).body.status, "rejected")
    })
  )

  it.effect("fails when the part is deleted while the model thinks, and nothing is kept", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "gone soon" })
      const { pages, url } = yield* Web
      const { fetch } = yield* Http
      pages.set("/gone.pdf", sends(pdf("gone"), { "content-type": "application/pdf" }))
      pages.set("/going", (_, response) => {
        void Effect.runPromise(fetch(new Request(`http://test/api/parts/${id4}`, { method: "DELETE" }))).then(() =>
          response.writeHead(200, { "content-type": "text/html" }).end("<p>read</p>")
        )
      })
      yield* scripted((_, nth) =>
        nth === 0
          ? tools({ name: "read_address", arguments: { url: `${url}/going` } })
          : answer({ candidates: [{ url: `${url}/gone.pdf`, title: "x", documentType: "datasheet", reason: "" }] })
      )
      const job = yield* failureOf(suggest("datasheet", { id4 }))
      assert.strictEqual(job.error.code, "part-retired")
      assert.deepStrictEqual((yield* get(`/api/ai/proposals?id4=${id4}`)).body.items, [])
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`select from proposal_files where job_id = ${job.id}::uuid`, [])
      assert.isFalse((yield* objects).has(hash(pdf("gone"))))
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("looks for its type by the name that people have seen, whoever was renamed or deleted since", () =>
    Effect.gen(function* () {
      const named = (name: string, aliases: ReadonlyArray<string> = []) =>
        Effect.map(post("/api/types", { name, aliases }), ({ body }) => body)
      const timer = yield* named("Pulse maker")
      const candidates = [{ name: "pulse maker", confidence: "high", reason: "" }]
      yield* says({ candidates })
      const ask = Effect.gen(function* () {
        const id4 = yield* newPart({ description: `Pulses ${++made}` })
        const proposal = yield* proposed("type", { id4 })
        assert.strictEqual(proposal.output.candidates[0].existingTypeId, timer.id)
        return { id4, proposal }
      })
      const [renamed, aliased, created] = [yield* ask, yield* ask, yield* ask]
      const refused = Effect.gen(function* () {
        const { body, status } = yield* accept(renamed.proposal.id)
        assert.deepStrictEqual([status, body.code, body.name], [409, "type-unknown", "pulse maker"])
      })
      yield* send("PATCH", `/api/types/${timer.id}`, { name: "Ticker" })
      yield* refused
      const namesake = yield* named("Pulse maker")
      assert.strictEqual((yield* accept(renamed.proposal.id)).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${renamed.id4}`)).body.typeId, namesake.id)
      yield* send("PATCH", `/api/parts/${renamed.id4}`, { typeId: null })
      assert.strictEqual((yield* send("DELETE", `/api/types/${namesake.id}`)).status, 204)
      const missed = yield* accept(aliased.proposal.id)
      assert.deepStrictEqual([missed.status, missed.body.code], [409, "type-unknown"])
      const other = yield* named("Metronome", ["Pulse  Maker"])
      assert.strictEqual((yield* accept(aliased.proposal.id)).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${aliased.id4}`)).body.typeId, other.id)
      yield* send("PATCH", `/api/types/${other.id}`, { aliases: [] })
      assert.strictEqual((yield* accept(created.proposal.id, { createType: true })).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${created.id4}`)).body.type.name, "pulse maker")
    })
  )

  it.effect("about no part fills what a part that is named has not, and replaces nothing unseen", () =>
    Effect.gen(function* () {
      const precious = { description: "Written by hand", manufacturerCode: `OWN-${++made}`, tags: ["mine"], package: "DIP-8" }
      const id4 = yield* newPart(precious)
      const ask = Effect.gen(function* () {
        yield* says(analysed({ description: `Guessed ${++made}`, manufacturer: "TI", package: "DIP-8", tags: ["guess"] }))
        return yield* proposed("part", { text: `something ${made}` })
      })
      const [refused, inPart, forced] = [yield* ask, yield* ask, yield* ask]
      const { body, status } = yield* accept(refused.id, { id4 })
      assert.deepStrictEqual([status, body.code, body.fields], [409, "proposal-stale", ["description"]])
      const untouched = (yield* get(`/api/parts/${id4}`)).body
      assert.deepInclude(untouched, { description: "Written by hand", manufacturer: null, tags: ["mine"], version: 1 })

      assert.strictEqual((yield* accept(inPart.id, { id4, fields: ["manufacturer", "package", "tags"] })).status, 200)
      const filled = (yield* get(`/api/parts/${id4}`)).body
      assert.deepInclude(filled, { description: "Written by hand", manufacturer: "TI", tags: ["mine", "guess"] })
      assert.strictEqual((yield* accept(forced.id, { id4, force: true })).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.description, forced.output.analysis.description)
      const own = yield* ask
      assert.strictEqual((yield* accept(own.id, { id4, fields: [], overrides: { description: "By hand again" } })).status, 200)
      const [{ body: has }, { body: wanted }] = [
        yield* post("/api/types", { name: `Has ${made}` }),
        yield* post("/api/types", { name: `Wants ${made}` })
      ]
      yield* send("PATCH", `/api/parts/${id4}`, { typeId: has.id })
      const named = yield* ask
      assert.strictEqual((yield* accept(named.id, { id4, fields: [], overrides: { name: wanted.name } })).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.typeId, wanted.id)
    })
  )

  it.effect("is settled within the hour when its part is deleted", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "soon gone" })
      yield* says({ tags: ["orphan"] })
      const { id } = yield* proposed("tags", { id4 })
      yield* send("DELETE", `/api/parts/${id4}`)
      assert.strictEqual((yield* accept(id)).body.code, "part-retired")
      yield* expire
      assert.strictEqual((yield* proposalNow(id)).status, "expired")
    })
  )

  it.effect("of a data sheet gives the part the documents that are chosen", () =>
    Effect.gen(function* () {
      const number = freshNumber()
      const { sheet } = yield* findable(number)
      const { url } = yield* Web
      const id4 = yield* newPart({ description: "Timer", manufacturerCode: number })
      yield* says({
        candidates: [
          { url: `${url}/${number}`, title: "Page", documentType: "product-page", reason: "the maker's" },
          { url: `${url}/${number}.pdf`, title: "Sheet", documentType: "datasheet", reason: "the maker's" }
        ]
      })
      const proposal = yield* proposed("datasheet", { id4 })
      const refused = yield* accept(proposal.id, { documentIndexes: [] })
      assert.deepStrictEqual([refused.status, refused.body.code], [400, "invalid-request"])
      const version = (yield* get(`/api/parts/${id4}`)).body.version
      assert.strictEqual((yield* accept(proposal.id, { documentIndexes: [1] })).status, 200)
      const { body } = yield* get(`/api/parts/${id4}/documents`)
      assert.deepStrictEqual(
        body.items.map(({ kind, title }: Record<string, unknown>) => [kind, title]),
        [["pdf", "Sheet"]]
      )
      assert.deepStrictEqual((yield* bytesOf(body.items[0].contentUrl)).bytes, sheet)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.version, version)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("refuses another part than its own", () =>
    Effect.gen(function* () {
      const [id4, other] = [yield* newPart({ description: "mine" }), yield* newPart({ description: "not mine" })]
      const { id } = yield* cleaned(id4, { description: "Mine" })
      const refused = yield* accept(id, { id4: other })
      assert.deepStrictEqual([refused.status, refused.body.errors[0].pointer], [400, "/id4"])
      assert.strictEqual((yield* accept(id, { id4 })).status, 200)
    })
  )
})

layer(suggesting(), options)("R38: a settled proposal", (it) => {
  it.effect("is settled for good, whichever way", () =>
    Effect.gen(function* () {
      const one = Effect.gen(function* () {
        return yield* cleaned(yield* newPart({ description: `settle ${++made}` }), { description: `Settled ${made}` })
      })
      const accepted = yield* one
      yield* accept(accepted.id)
      const rejected = yield* one
      yield* reject(rejected.id)
      const superseded = yield* one
      yield* cleaned(superseded.partId4, {})
      const overdue = yield* one
      yield* settled(overdue.id)
      const expired = yield* one
      yield* settled(expired.id)
      for (const [{ id }, status] of [
        [accepted, "accepted"],
        [rejected, "rejected"],
        [superseded, "superseded"],
        // Nobody has looked through the proposals since.
        [overdue, "expired"]
      ] as const) {
        for (const answer of [yield* accept(id, { force: true }), yield* reject(id)]) {
          assert.deepStrictEqual(
            [answer.status, answer.body.code, answer.body.proposalId, answer.body.proposalStatus],
            [409, "proposal-settled", id, status],
            status
          )
        }
        assert.strictEqual((yield* proposalNow(id)).status, status)
      }
      assert.strictEqual((yield* expire).expired, 2)
      assert.strictEqual((yield* accept(expired.id)).body.code, "proposal-settled")
      assert.strictEqual((yield* proposalNow(overdue.id)).status, "expired")
    })
  )

  it.effect("is one that a newer one of its kind for its part has taken the place of", () =>
    Effect.gen(function* () {
      const id4 = yield* newPart({ description: "superseded" })
      const older = yield* cleaned(id4, { description: "Older" })
      // Asked the same, it would answer the same.
      yield* send("PATCH", `/api/parts/${id4}`, { series: "other" })
      yield* says({ tags: ["stays"] })
      const tags = yield* proposed("tags", { id4 })
      const elsewhere = yield* cleaned(yield* newPart({ description: "elsewhere" }), { description: "Elsewhere" })
      const newer = yield* cleaned(id4, { description: "Newer" })
      const states = yield* Effect.forEach([older, tags, elsewhere, newer], ({ id }) => Effect.map(proposalNow(id), ({ status }) => status))
      assert.deepStrictEqual(states, ["superseded", "pending", "pending", "pending"])
      assert.strictEqual((yield* accept(newer.id)).status, 200)
      assert.strictEqual((yield* get(`/api/parts/${id4}`)).body.description, "Newer")
    })
  )

  it.effect("lets one of 32 that end at once wait, and no more", () =>
    Effect.gen(function* () {
      const number = freshNumber()
      yield* findable(number)
      const { url } = yield* Web
      const id4 = yield* newPart({ description: "asked often", manufacturerCode: number })
      yield* says({
        candidates: [{ url: `${url}/${number}.pdf`, title: "Sheet", documentType: "datasheet", reason: "" }]
      })
      const asked = yield* inParallel(32, () => suggest("datasheet", { id4 }))
      assert.deepStrictEqual(tally(asked), { 202: 32 })
      const jobs = yield* Effect.forEach(asked, ({ body }) => jobEnded(body.id))
      assert.deepStrictEqual([...new Set(jobs.map(({ state }) => state))], ["succeeded"])
      const all = (yield* get(`/api/ai/proposals?id4=${id4}&limit=100`)).body.items
      assert.strictEqual(all.length, 32)
      assert.deepStrictEqual(
        all.map(({ status }: { readonly status: string }) => status),
        ["pending", ...Array.from({ length: 31 }, () => "superseded")]
      )
      assert.strictEqual((yield* accept(all[0].id)).status, 200)
      assert.deepStrictEqual(yield* faults, [])
    })
  )
})

layer(suggesting(), options)("R38: the list of proposals", (it) => {
  it.effect("is filtered by kind, state and part, newest first, page by page", () =>
    Effect.gen(function* () {
      yield* scripted(({ body }) => answer(body.response_format?.json_schema.name === "tags" ? { tags: ["t"] } : { candidates: [] }))
      const ids: Array<string> = []
      const parts = [yield* newPart({ description: "first" }), yield* newPart({ description: "second" })]
      for (const id4 of parts) {
        ids.unshift((yield* proposed("tags", { id4 })).id)
        ids.unshift((yield* proposed("type", { id4 })).id)
      }
      ids.unshift((yield* proposed("tags", { description: "of no part" })).id)
      const [rejected = "", overdue = ""] = [ids[1], ids[3]]
      yield* reject(rejected)
      yield* settled(overdue)
      const list = (query: string) =>
        Effect.map(get(`/api/ai/proposals?${query}`), ({ body, status, text }) => {
          assert.strictEqual(status, 200, text)
          return body.items.map(({ id }: { readonly id: string }) => ids.indexOf(id))
        })
      assert.deepStrictEqual(yield* list(""), [0, 1, 2, 3, 4])
      assert.deepStrictEqual(yield* list("kind=tags"), [0, 2, 4])
      assert.deepStrictEqual(yield* list("status=rejected"), [1])
      assert.deepStrictEqual(yield* list("status=expired"), [3])
      assert.deepStrictEqual(yield* list("status=pending"), [0, 2, 4])
      assert.deepStrictEqual(yield* list("status=accepted"), [])
      assert.deepStrictEqual(yield* list(`id4=${parts[0]?.toLowerCase()}`), [3, 4])
      assert.deepStrictEqual(yield* list(`id4=${parts[1]}&kind=type&status=rejected`), [1])
      assert.deepStrictEqual(yield* list("id4=QQQQ"), [])
      const seen: Array<string> = []
      for (let cursor: string | null = ""; cursor !== null; ) {
        const { body }: Answer = yield* get(`/api/ai/proposals?limit=2${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`)
        seen.push(...body.items.map(({ id }: { readonly id: string }) => id))
        cursor = body.nextCursor
      }
      assert.deepStrictEqual(seen, ids)
      for (const query of ["kind=none", "status=open", "limit=0", "limit=ten", "id4=QQ", "foo=1", "cursor=x"]) {
        assert.strictEqual((yield* get(`/api/ai/proposals?${query}`)).status, 400, query)
      }
    })
  )
})

layer(suggesting(), options)("R38: a suggestion", (it) => {
  it.effect("is asked for once however often the same request comes, its photo too", () =>
    Effect.gen(function* () {
      yield* says({ tags: ["once"] })
      const words = { description: "asked once" }
      const key = (name: string) => ({ "idempotency-key": name })
      const first = yield* suggest("tags", words, key("words"))
      const again = yield* suggest("tags", words, key("words"))
      assert.deepStrictEqual([again.status, again.body, again.headers.get("idempotency-replayed")], [202, first.body, "true"])
      assert.strictEqual(first.headers.get("location"), `/api/jobs/${first.body.id}`)
      yield* jobEnded(first.body.id)
      const other = yield* suggest("tags", { description: "asked twice" }, key("words"))
      assert.deepStrictEqual([other.status, other.body.code], [422, "idempotency-key-reused"])

      const bytes = yield* photo(80_001)
      yield* scripted(() => ({ type: "hang" }))
      const sent = yield* suggestForm("photo", bytes, { text: "bag" }, key("photo"))
      assert.strictEqual(sent.status, 202, sent.text)
      const [same, otherText, otherPhoto] = [
        yield* suggestForm("photo", bytes, { text: "bag" }, key("photo")),
        yield* suggestForm("photo", bytes, { text: "box" }, key("photo")),
        yield* suggestForm("photo", yield* photo(80_002), { text: "bag" }, key("photo"))
      ]
      assert.deepStrictEqual([same.status, same.body.id], [202, sent.body.id])
      for (const { body, status } of [otherText, otherPhoto]) {
        assert.deepStrictEqual([status, body.code], [422, "idempotency-key-reused"])
      }
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual((yield* sql`select from proposal_files where job_id = ${sent.body.id}::uuid`).length, 1)
      assert.isFalse((yield* objects).has(hash(yield* photo(80_002))))
      yield* post(`/api/jobs/${sent.body.id}/cancel`, {})
      yield* jobEnded(sent.body.id)
      yield* expire
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of 32 with one key at once is one job", () =>
    Effect.gen(function* () {
      yield* says(nothing)
      const bytes = yield* photo(80_003)
      const answers = yield* inParallel(32, () => suggestForm("part", bytes, {}, { "idempotency-key": "crowd" }))
      const told = answers.filter(({ status }) => status === 202)
      assert.isAtLeast(told.length, 1)
      assert.strictEqual(new Set(told.map(({ body }) => body.id)).size, 1)
      assert.isTrue(answers.every(({ body, status }) => status === 202 || body.code === "idempotency-key-in-use"))
      yield* jobEnded(told[0]?.body.id)
      const { body } = yield* get("/api/jobs?kind=inventory.ai.part&limit=100")
      assert.strictEqual(body.items.length, 1)
      const [proposal] = (yield* get("/api/ai/proposals?kind=part")).body.items
      yield* reject(proposal.id)
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of each of 32 at once becomes a proposal of its own", () =>
    Effect.gen(function* () {
      yield* scripted(({ body }) => answer(analysed({ description: JSON.stringify(body.messages.at(-1)?.content).match(/lot \d+/u)?.[0] })))
      const photos = yield* Effect.forEach(Array.from({ length: 32 }), (_, n) => photo(90_000 + n))
      const all = yield* inParallel(32, (n) => proposalOf(suggestForm("part", photos[n] as Uint8Array, { text: `lot ${n}` })))
      assert.deepStrictEqual(
        all.map(({ output }) => output.analysis.description),
        all.map((_, n) => `lot ${n}`)
      )
      for (const [n, { documents }] of all.entries()) {
        assert.deepStrictEqual((yield* bytesOf(documents[0].contentUrl)).bytes, photos[n])
      }
      const accepted = yield* inParallel(32, (n) => accept(all[n].id, { documentIndexes: n < 4 ? [0] : [] }))
      assert.deepStrictEqual(tally(accepted), { 201: 32 })
      assert.strictEqual(new Set(accepted.map(({ body }) => body.partId4)).size, 32)
      assert.deepStrictEqual(yield* faults, [])
    })
  )
})

const nothing = { analysis: null, duplicates: [], failureReason: "Nothing can be read." }
