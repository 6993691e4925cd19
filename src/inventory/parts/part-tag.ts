import { Schema, SchemaTransformation } from "effect"
import { text } from "#platform/http/text.ts"

/** The most tags a part has. */
export const mostTags = 30

/** Trimmed, lower case, inner white space becomes a hyphen. */
export const normaliseTag = (tag: string) => tag.trim().toLowerCase().replaceAll(/\s+/gu, "-")

export const Tag = text(50).pipe(
  Schema.decodeTo(Schema.String, SchemaTransformation.transform<string, string>({ decode: normaliseTag, encode: (tag) => tag }))
)

/** Another name for a tag; a target that exists already is merged into. */
export const TagRename = Schema.Struct({ from: Tag, to: Tag }).annotate({ identifier: "PartTagRename" })
export type TagRename = typeof TagRename.Type

export const TagCount = Schema.Struct({ tag: Schema.String, parts: Schema.Int }).annotate({ identifier: "PartTagCount" })
export type TagCount = typeof TagCount.Type
