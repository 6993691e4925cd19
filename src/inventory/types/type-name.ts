import { sameName } from "#platform/http/text.ts"
import { fold, normalise } from "../search/fold.ts"
import type { PartType } from "./type.ts"

export type NamedType = Pick<PartType, "id" | "name">

const key = (text: string) => fold(text).replaceAll(/\s+/gu, " ").trim()

/**
 * The type that is meant by a name somebody else gave, as a model does: `proposed:` before it is passed over, and case, accents and the
 * number of blanks do not matter. Names come before aliases. What may mean several types means none of them, but a name that is one
 * type's own but for case is that type's, however another one is written.
 */
export const resolveTypeName = (name: string, types: ReadonlyArray<NamedType & Pick<PartType, "aliases">>): NamedType | null => {
  const called = (text: string): NamedType | undefined => {
    const wanted = key(text)
    const itself = types.find((type) => type.name === text.trim()) ?? types.find((type) => sameName(type.name, text.trim()))
    if (itself !== undefined || wanted === "") return itself
    const named = types.filter((type) => key(type.name) === wanted)
    const meant = named.length > 0 ? named : types.filter(({ aliases }) => aliases.some((alias) => key(alias) === wanted))
    return meant.length === 1 ? meant[0] : undefined
  }
  // As it stands first: a person may have called a type "Proposed: …".
  const found = called(name) ?? called(normalise(name).replace(/^(?:\s*proposed\s*:)+/iu, ""))
  return found === undefined ? null : { id: found.id, name: found.name }
}
