import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import sharp from "sharp"
import { faults, spooled } from "../support/documents-suite.ts"
import { image, pdf } from "../support/files.ts"
import { forEver, webServer } from "../support/internet.ts"
import { get, inParallel, newPart, post } from "../support/inventory.ts"
import { sends, Web, webbed } from "../support/web.ts"
import { Http } from "../support/world.ts"

const link = (id4: string, body: Record<string, unknown>, headers: Record<string, string> = {}) =>
  post(`/api/parts/${id4}/documents`, body, { headers })

layer(webbed, { excludeTestServices: true, timeout: "60 seconds" })("a link", (it) => {
  it.effect("to a page keeps its title and a small copy of its picture", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      const picture = yield* image({ width: 2000, height: 1000, seed: 5, format: "jpeg" })
      pages.set(
        "/shop/relay",
        sends(`<!doctype html><title>
        \n  Relay 12 V &amp; socket \n second line</title><meta property="og:title" content="Other">
        <meta property="og:image" content="/clip.mp4"><meta name="twitter:image" content="../img/relay.jpg">`)
      )
      pages.set("/img/relay.jpg", sends(picture, { "content-type": "image/jpeg" }))
      pages.set("/clip.mp4", sends("no picture", { "content-type": "video/mp4" }))
      const { body, status, text } = yield* link(id4, { url: `${url}/shop/relay#top` })
      assert.strictEqual(status, 201, text)
      assert.deepStrictEqual(
        [body.kind, body.title, body.url, body.contentUrl, body.mediaType, body.isCover],
        ["link", "Relay 12 V & socket", `${url}/shop/relay#top`, null, null, false]
      )
      const { fetch } = yield* Http
      const thumbnail = yield* fetch(new Request(`http://test/api/documents/${body.id}/thumbnail?size=1000`))
      const { height, width } = yield* Effect.promise(async () => sharp(new Uint8Array(await thumbnail.arrayBuffer())).metadata())
      assert.deepStrictEqual([width, height], [1000, 500])
      assert.strictEqual((yield* get(`/api/documents/${body.id}/content`)).body.code, "no-preview")
    })
  )

  it.effect("has the title that is given, that of the page, of its card, or the host", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      pages.set("/titled", sends("<title>Page</title>"))
      pages.set("/card", sends(`<html><meta property="og:title" content="  Card\n "><body>`))
      pages.set("/long", sends(`<title>${"\u00e9".repeat(300)}</title>`))
      pages.set("/bare", sends("<html><p>Nothing"))
      pages.set(
        "/latin",
        sends(Buffer.from("<html><meta charset=iso-8859-1><title>Gr\u00f6\u00dfe</title>", "latin1"), { "content-type": "text/html" })
      )
      const title = (path: string, fields = {}) => Effect.map(link(id4, { url: url + path, ...fields }), ({ body }) => body.title)
      assert.strictEqual(yield* title("/titled", { title: " Mine " }), "Mine")
      assert.strictEqual(yield* title("/titled"), "Page")
      assert.strictEqual(yield* title("/card"), "Card")
      assert.strictEqual(yield* title("/long"), `${"\u00e9".repeat(199)}\u2026`)
      assert.strictEqual(yield* title("/bare"), new URL(url).host)
      assert.strictEqual(yield* title("/latin"), "Gr\u00f6\u00dfe")
    })
  )

  it.effect("to a PDF or an image, judged by the bytes, is kept as the file", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      pages.set(
        "/get?id=7",
        sends(pdf("linked", 2), { "content-type": "text/html", "content-disposition": `attachment; filename*=UTF-8''Daten%20blatt.pdf` })
      )
      pages.set("/pictures/photo%20one.png", sends(yield* image({ seed: 6 }), { "content-type": "application/octet-stream" }))
      const sheet = (yield* link(id4, { url: `${url}/get?id=7` })).body
      assert.deepStrictEqual(
        [sheet.kind, sheet.title, sheet.originalFilename, sheet.pageCount, sheet.url],
        ["pdf", "Daten blatt", "Daten blatt.pdf", 2, `${url}/get?id=7`]
      )
      const photo = (yield* link(id4, { url: `${url}/pictures/photo%20one.png`, title: "Photo" })).body
      assert.deepStrictEqual([photo.kind, photo.title, photo.originalFilename, photo.isCover], ["image", "Photo", "photo one.png", true])
    })
  )

  it.effect("that ends in .pdf is followed one step into the frame that shows the PDF", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      pages.set(
        "/viewer/ne555.pdf",
        sends(`<!doctype html><title>Viewer</title><iframe src="/ads.html"></iframe><iframe src="../files/ne555.pdf"></iframe>`)
      )
      pages.set("/files/ne555.pdf", sends(pdf("framed"), { "content-type": "application/pdf" }))
      const { body } = yield* link(id4, { url: `${url}/viewer/ne555.pdf` })
      assert.deepStrictEqual([body.kind, body.url, body.originalFilename], ["pdf", `${url}/viewer/ne555.pdf`, "ne555.pdf"])
      pages.set("/files/ne555.pdf", sends(`<iframe src="/viewer/ne555.pdf"></iframe>`))
      assert.strictEqual((yield* link(id4, { url: `${url}/viewer/ne555.pdf` })).body.kind, "link")
    })
  )

  it.effect("to anything else is refused, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const sql = yield* SqlClient.SqlClient
      const id4 = yield* newPart()
      const objects = sql<{ readonly count: number }>`
        select count(*)::int as count from objects o where not exists (select from object_variants v where v.object_id = o.id)`
      const before = yield* objects
      pages.set("/archive", sends("PK\u0003\u0004 zip", { "content-type": "application/zip" }))
      pages.set("/broken.pdf", sends(pdf("broken").slice(0, 100), { "content-type": "application/pdf" }))
      pages.set("/away", (_, response) => response.writeHead(302, { location: "http://10.1.2.3/" }).end())
      pages.set("/failing", (_, response) => response.writeHead(500).end("<html>"))
      pages.set("/cut", (_, response) => {
        response.writeHead(200, { "content-type": "text/html", "content-length": "1000" })
        response.write("<html>")
        setImmediate(() => response.destroy())
      })
      const refused = (path: string) =>
        Effect.map(link(id4, { url: path.startsWith("/") ? url + path : path }), ({ body, status }) => [status, body.code])
      assert.deepStrictEqual(yield* refused("/archive"), [422, "unsupported-link-content"])
      assert.deepStrictEqual(yield* refused("/broken.pdf"), [422, "unreadable-file"])
      for (const path of [
        "/nowhere",
        "/away",
        "/failing",
        "/cut",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://192.168.1.1/",
        "http://nowhere.invalid/"
      ]) {
        assert.deepStrictEqual(yield* refused(path), [422, "link-unreachable"], path)
      }
      const kept = yield* link(id4, { url: "http://192.168.1.1/admin", capture: false })
      assert.deepStrictEqual([kept.status, kept.body.title, kept.body.thumbnailUrl], [201, "192.168.1.1", null])
      assert.strictEqual((yield* get(`/api/documents/${kept.body.id}/thumbnail?size=100`)).body.code, "no-preview")
      assert.deepStrictEqual(yield* objects, before)
      assert.strictEqual((yield* get(`/api/parts/${id4}/documents?includeTotal=true`)).body.total, 1)
    })
  )

  it.effect("that leads to this machine by name or by redirect is refused without any connection", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      const inner = yield* webServer((_, response) => void response.end("<title>Secret</title>"))
      pages.set("/inwards", (_, response) => response.writeHead(307, { location: `http://localhost:${inner.port}/` }).end())
      pages.set("/round", (_, response) => response.writeHead(302, { location: "/round" }).end())
      pages.set("/picture", sends(`<title>Picture</title><meta property="og:image" content="http://127.0.0.1:${inner.port}/a.png">`))
      for (const address of [`http://localhost:${inner.port}/`, `http://127.1:${inner.port}/`, `${url}/inwards`, `${url}/round`]) {
        const { body, status } = yield* link(id4, { url: address })
        assert.deepStrictEqual([status, body.code], [422, "link-unreachable"], address)
      }
      const { body } = yield* link(id4, { url: `${url}/picture` })
      assert.deepStrictEqual([body.title, body.thumbnailUrl], ["Picture", null])
      assert.strictEqual(inner.accepted(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("to a server that lies is what came, or refused, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      const sheet = pdf("lies")
      pages.set("/endless.pdf", (_, response) => {
        response.writeHead(200, { "content-type": "application/pdf" })
        forEver(response, Buffer.alloc(65_536, "%PDF-1.7\n"))
      })
      pages.set("/short.pdf", sends(sheet.slice(0, 300), { "content-type": "application/pdf", "content-length": "300" }))
      pages.set("/long.pdf", (_, response) => {
        response.writeHead(200, { "content-type": "application/pdf", "content-length": "99999" })
        response.write(sheet, () => response.socket?.end())
      })
      pages.set("/zip.png", sends(Buffer.from("504b030414000000080000002100", "hex"), { "content-type": "image/png" }))
      for (const [path, code, detail] of [
        ["/endless.pdf", "link-unreachable", /more than 100 MiB/u],
        ["/short.pdf", "unreadable-file", /damaged or cut off/u],
        ["/long.pdf", "link-unreachable", /broke off|ended|cut/u],
        ["/zip.png", "unsupported-link-content", /neither a page/u]
      ] as const) {
        const { body, status } = yield* link(id4, { url: url + path })
        assert.deepStrictEqual([status, body.code], [422, code], path)
        assert.match(body.detail, detail)
      }
      pages.set("/page.pdf", sends("<!doctype html><title>A page</title>", { "content-type": "application/pdf" }))
      assert.strictEqual((yield* link(id4, { url: `${url}/page.pdf` })).body.kind, "link")
      assert.strictEqual((yield* get(`/api/parts/${id4}/documents?includeTotal=true`)).body.total, 1)
      assert.deepStrictEqual(yield* faults, [])
      assert.deepStrictEqual(yield* spooled, [])
    }).pipe(Effect.scoped)
  )

  it.effect("is kept once under an Idempotency-Key, by 32 callers at once", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const id4 = yield* newPart()
      pages.set("/once", sends("<title>Once</title>"))
      const answers = yield* inParallel(32, () => link(id4, { url: `${url}/once` }, { "idempotency-key": "link-1" }))
      assert.strictEqual(new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id)).size, 1)
      assert.strictEqual((yield* get(`/api/parts/${id4}/documents?includeTotal=true`)).body.total, 1)
    })
  )
})
