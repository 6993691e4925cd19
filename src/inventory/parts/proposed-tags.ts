import { Option, Schema } from "effect"
import { fold, squash } from "../search/fold.ts"
import { type PartFields, textFields } from "./part.ts"
import { Tag } from "./part-tag.ts"

/** The most tags that are proposed at once. */
export const mostProposedTags = 8

/** What is known of a part for which tags are proposed; anything may be missing. */
export type TaggedPart = {
  readonly [F in keyof typeof textFields | "description" | "pinCount" | "tags"]?: PartFields[F] | null | undefined
} & { readonly typeName?: string | null | undefined }

const fields = [...(Object.keys(textFields) as ReadonlyArray<keyof typeof textFields>), "description", "typeName"] as const

const readTag = Schema.decodeUnknownOption(Tag)

// "through-hole" repeats "Through Hole"; of "±" nothing is left to compare by.
const key = (text: string) => squash(fold(text)) || fold(text).trim()

/**
 * Proposed tags as a part would keep them, in their order, at most eight: without those that cannot be tags, and without those that
 * repeat each other or a whole field of the part, its own tags included.
 */
export const normaliseProposedTags = (proposed: ReadonlyArray<string>, part: TaggedPart): ReadonlyArray<string> => {
  const texts = [...fields.map((field) => part[field]), ...(part.tags ?? []), part.pinCount?.toString()]
  const seen = new Set(texts.flatMap((text) => (text == null ? [] : key(text))))
  const kept: Array<string> = []
  for (const text of proposed) {
    const tag = Option.getOrUndefined(readTag(text))
    if (tag === undefined || seen.has(key(tag))) continue
    seen.add(key(tag))
    kept.push(tag)
    if (kept.length === mostProposedTags) break
  }
  return kept
}
