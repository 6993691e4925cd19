import { isDeepStrictEqual } from "node:util"
import { type Part, textFields } from "../parts/part.ts"
import { normaliseProposedTags, type TaggedPart } from "../parts/proposed-tags.ts"
import { offerOf } from "../proposals/acceptance.ts"
import { type Analysis, analysisTexts, type Evidence, type FieldChange } from "../proposals/output.ts"
import { fold, squash } from "../search/fold.ts"
import type { RawAnalysis } from "./answer.ts"
import { address, cut, distinct, legible, whole } from "./legible.ts"

/** What the model was shown and has read, for whoever checks what it says of that. */
export interface Seen {
  /** What people wrote. */
  readonly input: string
  readonly hasPhoto: boolean
  /** What was written at addresses that were read. */
  readonly texts: ReadonlyMap<string, string>
}

const mountingTypes = ["Through-Hole", "Surface-Mount", "Panel Mount", "DIN Rail Mount"]

export const mountingTypeOf = (said: string | null) => mountingTypes.find((type) => squash(type) === squash(said ?? "")) ?? null

/** The name of a type without the mark of one that is new. */
export const typeNameOf = (said: string | null) => whole(said === null ? null : said.replace(/^(?:\s*proposed\s*:)+/iu, ""), 100)

/** Of what nobody in particular makes, so that it has no part number. */
const generic = "Generic"
const isGeneric = (manufacturer: string | null) => fold(manufacturer ?? "").trim() === fold(generic)

/** Tags as a person would have typed them. */
export const tagsOf = (said: ReadonlyArray<string>, part: TaggedPart) =>
  normaliseProposedTags(
    said.flatMap((tag) => legible(tag) ?? []),
    part
  )

/** A quote counts when it stands where it is said to; what cannot be looked at, as a photo, is taken as it is. */
const isThere = ({ quote, source, url }: Evidence, { hasPhoto, input, texts }: Seen) => {
  const words = squash(quote)
  if (words === "") return false
  switch (source) {
    case "input":
      return squash(input).includes(words)
    case "photo":
      return hasPhoto
    case "datasheet":
    case "web":
      return url === null ? [...texts.values()].some((text) => squash(text).includes(words)) : squash(texts.get(url) ?? "").includes(words)
  }
}

const fields = new Set<string>([...analysisTexts, "description", "typeName", "tags", "productPage", "pinCount"])
const mostEvidence = 60
const mostDocuments = 5

/** What the model said of a part, as a part can have it; what it cannot have is null. `existingTypeId` is left to who knows the types. */
export const analysisOf = (raw: RawAnalysis, seen: Seen, has: Pick<TaggedPart, "tags"> = {}): Omit<Analysis, "existingTypeId"> => {
  const texts = Object.fromEntries(analysisTexts.map((field) => [field, whole(raw[field], textFields[field])])) as {
    readonly [F in (typeof analysisTexts)[number]]: string | null
  }
  const typeName = typeNameOf(raw.typeName)
  const pinCount = raw.pinCount !== null && raw.pinCount >= 1 && raw.pinCount <= 10_000 ? raw.pinCount : null
  const facts = {
    ...texts,
    description: cut(raw.description, 2000),
    ...(isGeneric(texts.manufacturer) ? { manufacturer: generic, manufacturerCode: null } : {}),
    mountingType: mountingTypeOf(texts.mountingType),
    typeName,
    pinCount
  }
  return {
    ...facts,
    productPage: address(raw.productPage),
    tags: tagsOf(raw.tags, { ...facts, ...has }),
    documents: distinct(
      raw.documents.flatMap(({ documentType, title, url }) => {
        const at = address(url)
        return at === null ? [] : [{ url: at, documentType, title: cut(title, 200) ?? at }]
      }),
      ({ url }) => url,
      mostDocuments
    ),
    evidence: raw.evidence
      .flatMap(({ field, page, quote, source, url }): ReadonlyArray<Evidence> => {
        const said = cut(quote, 200)
        if (said === null || !fields.has(field)) return []
        // What was sent has neither address nor pages.
        const wasSent = source === "input" || source === "photo"
        const at = wasSent ? { url: null, page: null } : { url: address(url), page: page !== null && page >= 1 ? page : null }
        return [{ field, source, ...at, quote: said }]
      })
      // Cut, it ends with a sign that does not stand there.
      .filter((evidence) => isThere({ ...evidence, quote: evidence.quote.replace(/…$/u, "") }, seen))
      .slice(0, mostEvidence)
  }
}

const mostCited = 5

/** Where the model says that it has read something, and nobody has looked yet. */
export const citedIn = ({ evidence }: RawAnalysis, { texts }: Pick<Seen, "texts">): ReadonlyArray<string> =>
  distinct(
    evidence.flatMap(({ source, url }) => {
      const at = source === "datasheet" || source === "web" ? address(url) : null
      return at === null || texts.has(at) ? [] : [at]
    }),
    (url) => url,
    mostCited
  )

/** Whether nothing could be written of it. */
export const saysNothing = (analysis: Analysis) => {
  const { type, values } = offerOf({ kind: "part", output: { analysis, duplicates: [], failureReason: null } })
  return type === null && Object.keys(values).length === 0 && analysis.documents.length === 0
}

/** What would become of the part. Nothing is emptied. */
export const changesOf = (analysis: Analysis, part: Part): ReadonlyArray<FieldChange> => {
  const { type, values } = offerOf({ kind: "part", output: { analysis, duplicates: [], failureReason: null } })
  const has: Readonly<Record<string, unknown>> = part
  return [
    ...Object.entries(values).flatMap(([field, after]) =>
      isDeepStrictEqual(has[field], after) ? [] : [{ field, before: has[field] ?? null, after } as FieldChange]
    ),
    ...(type === null ||
    (type.existingTypeId !== null && type.existingTypeId === part.typeId) ||
    fold(type.name) === fold(part.type?.name ?? "")
      ? []
      : [{ field: "typeId", before: part.type?.name ?? null, after: type.name }])
  ]
}
