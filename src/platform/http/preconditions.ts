import { Effect, Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { PreconditionFailed } from "./problems.ts"

/** Headers of a write that may be made conditional (RFC 9110, 13.1.1). Weak tags never match here. */
export const IfMatch = {
  "if-match": Schema.optional(
    Schema.String.check(Schema.isPattern(/^\s*(\*|(W\/)?"[^"]*"(\s*,\s*(W\/)?"[^"]*")*)\s*$/u)).annotate({
      description: 'The version you read, as its ETag says: "3". 412 when the entity has another one by now.'
    })
  )
}

export type IfMatch = string | undefined

/** A strong entity tag: the version, raised by every edit of the entity's own fields. */
export const etag = (version: number) => `"${version}"`

/** Fails when the entity is not in the version that the client has seen. Call it with the row locked. */
export const checkVersion = (ifMatch: IfMatch, version: number) =>
  ifMatch === undefined || ifMatch.trim() === "*" || ifMatch.split(",").some((tag) => tag.trim() === etag(version))
    ? Effect.void
    : Effect.fail(
        new PreconditionFailed({
          detail: `If-Match is ${ifMatch.trim()}, but the current version is ${etag(version)}.`,
          current: etag(version)
        })
      )

const EtagHeader = { etag: Schema.String }

/** A single entity as an answer: its body and its ETag. */
export const Versioned = <S extends Schema.Top>(schema: S) => HttpApiSchema.WithHeaders(schema, EtagHeader)

export const versioned = <A extends { readonly version: number }>(body: A) =>
  HttpApiSchema.withHeaders({ body, headers: { etag: etag(body.version) } })

/** The answer to a creation: 201, the entity, its ETag and its address. */
export const Created = <S extends Schema.Top>(schema: S) =>
  HttpApiSchema.WithHeaders(schema.pipe(HttpApiSchema.status(201)), { ...EtagHeader, location: Schema.String })

export const created = <A extends { readonly version: number }>(location: string, body: A) =>
  HttpApiSchema.withHeaders({ body, headers: { etag: etag(body.version), location } })
