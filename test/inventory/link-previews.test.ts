import { assert, layer } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import sharp from "sharp"
import { expireKind } from "#inventory/link-previews/link-previews.jobs.ts"
import { Db } from "#platform/db/db.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { faults, spooled } from "../support/documents-suite.ts"
import { image, pdf } from "../support/files.ts"
import { bitmap, icon } from "../support/icons.ts"
import { webServer } from "../support/internet.ts"
import { get, inParallel, post, tally } from "../support/inventory.ts"
import { sends, Web, webbed } from "../support/web.ts"
import { Http } from "../support/world.ts"

const preview = (url: string, headers: Record<string, string> = {}) => post("/api/link-previews", { url }, { headers })

const imageAt = Effect.fnUntraced(function* (path: string, init: RequestInit = {}) {
  const { fetch } = yield* Http
  const response = yield* fetch(new Request(`http://test${path}`, init))
  return { status: response.status, headers: response.headers, bytes: new Uint8Array(yield* Effect.promise(() => response.arrayBuffer())) }
})

const formatOf = Effect.fnUntraced(function* (path: string) {
  const { bytes } = yield* imageAt(path)
  const { format, height, width } = yield* Effect.promise(() => sharp(bytes).metadata())
  return [format, width, height]
})

/** How many there are, seen or not. */
const kept = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* sql<{ readonly count: number }>`select count(*)::int as count from link_previews`
  return found?.count ?? 0
})

const empty = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`delete from link_previews`
})

/** So many whose hour is over. */
const expired = Effect.fnUntraced(function* (count: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`insert into link_previews (id, title, kind, final_url, expires_at)
    select gen_random_uuid(), 'Old', 'webpage', 'https://shop.example/', now() - n * interval '1 minute' from generate_series(1, ${count}::int) n`
})

