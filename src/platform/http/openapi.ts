import { isDeepStrictEqual } from "node:util"
import { Context, Schema } from "effect"
import { HttpApi, type HttpApiGroup } from "effect/http-api"
import { type Example, RequestExample } from "./endpoint.ts"
import { registry } from "./problems.ts"

type Json = Record<string, unknown>
type Parameter = { in: string; name: string; schema: Json; description?: unknown; example?: unknown }
type Response = { description: string; content?: Record<string, { schema: Json }>; headers?: Record<string, Json> }
type Operation = {
  parameters: Array<Parameter>
  responses: Record<string, Response>
  requestBody?: { content: Record<string, Json> }
  "x-codeSamples"?: ReadonlyArray<{ readonly lang: string; readonly label: string; readonly source: string }>
}
type Document = { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Json> } }

// What the edge answers, whatever the endpoint.
const ofEvery = ["internal-error", "database-unavailable", "request-took-too-long", "server-stopping"]
const ofBodies = ["forbidden", "request-timeout", "payload-too-large", "unsupported-media-type"]

/**
 * What the generated document lacks: the numbers and booleans of paths and queries (on the wire they are text, a reader wants to
 * know what to type), examples, the problems that the edge answers, and names without the traces of how they were made.
 */
export const complete =
  <Id extends string, Groups extends HttpApiGroup.Constraint>(api: HttpApi.HttpApi<Id, Groups>) =>
  (generated: Record<string, unknown>) => {
    const document = tidied(generated as unknown as Document)
    const { schemas } = document.components
    for (const code of [...ofEvery, ...ofBodies]) schemas[nameOf(code)] = problemSchema(declared(code))
    HttpApi.reflect(api, {
      onGroup: () => {},
      onEndpoint: ({ endpoint }) => {
        const path = endpoint.path.replaceAll(/:([A-Za-z0-9]+)/gu, "{$1}")
        const operation = document.paths[path]?.[endpoint.method.toLowerCase()]
        if (operation === undefined) return
        const types = { ...typesOf(endpoint.params), ...typesOf(endpoint.query) }
        operation.parameters = operation.parameters.map((parameter) =>
          described(parameter, parameter.in === "header" ? undefined : types[parameter.name])
        )
        const example = Context.getOrUndefined(endpoint.annotations as Context.Context<RequestExample>, RequestExample)
        if (example !== undefined) addExample(operation, path, example)
        if (example?.form !== undefined) {
          operation["x-codeSamples"] = [{ lang: "Shell", label: "curl", source: curlOf(endpoint.method, example.path, example.form) }]
        }
        addDownload(operation)
        for (const code of ofEvery) addProblem(operation, code)
        if (operation.requestBody === undefined) removeProblem(operation, "malformed-json")
        else for (const code of ofBodies) addProblem(operation, code)
      }
    })
    document.components.schemas = Object.fromEntries(Object.entries(schemas).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    return document as unknown as Record<string, unknown>
  }

/**
 * `PartNotFoundEncoded` → `PartNotFound`; `X_1` → `X` where both say the same; what still has such a name after that moves to where
 * it is used; and no bounds that are only those of JavaScript.
 */
const tidied = (generated: Document) => {
  const { schemas } = generated.components
  const nameFor = (name: string) => {
    const plain = name.replace(/Encoded$|_\d+$/u, "")
    return plain === name || !(plain in schemas) || isDeepStrictEqual(schemas[plain], schemas[name]) ? plain : undefined
  }
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk)
    if (typeof value !== "object" || value === null) return value
    const { $ref, ...schema } = value as Json
    if (typeof $ref !== "string") {
      const { "x-effect-stream": _, ...plain } = withoutBounds(schema)
      return Object.fromEntries(Object.entries(plain).map(([key, inner]) => [key, walk(inner)]))
    }
    const target = $ref.slice(refTo("").length)
    const name = nameFor(target)
    return name === undefined ? walk({ ...schemas[target], ...schema }) : { ...schema, $ref: refTo(name) }
  }
  const document = walk(generated) as Document
  document.components.schemas = Object.fromEntries(
    Object.entries(document.components.schemas).flatMap(([name, schema]) => {
      const plain = nameFor(name)
      return plain === undefined ? [] : [[plain, asProblemSchema(schema)]]
    })
  )
  return document
}

const withoutBounds = ({ maximum, minimum, ...schema }: Json): Json => ({
  ...schema,
  ...(minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? {} : { minimum }),
  ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? {} : { maximum })
})

const refTo = (name: string) => `#/components/schemas/${name}`

/** The schemas of the decoded side, for those parameters where it says more than the wire does. */
const typesOf = (slot: Schema.Top | undefined): Record<string, Json> => {
  if (slot === undefined) return {}
  const { definitions, schema } = Schema.toJsonSchemaDocument(Schema.toType(slot))
  const inlined = ({ $ref, ...rest }: Json): Json =>
    typeof $ref === "string" ? inlined({ ...definitions[$ref.slice($ref.lastIndexOf("/") + 1)], ...rest }) : rest
  return Object.fromEntries(
    Object.entries((schema.properties ?? {}) as Record<string, Json>).flatMap(([name, property]) => {
      const type = inlined(withoutNull(inlined(property)))
      if (isPlain(type)) return [[name, withoutBounds(type)]]
      const items = inlined((type.items ?? {}) as Json)
      return type.type === "array" && isPlain(items) ? [[name, { ...type, items: withoutBounds(items) }]] : []
    })
  )
}

