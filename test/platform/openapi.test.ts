import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { assert, describe, it, layer } from "@effect/vitest"
import { Validator } from "@seriousme/openapi-schema-validator"
import { Effect } from "effect"
import { registry } from "#platform/http/problems.ts"
import { document, exampleBody, operations, problemCodes, resolved } from "../support/contract.ts"
import { misfits } from "../support/json-schema.ts"
import { worldWithModel } from "../support/model-world.ts"
import { insertParts } from "../support/stock-rows.ts"
import { Http } from "../support/world.ts"

const snapshot = new URL("openapi.snapshot.json", import.meta.url)

describe("the contract", () => {
  it("is OpenAPI 3.1 without an error", async () => {
    const { errors, valid } = await new Validator().validate(structuredClone(document))
    assert.deepStrictEqual(errors, undefined)
    assert.isTrue(valid)
    assert.match(document.openapi, /^3\.1\./u)
  })

  it("changes on purpose only: UPDATE_CONTRACT=1 writes the new one down", () => {
    const now = `${JSON.stringify(document, null, 1)}\n`
    if (process.env.UPDATE_CONTRACT === "1") writeFileSync(snapshot, now)
    const pinned = existsSync(snapshot) ? readFileSync(snapshot, "utf8") : "{}"
    assert.deepStrictEqual(JSON.parse(now), JSON.parse(pinned))
  })

  it("names things as a reader would", () => {
    const names = Object.keys(document.components.schemas)
    assert.deepStrictEqual(
      names.filter((name) => !/^[A-Z][A-Za-z0-9]*$/u.test(name) || name.endsWith("Encoded")),
      []
    )
    const text = JSON.stringify(document)
    assert.notInclude(text, "Encoded")
    assert.notInclude(text, "9007199254740991")
    assert.notInclude(text, "[Ee][+-]?", "a number is described as a text that looks like one")
    const referred = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/gu)].map(([, name]) => name))
    assert.deepStrictEqual(
      names.filter((name) => !referred.has(name)),
      []
    )
    assert.strictEqual(new Set(operations.map(({ operationId }) => operationId)).size, operations.length)
  })

  for (const operation of operations) {
    describe(`${operation.method} ${operation.template}`, () => {
      it("says what it is, who may use it and how", () => {
        assert.match(operation.operationId, /^[a-zA-Z]+\.[a-zA-Z]+$/u)
        assert.strictEqual(operation.tags.length, 1)
        assert.isAtMost(operation.summary?.length ?? 0, 80)
        for (const text of [operation.summary, operation.description]) assert.match(text ?? "", /^\S.{4,}$/su)
        assert.include(["public", "viewer", "editor", "admin"], operation["x-required-role"])
        for (const { in: where, name, schema, ...parameter } of operation.parameters) {
          assert.isFalse(name.includes("_"), name)
          if (where === "path") assert.isDefined(parameter.example, `${name} has no example`)
          if (parameter.example !== undefined) assert.deepStrictEqual(misfits(parameter.example, schema, resolved), [])
        }
        for (const [type, { example, schema }] of Object.entries(operation.requestBody?.content ?? {})) {
          assert.isDefined(example, `${type} has no example`)
          assert.deepStrictEqual(misfits(example, schema, resolved), [])
        }
      })

      it("lists every problem that it can answer", () => {
        const declared = Object.entries(operation.responses).flatMap(([status, { content }]) => {
          const codes = problemCodes(content)
          for (const code of codes) assert.strictEqual(String(registry.get(code)?.status), status, code)
          return codes
        })
        assert.includeMembers(declared, [
          "invalid-request",
          "internal-error",
          "database-unavailable",
          "request-took-too-long",
          "server-stopping"
        ])
        const ofBodies = ["malformed-json", "payload-too-large", "unsupported-media-type", "request-timeout"]
        if (operation.requestBody === undefined) assert.notIncludeMembers(declared, ofBodies)
        else assert.includeMembers(declared, ofBodies)
        assert.strictEqual(new Set(declared).size, declared.length)
      })
    })
  }
})

layer(worldWithModel(), { excludeTestServices: true, timeout: "60 seconds" })("the examples of the contract", (it) => {
  it.effect("speak of a part that exists", () => insertParts([{ id4: "ABCD" }]))

  for (const operation of operations) {
    it.effect(`${operation.method} ${operation.path} is answered as the contract says`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const answer = yield* send(operation.method, operation.path, exampleBody(operation))
        const response = operation.responses[answer.status]
        assert.isDefined(response, `${answer.status} is not declared: ${answer.text}`)
        assert.isBelow(answer.status, 500)
        const type = answer.headers.get("content-type")?.split(";")[0] ?? ""
        if (answer.text === "") return assert.isUndefined(response.content)
        const schema = response.content?.[type]?.schema
        assert.isDefined(schema, `${type} is not declared for ${answer.status}`)
        if (type.endsWith("json")) assert.deepStrictEqual(misfits(answer.body, schema, resolved), [])
        if (answer.status === 400) assert.fail(`The example is refused: ${answer.text}`)
      })
    )
  }

  it.effect("the contract is served as it is pinned", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { servers, ...served } = (yield* send("GET", "/api/openapi.json")).body
      assert.deepStrictEqual(servers, [{ url: "/" }])
      assert.deepStrictEqual(served, JSON.parse(JSON.stringify(document)))
    })
  )
})