layer(webbed, { excludeTestServices: true, timeout: "60 seconds" })("a link preview", (it) => {
  it.effect("of a page has its title, where it is in the end, and a small copy of its picture", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set("/r/7", (_, response) => response.writeHead(302, { location: "/shop/relay" }).end())
      pages.set(
        "/shop/relay",
        sends(`<!doctype html><title> Relay 12 V &amp; socket </title><meta property="og:image" content="../relay.jpg">`)
      )
      pages.set("/relay.jpg", sends(yield* image({ width: 2000, height: 500, seed: 21, format: "jpeg" })))
      const { body, status, text } = yield* preview(`${url}/r/7`)
      assert.strictEqual(status, 201, text)
      assert.deepStrictEqual(body, {
        id: body.id,
        title: "Relay 12 V & socket",
        kind: "webpage",
        finalUrl: `${url}/shop/relay`,
        imageUrl: `/api/link-previews/${body.id}/image`
      })
      assert.deepStrictEqual(yield* formatOf(body.imageUrl), ["webp", 1000, 250])
      assert.deepStrictEqual(yield* faults, [])
      assert.deepStrictEqual(yield* spooled, [])
    })
  )

  it.effect("of an image is the image, of a PDF its first page, each with the title that the document would have", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set("/photo%20one.png", sends(yield* image({ width: 30, height: 20, seed: 22 }), { "content-type": "text/html" }))
      pages.set(
        "/view/ne555.pdf",
        sends(`<!doctype html><title>Viewer</title><iframe src="/get?id=7"></iframe><iframe src="/f/ne555.pdf">`)
      )
      pages.set("/f/ne555.pdf", sends(pdf("framed", 3), { "content-disposition": `inline; filename="NE555 timer.pdf"` }))
      const photo = (yield* preview(`${url}/photo%20one.png`)).body
      assert.deepStrictEqual([photo.kind, photo.title, photo.finalUrl], ["image", "photo one", `${url}/photo%20one.png`])
      assert.deepStrictEqual(yield* formatOf(photo.imageUrl), ["webp", 30, 20])
      const sheet = (yield* preview(`${url}/view/ne555.pdf`)).body
      assert.deepStrictEqual([sheet.kind, sheet.title, sheet.finalUrl], ["pdf", "NE555 timer", `${url}/f/ne555.pdf`])
      assert.deepStrictEqual(yield* formatOf(sheet.imageUrl), ["webp", 773, 1000])
    })
  )

  it.effect("shows the icon of a site that has no other picture, also one in the old format", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const drawn = bitmap({ width: 32, height: 32, bits: 8 }, () => [200, 30, 30, 255])
      pages.set("/iconic", sends(`<title>Iconic</title><meta property="og:image" content="/broken.png">`))
      pages.set("/broken.png", sends("nothing of the kind"))
      pages.set("/favicon.ico", sends(icon({ picture: drawn }), { "content-type": "image/x-icon" }))
      const { body } = yield* preview(`${url}/iconic`)
      assert.deepStrictEqual(yield* formatOf(body.imageUrl), ["webp", 32, 32])
      pages.delete("/favicon.ico")
    })
  )

  it.effect("without a picture has no image", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set("/pixel", sends(`<title>Bare</title><meta property="og:image" content="/1x1.png">`))
      pages.set("/1x1.png", sends(yield* image({ width: 1, height: 1 })))
      const { body, status } = yield* preview(`${url}/pixel`)
      assert.deepStrictEqual([status, body.title, body.imageUrl], [201, "Bare", null])
      const missing = yield* get(`/api/link-previews/${body.id}/image`)
      assert.deepStrictEqual([missing.status, missing.body.code], [404, "link-preview-not-found"])
    })
  )

  it.effect("gives its image as files are given: whole, in part, once, and never as anything but an image", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set("/range.png", sends(yield* image({ seed: 23 })))
      const { imageUrl } = (yield* preview(`${url}/range.png`)).body
      const whole = yield* imageAt(imageUrl)
      assert.deepStrictEqual(
        [whole.status, whole.headers.get("content-type"), whole.headers.get("content-disposition"), whole.headers.get("content-length")],
        [200, "image/webp", "inline", String(whole.bytes.length)]
      )
      assert.match(whole.headers.get("content-security-policy") ?? "", /default-src 'none'/u)
      const part = yield* imageAt(imageUrl, { headers: { range: "bytes=3-9" } })
      assert.deepStrictEqual([part.status, part.bytes], [206, whole.bytes.slice(3, 10)])
      const etag = whole.headers.get("etag") ?? ""
      assert.strictEqual((yield* imageAt(imageUrl, { headers: { "if-none-match": etag } })).status, 304)
      const head = yield* imageAt(imageUrl, { method: "HEAD" })
      assert.deepStrictEqual([head.status, head.bytes.length, head.headers.get("etag")], [200, 0, etag])
      assert.strictEqual((yield* imageAt(imageUrl, { headers: { range: "bytes=999999-" } })).status, 416)
    })
  )

  it.effect("is unknown when nobody has made it, and fetches nothing that a query names", () =>
    Effect.gen(function* () {
      const { asked, pages, url } = yield* Web
      pages.set("/never", sends("<title>Never</title>"))
      for (const id of ["00000000-0000-7000-8000-000000000009", "x", "1", `${url}/never`.replaceAll("/", "%2F"), "%00"]) {
        const { body, status } = yield* get(`/api/link-previews/${id}/image`)
        assert.deepStrictEqual([status, body.code], [404, "link-preview-not-found"], id)
      }
      for (const query of [`url=${encodeURIComponent(`${url}/never`)}`, `imageUrl=${encodeURIComponent(`${url}/never`)}`]) {
        const { body, status } = yield* get(`/api/link-previews/00000000-0000-7000-8000-000000000009/image?${query}`)
        assert.deepStrictEqual([status, body.code], [400, "invalid-request"])
      }
      assert.notInclude(asked, "/never")
    })
  )

  it.effect("of what is neither page, image nor PDF is refused, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const before = yield* kept
      pages.set("/archive", sends("PK\u0003\u0004 zip", { "content-type": "application/zip" }))
      pages.set("/cut.pdf", sends(pdf("cut").slice(0, 100), { "content-type": "application/pdf" }))
      pages.set("/icon.ico", sends(icon({ picture: yield* image() }), { "content-type": "image/x-icon" }))
      pages.set("/failing", (_, response) => response.writeHead(500).end("<html>"))
      for (const [path, code] of [
        ["/archive", "unsupported-link-content"],
        ["/icon.ico", "unsupported-link-content"],
        ["/cut.pdf", "unreadable-file"],
        ["/failing", "link-unreachable"],
        ["/nowhere", "link-unreachable"]
      ] as const) {
        const { body, status } = yield* preview(url + path)
        assert.deepStrictEqual([status, body.code], [422, code], path)
      }
      for (const body of [
        {},
        { url: "" },
        { url: "ftp://shop.example/" },
        { url: "https://a:b@shop.example/" },
        { url: 7 },
        { url, title: "x" }
      ]) {
        assert.strictEqual((yield* post("/api/link-previews", body)).status, 400, JSON.stringify(body))
      }
      assert.strictEqual(yield* kept, before)
      assert.deepStrictEqual(yield* spooled, [])
    })
  )

  it.effect("of an address inside is refused without a connection, however one is led there", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const before = yield* kept
      const inner = yield* webServer((_, response) => response.end("<title>Secret</title>"))
      const secret = `http://127.0.0.1:${inner.port}/`
      pages.set("/inwards", (_, response) => response.writeHead(307, { location: secret }).end())
      pages.set("/frame.pdf", sends(`<html><title>Frame</title><iframe src="${secret}a.pdf"></iframe>`))
      for (const address of [
        secret,
        `http://localhost:${inner.port}/`,
        `http://127.1:${inner.port}/`,
        `http://2130706433:${inner.port}/`,
        `http://[::ffff:127.0.0.1]:${inner.port}/`,
        `http://[64:ff9b::127.0.0.1]:${inner.port}/`,
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        `${url}/inwards`,
        `${url}/frame.pdf`
      ]) {
        const { body, status } = yield* preview(address)
        assert.deepStrictEqual([status, body.code], [422, "link-unreachable"], address)
      }
      assert.strictEqual(yield* kept, before)
      pages.set(
        "/pictured",
        sends(`<title>Pictured</title><meta property="og:image" content="${secret}"><link rel=icon href="${secret}i.ico">`)
      )
      const { body } = yield* preview(`${url}/pictured`)
      assert.deepStrictEqual([body.title, body.imageUrl], ["Pictured", null])
      assert.strictEqual(inner.accepted(), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("of a hostile page is made like any other, and holds nobody up", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const rest = "<title>Hostile</title>"
      const numbered = (count: number, one: (n: number) => string) => Array.from({ length: count }, (_, n) => one(n)).join("")
      for (const [name, page] of [
        // Each paragraph would be given all of them again: ten thousand millions of elements.
        ["formatting", `<p>${numbered(60_000, (n) => `<b i=${n}>`)}</p>${"<p>x</p>".repeat(60_000)}`],
        ["depth", "<div>".repeat(300_000)],
        ["attributes", `<a ${numbered(150_000, (n) => `a${n} `)}>`],
        ["names", "<constructor><__proto__ x><tostring><meta constructor=a __proto__=b property=__proto__ content=x>"],
        ["addresses", `<base href="http://a/${"x".repeat(9000)}">${numbered(40_000, (n) => `<link rel=icon href=a${n}>`)}`],
        ["comments", `${"<!-- -".repeat(100_000)}-->`],
        ["entities", "&notin".repeat(100_000)]
      ] as const) {
        pages.set(`/${name}`, sends(`<!doctype html>${rest}${page}`))
        const since = performance.now()
        const { body, status } = yield* preview(`${url}/${name}`)
        assert.deepStrictEqual([status, body.title, body.imageUrl], [201, "Hostile", null], name)
        assert.isBelow(performance.now() - since, 5000, name)
      }
      pages.set("/blank", sends(`<!doctype html><title>${" \n".repeat(900_000)}`))
      assert.strictEqual((yield* preview(`${url}/blank`)).body.title, new URL(url).host)
    })
  )

  it.effect("is gone when its hour is over, at once for readers", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const sql = yield* SqlClient.SqlClient
      pages.set("/hour.png", sends(yield* image({ seed: 24 })))
      const { id, imageUrl } = (yield* preview(`${url}/hour.png`)).body
      const [row] = yield* sql`select (expires_at - created_at)::text as time from link_previews where id = ${id}::uuid`
      assert.deepStrictEqual(row, { time: "01:00:00" })
      yield* sql`update link_previews set expires_at = now() + interval '1 minute' where id = ${id}::uuid`
      assert.strictEqual((yield* imageAt(imageUrl)).status, 200)
      yield* sql`update link_previews set expires_at = now() where id = ${id}::uuid`
      const { body, status } = yield* get(imageUrl)
      assert.deepStrictEqual([status, body.code, body.linkPreviewId], [404, "link-preview-not-found", id])
    })
  )

  it.effect("takes two whose hour is over along, and the hourly job takes all", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      pages.set("/next", sends("<title>Next</title>"))
      yield* empty
      yield* expired(1203)
      assert.strictEqual((yield* preview(`${url}/next`)).status, 201)
      assert.strictEqual(yield* kept, 1202)
      const { enqueue } = yield* Jobs
      const { id } = yield* (yield* Db).transaction(enqueue(expireKind, {}, { key: "expire" }))
      const { body } = yield* get(`/api/jobs/${id}`).pipe(
        Effect.repeat({ until: ({ body }) => body.state !== "queued" && body.state !== "running", schedule: Schedule.spaced("20 millis") })
      )
      assert.deepStrictEqual([body.state, body.result], ["succeeded", { removed: 1201 }])
      assert.strictEqual(yield* kept, 1)
    })
  )

  it.effect("is made by 32 callers at once, each its own, while old ones go", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      yield* empty
      yield* expired(40)
      for (let n = 0; n < 32; n++) pages.set(`/at-once/${n}`, sends(`<title>Page ${n}</title>`))
      const answers = yield* inParallel(32, (n) => preview(`${url}/at-once/${n}`))
      assert.deepStrictEqual(tally(answers), { "201": 32 })
      assert.deepStrictEqual(
        answers.map(({ body }) => body.title),
        Array.from({ length: 32 }, (_, n) => `Page ${n}`)
      )
      assert.strictEqual(new Set(answers.map(({ body }) => body.id)).size, 32)
      assert.strictEqual(yield* kept, 32)
    })
  )

  it.effect("is made once under an Idempotency-Key, by 32 callers at once, and told again when nothing answers there any more", () =>
    Effect.gen(function* () {
      const { asked, pages, url } = yield* Web
      yield* empty
      const key = { "idempotency-key": "preview-1" }
      pages.set("/once", sends("<title>Once</title>"))
      const answers = yield* inParallel(32, () => preview(`${url}/once`, key))
      const made = answers.filter(({ status }) => status === 201)
      assert.isAbove(made.length, 0)
      assert.strictEqual(new Set(made.map(({ text }) => text)).size, 1)
      assert.deepStrictEqual(
        answers.filter(({ status }) => status !== 201).map(({ body }) => body.code),
        Array.from({ length: 32 - made.length }, () => "idempotency-key-in-use")
      )
      assert.strictEqual(yield* kept, 1)

      pages.delete("/once")
      const times = asked.length
      const again = yield* preview(`${url}/once`, key)
      assert.deepStrictEqual([again.status, again.text, again.headers.get("idempotency-replayed")], [201, made[0]?.text, "true"])
      const other = yield* preview(`${url}/other`, key)
      assert.deepStrictEqual([other.status, other.body.code], [422, "idempotency-key-reused"])
      assert.lengthOf(asked, times)
    })
  )

  it.effect("that was refused may be asked for again with its key", () =>
    Effect.gen(function* () {
      const { pages, url } = yield* Web
      const key = { "idempotency-key": "preview-2" }
      assert.strictEqual((yield* preview(`${url}/late`, key)).body.code, "link-unreachable")
      pages.set("/late", sends("<title>Late</title>"))
      assert.strictEqual((yield* preview(`${url}/late`, key)).body.title, "Late")
    })
  )
})
