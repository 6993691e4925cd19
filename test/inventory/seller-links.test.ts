import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Tracer } from "effect"
import { SqlClient } from "effect/sql"
import { type PrimarySeller, SellerLinks } from "#inventory/sellers/seller-links.service.ts"
import { Sellers } from "#inventory/sellers/sellers.service.ts"
import { Db } from "#platform/db/db.ts"
import { Http, world } from "../support/world.ts"

const World = Layer.mergeAll(SellerLinks.layer, Sellers.layer).pipe(Layer.provideMerge(world()))

const statuses = (answers: ReadonlyArray<{ readonly status: number }>) => answers.map(({ status }) => status).toSorted()
const times = <A>(n: number, value: A) => Array.from({ length: n }, () => value)
const parallel = <A, E, R>(n: number, call: (n: number) => Effect.Effect<A, E, R>) =>
  Effect.all(
    Array.from({ length: n }, (_, at) => call(at)),
    { concurrency: "unbounded" }
  )

let sellers = 0
const newSeller = Effect.gen(function* () {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/sellers", { name: `Seller ${++sellers}` })
  return { id: answer.body.id as number, name: answer.body.name as string }
})
const newPart = Effect.gen(function* () {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/parts", { description: "Timer IC" })
  return answer.body.id4 as string
})
const partOf = (id4: string) =>
  Effect.gen(function* () {
    const { send } = yield* Http
    const answer = yield* send("GET", `/api/parts/${id4}`)
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.body
  })

interface Link {
  readonly id: number
  readonly sellerId: number
  readonly link: string | null
  readonly sellerPartNumbers: ReadonlyArray<string>
  readonly primary: boolean
  readonly version: number
}
const linksOf = (id4: string): Effect.Effect<ReadonlyArray<Link>, never, Http> => Effect.map(partOf(id4), (part) => part.sellerLinks)

/** The parts that the search index knows by this word. */
const indexed = (word: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const found = yield* sql<{
      readonly id4: string
    }>`select part_id4 as id4 from search_documents where words @@ ${word}::tsquery order by part_id4`
    return found.map(({ id4 }) => id4)
  }).pipe(Effect.orDie)

