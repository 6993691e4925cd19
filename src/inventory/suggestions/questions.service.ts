import { Context, Effect, Layer, Option } from "effect"
import type { AiBudgetExhausted, AiNotConfigured, AiProviderError, Answered, Ask, Input } from "#platform/ai/ask.ts"
import { startPurposes } from "#platform/ai/calls.metrics.ts"
import { OpenAi } from "#platform/ai/openai.service.ts"
import type { StorageUnavailable } from "#platform/http/problems.ts"
import { DocumentTexts } from "../documents/document-texts.service.ts"
import { Duplicates } from "../duplicates/duplicates.service.ts"
import type { Part } from "../parts/part.ts"
import { type Analysis, kinds, type Output, type ProposalKind } from "../proposals/output.ts"
import type { Proposal } from "../proposals/proposal.ts"
import { Proposals } from "../proposals/proposals.service.ts"
import { Types } from "../types/types.service.ts"
import { analysisOf, changesOf, citedIn, type Seen, saysNothing, tagsOf, typeNameOf } from "./analysis.ts"
import { type Answer, answers, type RawAnalysis } from "./answer.ts"
import { Findings } from "./findings.service.ts"
import { instructions } from "./instructions.ts"
import { address, cut, distinct, whole } from "./legible.ts"
import { type Desk, Lookups, longestText } from "./lookups.service.ts"
import type { SuggestionInput } from "./suggestion.ts"

export type AskRefused = AiProviderError | AiBudgetExhausted | AiNotConfigured

/** What an answer was made into, with what it cost. */
export interface Done<K extends ProposalKind> {
  readonly output: Output<K>
  readonly usage: Proposal["usage"]
}

type Asked<K extends ProposalKind, E = never> = Effect.Effect<Done<K>, AskRefused | E>

/**
 * What the model is asked, by kind, and what becomes of its answers: names are looked up, addresses fetched, quotes compared. What is found
 * at addresses is kept for the proposal of the job; nothing else is written.
 */
export class Questions extends Context.Service<
  Questions,
  {
    readonly tags: (input: SuggestionInput, part: Part | null) => Asked<"tags">
    readonly type: (input: SuggestionInput, part: Part | null) => Asked<"type">
    readonly photo: (input: SuggestionInput, picture: Input) => Asked<"photo">
    readonly datasheet: (jobId: string, input: SuggestionInput, part: Part | null) => Asked<"datasheet", StorageUnavailable>
    readonly part: (jobId: string, input: SuggestionInput, picture: Input | null) => Asked<"part", StorageUnavailable>
    readonly cleanup: (jobId: string, input: SuggestionInput, part: Part) => Asked<"cleanup", StorageUnavailable>
  }
