import { globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { registry } from "#platform/http/problems.ts"
import { document } from "../support/contract.ts"
import { Http, world } from "../support/world.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Every code that the source gives a problem. */
const inSource = globSync("src/**/*.ts", { cwd: root }).flatMap((file) => {
  const text = readFileSync(`${root}/${file}`, "utf8")
  return text.includes("Problem<") ? [...text.matchAll(/\bcode: "([a-z][a-z0-9-]*)"/gu)].map(([, code]) => code ?? "") : []
})

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("/problems", (it) => {
  it.effect("lists every code in the source and explains each", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { body, status } = yield* send("GET", "/problems")
      assert.strictEqual(status, 200)
      assert.isAbove(inSource.length, 20)
      assert.deepStrictEqual(
        body.items.map(({ code }: { readonly code: string }) => code),
        inSource.toSorted()
      )
      for (const code of inSource) {
        const explained = yield* send("GET", `/problems/${code}`)
        assert.strictEqual(explained.status, 200)
        const { help, ...problem } = explained.body
        const declared = registry.get(code)
        assert.deepStrictEqual(problem, { type: `/problems/${code}`, code, status: declared?.status, title: declared?.title })
        assert.match(code, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/u)
        assert.match(problem.title, /^[A-Z][^.]*[^.]$/u, code)
        assert.isAbove(help.length, 20, code)
        assert.match(help, /\.$/u, code)
      }
    })
  )

  it.effect("shows a page to a browser", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const page = yield* send("GET", "/problems/invalid-request", undefined, { headers: { accept: "text/html,*/*;q=0.8" } })
      assert.match(page.headers.get("content-type") ?? "", /^text\/html/u)
      assert.include(page.headers.get("vary"), "Accept")
      assert.include(page.text, "<code>400 invalid-request</code>")
      assert.notMatch(page.text, /<[a-z]+>[^<]*<code><code>/u)
    })
  )

  it.effect("names the limits of files by their kind", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { help } = (yield* send("GET", "/problems/payload-too-large")).body
      assert.include(help, "JPEG image 30 MiB, PNG image 30 MiB, WebP image 30 MiB, SVG image 5 MiB, PDF 100 MiB")
    })
  )

  it.effect("knows no other codes", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      for (const code of ["nonsense", "__proto__", "constructor", "x".repeat(99)]) {
        const { body, status } = yield* send("GET", `/problems/${code}`)
        assert.deepStrictEqual([status, body.code], [404, "route-not-found"], code)
      }
    })
  )

  it.effect("has every problem that the contract declares", () =>
    Effect.sync(() => {
      const declared = [...JSON.stringify(document).matchAll(/"enum":\["\/problems\/([a-z0-9-]+)"\]/gu)].map(([, code]) => code ?? "")
      assert.isAbove(declared.length, 20)
      assert.deepStrictEqual(
        declared.filter((code) => !registry.has(code)),
        []
      )
    })
  )
})
