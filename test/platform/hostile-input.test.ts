import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { registry } from "#platform/http/problems.ts"
import { exampleBody, type JsonSchema, type Operation, operations, problemCodes, resolved } from "../support/contract.ts"
import { idle } from "../support/idle.ts"
import { worldWithModel } from "../support/model-world.ts"
import { insertParts } from "../support/stock-rows.ts"
import { type Answer, Http, type SendOptions } from "../support/world.ts"

interface Hostile {
  readonly what: string
  readonly method: string
  readonly path: string
  readonly options?: SendOptions
  /** What the answer must be; any refusal or success otherwise, but never a failure. */
  readonly expect?: { readonly status: number; readonly code?: string; readonly pointer?: string }
}

const json = { "content-type": "application/json" }
const deep = 100_000

const ofQuery = ({ method, parameters, path, template }: Operation): ReadonlyArray<Hostile> => {
  const bare = path.split("?", 1)[0] ?? template
  const unknown = (query: string, pointer: string): Hostile => ({
    what: `an unknown parameter ${query}`,
    method,
    path: `${bare}?${query}`,
    expect: { status: 400, code: "invalid-request", pointer }
  })
  const values = [
    "",
    "%00",
    "%ED%A0%80",
    "%zz",
    "-1",
    "1e400",
    "NaN",
    "0x10",
    "99999999999999999999",
    "%F0%9F%94%A9",
    "a".repeat(5000),
    "'%3B--",
    "2024-02-30T00:00:00Z",
    "2024-01-01T00:00:00%2B23:59",
    "%5B%5D"
  ]
  return [
    unknown("surprise=1", "/surprise"),
    unknown("__proto__=1", "/__proto__"),
    unknown("constructor=1", "/constructor"),
    unknown("a%2Fb~=1", "/a~1b~0"),
    ...parameters
      .filter((parameter) => parameter.in === "query")
      .flatMap(({ name }) => [
        ...values.map((value) => ({ what: `${name}=${value.slice(0, 40)}`, method, path: `${bare}?${name}=${value}` })),
        { what: `${name} twice`, method, path: `${bare}?${name}=1&${name}=2` },
        { what: `${name} without a value`, method, path: `${bare}?${name}` }
      ])
  ]
}

const ofPath = ({ method, parameters, path, template }: Operation): ReadonlyArray<Hostile> =>
  parameters
    .filter((parameter) => parameter.in === "path")
    .flatMap(({ name }) => {
      const at = template.split("/").indexOf(`{${name}}`)
      const withValue = (value: string) => (path.split("?", 1)[0] ?? "").split("/").with(at, value).join("/")
      const hostile = (value: string, expect?: Hostile["expect"]) => ({
        what: `${name} = ${value.slice(0, 40)}`,
        method,
        path: withValue(value),
        options: method === "GET" || method === "DELETE" ? {} : { headers: json, raw: "{}" },
        ...(expect === undefined ? {} : { expect })
      })
      return [
        ...["%00", "0", "-1", "1e3", "99999999999999999999", "%EF%BC%91", "'%3B--", "a%2Fb", "%20", "null", "__proto__"].map((value) =>
          hostile(value)
        ),
        hostile("%", { status: 400, code: "invalid-request" }),
        hostile("%ED%A0%80", { status: 400, code: "invalid-request" }),
        hostile("%zz", { status: 400, code: "invalid-request" }),
        hostile("x".repeat(3000), { status: 404, code: "route-not-found" })
      ]
    })