>()("inventory/Questions") {
  static readonly layerNoDeps = Layer.effect(
    Questions,
    Effect.gen(function* () {
      const openai = yield* OpenAi
      const types = yield* Types
      const texts = yield* DocumentTexts
      const duplicates = yield* Duplicates
      const proposals = yield* Proposals
      const findings = yield* Findings
      const lookups = yield* Lookups
      yield* startPurposes(kinds.map(purposeOf))

      const ask = <K extends ProposalKind, R = never>(kind: K, more: Pick<Ask<Answer<K>, R>, "input" | "tools" | "fresh">) =>
        openai.ask<Answer<K>, R>({
          purpose: purposeOf(kind),
          instructions: instructions[kind],
          answer: answers[kind] as unknown as Ask<Answer<K>, R>["answer"],
          answerName: kind,
          ...more
        })

      const resolved = (name: string | null) =>
        name === null ? Effect.succeed(null) : Effect.map(types.resolveName(name), (type) => type?.id ?? null)

      const catalogueTypes = Effect.map(types.names, (names) => asText("types", names.slice(0, mostTypes).join("\n")))
      // Always the same ones, so that the same photo is the same question whatever is in the catalogue by then.
      const usualTypes = asText("types", types.starterNames.join("\n"))

      const addressesOf = Effect.fnUntraced(function* (jobId: string, analysis: Omit<Analysis, "existingTypeId">) {
        const { documents: named, manufacturerCode, productPage } = analysis
        const found = yield* findings.keep(jobId, named, manufacturerCode)
        const isThere =
          productPage !== null &&
          (found.some(({ mediaType, url }) => url === productPage && mediaType === null) || (yield* findings.isPage(productPage)))
        return { found, productPage: isThere ? productPage : null }
      })

      const analyse = Effect.fnUntraced(function* (jobId: string, raw: RawAnalysis, seen: Seen, desk: Desk) {
        const first = analysisOf(raw, seen)
        const { found, productPage } = yield* addressesOf(jobId, first)
        for (const { text, url } of found) if (text !== null) desk.texts.set(url, text)
        yield* desk.read(citedIn(raw, desk))
        // Once more, now that it is known what stands there.
        const { evidence } = analysisOf(raw, { ...seen, texts: desk.texts })
        return {
          ...first,
          existingTypeId: yield* resolved(first.typeName),
          productPage,
          documents: found.map(({ documentType, title, url }) => ({ url, documentType, title })),
          evidence
        } satisfies Analysis
      })

      const tags = Effect.fnUntraced(function* (input: SuggestionInput, part: Part | null) {
        const asked = yield* ask("tags", { input: [aboutOf(input, part)], ...again(input) })
        const known = part === null ? input : { ...part, typeName: part.type?.name ?? null }
        return { output: { tags: tagsOf(asked.value.tags, known) }, usage: usageOf(asked) }
      })

      const type = Effect.fnUntraced(function* (input: SuggestionInput, part: Part | null) {
        const asked = yield* ask("type", { input: [aboutOf(input, part), yield* catalogueTypes], ...again(input) })
        const named = distinct(
          asked.value.candidates.flatMap(({ name, ...candidate }) => {
            const said = typeNameOf(name)
            return said === null ? [] : [{ ...candidate, name: said }]
          }),
          ({ name }) => name.toLowerCase(),
          10
        )
        const candidates = yield* Effect.forEach(named, ({ confidence, name, reason }) =>
          Effect.map(resolved(name), (existingTypeId) => ({ name, existingTypeId, confidence, reason: cut(reason, 500) ?? "" }))
        )
        return {
          output: { candidates: distinct(candidates, ({ existingTypeId, name }) => existingTypeId ?? name, 3) },
          usage: usageOf(asked)
        }
      })

      const photo = Effect.fnUntraced(function* (input: SuggestionInput, picture: Input) {
        const shown = [picture, ...(input.text === undefined ? [] : [asText("text", input.text)]), usualTypes]
        const asked = yield* ask("photo", { input: shown, ...again(input) })
        const { value } = asked
        const typeName = typeNameOf(value.typeName)
        const texts = (all: ReadonlyArray<string>, longestOne: number, most: number) =>
          distinct(
            all.flatMap((one) => whole(one, longestOne) ?? []),
            (one) => one,
            most
          )
        const output: Output<"photo"> = {
          manufacturerCodes: distinct(
            value.manufacturerCodes.flatMap(({ confidence, value: code }) => {
              const said = whole(code, 255)
              return said === null ? [] : [{ value: said, confidence }]
            }),
            (one) => one.value,
            5
          ),
          manufacturer: whole(value.manufacturer, 255),
          description: cut(value.description, 2000),
          typeName,
          existingTypeId: yield* resolved(typeName),
          package: whole(value.package, 100),
          quantity: value.quantity !== null && value.quantity >= 1 && value.quantity <= 1_000_000_000 ? value.quantity : null,
          dateCode: whole(value.dateCode, 50),
          lotCode: whole(value.lotCode, 100),
          seller: whole(value.seller, 255),
          codes: texts(value.codes, 200, 50),
          visibleText: cut(value.visibleText, 8000, { lines: true }) ?? "",
          documentQueries: texts(value.documentQueries, 200, 3)
        }
        return { output, usage: usageOf(asked) }
      })

      const datasheet = Effect.fnUntraced(function* (jobId: string, input: SuggestionInput, part: Part | null) {
        const desk = lookups.desk({ parts: false, offered: [] })
        const asked = yield* ask("datasheet", { input: [aboutOf(input, part)], tools: desk.tools, ...again(input) })
        const named = distinct(
          asked.value.candidates.flatMap(({ documentType, reason, title, url }) => {
            const at = address(url)
            return at === null ? [] : [{ url: at, title: cut(title, 200) ?? at, documentType, reason: cut(reason, 500) ?? "" }]
          }),
          ({ url }) => url,
          5
        )
        const found = yield* findings.keep(jobId, named, part?.manufacturerCode ?? input.manufacturerCode ?? null)
        return { output: { candidates: found.map(({ text: _, ...candidate }) => candidate) }, usage: usageOf(asked) }
      })

      const part = Effect.fnUntraced(function* (jobId: string, input: SuggestionInput, picture: Input | null) {
        const said = input.text ?? ""
        const offered = said === "" ? [] : yield* duplicates.candidates(said)
        const shown = [
          ...(said === "" ? [] : [asText("text", said)]),
          ...(picture === null ? [] : [picture]),
          // Which parts there are is looked at below too, whatever an answer from before says.
          { ...asText("candidates", JSON.stringify(offered)), passing: true },
          usualTypes
        ]
        const askOnDesk = (fresh: boolean) => {
          const desk = lookups.desk({ parts: true, offered })
          return Effect.map(ask("part", { input: shown, tools: desk.tools, fresh }), (asked) => ({ asked, desk }))
        }
        const first = yield* askOnDesk(input.fresh === true)
        // An answer that was kept may name parts that were looked up for it: what is in the catalogue now, it does not know.
        const isOutdated = first.asked.cached && first.asked.value.duplicates.some(({ id4 }) => !first.desk.offered.has(id4.toUpperCase()))
        const { asked, desk } = isOutdated ? yield* askOnDesk(true) : first
        const { value } = asked
        const seen: Seen = { input: said, hasPhoto: picture !== null, texts: desk.texts }
        const named = distinct(
          // Only what it was shown: another id may be any part.
          value.duplicates.flatMap(({ confidence, id4, reason }) => {
            const known = desk.offered.get(id4.toUpperCase())
            return known === undefined ? [] : [{ id4: known.id4, confidence, reason: cut(reason, 500) ?? "" }]
          }),
          ({ id4 }) => id4,
          30
        )
        const isNamed = named.some(({ confidence }) => confidence === "high")
        const made = value.analysis === null || isNamed ? null : yield* analyse(jobId, value.analysis, seen, desk)
        const analysis = made === null || saysNothing(made) ? null : made
        // What can be seen without a model counts, whatever the model has seen.
        const certain =
          analysis === null
            ? []
            : (yield* duplicates.check({ ...analysis, typeId: analysis.existingTypeId })).filter(({ confidence }) => confidence === "high")
        const all = distinct(
          [...certain.map(({ confidence, id4, reason }) => ({ id4, confidence, reason })), ...named],
          ({ id4 }) => id4,
          30
        )
        if (certain.length > 0) yield* proposals.restart(jobId)
        const remaining = certain.length > 0 ? null : analysis
        const output: Output<"part"> = {
          analysis: remaining,
          duplicates: [
            ...all.filter(({ confidence }) => confidence === "high"),
            ...all.filter(({ confidence }) => confidence === "medium")
          ],
          failureReason:
            remaining === null && all.length === 0
              ? (cut(value.failureReason, 500) ?? "There is too little to say what this is. Add a part number, or a sharper photo.")
              : null
        }
        return { output, usage: usageOf(asked) }
      })

      const cleanup = Effect.fnUntraced(function* (jobId: string, input: SuggestionInput, part: Part) {
        const sheet = Option.getOrUndefined(yield* texts.ofPart(part.id4, longestText))
        const asked = yield* ask("cleanup", {
          input: [aboutOf({}, part), ...(sheet === undefined ? [] : [asText("data sheet", sheet.text)]), yield* catalogueTypes],
          ...again(input)
        })
        const desk = lookups.desk({ parts: false, offered: [] })
        if (sheet !== undefined) desk.texts.set("", sheet.text)
        const seen: Seen = { input: Object.values(factsOf(part)).flat().join("\n"), hasPhoto: false, texts: desk.texts }
        // Its documents are there already.
        const analysis = yield* analyse(jobId, { ...asked.value.analysis, documents: [] }, seen, desk)
        return { output: { analysis, changes: changesOf(analysis, part) }, usage: usageOf(asked) }
      })

      return Questions.of({ tags, type, photo, datasheet, part, cleanup })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([Types.layer, DocumentTexts.layer, Duplicates.layer, Proposals.layer, Findings.layer, Lookups.layer])
  )
}

const mostTypes = 500

const purposeOf = (kind: ProposalKind) => `inventory.${kind}`

const again = ({ fresh }: SuggestionInput) => ({ fresh: fresh === true })

const asText = (label: string, text: string): Input => ({ type: "text", label, text })

/** The part as the model is shown it, or what is known of something that is none yet. */
const aboutOf = ({ description, manufacturer, manufacturerCode }: SuggestionInput, part: Part | null): Input =>
  asText("part", JSON.stringify(part === null ? { description, manufacturerCode, manufacturer } : factsOf(part)))

const factsOf = ({ type, ...part }: Part) => ({
  description: part.description,
  manufacturerCode: part.manufacturerCode,
  manufacturer: part.manufacturer,
  typeName: type?.name ?? null,
  tags: part.tags,
  productPage: part.productPage,
  package: part.package,
  pinCount: part.pinCount,
  pinPitch: part.pinPitch,
  voltageRating: part.voltageRating,
  inputVoltage: part.inputVoltage,
  outputVoltage: part.outputVoltage,
  mountingType: part.mountingType,
  series: part.series,
  dimensions: part.dimensions
})

const usageOf = ({ cached, model, usage }: Answered<unknown>): Proposal["usage"] => ({ model, ...usage, cached })
