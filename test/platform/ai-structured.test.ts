import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, Schema } from "effect"
import { structured } from "#platform/ai/structured.ts"
import { optionalText, text, webAddress } from "#platform/http/text.ts"
import type { JsonSchema } from "../support/contract.ts"
import { misfits } from "../support/json-schema.ts"
import { strictFaults } from "../support/openai.ts"

const leaves = {
  text: Schema.String,
  short: Schema.String.check(Schema.isBetweenLength(1, 8)),
  id: Schema.String.check(Schema.isPattern(/^[A-Z]{4}$/u)),
  count: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 })),
  size: Schema.Finite,
  flag: Schema.Boolean,
  grade: Schema.Literals(["high", "medium", "low"]),
  named: Schema.Literals(["a", "b"]).annotate({ identifier: "Named" })
}
type Leaf = keyof typeof leaves

type Shape = Leaf | { readonly list: Shape } | { readonly orNull: Shape } | { readonly fields: Fields }
type Fields = Readonly<Record<"a" | "b" | "pattern", { readonly of: Shape; readonly optional: boolean }>>

const fieldsOf = (shape: Schema.Codec<Shape, unknown>) => {
  const field = Schema.Struct({ of: shape, optional: Schema.Boolean })
  return Schema.Struct({ a: field, b: field, pattern: field }) as unknown as Schema.Codec<Fields, unknown>
}
const leaf = Schema.Literals(Object.keys(leaves) as unknown as readonly [Leaf]) as Schema.Codec<Shape, unknown>
const deeper = (shape: Schema.Codec<Shape, unknown>): Schema.Codec<Shape, unknown> =>
  Schema.Union([
    leaf,
    Schema.Struct({ list: shape }),
    Schema.Struct({ orNull: shape }),
    Schema.Struct({ fields: fieldsOf(shape) })
  ]) as never

const schemaOf = (shape: Shape): Schema.Codec<unknown, unknown> => {
  if (typeof shape === "string") return leaves[shape] as never
  if ("list" in shape) return Schema.Array(schemaOf(shape.list)).check(Schema.isMaxLength(3)) as never
  if ("orNull" in shape) return Schema.NullOr(schemaOf(shape.orNull)) as never
  return structOf(shape.fields)
}
const structOf = (fields: Fields): Schema.Codec<unknown, unknown> =>
  Schema.Struct(
    Object.fromEntries(
      Object.entries(fields).map(([key, { of, optional }]) => [key, optional ? Schema.optionalKey(schemaOf(of)) : schemaOf(of)])
    )
  ) as never

/** As a model writes it that keeps to the schema: what is missing is null. */
const written = (value: unknown, shape: Shape): unknown => {
  if (typeof shape === "string" || value === null) return value
  if ("list" in shape) return (value as ReadonlyArray<unknown>).map((one) => written(one, shape.list))
  if ("orNull" in shape) return written(value, shape.orNull)
  return Object.fromEntries(
    Object.entries(shape.fields).map(([key, { of }]) => {
      const own = value as Record<string, unknown>
      return [key, key in own ? written(own[key], of) : null]
    })
  )
}

/** Whether null can mean two things: that it is missing, and that it is null. */
const isAmbiguous = (shape: Shape): boolean => {
  if (typeof shape === "string") return false
  if ("list" in shape) return isAmbiguous(shape.list)
  if ("orNull" in shape) return isAmbiguous(shape.orNull)
  return Object.values(shape.fields).some(({ of, optional }) => (optional && typeof of !== "string" && "orNull" in of) || isAmbiguous(of))
}

const fields = Arbitrary.schema(fieldsOf(deeper(deeper(leaf))))
const answered = Arbitrary.flatMap(fields, (fields) => Arbitrary.map(Arbitrary.schema(structOf(fields)), (value) => ({ fields, value })))
const within = (jsonSchema: object) => (schema: JsonSchema) => {
  const { $defs = {} } = jsonSchema as { readonly $defs?: Record<string, JsonSchema> }
  return $defs[(schema as { readonly $ref?: string }).$ref?.replace("#/$defs/", "") ?? ""] ?? schema
}
const withoutDefinitions = ({ $defs: _, ...schema }: { readonly $defs?: unknown }) => schema as JsonSchema

describe("R39: the schema that a model is given", () => {
  it.prop(
    "is strict, whatever ours is",
    [fields],
    ([fields]) => {
      assert.deepStrictEqual(strictFaults(structured(structOf(fields)).jsonSchema, "schema"), [])
    },
    { arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "takes every answer that ours takes, and it comes back as it was",
    [answered],
    ([{ fields, value }]) =>
      Effect.gen(function* () {
        const { decode, jsonSchema } = structured(structOf(fields))
        const json = JSON.parse(JSON.stringify(written(value, { fields })))
        assert.deepStrictEqual(misfits(json, withoutDefinitions(jsonSchema), within(jsonSchema)), [])
        if (isAmbiguous({ fields })) yield* decode(json)
        else assert.deepStrictEqual(yield* decode(json), JSON.parse(JSON.stringify(value)))
      }),
    { arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "is no promise: whatever the model writes fits ours or is refused",
    [fields, Schema.Json],
    ([fields, json]) =>
      Effect.gen(function* () {
        const schema = structOf(fields)
        const exit = yield* Effect.exit(structured(schema).decode(json))
        if (Exit.isSuccess(exit)) assert.isTrue(Schema.is(schema)(exit.value))
        else assert.isFalse(Cause.hasDies(exit.cause))
      }),
    { arbitrary: { runs: 300 } }
  )

  it.effect("says what it can of the texts and addresses of ours, and ours checks the rest", () =>
    Effect.gen(function* () {
      const { decode, jsonSchema } = structured(
        Schema.Struct({
          description: text(10),
          note: optionalText(5),
          url: webAddress(50),
          code: Schema.String.check(Schema.isPattern(/^(?!0)\p{Lu}+$/u))
        }).annotate({ identifier: "Thing" })
      )
      assert.deepStrictEqual(strictFaults(jsonSchema, "schema"), [])
      assert.notProperty(jsonSchema, "$defs")
      assert.notInclude(JSON.stringify(jsonSchema), '"pattern"')
      const good = { description: " pear ", note: null, url: "https://a.example/x", code: "A" }
      assert.deepStrictEqual(yield* decode(good), { ...good, description: "pear" })
      for (const bad of [
        { ...good, description: "x".repeat(11) },
        { ...good, description: "nul \u0000" },
        { ...good, url: "javascript:alert(1)" },
        { ...good, code: "0" },
        [good],
        null
      ]) {
        assert.strictEqual((yield* Effect.flip(decode(bad)))._tag, "SchemaError")
      }
    })
  )

  it("has to be an object", () => {
    assert.throws(() => structured(Schema.Array(Schema.String)))
    assert.throws(() => structured(Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.String })])))
  })
})
