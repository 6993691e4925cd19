import { OpenApi } from "effect/http-api"
import { DocumentedApi } from "#api.ts"

/** The published document, as a reader sees it. */
export interface JsonSchema {
  readonly [keyword: string]: unknown
  readonly $ref?: string
  readonly type?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: ReadonlyArray<string>
  readonly additionalProperties?: boolean | JsonSchema
  readonly items?: JsonSchema
  readonly anyOf?: ReadonlyArray<JsonSchema>
  readonly allOf?: ReadonlyArray<JsonSchema>
  readonly enum?: ReadonlyArray<unknown>
}
interface Media {
  readonly schema: JsonSchema
  readonly example?: unknown
}
export interface Response {
  readonly description: string
  readonly content?: Readonly<Record<string, Media>>
}
export interface Parameter {
  readonly name: string
  readonly in: "path" | "query" | "header"
  readonly required: boolean
  readonly schema: JsonSchema
  readonly description?: string
  readonly example?: unknown
}
export interface Operation {
  readonly method: string
  readonly template: string
  /** The path of the example, with its query. */
  readonly path: string
  readonly operationId: string
  readonly summary?: string
  readonly description?: string
  readonly tags: ReadonlyArray<string>
  readonly "x-required-role"?: string
  readonly parameters: ReadonlyArray<Parameter>
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> }
  readonly responses: Readonly<Record<string, Response>>
}

export const document = OpenApi.fromApi(DocumentedApi) as unknown as {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Omit<Operation, "method" | "template" | "path">>>>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> }
}

export const resolved = (schema: JsonSchema): JsonSchema => {
  const name = schema.$ref?.split("/").at(-1)
  if (name === undefined) return schema
  const target = document.components.schemas[name]
  if (target === undefined) throw new Error(`The document has no component ${name}`)
  return resolved(target)
}

const shown = (parameter: Parameter) => encodeURIComponent(String(parameter.example ?? "none"))

const pathOf = (template: string, parameters: ReadonlyArray<Parameter>) => {
  const path = template.replaceAll(/\{([^}]+)\}/gu, (_, name: string) => {
    const parameter = parameters.find((one) => one.in === "path" && one.name === name)
    return parameter === undefined ? "none" : shown(parameter)
  })
  const query = parameters
    .filter((parameter) => parameter.in === "query" && parameter.example !== undefined)
    .flatMap(({ example, name }) => [example].flat().map((value) => `${name}=${encodeURIComponent(String(value))}`))
  return query.length === 0 ? path : `${path}?${query.join("&")}`
}

/** Creations first, of what stands alone before what belongs to it, and deletions last: so each finds what it is about. */
const turn = ["POST", "GET", "PUT", "PATCH", "DELETE"]

export const operations: ReadonlyArray<Operation> = Object.entries(document.paths)
  .flatMap(([template, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      ...operation,
      method: method.toUpperCase(),
      template,
      path: pathOf(template, operation.parameters)
    }))
  )
  .sort((a, b) => turn.indexOf(a.method) - turn.indexOf(b.method) || a.template.split("{").length - b.template.split("{").length)

/** The JSON body that the document shows, undefined for operations without one. */
export const exampleBody = ({ requestBody }: Operation) => requestBody?.content["application/json"]?.example

/** The problems that the content of a response can be. */
export const problemCodes = (content: Response["content"]) => codesOf(content?.["application/problem+json"]?.schema)

const codesOf = (schema: JsonSchema | undefined): ReadonlyArray<string> => {
  if (schema === undefined) return []
  const { anyOf, properties } = resolved(schema)
  return anyOf === undefined ? ((properties?.code?.enum ?? []) as ReadonlyArray<string>) : anyOf.flatMap(codesOf)
}