/** A part with links to new sellers, the first one primary. */
const partWithLinks = (count: number) =>
  Effect.gen(function* () {
    const { send } = yield* Http
    const id4 = yield* newPart
    for (let n = 0; n < count; n++) {
      const { id } = yield* newSeller
      const answer = yield* send("POST", `/api/parts/${id4}/seller-links`, { sellerId: id, link: `https://shop.example/${id4}/${n}` })
      assert.strictEqual(answer.status, 201, answer.text)
    }
    return { id4, links: yield* linksOf(id4) }
  })

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("seller links", (it) => {
  it.effect("the first link of a part is primary, and the part shows its seller", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const [first, second] = [yield* newSeller, yield* newSeller]
      const before = yield* partOf(id4)
      assert.deepStrictEqual([before.seller, before.sellerLink, before.sellerLinks], [null, null, []])

      const added = yield* send("POST", `/api/parts/${id4.toLowerCase()}/seller-links`, {
        sellerId: first.id,
        link: "https://shop.example/555",
        sellerPartNumbers: ["595-NE555P", " 595-ne555p ", "NE555P/TI"],
        primary: false
      })
      assert.strictEqual(added.status, 201, added.text)
      const { createdAt, id, updatedAt, ...rest } = added.body
      assert.deepStrictEqual(rest, {
        sellerId: first.id,
        sellerName: first.name,
        link: "https://shop.example/555",
        sellerPartNumbers: ["595-NE555P", "NE555P/TI"],
        primary: true,
        version: 1
      })
      assert.strictEqual(updatedAt, createdAt)
      assert.strictEqual(added.headers.get("etag"), '"1"')
      assert.strictEqual(added.headers.get("location"), `/api/parts/${id4}/seller-links/${id}`)

      const other = yield* send("POST", `/api/parts/${id4}/seller-links`, { sellerId: second.id, sellerPartNumbers: ["ne555p/ti"] })
      assert.deepStrictEqual([other.body.link, other.body.primary], [null, false])
      const part = yield* partOf(id4)
      assert.deepStrictEqual(part.sellerLinks, [added.body, other.body])
      assert.deepStrictEqual([part.seller, part.sellerLink], [first.name, "https://shop.example/555"])
      assert.strictEqual(part.version, before.version)
    })
  )

  it.effect("another link that becomes primary takes the place of the one before", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(2)
      const third = yield* newSeller
      const edited = yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[1]?.id}`, { primary: true })
      assert.deepStrictEqual([edited.status, edited.body.primary, edited.body.version], [200, true, 2])
      assert.strictEqual(edited.headers.get("etag"), '"2"')
      yield* send("POST", `/api/parts/${id4}/seller-links`, { sellerId: third.id, link: "https://third.example", primary: true })
      const part = yield* partOf(id4)
      assert.deepStrictEqual(
        part.sellerLinks.map((link: Link) => [link.primary, link.version]),
        [
          [false, 2],
          [false, 3],
          [true, 1]
        ]
      )
      assert.deepStrictEqual([part.seller, part.sellerLink], [third.name, "https://third.example"])
    })
  )

  it.effect("the primary link stays primary until another one is", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(2)
      const refused = yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[0]?.id}`, { primary: false })
      assert.deepStrictEqual([refused.status, refused.body.errors[0].pointer], [400, "/primary"])
      const harmless = yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[1]?.id}`, { primary: false })
      assert.deepStrictEqual([harmless.status, harmless.body.primary], [200, false])
      const again = yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[0]?.id}`, { primary: true })
      assert.deepStrictEqual([again.status, again.body.primary], [200, true])
    })
  )

  it.effect("the oldest link left becomes primary when the primary one goes", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(3)
      const [first, second, third] = links.map(({ id }) => id)
      const primary = () => Effect.map(linksOf(id4), (left) => left.map((link) => [link.id, link.primary]))
      assert.strictEqual((yield* send("PATCH", `/api/parts/${id4}/seller-links/${third}`, { primary: true })).status, 200)
      assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}/seller-links/${second}`)).status, 204)
      assert.deepStrictEqual(yield* primary(), [
        [first, false],
        [third, true]
      ])
      assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}/seller-links/${third}`)).status, 204)
      assert.deepStrictEqual(yield* primary(), [[first, true]])
      assert.strictEqual((yield* send("DELETE", `/api/parts/${id4}/seller-links/${first}`)).status, 204)
      assert.deepStrictEqual(yield* primary(), [])
    })
  )

  it.effect("a change keeps what it does not name, and may name another seller", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const [first, second] = [yield* newSeller, yield* newSeller]
      const { body: link } = yield* send("POST", `/api/parts/${id4}/seller-links`, {
        sellerId: first.id,
        link: "https://shop.example/a",
        sellerPartNumbers: ["A-1", "A-2"]
      })
      const address = `/api/parts/${id4}/seller-links/${link.id}`
      const reordered = yield* send("PATCH", address, { sellerPartNumbers: ["a-2", "A-3"] })
      assert.deepStrictEqual([reordered.body.sellerPartNumbers, reordered.body.link], [["a-2", "A-3"], "https://shop.example/a"])
      const moved = yield* send("PATCH", address, { sellerId: second.id, link: null })
      assert.deepStrictEqual(
        [moved.status, moved.body.sellerName, moved.body.link, moved.body.sellerPartNumbers],
        [200, second.name, null, ["a-2", "A-3"]]
      )
      // The first seller's numbers are free again.
      const other = yield* newPart
      const freed = yield* send("POST", `/api/parts/${other}/seller-links`, {
        sellerId: first.id,
        sellerPartNumbers: ["A-1", "A-2", "A-3"]
      })
      assert.strictEqual(freed.status, 201, freed.text)
      const taken = yield* send("POST", `/api/parts/${other}/seller-links`, { sellerId: second.id, sellerPartNumbers: ["A-3"] })
      assert.deepStrictEqual([taken.status, taken.body.number, taken.body.id4], [409, "A-3", id4])
    })
  )

  it.effect("a part has one link per seller", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(2)
      const again = yield* send("POST", `/api/parts/${id4}/seller-links`, { sellerId: links[0]?.sellerId, sellerPartNumbers: ["X-1"] })
      assert.deepStrictEqual([again.status, again.body.code, again.body.sellerId], [409, "seller-link-exists", links[0]?.sellerId])
      const moved = yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[1]?.id}`, { sellerId: links[0]?.sellerId })
      assert.deepStrictEqual([moved.status, moved.body.code], [409, "seller-link-exists"])
      assert.deepStrictEqual(yield* linksOf(id4), links)
    })
  )

  it.effect("a seller part number names one part of its seller, in any case", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [seller, elsewhere] = [yield* newSeller, yield* newSeller]
      const [owner, other] = [yield* newPart, yield* newPart]
      yield* send("POST", `/api/parts/${owner}/seller-links`, { sellerId: seller.id, sellerPartNumbers: ["C-100-ND", "C-101-ND"] })

      const refused = yield* send("POST", `/api/parts/${other}/seller-links`, {
        sellerId: seller.id,
        sellerPartNumbers: ["C-102-ND", "c-101-nd"]
      })
      assert.deepStrictEqual(
        [refused.status, refused.body.code, refused.body.number, refused.body.id4],
        [409, "seller-part-number-taken", "c-101-nd", owner]
      )
      assert.deepStrictEqual(yield* linksOf(other), [])

      const fine = yield* send("POST", `/api/parts/${other}/seller-links`, { sellerId: seller.id, sellerPartNumbers: ["C-102-ND"] })
      assert.strictEqual(fine.status, 201, fine.text)
      const edited = yield* send("PATCH", `/api/parts/${other}/seller-links/${fine.body.id}`, {
        sellerPartNumbers: ["C-103-ND", "C-100-ND"]
      })
      assert.deepStrictEqual([edited.status, edited.body.number, edited.body.id4], [409, "C-100-ND", owner])
      assert.deepStrictEqual(yield* linksOf(other), [fine.body])

      const same = yield* send("POST", `/api/parts/${other}/seller-links`, { sellerId: elsewhere.id, sellerPartNumbers: ["C-100-ND"] })
      assert.strictEqual(same.status, 201, same.text)
    })
  )

  it.effect("a link says something, at its beginning and after every change", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const seller = yield* newSeller
      const address = `/api/parts/${id4}/seller-links`
      for (const empty of [{}, { link: null }, { link: null, sellerPartNumbers: [] }]) {
        const refused = yield* send("POST", address, { sellerId: seller.id, ...empty })
        assert.deepStrictEqual([refused.status, refused.body.code], [400, "invalid-request"], refused.text)
      }
      const { body: link } = yield* send("POST", address, { sellerId: seller.id, link: "https://shop.example", sellerPartNumbers: ["S-1"] })
      assert.strictEqual((yield* send("PATCH", `${address}/${link.id}`, { link: null })).status, 200)
      for (const empty of [{ sellerPartNumbers: [] }, { sellerPartNumbers: null }]) {
        const refused = yield* send("PATCH", `${address}/${link.id}`, empty)
        assert.deepStrictEqual([refused.status, refused.body.code], [400, "invalid-request"], refused.text)
      }
      assert.deepStrictEqual((yield* linksOf(id4))[0]?.sellerPartNumbers, ["S-1"])
    })
  )

  it.effect("bad input is named field by field and writes nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(1)
      const { id: sellerId } = yield* newSeller
      const link = "https://shop.example"
      const refused: ReadonlyArray<readonly [body: unknown, pointer: string]> = [
        [{ link }, "/sellerId"],
        [{ sellerId: null, link }, "/sellerId"],
        [{ sellerId: "1", link }, "/sellerId"],
        [{ sellerId: 0, link }, "/sellerId"],
        [{ sellerId: 2 ** 31, link }, "/sellerId"],
        [{ sellerId: 2_000_000_000, link }, "/sellerId"],
        [{ sellerId, link: "shop.example" }, "/link"],
        [{ sellerId, link: "javascript:alert(1)" }, "/link"],
        [{ sellerId, link: `https://shop.example/${"x".repeat(2000)}` }, "/link"],
        [{ sellerId, sellerPartNumbers: "X" }, "/sellerPartNumbers"],
        [{ sellerId, sellerPartNumbers: ["X", " "] }, "/sellerPartNumbers/1"],
        [{ sellerId, sellerPartNumbers: ["x".repeat(101)] }, "/sellerPartNumbers/0"],
        [{ sellerId, sellerPartNumbers: ["a\0"] }, "/sellerPartNumbers/0"],
        [{ sellerId, sellerPartNumbers: Array.from({ length: 21 }, (_, n) => `N-${n}`) }, "/sellerPartNumbers"],
        [{ sellerId, link, primary: "yes" }, "/primary"],
        [{ sellerId, link, id: 1 }, "/id"]
      ]
      for (const [body, pointer] of refused) {
        const answer = yield* send("POST", `/api/parts/${id4}/seller-links`, body)
        assert.deepStrictEqual([answer.status, answer.body.code], [400, "invalid-request"], answer.text)
        assert.deepStrictEqual([answer.body.errors[0].in, answer.body.errors[0].pointer], ["body", pointer], answer.text)
        if (pointer !== "/id" && JSON.stringify(body) !== JSON.stringify({ link })) {
          const edit = yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[0]?.id}`, body)
          assert.strictEqual(edit.status, 400, edit.text)
        }
      }
      assert.deepStrictEqual(yield* linksOf(id4), links)
    })
  )

  it.effect("a link of another part, an unknown link and an unknown part are not found", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [one, other] = [yield* partWithLinks(1), yield* partWithLinks(1)]
      const seller = yield* newSeller
      for (const id of [other.links[0]?.id, 2_000_000_000, 0, "x", "1.5", "99999999999999999999"]) {
        for (const [method, body] of [["PATCH", { primary: true }] as const, ["DELETE", undefined] as const]) {
          const answer = yield* send(method, `/api/parts/${one.id4}/seller-links/${id}`, body)
          assert.deepStrictEqual([answer.status, answer.body.code], [404, "seller-link-not-found"], `${method} ${id}`)
        }
      }
      for (const id4 of ["OOOO", "12", "toolong", "%00%00%00%00"]) {
        const added = yield* send("POST", `/api/parts/${id4}/seller-links`, { sellerId: seller.id, link: "https://shop.example" })
        assert.deepStrictEqual([added.status, added.body.code], [404, "part-not-found"], id4)
        for (const [method, body] of [["PATCH", { primary: true }] as const, ["DELETE", undefined] as const]) {
          const answer = yield* send(method, `/api/parts/${id4}/seller-links/${one.links[0]?.id}`, body)
          assert.deepStrictEqual([answer.status, answer.body.code], [404, "part-not-found"], `${method} ${id4}`)
        }
      }
      assert.deepStrictEqual([yield* linksOf(one.id4), yield* linksOf(other.id4)], [one.links, other.links])

      assert.strictEqual((yield* send("DELETE", `/api/parts/${one.id4}`)).status, 204)
      const retired = yield* send("POST", `/api/parts/${one.id4}/seller-links`, { sellerId: seller.id, link: "https://shop.example" })
      assert.deepStrictEqual([retired.status, retired.body.code], [404, "part-retired"])
    })
  )

  it.effect("a write that saw another version is refused and changes nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(1)
      const address = `/api/parts/${id4}/seller-links/${links[0]?.id}`
      for (const [method, body] of [["PATCH", { link: "https://other.example" }] as const, ["DELETE", undefined] as const]) {
        const refused = yield* send(method, address, body, { headers: { "if-match": '"2"' } })
        assert.deepStrictEqual([refused.status, refused.body.code, refused.body.current], [412, "precondition-failed", '"1"'])
      }
      assert.deepStrictEqual(yield* linksOf(id4), links)
      assert.strictEqual((yield* send("DELETE", address, undefined, { headers: { "if-match": '"1"' } })).status, 204)
    })
  )

  it.effect("the history of a part tells how its links changed", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(2)
      yield* send("PATCH", `/api/parts/${id4}/seller-links/${links[1]?.id}`, { primary: true })
      const after = yield* linksOf(id4)
      const { body } = yield* send("GET", `/api/changes?topic=part&entity=part&entityId=${id4}&limit=1`)
      assert.deepStrictEqual(
        body.items.map((c: { action: string; before: unknown; after: unknown }) => [c.action, c.before, c.after]),
        [["updated", { sellerLinks: links }, { sellerLinks: after }]]
      )
    })
  )

  it.effect("a part is known by its sellers and their numbers as soon as they are written, and only as long", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Quillon" })
      const { body: link } = yield* send("POST", `/api/parts/${id4}/seller-links`, { sellerId: seller.id, sellerPartNumbers: ["zwq77"] })
      assert.deepStrictEqual([yield* indexed("quillon"), yield* indexed("zwq77")], [[id4], [id4]])
      yield* send("PATCH", `/api/parts/${id4}/seller-links/${link.id}`, { sellerPartNumbers: ["zwq78"] })
      assert.deepStrictEqual([yield* indexed("zwq77"), yield* indexed("zwq78")], [[], [id4]])
      yield* send("PATCH", `/api/sellers/${seller.id}`, { name: "Brackwell" })
      assert.deepStrictEqual([yield* indexed("quillon"), yield* indexed("brackwell")], [[], [id4]])
      yield* send("DELETE", `/api/parts/${id4}/seller-links/${link.id}`)
      assert.deepStrictEqual([yield* indexed("brackwell"), yield* indexed("zwq78")], [[], []])
    })
  )

  it.effect("32 parts linked to a seller while it is renamed are all known by its new name", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Oldham" })
      const parts = yield* Effect.forEach(times(32, newPart), (part) => part)
      const answers = yield* parallel(33, (n) =>
        n === 16
          ? send("PATCH", `/api/sellers/${seller.id}`, { name: "Newham" })
          : send("POST", `/api/parts/${parts[n < 16 ? n : n - 1]}/seller-links`, { sellerId: seller.id, link: "https://shop.example" })
      )
      assert.deepStrictEqual(statuses(answers), [200, ...times(32, 201)])
      assert.deepStrictEqual([yield* indexed("oldham"), yield* indexed("newham")], [[], parts.toSorted()])
    })
  )

  it.effect("a part is made with its links or not at all", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const [first, second] = [yield* newSeller, yield* newSeller]
      const make = (sellerLinks: unknown) => send("POST", "/api/parts", { description: "Made with links", sellerLinks })
      const link = "https://shop.example"
      const made = yield* make([
        { sellerId: second.id, link },
        { sellerId: first.id, sellerPartNumbers: ["M-1"], primary: true }
      ])
      assert.strictEqual(made.status, 201, made.text)
      assert.deepStrictEqual(
        made.body.sellerLinks.map((each: Link) => [each.sellerId, each.primary]),
        [
          [second.id, false],
          [first.id, true]
        ]
      )
      assert.deepStrictEqual([made.body.seller, made.body.sellerLink], [first.name, null])

      const total = Effect.map(send("GET", "/api/parts?limit=1&includeTotal=true"), ({ body }) => body.total)
      const before = yield* total
      const unknown = yield* make([
        { sellerId: first.id, link },
        { sellerId: 2_000_000_000, link }
      ])
      assert.deepStrictEqual([unknown.status, unknown.body.errors[0].pointer], [400, "/sellerLinks/1/sellerId"])
      const silent = yield* make([{ sellerId: first.id, link }, { sellerId: second.id }])
      assert.deepStrictEqual([silent.status, silent.body.errors[0].pointer], [400, "/sellerLinks/1"])
      const rivals = yield* make([
        { sellerId: first.id, link, primary: true },
        { sellerId: second.id, link, primary: true }
      ])
      assert.deepStrictEqual([rivals.status, rivals.body.errors[0].pointer], [400, "/sellerLinks/1/primary"])
      const twice = yield* make([
        { sellerId: first.id, link },
        { sellerId: first.id, link }
      ])
      assert.deepStrictEqual([twice.status, twice.body.code, twice.body.sellerId], [409, "seller-link-exists", first.id])
      const taken = yield* make([
        { sellerId: second.id, link },
        { sellerId: first.id, sellerPartNumbers: ["m-1"] }
      ])
      assert.deepStrictEqual([taken.status, taken.body.code, taken.body.id4], [409, "seller-part-number-taken", made.body.id4])
      assert.strictEqual(yield* total, before)
    })
  )

  it.effect("a request repeated with its key adds one link; a refused one leaves its key free", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const seller = yield* newSeller
      const body = { sellerId: seller.id, sellerPartNumbers: ["I-1"] }
      const address = `/api/parts/${id4}/seller-links`
      const first = yield* send("POST", address, body, { headers: { "idempotency-key": "link-1" } })
      const again = yield* send("POST", address, body, { headers: { "idempotency-key": "link-1" } })
      assert.deepStrictEqual([again.status, again.body], [201, first.body])

      const other = `/api/parts/${yield* newPart}/seller-links`
      const key = { headers: { "idempotency-key": "link-2" } }
      assert.strictEqual((yield* send("POST", other, body, key)).status, 409)
      assert.strictEqual((yield* send("POST", other, { ...body, sellerPartNumbers: ["I-2"] }, key)).status, 201)
    })
  )

  it.effect("32 links of one part made primary at once leave exactly one primary", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(32)
      const answers = yield* Effect.forEach(links, ({ id }) => send("PATCH", `/api/parts/${id4}/seller-links/${id}`, { primary: true }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(statuses(answers), times(32, 200))
      assert.deepStrictEqual(new Set(answers.map(({ body }) => body.primary)), new Set([true]))
      assert.strictEqual((yield* linksOf(id4)).filter(({ primary }) => primary).length, 1)
    })
  )

  it.effect("32 links added to one part at once, all primary, leave exactly one primary", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const those = yield* Effect.forEach(times(32, newSeller), (seller) => seller)
      const answers = yield* Effect.forEach(
        those,
        ({ id }) => send("POST", `/api/parts/${id4}/seller-links`, { sellerId: id, link: "https://shop.example", primary: true }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(statuses(answers), times(32, 201))
      const links = yield* linksOf(id4)
      assert.deepStrictEqual([links.length, links.filter(({ primary }) => primary).length], [32, 1])
    })
  )

  it.effect("of 32 links to one seller added to one part at once one is made", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const id4 = yield* newPart
      const seller = yield* newSeller
      const answers = yield* parallel(32, (n) =>
        send("POST", `/api/parts/${id4}/seller-links`, { sellerId: seller.id, sellerPartNumbers: [`P-${n}`] })
      )
      assert.deepStrictEqual(statuses(answers), [201, ...times(31, 409)])
      const made = answers.find(({ status }) => status === 201)?.body
      assert.deepStrictEqual(yield* linksOf(id4), [made])
    })
  )

  it.effect("of 32 parts that want one number at once one gets it, and the others are told which", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const seller = yield* newSeller
      const parts = yield* Effect.forEach(times(32, newPart), (part) => part)
      const answers = yield* Effect.forEach(
        parts,
        (id4, n) =>
          send("POST", `/api/parts/${id4}/seller-links`, {
            sellerId: seller.id,
            sellerPartNumbers: n % 2 === 0 ? [`own-${n}`, "SHARED", "also-SHARED"] : ["ALSO-shared", "shared", `own-${n}`]
          }),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(statuses(answers), [201, ...times(31, 409)])
      const winner = parts[answers.findIndex(({ status }) => status === 201)]
      assert.deepStrictEqual(new Set(answers.filter(({ status }) => status === 409).map(({ body }) => body.id4)), new Set([winner]))
      const linked = yield* Effect.forEach(parts, (id4) => Effect.map(linksOf(id4), (links) => links.length))
      assert.deepStrictEqual(linked.toSorted(), [...times(31, 0), 1])
    })
  )

  it.effect("of 32 deletions of one link at once one succeeds", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, links } = yield* partWithLinks(2)
      const answers = yield* parallel(32, () => send("DELETE", `/api/parts/${id4}/seller-links/${links[0]?.id}`))
      assert.deepStrictEqual(statuses(answers), [204, ...times(31, 404)])
      assert.deepStrictEqual(
        (yield* linksOf(id4)).map(({ id, primary }) => [id, primary]),
        [[links[1]?.id, true]]
      )
    })
  )

  it.effect("32 parts that pass their numbers around at once end with each number once", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const seller = yield* newSeller
      const parts = yield* Effect.forEach(times(32, newPart), (part) => part)
      const links = yield* Effect.forEach(parts, (id4, n) =>
        Effect.map(
          send("POST", `/api/parts/${id4}/seller-links`, { sellerId: seller.id, sellerPartNumbers: [`R-${n}`] }),
          ({ body }) => `/api/parts/${id4}/seller-links/${body.id}`
        )
      )
      const answers = yield* parallel(32, (n) => send("PATCH", links[n] ?? "", { sellerPartNumbers: [`r-${(n + 1) % 32}`] }))
      const numbers = (yield* Effect.forEach(parts, linksOf)).flatMap(([link]) => link?.sellerPartNumbers ?? [])
      assert.strictEqual(new Set(numbers.map((number) => number.toLowerCase())).size, 32)
      answers.forEach(({ body, status }, n) => {
        assert.strictEqual(numbers[n], status === 200 ? `r-${(n + 1) % 32}` : `R-${n}`)
        if (status !== 200) assert.deepStrictEqual([status, body.code], [409, "seller-part-number-taken"])
      })
    })
  )
})

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("seller links in bulk", (it) => {
  const attach = (entries: ReadonlyArray<PrimarySeller>) =>
    Effect.gen(function* () {
      const db = yield* Db
      const links = yield* SellerLinks
      return yield* db.transaction(links.attachMany(entries))
    })
  const ensure = (names: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const db = yield* Db
      const all = yield* Sellers
      return yield* db.transaction(all.ensure(names))
    })

  it.effect("sellers are found by name in any case, and made where there are none", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const all = yield* Sellers
      const { body: known } = yield* send("POST", "/api/sellers", { name: "Known" })
      assert.deepStrictEqual(yield* all.named(["KNOWN", "nobody"]), new Map([["KNOWN", known.id]]))
      const found = yield* ensure(["KNOWN", "Newcomer", "NEWCOMER"])
      assert.deepStrictEqual([...found.keys()].toSorted(), ["KNOWN", "NEWCOMER", "Newcomer"])
      assert.strictEqual(found.get("Newcomer"), found.get("NEWCOMER"))
      const made = yield* send("GET", `/api/sellers/${found.get("Newcomer")}`)
      assert.deepStrictEqual([made.body.name, made.body.version], ["Newcomer", 1])
      const { body: changes } = yield* send("GET", `/api/changes?entity=seller&entityId=${made.body.id}`)
      assert.deepStrictEqual(
        changes.items.map(({ action }: { action: string }) => action),
        ["created"]
      )
      const ids = yield* parallel(32, (n) =>
        Effect.map(ensure([`Rush ${n % 2}`, `RUSH ${(n + 1) % 2}`]), (map) => [...map.values()].toSorted())
      )
      assert.strictEqual(new Set(ids.map(String)).size, 1)
    })
  )

  it.effect("each part gets its seller as the primary one, and a second time nothing changes", () =>
    Effect.gen(function* () {
      const sellersByName = yield* ensure(["Bulk A", "Bulk B"])
      const [a, b] = [sellersByName.get("Bulk A"), sellersByName.get("Bulk B")]
      if (a === undefined || b === undefined) return assert.fail("no sellers")
      const [one, two, three] = [yield* newPart, yield* newPart, yield* newPart]
      assert.deepStrictEqual(
        yield* attach([
          { id4: one, sellerId: a, link: "https://a.example/1", sellerPartNumbers: ["BA-1"] },
          { id4: two, sellerId: a, sellerPartNumbers: ["BA-2"] },
          { id4: three, sellerId: b }
        ]),
        ["changed", "changed", "says-nothing"]
      )
      const entries = [
        { id4: one, sellerId: b, link: "https://b.example/1" },
        { id4: two, sellerId: a, link: "https://a.example/2" }
      ]
      assert.deepStrictEqual(yield* attach(entries), ["changed", "changed"])
      const after = [yield* linksOf(one), yield* linksOf(two), yield* linksOf(three)]
      assert.deepStrictEqual(
        after.map((links) => links.map((link) => [link.sellerId, link.primary, link.link, link.sellerPartNumbers])),
        [
          [
            [a, false, "https://a.example/1", ["BA-1"]],
            [b, true, "https://b.example/1", []]
          ],
          [[a, true, "https://a.example/2", ["BA-2"]]],
          []
        ]
      )
      assert.deepStrictEqual(yield* attach(entries), ["unchanged", "unchanged"])
      assert.deepStrictEqual(yield* attach([{ id4: one, sellerId: b }]), ["unchanged"])
      assert.deepStrictEqual([yield* linksOf(one), yield* linksOf(two), yield* linksOf(three)], after)
    })
  )

  it.effect("parts may swap numbers; who wants a number of a third one is refused alone", () =>
    Effect.gen(function* () {
      const a = (yield* ensure(["Bulk C"])).get("Bulk C")
      if (a === undefined) return assert.fail("no seller")
      const [one, two, three, four] = [yield* newPart, yield* newPart, yield* newPart, yield* newPart]
      const give = (id4: string, ...sellerPartNumbers: ReadonlyArray<string>) => ({ id4, sellerId: a, sellerPartNumbers })
      assert.deepStrictEqual(yield* attach([give(one, "BC-1"), give(two, "BC-2"), give(three, "BC-3")]), times(3, "changed" as const))
      const [first, second, fourth] = yield* attach([give(one, "bc-2"), give(two, "bc-1"), give(four, "BC-4", "bc-3")])
      assert.deepStrictEqual([first, second], ["changed", "changed"])
      assert.deepInclude(fourth, { code: "seller-part-number-taken", number: "bc-3", id4: three })
      const [fresh, late] = yield* attach([give(three, "BC-3", "BC-5"), give(four, "bc-5")])
      assert.strictEqual(fresh, "changed")
      assert.deepInclude(late, { code: "seller-part-number-taken", number: "bc-5", id4: three })
      // The third part may not give its number up, because it wants one of the first.
      const [keeps, waits] = yield* attach([give(three, "BC-2"), give(four, "BC-3")])
      assert.deepInclude(keeps, { number: "BC-2", id4: one })
      assert.deepInclude(waits, { number: "BC-3", id4: three })
      assert.deepStrictEqual(
        (yield* Effect.forEach([one, two, three, four], linksOf)).map((links) => links.flatMap((link) => link.sellerPartNumbers)),
        [["bc-2"], ["bc-1"], ["BC-3", "BC-5"], []]
      )
    })
  )

  it.effect("500 parts take as many statements as two", () =>
    Effect.gen(function* () {
      const a = (yield* ensure(["Bulk D"])).get("Bulk D")
      if (a === undefined) return assert.fail("no seller")
      const parts = yield* Effect.forEach(times(500, newPart), (part) => part, { concurrency: 8 })
      const statements = (ids: ReadonlyArray<string>, numbers: string) =>
        Effect.gen(function* () {
          let count = 0
          const tracer = Tracer.make({
            span: (options) => {
              if (options.kind === "client") count++
              return new Tracer.NativeSpan(options)
            }
          })
          const entries = ids.map((id4) => ({ id4, sellerId: a, link: "https://d.example", sellerPartNumbers: [`${numbers}-${id4}`] }))
          assert.deepStrictEqual(yield* Effect.withTracer(attach(entries), tracer), times(ids.length, "changed" as const))
          return count
        })
      const few = yield* statements(parts.slice(0, 2), "first")
      assert.isAbove(few, 3)
      assert.strictEqual(yield* statements(parts.slice(2), "first"), few)
      const fewEdits = yield* statements(parts.slice(0, 2), "second")
      assert.strictEqual(yield* statements(parts, "third"), fewEdits)
    })
  )
})
