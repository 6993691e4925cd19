import { Schema, Struct } from "effect"
import { Analysis, Confidence, DatasheetCandidate, outputs, type ProposalKind } from "../proposals/output.ts"

const text = Schema.String
const without = <F extends Schema.Struct.Fields, const K extends keyof F & string>(fields: F, ...names: ReadonlyArray<K>) =>
  Schema.Struct(Struct.omit(fields, names))

const RawAnalysis = without(Analysis.fields, "existingTypeId")

/**
 * What the model is asked to answer, by kind: what it proposes, less what is found out here. How many and how long things may be is not
 * said: too much of something is no reason to throw the rest away.
 */
export const answers = {
  tags: Schema.Struct({ tags: Schema.Array(text) }),
  type: Schema.Struct({ candidates: Schema.Array(Schema.Struct({ name: text, confidence: Confidence, reason: text })) }),
  photo: without(outputs.photo.fields, "existingTypeId"),
  datasheet: Schema.Struct({ candidates: Schema.Array(without(DatasheetCandidate.fields, "mediaType", "verified")) }),
  part: Schema.Struct({
    analysis: Schema.NullOr(RawAnalysis),
    duplicates: Schema.Array(Schema.Struct({ id4: text, confidence: Schema.Literals(["high", "medium"]), reason: text })),
    failureReason: Schema.NullOr(text)
  }),
  cleanup: Schema.Struct({ analysis: RawAnalysis })
} as const satisfies Record<ProposalKind, Schema.Top>

export type Answer<K extends ProposalKind> = (typeof answers)[K]["Type"]
export type RawAnalysis = typeof RawAnalysis.Type
