import { Context, Schema } from "effect"
import { HttpApi, type HttpApiGroup } from "effect/http-api"
import { RequestExample } from "./endpoint.ts"
import { DatabaseUnavailable, InternalError, PayloadTooLarge, registry, UnsupportedMediaType } from "./problems.ts"

type Json = Record<string, unknown>
type Parameter = { readonly in: string; readonly name: string; readonly schema: Json; readonly example?: unknown }
type Operation = {
  parameters?: Array<Parameter>
  responses: Record<string, Json>
  requestBody?: { content: Record<string, Json> }
}

/**
 * What the generated document lacks: the numbers and booleans of paths and queries (on the wire they are strings, a reader wants
 * to know what to type), examples, and the problems that every operation can answer.
 */
export const complete =
  <Id extends string, Groups extends HttpApiGroup.Constraint>(api: HttpApi.HttpApi<Id, Groups>) =>
  (spec: Record<string, unknown>) => {
    const paths = spec.paths as Record<string, Record<string, Operation>>
    HttpApi.reflect(api, {
      onGroup: () => {},
      onEndpoint: ({ endpoint }) => {
        const path = endpoint.path.replaceAll(/:([A-Za-z0-9]+)/gu, "{$1}")
        const operation = paths[path]?.[endpoint.method.toLowerCase()]
        if (operation === undefined) return
        const types = { ...typesOf(endpoint.params), ...typesOf(endpoint.query) }
        operation.parameters = (operation.parameters ?? []).map((parameter) => {
          const type = types[parameter.name]
          return type === undefined || parameter.in === "header"
            ? parameter
            : { ...parameter, schema: { ...descriptionOf(parameter), ...type } }
        })
        const example = Context.getOrUndefined(endpoint.annotations as Context.Context<RequestExample>, RequestExample)
        if (example !== undefined) addExample(operation, path, example)
        const common = [
          InternalError,
          DatabaseUnavailable,
          ...(operation.requestBody === undefined ? [] : [PayloadTooLarge, UnsupportedMediaType])
        ]
        for (const problem of common) addProblem(operation, problem.name)
      }
    })
    const components = spec.components as { schemas: Record<string, Json> }
    components.schemas.Problem = problemSchema
    return spec
  }

const descriptionOf = ({ schema }: Parameter): Json => (typeof schema.description === "string" ? { description: schema.description } : {})

/** The schemas of the decoded side, for those fields where it says more than the wire does. */
const typesOf = (slot: unknown): Record<string, Json> => {
  if (slot === undefined || slot === null || typeof slot !== "object" || !("fields" in slot)) return {}
  const result: Record<string, Json> = {}
  for (const [name, field] of Object.entries(slot.fields as Record<string, Schema.Top>)) {
    const { schema } = Schema.toJsonSchemaDocument(Schema.toType(field)) as unknown as { readonly schema: Json }
    const plain = withoutUndefined(schema)
    if (plain.type === "integer" || plain.type === "number" || plain.type === "boolean") result[name] = plain
  }
  return result
}

const withoutUndefined = (schema: Json): Json => {
  const options = (schema.anyOf ?? []) as ReadonlyArray<Json>
  const [only, ...others] = options.filter(({ type }) => type !== "null")
  return only !== undefined && others.length === 0
    ? { ...only, ...(typeof schema.description === "string" ? { description: schema.description } : {}) }
    : schema
}

const addExample = (operation: Operation, template: string, example: { readonly path: string; readonly body?: unknown }) => {
  const [path = "", query = ""] = example.path.split("?")
  const given = new Map<string, string>([...new URLSearchParams(query)])
  const names = template.split("/")
  path.split("/").forEach((segment, index) => {
    const name = /^\{(.+)\}$/u.exec(names[index] ?? "")?.[1]
    if (name !== undefined) given.set(name, decodeURIComponent(segment))
  })
  operation.parameters = (operation.parameters ?? []).map((parameter) => {
    const value = given.get(parameter.name)
    if (value === undefined || parameter.in === "header") return parameter
    const type = parameter.schema.type
    return {
      ...parameter,
      example: type === "integer" || type === "number" ? Number(value) : type === "boolean" ? value === "true" : value
    }
  })
  if (example.body === undefined) return
  for (const media of Object.values(operation.requestBody?.content ?? {})) media.example = example.body
}

const codeOf: Record<string, string> = {
  InternalError: "internal-error",
  DatabaseUnavailable: "database-unavailable",
  PayloadTooLarge: "payload-too-large",
  UnsupportedMediaType: "unsupported-media-type"
}

const addProblem = (operation: Operation, name: string) => {
  const declared = registry.get(codeOf[name] ?? "")
  if (declared === undefined) return
  operation.responses[String(declared.status)] ??= {
    description: declared.title,
    content: {
      "application/problem+json": {
        schema: { $ref: "#/components/schemas/Problem" },
        example: { type: `/problems/${declared.code}`, title: declared.title, status: declared.status, code: declared.code }
      }
    }
  }
}

const problemSchema = {
  type: "object",
  description: "RFC 9457 problem details. `code` is stable; /problems/<code> explains it.",
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    requestId: { type: "string" }
  },
  required: ["type", "title", "status", "code"]
}
