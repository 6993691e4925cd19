import { Duration, Schema } from "effect"
import { optionalText, text } from "#platform/http/text.ts"
import { formFlag, formLimits } from "#platform/http/upload.ts"
import { jobKind } from "#platform/jobs/job-kind.ts"
import { Id4InAnyCase } from "../parts/part.ts"
import { kinds, type ProposalKind } from "../proposals/output.ts"
import { ProposalId } from "../proposals/proposal.ts"

const longestText = 8000
/** In UTF-8 a character takes up to four bytes; what is a little longer is told so, not cut off. */
export const photoFormLimits = { ...formLimits, maxFieldSize: "64 KiB" } as const

const id4 = Schema.optionalKey(Id4InAnyCase.annotate({ description: "The part that it is about" }))

const asksAnew = { description: "Ask again although the answer to the same question is known, at its cost; default false" }
const fresh = Schema.optionalKey(Schema.Boolean.annotate(asksAnew))

/** Exactly one way to say what it is about. */
const either = (words: string) => ({ expected: `either id4, or ${words}` })

/** For tags and types: a part, or what is known of something that is none yet. */
export const AboutPart = Schema.Struct({
  id4,
  description: Schema.optionalKey(text(2000)),
  manufacturerCode: Schema.optionalKey(text(255)),
  fresh
})
  .check(
    Schema.makeFilter(
      (about) =>
        (about.id4 === undefined) === (about.description !== undefined) &&
        !(about.id4 !== undefined && about.manufacturerCode !== undefined),
      either("description with or without manufacturerCode")
    )
  )
  .annotate({ identifier: "AboutPart" })

/** For data sheets. */
export const AboutNumber = Schema.Struct({
  id4,
  manufacturerCode: Schema.optionalKey(text(255)),
  manufacturer: Schema.optionalKey(text(255)),
  fresh
})
  .check(
    Schema.makeFilter(
      (about) =>
        (about.id4 === undefined) === (about.manufacturerCode !== undefined) &&
        !(about.id4 !== undefined && about.manufacturer !== undefined),
      either("manufacturerCode with or without manufacturer")
    )
  )
  .annotate({ identifier: "AboutNumber" })

export const OnePart = Schema.Struct({ id4: Id4InAnyCase, fresh }).annotate({ identifier: "OnePart" })

/** What comes beside a photo, or instead of it. */
export const PhotoFields = Schema.Struct({
  documentId: Schema.optionalKey(Schema.String.annotate({ description: "An image that a part has, instead of one that is sent" })),
  text: Schema.optionalKey(optionalText(longestText).annotate({ description: "What you know of it" })),
  fresh
}).annotate({ identifier: "PhotoInput" })

export const PartFieldsInput = Schema.Struct({
  text: Schema.optionalKey(optionalText(longestText).annotate({ description: "What you know of it: an order line, a label, a sentence" })),
  fresh
}).annotate({ identifier: "PartInput" })

const ofForm = { fresh: Schema.optionalKey(formFlag) }
/** The same as the texts of a form. */
export const PhotoForm = Schema.Struct({ ...PhotoFields.fields, ...ofForm })
export const PartForm = Schema.Struct({ ...PartFieldsInput.fields, ...ofForm })

/** What a job is asked to look at; the photo that was sent is kept beside it. */
export const SuggestionInput = Schema.Struct({
  id4: Schema.optionalKey(Id4InAnyCase),
  documentId: Schema.optionalKey(Schema.String),
  text: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  manufacturerCode: Schema.optionalKey(Schema.String),
  manufacturer: Schema.optionalKey(Schema.String),
  fresh
})
export type SuggestionInput = typeof SuggestionInput.Type

/** A question has five minutes, and what is proposed is looked at afterwards. Asked once: asking costs, and a person may ask again. */
const kindOf = (kind: ProposalKind) =>
  jobKind({
    name: `inventory.ai.${kind}`,
    payload: Schema.Struct({ input: SuggestionInput }),
    result: Schema.Struct({ proposalId: ProposalId }),
    maxAttempts: 1,
    waits: true,
    concurrency: 2,
    timeout: Duration.minutes(8)
  })

export const suggestionKinds = Object.fromEntries(kinds.map((kind) => [kind, kindOf(kind)])) as {
  readonly [K in ProposalKind]: ReturnType<typeof kindOf>
}
