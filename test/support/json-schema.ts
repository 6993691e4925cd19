import type { JsonSchema } from "./contract.ts"

/**
 * Where a value does not fit a schema of the document; empty when it does. It knows the keywords that the document uses and throws
 * at any other, so that none is passed over.
 */
export const misfits = (
  value: unknown,
  schema: JsonSchema,
  resolved: (schema: JsonSchema) => JsonSchema,
  at = ""
): ReadonlyArray<string> => {
  const { $ref, ...own } = schema
  const within = (inner: unknown, innerSchema: JsonSchema, where: string) => misfits(inner, innerSchema, resolved, where)
  const referred = $ref === undefined ? [] : within(value, resolved(schema), at)
  return referred.concat(
    Object.entries(own).flatMap(([keyword, expected]) => {
      const misfit = (fits: boolean) =>
        fits ? [] : [`${at || "/"} is ${JSON.stringify(value)?.slice(0, 100)}: ${keyword} ${JSON.stringify(expected)}`]
      switch (keyword) {
        case "type":
          return misfit([expected].flat().some((type) => isOfType(value, type as string)))
        case "enum":
          return misfit((expected as ReadonlyArray<unknown>).includes(value))
        case "anyOf": {
          const schemas = expected as ReadonlyArray<JsonSchema>
          const tries = schemas.map((one) => within(value, one, at))
          return tries.some((found) => found.length === 0) ? [] : (tries.toSorted((a, b) => a.length - b.length)[0] ?? [])
        }
        case "allOf":
          return (expected as ReadonlyArray<JsonSchema>).flatMap((one) => within(value, one, at))
        case "properties":
          if (!isObject(value)) return []
          return Object.entries(expected as Record<string, JsonSchema>).flatMap(([key, property]) =>
            key in value ? within(value[key], property, `${at}/${key}`) : []
          )
        case "required":
          return isObject(value)
            ? (expected as ReadonlyArray<string>).flatMap((key) => (key in value ? [] : [`${at}/${key} is missing`]))
            : []
        case "additionalProperties": {
          if (!isObject(value) || expected === true) return []
          const others = Object.keys(value).filter((key) => !(key in (schema.properties ?? {})))
          if (expected === false) return others.map((key) => `${at}/${key} is not in the schema`)
          return others.flatMap((key) => within(value[key], expected as JsonSchema, `${at}/${key}`))
        }
        case "items":
          return Array.isArray(value) ? value.flatMap((item, index) => within(item, expected as JsonSchema, `${at}/${index}`)) : []
        case "prefixItems":
          return Array.isArray(value)
            ? (expected as ReadonlyArray<JsonSchema>).flatMap((item, index) => within(value[index], item, `${at}/${index}`))
            : []
        case "minItems":
          return misfit(!Array.isArray(value) || value.length >= Number(expected))
        case "maxItems":
          return misfit(!Array.isArray(value) || value.length <= Number(expected))
        case "minLength":
          return misfit(typeof value !== "string" || [...value].length >= Number(expected))
        case "maxLength":
          return misfit(typeof value !== "string" || [...value].length <= Number(expected))
        case "pattern":
          return misfit(typeof value !== "string" || new RegExp(String(expected), "u").test(value))
        case "minimum":
          return misfit(typeof value !== "number" || value >= Number(expected))
        case "maximum":
          return misfit(typeof value !== "number" || value <= Number(expected))
        case "format":
          return expected === "date-time" ? misfit(typeof value !== "string" || !Number.isNaN(Date.parse(value))) : []
        case "uniqueItems":
        case "description":
        case "title":
        case "default":
        case "examples":
          return []
        default:
          throw new Error(`The document uses ${keyword}, which is not looked at`)
      }
    })
  )
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isOfType = (value: unknown, type: string) => {
  switch (type) {
    case "null":
      return value === null
    case "array":
      return Array.isArray(value)
    case "object":
      return isObject(value)
    case "integer":
      return Number.isInteger(value)
    default:
      return typeof value === type
  }
}
