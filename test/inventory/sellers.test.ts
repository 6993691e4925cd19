import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Http, world } from "../support/world.ts"

const statuses = (answers: ReadonlyArray<{ readonly status: number }>) => answers.map(({ status }) => status).toSorted()
const times = <A>(n: number, value: A) => Array.from({ length: n }, () => value)
const parallel = <A, E, R>(n: number, call: (n: number) => Effect.Effect<A, E, R>) =>
  Effect.all(
    Array.from({ length: n }, (_, at) => call(at)),
    { concurrency: "unbounded" }
  )

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("sellers", (it) => {
  it.effect("a seller is added, read, changed and deleted", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const created = yield* send("POST", "/api/sellers", { name: "  Circuit Corner ", website: "https://corner.example/shop?x=1" })
      assert.strictEqual(created.status, 201, created.text)
      const { createdAt, id, updatedAt, ...rest } = created.body
      assert.deepStrictEqual(rest, {
        name: "Circuit Corner",
        website: "https://corner.example/shop?x=1",
        logoUrl: null,
        partCount: 0,
        version: 1
      })
      assert.match(createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.strictEqual(updatedAt, createdAt)
      assert.strictEqual(created.headers.get("etag"), '"1"')
      const address = created.headers.get("location") ?? ""
      assert.strictEqual(address, `/api/sellers/${id}`)
      assert.deepStrictEqual((yield* send("GET", address)).body, created.body)

      const renamed = yield* send("PATCH", address, { name: "Circuit Corner Ltd" }, { headers: { "if-match": '"1"' } })
      assert.strictEqual(renamed.status, 200, renamed.text)
      assert.strictEqual(renamed.headers.get("etag"), '"2"')
      assert.deepStrictEqual(
        [renamed.body.name, renamed.body.website, renamed.body.version],
        ["Circuit Corner Ltd", "https://corner.example/shop?x=1", 2]
      )
      const emptied = yield* send("PATCH", address, { website: null }, { headers: { "content-type": "application/merge-patch+json" } })
      assert.deepStrictEqual([emptied.status, emptied.body.website, emptied.body.name], [200, null, "Circuit Corner Ltd"])

      assert.strictEqual((yield* send("DELETE", address, undefined, { headers: { "if-match": '"3"' } })).status, 204)
      const gone = yield* send("GET", address)
      assert.deepStrictEqual([gone.status, gone.body.code, gone.body.sellerId], [404, "seller-not-found", id])
      const changes = yield* send("GET", `/api/changes?entity=seller&entityId=${id}`)
      assert.deepStrictEqual(
        changes.body.items.map((c: { action: string; before: object | null; after: object | null }) => [c.action, c.before, c.after]),
        [
          ["deleted", emptied.body, null],
          ["updated", renamed.body, emptied.body],
          ["updated", created.body, renamed.body],
          ["created", null, created.body]
        ]
      )
    })
  )

  it.effect("a name is taken in any case, for a new seller and for a renamed one", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* send("POST", "/api/sellers", { name: "Größe & Söhne" })
      const other = yield* send("POST", "/api/sellers", { name: "Widgets" })
      const second = yield* send("POST", "/api/sellers", { name: "GRÖßE & SÖHNE" })
      assert.deepStrictEqual([second.status, second.body.code, second.body.name], [409, "seller-name-taken", "GRÖßE & SÖHNE"])
      const renamed = yield* send("PATCH", `/api/sellers/${other.body.id}`, { name: "größe & söhne" })
      assert.deepStrictEqual([renamed.status, renamed.body.code], [409, "seller-name-taken"])
      assert.deepStrictEqual((yield* send("GET", `/api/sellers/${other.body.id}`)).body, other.body)
      assert.strictEqual((yield* send("PATCH", `/api/sellers/${other.body.id}`, { name: "WIDGETS" })).body.name, "WIDGETS")
    })
  )

  it.effect("a write that saw another version is refused and changes nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Versions" })
      for (const [method, body] of [["PATCH", { name: "Other" }] as const, ["DELETE", undefined] as const]) {
        const refused = yield* send(method, `/api/sellers/${seller.id}`, body, { headers: { "if-match": '"7"' } })
        assert.deepStrictEqual([refused.status, refused.body.code, refused.body.current], [412, "precondition-failed", '"1"'])
      }
      assert.deepStrictEqual((yield* send("GET", `/api/sellers/${seller.id}`)).body, seller)
    })
  )

  it.effect("a seller of a part cannot be deleted until the link is gone", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Needed" })
      const { body: part } = yield* send("POST", "/api/parts", {
        description: "Fuse",
        sellerLinks: [{ sellerId: seller.id, sellerPartNumbers: ["F-1"] }]
      })
      assert.strictEqual((yield* send("GET", `/api/sellers/${seller.id}`)).body.partCount, 1)
      const refused = yield* send("DELETE", `/api/sellers/${seller.id}`)
      assert.deepStrictEqual([refused.status, refused.body.code, refused.body.partCount], [409, "seller-in-use", 1])
      assert.strictEqual((yield* send("DELETE", `/api/parts/${part.id4}/seller-links/${part.sellerLinks[0].id}`)).status, 204)
      assert.strictEqual((yield* send("DELETE", `/api/sellers/${seller.id}`)).status, 204)
    })
  )

  it.effect("bad input is named field by field and writes nothing", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const total = () => Effect.map(send("GET", "/api/sellers?limit=1&includeTotal=true"), ({ body }) => body.total)
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Untouched" })
      const before = yield* total()
      const refused: ReadonlyArray<readonly [body: unknown, pointers: ReadonlyArray<string>]> = [
        [{}, ["/name"]],
        [{ name: "" }, ["/name"]],
        [{ name: " \t " }, ["/name"]],
        [{ name: null }, ["/name"]],
        [{ name: 7 }, ["/name"]],
        [{ name: "a\0b" }, ["/name"]],
        [{ name: "\ud800" }, ["/name"]],
        [{ name: "x".repeat(256) }, ["/name"]],
        [{ name: "A", website: "corner.example" }, ["/website"]],
        [{ name: "A", website: "ftp://corner.example" }, ["/website"]],
        [{ name: "A", website: "javascript:alert(1)" }, ["/website"]],
        [{ name: "A", website: `https://corner.example/${"x".repeat(500)}` }, ["/website"]],
        [{ name: "A", logo: "x" }, ["/logo"]],
        [{ name: "", website: "", id: 1 }, ["/id", "/name", "/website"]],
        [[], [""]],
        ["x", [""]]
      ]
      for (const [body, pointers] of refused) {
        const answer = yield* send("POST", "/api/sellers", body)
        assert.deepStrictEqual([answer.status, answer.body.code], [400, "invalid-request"], answer.text)
        const named = answer.body.errors.map((error: { in: string; pointer: string }) => `${error.in}${error.pointer}`)
        assert.deepStrictEqual(
          [...new Set(named)].toSorted(),
          pointers.map((pointer) => `body${pointer}`)
        )
      }
      for (const body of [{ name: null }, { name: " " }, { website: "x" }, { partCount: 3 }]) {
        assert.strictEqual((yield* send("PATCH", `/api/sellers/${seller.id}`, body)).status, 400, JSON.stringify(body))
      }
      for (const query of ["limit=0", "limit=ten", "sort=website", "q=x", "cursor=zz"]) {
        assert.strictEqual((yield* send("GET", `/api/sellers?${query}`)).status, 400, query)
      }
      for (const id of ["0", "-1", "x", "1.5", "99999999999999999999", String(2 ** 31)]) {
        for (const [method, body] of [["GET", undefined] as const, ["PATCH", { name: "B" }] as const, ["DELETE", undefined] as const]) {
          const answer = yield* send(method, `/api/sellers/${id}`, body)
          assert.deepStrictEqual([answer.status, answer.body.code], [404, "seller-not-found"], `${method} ${id}`)
        }
      }
      assert.strictEqual(yield* total(), before)
      assert.deepStrictEqual((yield* send("GET", `/api/sellers/${seller.id}`)).body, seller)
    })
  )

  it.effect("a request repeated with its key adds one seller; a refused one leaves its key free", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const headers = { "idempotency-key": "one-seller" }
      const first = yield* send("POST", "/api/sellers", { name: "Once" }, { headers })
      const again = yield* send("POST", "/api/sellers", { name: "Once" }, { headers })
      assert.deepStrictEqual([again.status, again.body], [201, first.body])

      const free = { "idempotency-key": "refused-seller" }
      assert.strictEqual((yield* send("POST", "/api/sellers", { name: "ONCE" }, { headers: free })).status, 409)
      assert.strictEqual((yield* send("POST", "/api/sellers", { name: "Twice" }, { headers: free })).status, 201)
    })
  )

  it.effect("of 64 creations of one name at once one succeeds", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const answers = yield* parallel(64, (n) => send("POST", "/api/sellers", { name: n % 2 === 0 ? "Rush" : "RUSH" }))
      assert.deepStrictEqual(statuses(answers), [201, ...times(63, 409)])
      assert.deepStrictEqual(
        new Set(answers.filter(({ status }) => status === 409).map(({ body }) => body.code)),
        new Set(["seller-name-taken"])
      )
    })
  )

  it.effect("of 32 changes of one version at once one succeeds, of 32 deletions one", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Contended" })
      const address = `/api/sellers/${seller.id}`
      const edits = yield* parallel(32, (n) => send("PATCH", address, { name: `Contended ${n}` }, { headers: { "if-match": '"1"' } }))
      assert.deepStrictEqual(statuses(edits), [200, ...times(31, 412)])
      const unconditional = yield* parallel(32, (n) => send("PATCH", address, { name: `Contended ${n}` }))
      assert.deepStrictEqual(statuses(unconditional), times(32, 200))
      assert.strictEqual((yield* send("GET", address)).body.version, 34)
      assert.deepStrictEqual(statuses(yield* parallel(32, () => send("DELETE", address))), [204, ...times(31, 404)])
    })
  )

  it.effect("a seller that is deleted while 32 parts want it keeps all of them or none", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const parts = yield* Effect.forEach(times(32, "Contested part"), (description) => send("POST", "/api/parts", { description }))
      const { body: seller } = yield* send("POST", "/api/sellers", { name: "Leaving" })
      const [deleted, ...links] = yield* parallel(33, (n) =>
        n === 0
          ? send("DELETE", `/api/sellers/${seller.id}`)
          : send("POST", `/api/parts/${parts[n - 1]?.body.id4}/seller-links`, { sellerId: seller.id, sellerPartNumbers: [`L-${n}`] })
      )
      if (deleted?.status === 204) assert.deepStrictEqual(statuses(links), times(32, 400))
      else {
        assert.strictEqual(deleted?.status, 409)
        assert.deepStrictEqual(statuses(links), times(32, 201))
        assert.strictEqual((yield* send("GET", `/api/sellers/${seller.id}`)).body.partCount, 32)
      }
    })
  )
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("the list of sellers", (it) => {
  it.effect("is sorted by name whatever its case, or by age, and pages with a cursor", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const name of ["delta", "Alpha", "charlie", "Bravo", "Échelon"]) yield* send("POST", "/api/sellers", { name })
      const names = (query: string) =>
        Effect.map(send("GET", `/api/sellers?${query}`), ({ body }) => body.items.map(({ name }: { name: string }) => name))
      assert.deepStrictEqual(yield* names(""), ["Alpha", "Bravo", "charlie", "delta", "Échelon"])
      assert.deepStrictEqual(yield* names("sort=-name&limit=2"), ["Échelon", "delta"])
      assert.deepStrictEqual(yield* names("sort=createdAt"), ["delta", "Alpha", "charlie", "Bravo", "Échelon"])

      for (const sort of ["name", "-createdAt"]) {
        const pages: Array<string> = []
        let cursor = ""
        do {
          const { body } = yield* send("GET", `/api/sellers?limit=2&sort=${sort}&includeTotal=true${cursor}`)
          assert.strictEqual(body.total, 5)
          pages.push(...body.items.map(({ name }: { name: string }) => name))
          cursor = body.nextCursor === null ? "" : `&cursor=${body.nextCursor}`
        } while (cursor !== "")
        assert.deepStrictEqual(pages, yield* names(`sort=${sort}`))
      }
    })
  )
})