const ofBody = (operation: Operation): ReadonlyArray<Hostile> => {
  const { method, path } = operation
  const send = (what: string, raw: string | Uint8Array, expect?: Hostile["expect"], headers: Record<string, string> = json): Hostile => ({
    what,
    method,
    path,
    options: { headers, raw },
    ...(expect === undefined ? {} : { expect })
  })
  if (method === "GET") return []
  if (operation.requestBody === undefined) {
    const refused = { status: 400, code: "invalid-request", pointer: "" }
    return [send("a body where none is expected", '{"a":1}', refused), send("a body that is not JSON where none is expected", "a", refused)]
  }
  const example = (exampleBody(operation) ?? {}) as Record<string, unknown>
  const malformed = { status: 400, code: "malformed-json" }
  const invalid = { status: 400, code: "invalid-request" }
  const tooLarge = { status: 413, code: "payload-too-large" }
  const foreign = { status: 415, code: "unsupported-media-type" }
  if (!("application/json" in operation.requestBody.content)) {
    const form = { "content-type": "multipart/form-data; boundary=x" }
    return [
      send("no body", "", foreign),
      send("JSON", "{}", foreign),
      send("text", "a=1", foreign, { "content-type": "text/plain" }),
      send("a form without files", "a=1", foreign, { "content-type": "application/x-www-form-urlencoded" }),
      send("no type that exists", "{}", foreign, { "content-type": "\u00e9" }),
      send("a form without boundary", "--x--", invalid, { "content-type": "multipart/form-data" }),
      send("an empty form", "--x--", invalid, form),
      send("half a form", '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\na', invalid, form),
      send("a compressed form", "--x--", foreign, { ...form, "content-encoding": "gzip" })
    ]
  }
  return [
    send("no body", "", invalid),
    send("half a body", '{"a":', malformed),
    send("single quotes", "{'a':1}", malformed),
    send("a comment", "{}//", malformed),
    send("two values", "{}{}", malformed),
    send("a body that is not UTF-8", new Uint8Array([0x22, 0xff, 0xfe, 0x22]), malformed),
    send("null", "null", invalid),
    send("a list", "[]", invalid),
    send("a text", '"text"', invalid),
    send("a number", "1e999", invalid),
    send("lists in lists", "[".repeat(deep) + "]".repeat(deep), invalid),
    send("lists in lists that never end", "[".repeat(deep), malformed),
    send("objects in objects", '{"a":'.repeat(deep) + "1" + "}".repeat(deep), invalid),
    send("a body of 20 MB", JSON.stringify({ ...example, surprise: "x".repeat(20_000_000) }), tooLarge),
    send("a declared length of 20 MB", "{}", tooLarge, { ...json, "content-length": "20000000" }),
    send("very many unknown fields", JSON.stringify(Object.fromEntries(Array.from({ length: 70_000 }, (_, n) => [`f${n}`, 1]))), invalid),
    send("an unknown field", JSON.stringify({ ...example, surprise: 1 }), { ...invalid, pointer: "/surprise" }),
    send("the field __proto__", `{"__proto__":{"admin":true},${JSON.stringify(example).slice(1)}`, { ...invalid, pointer: "/__proto__" }),
    send("the field constructor", JSON.stringify({ ...example, constructor: 1 }), { ...invalid, pointer: "/constructor" }),
    send("text", "a=1", foreign, { "content-type": "text/plain" }),
    send("XML", "<a/>", foreign, { "content-type": "application/xml" }),
    send("a form", "a=1", foreign, { "content-type": "application/x-www-form-urlencoded" }),
    ...("multipart/form-data" in operation.requestBody.content
      ? [send("an empty form", "--x--", invalid, { "content-type": "multipart/form-data; boundary=x" })]
      : [send("a file", "--x--", foreign, { "content-type": "multipart/form-data; boundary=x" })]),
    send("no type that exists", "{}", foreign, { "content-type": "\u00e9" }),
    send("a foreign charset", JSON.stringify(example), foreign, { "content-type": "application/json; charset=iso-8859-1" }),
    send("a foreign charset in capitals", JSON.stringify(example), foreign, { "content-type": "application/json; CHARSET=UTF-16" }),
    send("a compressed body", JSON.stringify(example), foreign, { ...json, "content-encoding": "gzip" }),
    ...listsOf(operation.requestBody.content["application/json"]?.schema).map((field) =>
      send(`very many nulls in ${field}`, withValue(example, [field], JSON.stringify(Array.from({ length: 170_000 }, () => null))), invalid)
    ),
    ...places(example, operation.requestBody.content["application/json"]?.schema).flatMap((place) =>
      wrongValues.map(([what, value]) => send(`/${place.join("/")}: ${what}`, withValue(example, place, value)))
    )
  ]
}

