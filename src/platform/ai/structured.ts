import { isDeepStrictEqual } from "node:util"
import { type Effect, Schema } from "effect"
import { toCodecOpenAI } from "effect/ai/OpenAiStructuredOutput"

interface JsonObject {
  readonly [key: string]: unknown
}

export interface Structured<A> {
  /** In the part of JSON Schema that strict mode takes: every property required, no others, null for what may be missing. */
  readonly jsonSchema: JsonObject
  /** What the model has written under that schema. It may break it, and the schema says less than ours. */
  readonly decode: (value: unknown) => Effect.Effect<A, Schema.SchemaError>
}

/** How the model is told of a schema, which must be an object, and how its word is read back. Throws for what has no such form. */
export const structured = <A>(schema: Schema.Codec<A, unknown>): Structured<A> => {
  if (isEmpty(schema)) return { jsonSchema: nothing, decode: Schema.decodeUnknownEffect(schema) }
  const { codec, jsonSchema } = toCodecOpenAI(schema)
  const { $defs = {}, ...root } = simplified(jsonSchema) as { readonly $defs?: JsonObject }
  const used = referredTo(root, $defs)
  return {
    jsonSchema: used.size === 0 ? root : { ...root, $defs: Object.fromEntries(Object.entries($defs).filter(([name]) => used.has(name))) },
    decode: Schema.decodeUnknownEffect(codec as Schema.Codec<A, unknown>)
  }
}

// A struct without fields is anything that is not null, also an array. The parameters of a tool that needs none are an object.
const isEmpty = ({ ast }: Schema.Constraint) =>
  ast._tag === "Objects" && ast.propertySignatures.length === 0 && ast.indexSignatures.length === 0

const nothing = { type: "object", properties: {}, required: [], additionalProperties: false }

const simplified = (node: unknown): unknown => {
  if (Array.isArray(node)) return node.map(simplified)
  if (!isObject(node)) return node
  const kept = Object.entries(node).filter(([key, value]) => key !== "pattern" || typeof value !== "string" || isRegular(value))
  const { anyOf, ...rest } = Object.fromEntries(kept.map(([key, value]) => [key, simplified(value)]))
  return Array.isArray(anyOf) ? { ...rest, anyOf: distinct(anyOf) } : anyOf === undefined ? rest : { ...rest, anyOf }
}

// Engines behind strict mode refuse the whole request for looking around, references back, and classes or boundaries they do not know.
const isRegular = (pattern: string) => !/\(\?(?!:)|\\[1-9kpPbBu]/u.test(pattern)

const distinct = (all: ReadonlyArray<unknown>) => all.filter((one, at) => all.findIndex((other) => isDeepStrictEqual(other, one)) === at)

/** Every word of it is paid for in every call. */
const referredTo = (root: unknown, definitions: JsonObject, found = new Set<string>()): ReadonlySet<string> => {
  if (Array.isArray(root)) for (const one of root) referredTo(one, definitions, found)
  if (!isObject(root)) return found
  for (const [key, value] of Object.entries(root)) {
    const name = key === "$ref" && typeof value === "string" ? decodeName(value) : undefined
    if (name === undefined) referredTo(value, definitions, found)
    else if (!found.has(name)) {
      found.add(name)
      referredTo(definitions[name], definitions, found)
    }
  }
  return found
}

const decodeName = (ref: string) =>
  ref
    .replace(/^#\/\$defs\//u, "")
    .replaceAll("~1", "/")
    .replaceAll("~0", "~")

const isObject = (value: unknown): value is JsonObject => typeof value === "object" && value !== null && !Array.isArray(value)
