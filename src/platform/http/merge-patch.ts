import type { Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"

/** A JSON merge patch (RFC 7396), under its own media type and as plain JSON. */
export const asMergePatch = <S extends Schema.Top>(schema: S) =>
  [schema, schema.pipe(HttpApiSchema.asJson({ contentType: "application/merge-patch+json" }))] as const
