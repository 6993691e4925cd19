import type { ServerResponse } from "node:http"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { SqlClient } from "effect/sql"
import sharp from "sharp"
import { faults } from "../support/documents-suite.ts"
import { image, pdf } from "../support/files.ts"
import { bitmap, icon } from "../support/icons.ts"
import { idle } from "../support/idle.ts"
import { get, inParallel, post, tally } from "../support/inventory.ts"
import { sends, Web, webbed } from "../support/web.ts"
import { Http, type SendOptions, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

let sellers = 0
const newSeller = Effect.fnUntraced(function* (fields: Record<string, unknown> = {}) {
  const answer = yield* post("/api/sellers", { name: `Seller ${++sellers}`, ...fields })
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body.id as number
})

const send = (method: string, path: string, body?: unknown, sending?: SendOptions) =>
  Effect.flatMap(Http, (http) => http.send(method, path, body, sending))

const formOf = Effect.fnUntraced(function* (parts: Record<string, Uint8Array | string>) {
  const form = new FormData()
  for (const [name, part] of Object.entries(parts)) {
    form.append(name, typeof part === "string" ? part : new File([new Uint8Array(part)], "logo.bin"))
  }
  const encoded = new Response(form)
  const raw = new Uint8Array(yield* Effect.promise(() => encoded.arrayBuffer()))
  return { raw, type: encoded.headers.get("content-type") ?? "" }
})

const putForm = Effect.fnUntraced(function* (
  id: number | string,
  parts: Record<string, Uint8Array | string>,
  headers: Record<string, string> = {}
) {
  const { raw, type } = yield* formOf(parts)
  return yield* send("PUT", `/api/sellers/${id}/logo`, undefined, { raw, headers: { "content-type": type, ...headers } })
})
const putLogo = (id: number | string, file: Uint8Array, headers: Record<string, string> = {}) => putForm(id, { file }, headers)
const removeLogo = (id: number, headers: Record<string, string> = {}) => send("DELETE", `/api/sellers/${id}/logo`, undefined, { headers })

const logoOf = Effect.fnUntraced(function* (id: number, headers: Record<string, string> = {}) {
  const { fetch } = yield* Http
  const response = yield* fetch(new Request(`http://test/api/sellers/${id}/logo`, { headers }))
  return {
    status: response.status,
    headers: response.headers,
    bytes: new Uint8Array(yield* Effect.promise(() => response.arrayBuffer()))
  }
})

/** How many rows and objects the logos of all sellers take. */
const kept = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* sql<{ readonly logos: number; readonly objects: number }>`
    select (select count(*)::int from seller_logos) as logos, (select count(*)::int from objects) as objects`
  return found
})