const listsOf = (schema: JsonSchema | undefined) =>
  Object.entries((schema === undefined ? {} : resolved(schema)).properties ?? {}).flatMap(([field, property]) =>
    resolved(property).type === "array" ? [field] : []
  )

type Place = ReadonlyArray<string>

/** Every field that the schema of a body has, and every place inside the example. */
const places = (example: unknown, schema: JsonSchema | undefined): ReadonlyArray<Place> => {
  const fields = Object.keys((schema === undefined ? {} : resolved(schema)).properties ?? {}).map((field) => [field])
  return [...fields, ...inside(example).filter((place) => place.length > 1)]
}

const inside = (value: unknown): ReadonlyArray<Place> =>
  typeof value !== "object" || value === null
    ? []
    : Object.entries(value).flatMap(([key, inner]) => [[key], ...inside(inner).map((place) => [key, ...place])])

/** The example with other JSON at one place, also such that no object can hold. */
const withValue = (example: Record<string, unknown>, place: Place, json: string) => {
  const body = structuredClone(example)
  const parent = place.slice(0, -1).reduce((object, key) => object[key] as Record<string, unknown>, body)
  const marked = "the place"
  parent[place.at(-1) ?? ""] = marked
  return JSON.stringify(body).replace(JSON.stringify(marked), () => json)
}

const wrongValues: ReadonlyArray<readonly [string, string]> = [
  ["null", "null"],
  ["true", "true"],
  ["a negative number", "-1"],
  ["a fraction", "0.5"],
  ["a number beyond 2^53", "9007199254740993"],
  ["a number beyond all", "1e999"],
  ["NUL", '"a\\u0000b"'],
  ["half a surrogate pair", '"a\\ud800b"'],
  ["an empty text", '""'],
  ["blanks", '" \\u00a0 "'],
  ["a long text", JSON.stringify("x".repeat(20_000))],
  ["an empty list", "[]"],
  ["a list of null", "[null]"],
  ["a list of NUL", '["\\u0000"]'],
  ["a list of half surrogate pairs", '["\\udfff"]'],
  ["a long list", JSON.stringify(Array.from({ length: 2000 }, () => "a"))],
  ["an empty object", "{}"],
  ["an object", '{"a":1}'],
  ["an object with NUL", '{"\\u0000":"\\u0000"}'],
  ["lists in lists", "[".repeat(10_000) + "]".repeat(10_000)],
  ["objects in objects", '{"a":'.repeat(10_000) + "1" + "}".repeat(10_000)]
]

const ofHeaders = (operation: Operation): ReadonlyArray<Hostile> => {
  const { method, parameters, path } = operation
  const body = exampleBody(operation)
  const raw = body === undefined ? {} : { raw: JSON.stringify(body) }
  const wrong: Record<string, ReadonlyArray<string>> = {
    "if-match": ["1", '"1', '"1" "2"', "W/1", "*, *"],
    "last-event-id": ["0", "ä", "x".repeat(300)],
    "idempotency-key": ["two words", "ä", "x".repeat(256)]
  }
  return parameters
    .filter((parameter) => parameter.in === "header")
    .flatMap(({ name }) =>
      (wrong[name] ?? []).map((value) => ({
        what: `${name}: ${value.slice(0, 40)}`,
        method,
        path,
        options: { headers: { ...(body === undefined ? {} : json), [name]: value }, ...raw },
        expect: { status: 400, code: "invalid-request", pointer: `/${name}` }
      }))
    )
}