const isPlain = ({ type }: Json) => type === "integer" || type === "number" || type === "boolean"

const withoutNull = ({ anyOf, ...schema }: Json): Json => {
  const [only, ...others] = ((anyOf ?? []) as ReadonlyArray<Json>).filter(({ type }) => type !== "null")
  return only !== undefined && others.length === 0 ? { ...schema, ...only } : schema
}

/** A parameter with its description where readers of the document look for it. */
const described = (parameter: Parameter, type: Json | undefined): Parameter => {
  const { description = parameter.schema.description, ...schema } = type ?? parameter.schema
  return { ...parameter, ...(description === undefined ? {} : { description }), schema }
}

/** Answers of a download besides the whole of it, see `download.ts`. */
const addDownload = (operation: Operation) => {
  const whole = operation.responses["200"]
  if (whole?.content?.["application/octet-stream"] === undefined) return
  const range = { schema: { type: "string" }, required: true }
  operation.responses["206"] = { ...whole, description: "The part that Range asks for", headers: { "content-range": range } }
  operation.responses["304"] = { description: "What If-None-Match names is still the same" }
}

const addExample = (operation: Operation, template: string, { body, form, path: requested }: Example) => {
  const [path = "", query = ""] = requested.split("?")
  const given = new URLSearchParams(query)
  const names = template.split("/")
  path.split("/").forEach((segment, index) => {
    const name = /^\{(.+)\}$/u.exec(names[index] ?? "")?.[1]
    if (name !== undefined) given.append(name, decodeURIComponent(segment))
  })
  for (const parameter of operation.parameters) {
    const item = (parameter.schema.items ?? parameter.schema) as Json
    const values = given.getAll(parameter.name).map((value) => typed(value, item))
    if (values.length > 0 && parameter.in !== "header") parameter.example = parameter.schema.type === "array" ? values : values[0]
  }
  for (const [type, media] of Object.entries(operation.requestBody?.content ?? {})) {
    const example = type === "multipart/form-data" ? form : body
    if (example !== undefined) media.example = example
  }
}

/** A form with a file as it can be typed: the example of a file is the text `@name`, as curl reads it. */
const curlOf = (method: string, path: string, form: unknown) => {
  const fields = Object.entries(form as Readonly<Record<string, unknown>>).map(([name, value]) => `-F '${name}=${value}'`)
  return `curl ${method === "POST" ? "" : `-X ${method} `}${fields.join(" ")} http://127.0.0.1:8080${path}`
}

const typed = (value: string, { type }: Json) =>
  type === "integer" || type === "number" ? Number(value) : type === "boolean" ? value === "true" : value

type Declared = { readonly code: string; readonly status: number; readonly title: string }

const declared = (code: string): Declared => {
  const found = registry.get(code)
  if (found === undefined) throw new Error(`No problem has the code ${code}`)
  return found
}

const problemType = "application/problem+json"

const nameOf = (code: string) => code.replaceAll(/(?:^|-)([a-z])/gu, (_, letter: string) => letter.toUpperCase())

const addProblem = (operation: Operation, code: string) => {
  const { status, title } = declared(code)
  const { content, description } = operation.responses[status] ?? { description: "" }
  const known = alternatives(content?.[problemType]?.schema)
  if (known.some(({ $ref }) => $ref === refTo(nameOf(code)))) return
  operation.responses[status] = {
    description: description === "" ? title : `${description} | ${title}`,
    content: { ...content, [problemType]: { schema: oneOf([...known, { $ref: refTo(nameOf(code)) }]) } }
  }
}

const removeProblem = (operation: Operation, code: string) => {
  const { status, title } = declared(code)
  const response = operation.responses[status]
  const media = response?.content?.[problemType]
  if (response === undefined || media === undefined) return
  media.schema = oneOf(alternatives(media.schema).filter(({ $ref }) => $ref !== refTo(nameOf(code))))
  const titles = response.description.split(" | ").filter((other) => other !== title)
  response.description = titles.join(" | ")
}

const alternatives = (schema: Json | undefined) => (schema === undefined ? [] : ((schema.anyOf ?? [schema]) as ReadonlyArray<Json>))

const oneOf = (schemas: ReadonlyArray<Json>): Json => (schemas.length === 1 ? (schemas[0] ?? {}) : { anyOf: schemas })

/** The edge completes every problem, so more of its members are always there than its class promises. */
const asProblemSchema = (schema: Json): Json => {
  const properties = (schema.properties ?? {}) as Record<string, Json>
  const [code] = (properties.code?.enum ?? []) as ReadonlyArray<string>
  const problem = code === undefined ? undefined : registry.get(code)
  return problem === undefined ? schema : problemSchema(problem, properties, schema.required as ReadonlyArray<string>)
}

const problemSchema = (
  { code, status, title }: Declared,
  { instance: _, ...properties }: Record<string, Json> = {},
  required: ReadonlyArray<string> = []
): Json => ({
  type: "object",
  properties: {
    type: { type: "string", enum: [`/problems/${code}`] },
    title: { type: "string", enum: [title] },
    status: { type: "integer", enum: [status] },
    code: { type: "string", enum: [code] },
    detail: { type: "string" },
    requestId: { type: "string" },
    ...Object.fromEntries(Object.entries(properties).filter(([name]) => !always.includes(name) && name !== "requestId"))
  },
  required: [...new Set([...always, ...required])],
  additionalProperties: false
})

// A problem inside another answer, such as that of a batch, has no requestId of its own.
const always = ["type", "title", "status", "code", "detail"]