layer(world(), options)("a logo", (it) => {
  it.effect("is uploaded, shown, replaced and removed, and the seller says where it is", () =>
    Effect.gen(function* () {
      const id = yield* newSeller()
      const path = `/api/sellers/${id}`
      const before = (yield* get(path)).body
      assert.strictEqual(before.logoUrl, null)
      const missing = yield* get(`${path}/logo`)
      assert.deepStrictEqual([missing.status, missing.body.code, missing.body.sellerId], [404, "seller-logo-not-found", id])

      const first = yield* image({ seed: 1 })
      const put = yield* putLogo(id, first, { "if-match": '"1"' })
      assert.strictEqual(put.status, 200, put.text)
      assert.deepStrictEqual([put.body.logoUrl, put.body.version, put.headers.get("etag")], [`${path}/logo`, 2, '"2"'])
      assert.deepStrictEqual((yield* get(path)).body, put.body)
      assert.strictEqual((yield* get("/api/sellers")).body.items.at(-1).logoUrl, `${path}/logo`)

      const shown = yield* logoOf(id)
      assert.deepStrictEqual(shown.bytes, first)
      assert.deepStrictEqual(
        ["content-type", "cache-control", "accept-ranges", "content-disposition", "content-length"].map((name) => shown.headers.get(name)),
        ["image/png", "private, no-cache", "bytes", "inline", String(first.length)]
      )
      const etag = shown.headers.get("etag") ?? ""
      assert.strictEqual((yield* logoOf(id, { "if-none-match": etag })).status, 304)
      const part = yield* logoOf(id, { range: "bytes=1-3" })
      assert.deepStrictEqual([part.status, Buffer.from(part.bytes).toString("latin1")], [206, "PNG"])
      assert.strictEqual((yield* logoOf(id, { range: "bytes=99999-" })).status, 416)

      const second = yield* image({ seed: 2, format: "webp" })
      const replaced = yield* putLogo(id, second)
      assert.deepStrictEqual([replaced.status, replaced.body.version], [200, 3])
      const other = yield* logoOf(id, { "if-none-match": etag })
      assert.deepStrictEqual([other.status, other.bytes, other.headers.get("content-type")], [200, second, "image/webp"])
      assert.deepStrictEqual((yield* putLogo(id, second)).body, replaced.body)
      assert.deepStrictEqual(yield* kept, { logos: 1, objects: 1 })

      for (const refused of [yield* putLogo(id, first, { "if-match": '"1"' }), yield* removeLogo(id, { "if-match": '"1"' })]) {
        assert.deepStrictEqual([refused.status, refused.body.code], [412, "precondition-failed"])
      }
      assert.strictEqual((yield* removeLogo(id, { "if-match": '"3"' })).status, 204)
      assert.strictEqual((yield* removeLogo(id)).status, 204)
      const after = (yield* get(path)).body
      assert.deepStrictEqual([after.logoUrl, after.version], [null, 4])
      assert.strictEqual((yield* logoOf(id)).status, 404)
      const changes = yield* get(`/api/changes?entity=seller&entityId=${id}`)
      assert.deepStrictEqual(
        changes.body.items.map(({ action, after }: { readonly action: string; readonly after: unknown }) => [action, after]),
        [
          ["updated", after],
          ["updated", replaced.body],
          ["updated", put.body],
          ["created", before]
        ]
      )
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that is none is refused, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const id = yield* newSeller()
      const png = yield* image({ seed: 3 })
      const large = new Uint8Array(2 * 2 ** 20 + 1)
      large.set(png)
      const svg = new TextEncoder().encode('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>')
      const cases: ReadonlyArray<readonly [string, ReturnType<typeof putForm>, number, string]> = [
        ["an SVG", putLogo(id, svg), 415, "unsupported-media"],
        ["a PDF", putLogo(id, pdf("logo")), 415, "unsupported-media"],
        ["text", putLogo(id, new TextEncoder().encode("logo")), 415, "unsupported-media"],
        ["an icon", putLogo(id, icon({ picture: png })), 415, "unsupported-media"],
        ["more than 2 MiB", putLogo(id, large), 413, "payload-too-large"],
        [
          "half an image",
          putLogo(id, (yield* image({ seed: 4, width: 400, height: 400, format: "jpeg" })).slice(0, 700)),
          422,
          "unreadable-file"
        ],
        ["no byte", putLogo(id, new Uint8Array()), 422, "unreadable-file"],
        ["no file", putForm(id, { title: "x" }), 400, "invalid-request"],
        ["a text beside it", putForm(id, { file: png, title: "x" }), 400, "invalid-request"],
        ["no seller", putLogo(4711, png), 404, "seller-not-found"],
        ["an impossible seller", putLogo("x", png), 404, "seller-not-found"],
        [
          "no form",
          send("PUT", `/api/sellers/${id}/logo`, undefined, { raw: png, headers: { "content-type": "image/png" } }),
          415,
          "unsupported-media-type"
        ]
      ]
      for (const [what, sent, status, code] of cases) {
        const answer = yield* sent
        assert.deepStrictEqual([answer.status, answer.body?.code], [status, code], `${what}: ${answer.text}`)
      }
      assert.strictEqual((yield* removeLogo(4711)).body.code, "seller-not-found")
      assert.strictEqual((yield* get("/api/sellers/4711/logo")).body.code, "seller-not-found")
      assert.strictEqual((yield* get(`/api/sellers/${id}`)).body.version, 1)
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("of 32 that are uploaded at once is the last one, and the others are gone", () =>
    Effect.gen(function* () {
      const id = yield* newSeller()
      const images = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => n),
        (n) => image({ seed: 100 + n })
      )
      const answers = yield* inParallel(32, (n) => putLogo(id, images[n]!))
      assert.deepStrictEqual(tally(answers), { 200: 32 })
      assert.deepStrictEqual(
        answers.map(({ body }) => body.version).toSorted((a, b) => a - b),
        Array.from({ length: 32 }, (_, n) => n + 2)
      )
      const last = answers.findIndex(({ body }) => body.version === 33)
      assert.deepStrictEqual((yield* logoOf(id)).bytes, images[last])
      assert.deepStrictEqual(yield* kept, { logos: 1, objects: 1 })
      assert.deepStrictEqual(tally(yield* inParallel(32, () => removeLogo(id))), { 204: 32 })
      assert.strictEqual((yield* get(`/api/sellers/${id}`)).body.version, 34)
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that 32 upload at once is one and the same", () =>
    Effect.gen(function* () {
      const id = yield* newSeller()
      const bytes = yield* image({ seed: 5 })
      const answers = yield* inParallel(32, () => putLogo(id, bytes))
      assert.deepStrictEqual(tally(answers), { 200: 32 })
      assert.deepStrictEqual([...new Set(answers.map(({ body }) => body.version))], [2])
      assert.deepStrictEqual(yield* kept, { logos: 1, objects: 1 })
      yield* removeLogo(id)
    })
  )

  it.effect("may be that of another seller: 320 changes to and fro between the same two images hold nobody up", () =>
    Effect.gen(function* () {
      const ids = [yield* newSeller(), yield* newSeller()]
      const images = [yield* image({ seed: 6 }), yield* image({ seed: 7 })]
      for (let round = 0; round < 10; round++) {
        const answers = yield* inParallel(32, (n) => putLogo(ids[n % 2]!, images[(n >> 1) % 2]!))
        assert.deepStrictEqual(tally(answers), { 200: 32 })
      }
      for (const id of ids) {
        const { bytes } = yield* logoOf(id)
        assert.isTrue(images.some((one) => Buffer.compare(one, bytes) === 0))
      }
      assert.strictEqual((yield* kept)?.logos, 2)
      yield* Effect.forEach(ids, (id) => removeLogo(id))
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("that is uploaded, removed and looked at by 32 at once is there or not, and never broken", () =>
    Effect.gen(function* () {
      const id = yield* newSeller()
      const images = [yield* image({ seed: 8 }), yield* image({ seed: 9 })]
      for (let round = 0; round < 5; round++) {
        const answers = yield* inParallel(32, (n) =>
          n % 4 === 0
            ? Effect.map(putLogo(id, images[n % 8 === 0 ? 0 : 1]!), ({ status }) => `put ${status}`)
            : n % 4 === 1
              ? Effect.map(removeLogo(id), ({ status }) => `removed ${status}`)
              : Effect.map(logoOf(id), ({ bytes, status }) =>
                  status === 200 && !images.some((one) => Buffer.compare(one, bytes) === 0) ? "broken" : `seen ${status}`
                )
        )
        assert.includeMembers(["put 200", "removed 204", "seen 200", "seen 404"], answers)
      }
      yield* removeLogo(id)
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("goes with its seller, also beside 32 uploads", () =>
    Effect.gen(function* () {
      const id = yield* newSeller()
      yield* putLogo(id, yield* image({ seed: 10 }))
      const images = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => n),
        (n) => image({ seed: 200 + n })
      )
      const [removed, uploads] = yield* Effect.all([send("DELETE", `/api/sellers/${id}`), inParallel(32, (n) => putLogo(id, images[n]!))], {
        concurrency: "unbounded"
      })
      assert.strictEqual(removed.status, 204)
      for (const { body, status } of uploads) assert.isTrue(status === 200 || body.code === "seller-not-found")
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )
})

const jobsOf = Effect.fnUntraced(function* (id: number) {
  yield* idle
  const { body } = yield* get(`/api/jobs?kind=inventory.seller.icon&entity=seller&entityId=${id}`)
  return (
    body.items as ReadonlyArray<{ readonly state: string; readonly result: unknown; readonly error: { readonly code: string } | null }>
  ).map(({ error, result, state }) => [state, error?.code ?? result])
})

const looks = Effect.fnUntraced(function* (id: number) {
  const { bytes, headers, status } = yield* logoOf(id)
  if (status !== 200) return [status]
  const { data, info } = yield* Effect.promise(() => sharp(bytes).raw().toBuffer({ resolveWithObject: true }))
  return [headers.get("content-type"), info.width, info.height, [...data.subarray(0, 3)].map((part) => Math.round(part / 51))]
})

const picture = (red: number, green: number, blue: number, width: number, height = width) =>
  Effect.promise(
    async () =>
      new Uint8Array(
        await sharp({ create: { width, height, channels: 3, background: { r: red, g: green, b: blue } } })
          .png()
          .toBuffer()
      )
  )
const [red, green, blue] = [[5, 0, 0] as const, [0, 5, 0] as const, [0, 0, 5] as const]

layer(webbed, options)("the icon of a website", (it) => {
  it.effect("is fetched by a job when a seller gets one, the largest that the page names, and kept small", () =>
    Effect.gen(function* () {
      const { asked, pages, url } = yield* Web
      pages.set(
        "/one/",
        sends(`<title>One</title><meta property="og:image" content="/banner.png"><link rel="shortcut icon" href="/small.png" sizes="16x16">
          <link rel="apple-touch-icon" href="touch.png"><link rel="icon" href="/large.png" sizes="32x32 512x512">`)
      )
      pages.set("/small.png", sends(yield* picture(0, 255, 0, 16), { "content-type": "image/png" }))
      pages.set("/one/touch.png", sends(yield* picture(0, 0, 255, 180), { "content-type": "image/png" }))
      pages.set("/large.png", sends(yield* picture(255, 0, 0, 512, 256), { "content-type": "image/png" }))
      const id = yield* newSeller({ website: `${url}/one/` })
      assert.deepStrictEqual(yield* jobsOf(id), [["succeeded", { found: true }]])
      const { body } = yield* get(`/api/sellers/${id}`)
      assert.deepStrictEqual([body.logoUrl, body.version], [`/api/sellers/${id}/logo`, 1])
      assert.deepStrictEqual(yield* looks(id), ["image/webp", 256, 128, [...red]])
      assert.notInclude(asked, "/banner.png")
      // Once: an edit of something else asks nobody.
      const before = asked.length
      yield* send("PATCH", `/api/sellers/${id}`, { name: "Renamed", website: `${url}/one/` })
      assert.deepStrictEqual(yield* jobsOf(id), [["succeeded", { found: true }]])
      assert.strictEqual(asked.length, before)
    })
  )

  it.effect("is the next one when one cannot be read, and at last favicon.ico", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set(
        "/two",
        sends(`<link rel="icon" href="/broken.png" sizes="300x300"><link rel="icon" href="/gone.png"><link rel=icon href="/dot.png">`)
      )
      pages.set("/broken.png", sends((yield* picture(1, 2, 3, 100)).slice(0, 60), { "content-type": "image/png" }))
      pages.set("/dot.png", sends(yield* picture(0, 0, 0, 1), { "content-type": "image/png" }))
      pages.set("/favicon.ico", sends(icon({ picture: bitmap({ width: 32, height: 32, bits: 32 }, () => [0, 0, 255, 255]) })))
      const id = yield* newSeller({ website: `${url}/two` })
      assert.deepStrictEqual(yield* jobsOf(id), [["succeeded", { found: true }]])
      assert.deepStrictEqual(yield* looks(id), ["image/webp", 32, 32, [...blue]])
      pages.delete("/favicon.ico")
      const none = yield* newSeller({ website: `${url}/two` })
      assert.deepStrictEqual(yield* jobsOf(none), [["succeeded", { found: false }]])
      assert.strictEqual((yield* get(`/api/sellers/${none}`)).body.logoUrl, null)
    })
  )

  it.effect("of a site that does not answer, or may not be asked, is no logo after a few attempts", () =>
    Effect.gen(function* () {
      const { url } = yield* Web
      const ids = yield* Effect.forEach([`${url}/nowhere`, "http://127.0.0.1:1/", "http://192.168.1.1/"], (website) =>
        newSeller({ website })
      )
      for (const id of ids) {
        assert.deepStrictEqual(yield* jobsOf(id), [["succeeded", { found: false }]])
        assert.deepStrictEqual(yield* looks(id), [404])
      }
      const without = yield* newSeller()
      assert.deepStrictEqual(yield* jobsOf(without), [])
    })
  )

  /** A page that answers when it is told to. */
  const held = Effect.fnUntraced(function* (path: string, content: string) {
    const { pages } = yield* Web
    const asked = yield* Deferred.make<void>()
    const responses: Array<ServerResponse> = []
    pages.set(path, (_, response) => {
      responses.push(response)
      Deferred.doneUnsafe(asked, Effect.void)
    })
    return {
      asked: Deferred.await(asked),
      answer: Effect.sync(() => {
        for (const response of responses) response.writeHead(200, { "content-type": "text/html" }).end(content)
      })
    }
  })
  const iconAt = Effect.fnUntraced(function* (path: string, colour: readonly [number, number, number]) {
    const { pages } = yield* Web
    const [r, g, b] = colour.map((part) => part * 51) as [number, number, number]
    pages.set(path, sends(yield* picture(r, g, b, 40), { "content-type": "image/png" }))
    return `<!doctype html><link rel="icon" href="${path}">`
  })

  it.effect("that the seller had before does not come back, however late it arrives", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const old = yield* held("/old", yield* iconAt("/old.png", red))
      pages.set("/new", sends(yield* iconAt("/new.png", green)))
      const id = yield* newSeller({ website: `${url}/old` })
      yield* old.asked
      const edited = yield* send("PATCH", `/api/sellers/${id}`, { website: `${url}/new` })
      assert.strictEqual(edited.status, 200, edited.text)
      yield* old.answer
      assert.deepStrictEqual(yield* jobsOf(id), [
        ["succeeded", { found: true }],
        ["succeeded", { found: false }]
      ])
      assert.deepStrictEqual(yield* looks(id), ["image/webp", 40, 40, [...green]])
      yield* send("PATCH", `/api/sellers/${id}`, { website: null })
      assert.deepStrictEqual(yield* looks(id), [404])
      assert.strictEqual((yield* get(`/api/sellers/${id}`)).body.logoUrl, null)
      // And again, from the beginning: nothing of before is left.
      yield* send("PATCH", `/api/sellers/${id}`, { website: `${url}/new` })
      yield* idle
      assert.deepStrictEqual(yield* looks(id), ["image/webp", 40, 40, [...green]])
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("never takes the place of a logo that was uploaded, and is there when that is removed", () =>
    Effect.gen(function* () {
      const { url } = yield* Web
      const page = yield* held("/both", yield* iconAt("/both.png", blue))
      const id = yield* newSeller({ website: `${url}/both` })
      yield* page.asked
      yield* putLogo(id, yield* picture(255, 0, 0, 50))
      yield* page.answer
      assert.deepStrictEqual(yield* jobsOf(id), [["succeeded", { found: true }]])
      assert.deepStrictEqual(yield* looks(id), ["image/png", 50, 50, [...red]])
      assert.strictEqual((yield* removeLogo(id)).status, 204)
      assert.deepStrictEqual(yield* looks(id), ["image/webp", 40, 40, [...blue]])
      assert.strictEqual((yield* removeLogo(id)).status, 204)
      assert.deepStrictEqual(yield* looks(id), ["image/webp", 40, 40, [...blue]])
    })
  )

  it.effect("of a seller that is deleted meanwhile is not kept, nor is any of one that is deleted later", () =>
    Effect.gen(function* () {
      const { url } = yield* Web
      const page = yield* held("/gone", yield* iconAt("/gone-icon.png", blue))
      const id = yield* newSeller({ website: `${url}/gone` })
      yield* page.asked
      assert.strictEqual((yield* send("DELETE", `/api/sellers/${id}`)).status, 204)
      yield* page.answer
      assert.deepStrictEqual(yield* jobsOf(id), [["succeeded", { found: false }]])
      const { body } = yield* get("/api/sellers?limit=200")
      for (const seller of body.items) assert.strictEqual((yield* send("DELETE", `/api/sellers/${seller.id}`)).status, 204)
      assert.deepStrictEqual(yield* kept, { logos: 0, objects: 0 })
      assert.deepStrictEqual(yield* faults, [])
    })
  )

  it.effect("is kept once after 32 edits at once, of the website that the last of them has left, again and again", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set("/a", sends(yield* iconAt("/a.png", red)))
      pages.set("/b", sends(yield* iconAt("/b.png", green)))
      const id = yield* newSeller()
      for (let round = 0; round < 6; round++) {
        const answers = yield* inParallel(32, (n) => send("PATCH", `/api/sellers/${id}`, { website: `${url}/${n % 2 === 0 ? "a" : "b"}` }))
        assert.deepStrictEqual(tally(answers), { 200: 32 })
        yield* idle
        const { body } = yield* get(`/api/sellers/${id}`)
        assert.deepStrictEqual(yield* looks(id), ["image/webp", 40, 40, [...(body.website.endsWith("a") ? red : green)]])
        assert.deepStrictEqual(yield* kept, { logos: 1, objects: 1 })
      }
      assert.deepStrictEqual(yield* faults, [])
    })
  )
})