const ofMethod = (operation: Operation): ReadonlyArray<Hostile> => {
  const path = operation.path.split("?", 1)[0] ?? ""
  const here = operations.filter(({ template }) => new RegExp(`^${template.replaceAll(/\{[^}]+\}/gu, "[^/]+")}$`, "u").test(path))
  return ["GET", "POST", "PUT", "PATCH", "DELETE", "FOO"]
    .filter((wrong) => !here.some(({ method }) => method === wrong))
    .map((method) => ({
      what: `the method ${method}`,
      method,
      path,
      expect: { status: 405, code: "method-not-allowed" }
    }))
}

/** Every refusal is a problem that a person can act on, and tells nothing of the inside. */
const assertProblem = ({ body, headers, status, text }: Answer, what: string) => {
  assert.strictEqual(headers.get("content-type"), "application/problem+json", what)
  const declared = registry.get(body.code)
  assert.isDefined(declared, `${what}: ${body.code} is not registered`)
  assert.strictEqual(status, declared.status, what)
  assert.include(body, { type: `/problems/${body.code}`, title: declared.title, status }, what)
  assert.isNotEmpty(body.detail, what)
  assert.strictEqual(body.requestId, headers.get("x-request-id"), what)
  assert.notMatch(text, /\bat .*\.ts|node_modules|SqlError|select |insert into|update .* set|<html/iu, what)
  if (status === 405) assert.include(headers.get("allow"), "OPTIONS", what)
  assert.isBelow(text.length, 100_000, what)
}

layer(worldWithModel(), { excludeTestServices: true, timeout: "60 seconds" })("hostile input", (it) => {
  const rowCounts = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const tables = yield* sql<{ readonly name: string }>`
      select tablename as name from pg_tables where schemaname = 'public' and tablename <> 'schedule_runs' order by 1`
    // What the clock asks for may come at any moment, and is nobody's request.
    const asked = (name: string) => (name === "jobs" || name === "changes" ? sql`where request_id is not null` : sql``)
    const counts = sql.csv(tables.map(({ name }) => sql`(select count(*)::int from ${sql(name)} ${asked(name)})`))
    return () => Effect.map(sql<{ readonly counts: ReadonlyArray<number> }>`select array[${counts}] as counts`, ([found]) => found?.counts)
  })

  it.effect("the examples put something there for it to find", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* insertParts([{ id4: "ABCD" }])
      const creations = operations.filter(({ method }) => method === "POST")
      yield* Effect.forEach([...creations, ...creations], (operation) => send("POST", operation.path, exampleBody(operation)))
      // Jobs write too.
      yield* idle
    })
  )

  for (const operation of operations) {
    it.effect(`${operation.method} ${operation.template} answers it with a problem and leaves nothing behind`, () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const count = yield* rowCounts
        const cases = [ofMethod, ofQuery, ofPath, ofHeaders, ofBody].flatMap((generate) => generate(operation))
        let before = yield* count()
        for (const { expect, method, options, path, what } of cases) {
          const answer = yield* send(method, path, undefined, options)
          const said = `${method} ${path.slice(0, 100)} with ${what}: ${answer.status} ${answer.text.slice(0, 300)}`
          assert.isBelow(answer.status, 500, said)
          if (answer.status < 400) {
            assert.isUndefined(expect, said)
            if (method !== "GET") before = yield* Effect.andThen(idle, count())
            continue
          }
          assertProblem(answer, said)
          assert.deepStrictEqual(yield* count(), before, said)
          if (method === operation.method && answer.body.code !== "route-not-found") {
            assert.include(problemCodes(operation.responses[answer.status]?.content), answer.body.code, said)
          }
          if (expect === undefined) continue
          assert.strictEqual(answer.status, expect.status, said)
          if (expect.code !== undefined) assert.strictEqual(answer.body.code, expect.code, said)
          if (expect.pointer !== undefined) {
            assert.include(
              answer.body.errors.map(({ pointer }: { readonly pointer: string }) => pointer),
              expect.pointer,
              said
            )
          }
        }
      })
    )
  }
})
