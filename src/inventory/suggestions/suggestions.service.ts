import { readFile } from "node:fs/promises"
import { Context, Effect, Layer, Option } from "effect"
import type { AiBudgetExhausted, AiNotConfigured, AiProviderError, Answered, Ask, Input } from "#platform/ai/ask.ts"
import { startPurposes } from "#platform/ai/calls.metrics.ts"
import { OpenAi } from "#platform/ai/openai.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import {
  type InvalidRequest,
  invalidField,
  type PayloadTooLarge,
  StorageUnavailable,
  type UnreadableFile
} from "#platform/http/problems.ts"
import type { Job } from "#platform/jobs/job.ts"
import { type Completed, JobFailure, type JobRun } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { isMediaType, type MediaType, renditionSize } from "#platform/media/formats.ts"
import { Media } from "#platform/media/media.service.ts"
import { UnsupportedMedia } from "#platform/media/media.ts"
import type { Staged } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { opening } from "#platform/objects/opening.ts"
import { type DocumentNotFound, titleOf } from "../documents/document.ts"
import { DocumentTexts } from "../documents/document-texts.service.ts"
import { Documents } from "../documents/documents.service.ts"
import { Duplicates } from "../duplicates/duplicates.service.ts"
import type { Id4, Part, PartNotFound, PartRetired } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Parts } from "../parts/parts.service.ts"
import { type Analysis, kinds, type Output, type ProposalKind, type Proposed } from "../proposals/output.ts"
import type { Proposal, ProposalId } from "../proposals/proposal.ts"
import { Proposals } from "../proposals/proposals.service.ts"
import { Types } from "../types/types.service.ts"
import { analysisOf, changesOf, citedIn, type Seen, saysNothing, tagsOf, typeNameOf } from "./analysis.ts"
import { type Answer, answers, type RawAnalysis } from "./answer.ts"
import { Findings } from "./findings.service.ts"
import { instructions } from "./instructions.ts"
import { address, cut, distinct, whole } from "./legible.ts"
import { type Desk, Lookups, longestText } from "./lookups.service.ts"
import { type SuggestionInput, suggestionKinds } from "./suggestion.ts"

/** A photo that arrived. */
export interface Photo {
  readonly staged: Staged
  readonly filename: string | null
}

/** Something that must be committed with a new job: the answer kept under an Idempotency-Key. */
export type Within<A, E> = (made: Effect.Effect<Job, never, Transaction>) => Effect.Effect<A, E, Transaction>

type AskRefused = AiProviderError | AiBudgetExhausted | AiNotConfigured
type WordsRefused = AiNotConfigured | AiBudgetExhausted | PartNotFound | PartRetired
type PhotoRefused =
  | WordsRefused
  | InvalidRequest
  | DocumentNotFound
  | UnsupportedMedia
  | UnreadableFile
  | PayloadTooLarge
  | StorageUnavailable

type Words = Omit<SuggestionInput, "documentId">

/** What an answer was made into, with what it cost. */
type Done<K extends ProposalKind> = { readonly output: Output<K>; readonly usage: Proposal["usage"] }

/** The language model's part: looks at what people have, and proposes. Writes nothing but proposals. */
export class Suggestions extends Context.Service<
  Suggestions,
  {
    /** Asks for a job about words, or about a part. */
    readonly request: <A, E>(kind: ProposalKind, input: Words, within: Within<A, E>) => Effect.Effect<A, E | WordsRefused>
    /** Asks for a job about a photo. Begins transactions itself, after the photo is stored: never inside another one. */
    readonly requestPhoto: <A, E>(
      kind: "photo" | "part",
      input: SuggestionInput,
      photo: Photo | null,
      within: Within<A, E>
    ) => Effect.Effect<A, E | PhotoRefused>
    /** The work of the job. */
    readonly run: (
      kind: ProposalKind,
      input: SuggestionInput,
      run: JobRun<{ readonly proposalId: ProposalId }>
    ) => Effect.Effect<
      Completed,
      AskRefused | JobFailure | PartNotFound | PartRetired | DocumentNotFound | StorageUnavailable | UnreadableFile
    >
    /** What can be read in a photo, without a proposal: to try model and key. */
    readonly look: (path: string) => Effect.Effect<Done<"photo">, AskRefused | UnsupportedMedia | UnreadableFile | PayloadTooLarge>
  }
>()("inventory/Suggestions") {
  static readonly layerNoDeps = Layer.effect(
    Suggestions,
    Effect.gen(function* () {
      const openai = yield* OpenAi
      const parts = yield* Parts
      const partIds = yield* PartIds
      const types = yield* Types
      const documents = yield* Documents
      const texts = yield* DocumentTexts
      const duplicates = yield* Duplicates
      const proposals = yield* Proposals
      const findings = yield* Findings
      const lookups = yield* Lookups
      const objects = yield* Objects
      const media = yield* Media
      const jobs = yield* Jobs
      const db = yield* Db
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

      const partOf = (id4: string) => Effect.flatMap(partIds.require(id4), () => parts.get(id4 as Id4))

      /** As the model sees it: no metadata, upright, no larger than it can make use of. */
      const picture = (path: string, mediaType: MediaType) =>
        Effect.map(
          media.thumbnail(path, mediaType, { size: renditionSize, format: "jpeg" }),
          ({ bytes }): Input => ({
            type: "image",
            bytes,
            mediaType: "image/jpeg"
          })
        )

      const stored = Effect.fnUntraced(function* (objectId: number, mediaType: string, what: string) {
        const gone = () => new StorageUnavailable({ detail: `The image of ${what} was deleted a moment ago.` })
        const object = Option.getOrUndefined(yield* objects.find(objectId))
        if (object === undefined || !isMediaType(mediaType)) return yield* gone()
        const body = yield* opening(objects, what, gone)(object)(undefined)
        const { path } = yield* objects.stage(body, { maxBytes: object.size }).pipe(Effect.catchTag("TooLarge", Effect.die))
        return yield* picture(path, mediaType)
      }, Effect.scoped)

      /** The photo that was sent, or that a part has; null when it is about words alone. */
      const photoOf = Effect.fnUntraced(function* (jobId: string, { documentId }: SuggestionInput) {
        if (documentId !== undefined) {
          const { mediaType, objectId } = yield* documents.kept(documentId)
          return objectId === null || mediaType === null ? null : yield* stored(objectId, mediaType, "the document")
        }
        const sent = Option.getOrUndefined(yield* proposals.photoOf(jobId))
        if (sent === undefined || sent.objectId === null || sent.mediaType === null) return null
        return yield* stored(sent.objectId, sent.mediaType, "the request")
      })

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

      const suggestTags = Effect.fnUntraced(function* (input: SuggestionInput, part: Part | null) {
        const asked = yield* ask("tags", { input: [aboutOf(input, part)] })
        const known = part === null ? input : { ...part, typeName: part.type?.name ?? null }
        return { output: { tags: tagsOf(asked.value.tags, known) }, usage: usageOf(asked) }
      })

      const suggestType = Effect.fnUntraced(function* (input: SuggestionInput, part: Part | null) {
        const asked = yield* ask("type", { input: [aboutOf(input, part), yield* catalogueTypes] })
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

      const readPhoto = Effect.fnUntraced(function* (input: ReadonlyArray<Input>) {
        const asked = yield* ask("photo", { input: [...input, usualTypes] })
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

      const suggestDatasheet = Effect.fnUntraced(function* (jobId: string, input: SuggestionInput, part: Part | null) {
        const desk = lookups.desk({ parts: false, offered: [] })
        const asked = yield* ask("datasheet", { input: [aboutOf(input, part)], tools: desk.tools })
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

      const suggestPart = Effect.fnUntraced(function* (jobId: string, input: SuggestionInput, photo: Input | null) {
        const said = input.text ?? ""
        const offered = said === "" ? [] : yield* duplicates.candidates(said)
        const shown = [
          ...(said === "" ? [] : [asText("text", said)]),
          ...(photo === null ? [] : [photo]),
          asText("candidates", JSON.stringify(offered)),
          usualTypes
        ]
        const askOnDesk = (fresh: boolean) => {
          const desk = lookups.desk({ parts: true, offered })
          return Effect.map(ask("part", { input: shown, tools: desk.tools, fresh }), (asked) => ({ asked, desk }))
        }
        const first = yield* askOnDesk(false)
        // An answer that was kept may name parts that were looked up for it: what is in the catalogue now, it does not know.
        const isOutdated = first.asked.cached && first.asked.value.duplicates.some(({ id4 }) => !first.desk.offered.has(id4.toUpperCase()))
        const { asked, desk } = isOutdated ? yield* askOnDesk(true) : first
        const { value } = asked
        const seen: Seen = { input: said, hasPhoto: photo !== null, texts: desk.texts }
        const named = distinct(
          // Only what it was shown: another id may be any part.
          value.duplicates.flatMap(({ confidence, id4, reason }) => {
            const part = desk.offered.get(id4.toUpperCase())
            return part === undefined ? [] : [{ id4: part.id4, confidence, reason: cut(reason, 500) ?? "" }]
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

      const suggestCleanup = Effect.fnUntraced(function* (jobId: string, part: Part) {
        const sheet = Option.getOrUndefined(yield* texts.ofPart(part.id4, longestText))
        const asked = yield* ask("cleanup", {
          input: [aboutOf({}, part), ...(sheet === undefined ? [] : [asText("data sheet", sheet.text)]), yield* catalogueTypes]
        })
        const desk = lookups.desk({ parts: false, offered: [] })
        if (sheet !== undefined) desk.texts.set("", sheet.text)
        const seen: Seen = { input: Object.values(factsOf(part)).flat().join("\n"), hasPhoto: false, texts: desk.texts }
        // Its documents are there already.
        const analysis = yield* analyse(jobId, { ...asked.value.analysis, documents: [] }, seen, desk)
        return { output: { analysis, changes: changesOf(analysis, part) }, usage: usageOf(asked) }
      })

      const targetOf = Effect.fnUntraced(function* ({ documentId, id4 }: SuggestionInput) {
        const target = documentId === undefined ? id4 : (yield* documents.kept(documentId)).partId4
        return target === undefined ? null : yield* partOf(target)
      })

      const work = Effect.fnUntraced(function* (kind: ProposalKind, jobId: string, input: SuggestionInput, part: Part | null) {
        switch (kind) {
          case "tags":
            return { kind, ...(yield* suggestTags(input, part)) }
          case "type":
            return { kind, ...(yield* suggestType(input, part)) }
          case "datasheet":
            return { kind, ...(yield* suggestDatasheet(jobId, input, part)) }
          case "photo": {
            const photo = yield* photoOf(jobId, input)
            if (photo === null) return yield* photoGone
            return { kind, ...(yield* readPhoto([photo, ...(input.text === undefined ? [] : [asText("text", input.text)])])) }
          }
          case "part":
            return { kind, ...(yield* suggestPart(jobId, input, yield* photoOf(jobId, input))) }
          case "cleanup":
            if (part === null) return yield* Effect.die(new Error("a cleanup of nothing"))
            return { kind, ...(yield* suggestCleanup(jobId, part)) }
        }
      })

      const enqueue = (kind: ProposalKind, input: SuggestionInput, target: string | undefined) =>
        jobs.enqueue(suggestionKinds[kind], { input }, target === undefined ? {} : { entity: { type: "part", id: target } })

      const requestPhoto = <A, E>(kind: "photo" | "part", input: SuggestionInput, photo: Photo | null, within: Within<A, E>) =>
        Effect.gen(function* () {
          yield* openai.ready
          const target = yield* Effect.gen(function* () {
            if (input.documentId === undefined) return undefined
            const document = yield* documents.kept(input.documentId)
            if (document.kind === "image" && isPhoto(document.mediaType)) return document.partId4
            return yield* invalidField("body", "/documentId", `${document.title} is no photo`)
          })
          if (photo === null) return yield* db.transaction(within(enqueue(kind, input, target)))
          const is = yield* media.inspect(photo.staged.path, photo.staged.size)
          if (!isPhoto(is.mediaType)) return yield* noPhoto
          return yield* objects.store({ staged: photo.staged, bucket: "images", mediaType: is.mediaType }, (object) =>
            Effect.gen(function* () {
              let isNew = false
              const answer = yield* within(
                Effect.gen(function* () {
                  isNew = true
                  const job = yield* enqueue(kind, input, target)
                  yield* proposals.keep(job.id, {
                    wasSent: true,
                    kind: "image",
                    documentType: null,
                    title: titleOf(photo.filename ?? "Photo"),
                    originalFilename: photo.filename,
                    url: null,
                    object,
                    preview: null,
                    mediaType: is.mediaType,
                    size: photo.staged.size,
                    width: is.width,
                    height: is.height,
                    pageCount: null,
                    verified: null
                  })
                  return job
                })
              )
              // The same request came again: perhaps nothing needs its photo any more.
              if (!isNew) yield* objects.release([object.id])
              return answer
            })
          )
        })

      return Suggestions.of({
        request: (kind, input, within) =>
          Effect.gen(function* () {
            yield* openai.ready
            if (input.id4 !== undefined) yield* partIds.require(input.id4)
            return yield* db.transaction(within(enqueue(kind, input, input.id4)))
          }).pipe(Effect.withSpan("Suggestions.request")),
        requestPhoto: (kind, input, photo, within) =>
          requestPhoto(kind, input, photo, within).pipe(Effect.withSpan("Suggestions.requestPhoto")),

        run: Effect.fn("Suggestions.run")(
          function* (kind, input, run) {
            yield* proposals.restart(run.id)
            const part = yield* targetOf(input)
            yield* run.progress(10, "asking")
            const { output, usage } = yield* work(kind, run.id, input, part)
            const photo = Option.getOrUndefined(yield* proposals.photoOf(run.id))
            const { id4: _, text, ...about } = input
            return yield* proposals.propose(
              {
                proposed: { kind, output } as Proposed,
                jobId: run.id,
                part,
                input: {
                  ...about,
                  ...(text === undefined ? {} : { text: cut(text, 500, { lines: true }) ?? "" }),
                  ...(photo === undefined ? {} : { image: photo.originalFilename })
                },
                usage
              },
              run.complete
            )
          },
          // The photo stays for another try, which finds everything else itself.
          (work, _kind, _input, run) => Effect.tapError(work, () => Effect.catchCause(proposals.restart(run.id), () => Effect.void))
        ),

        look: Effect.fn("Suggestions.look")(function* (path) {
          const { length } = yield* Effect.promise(() => readFile(path))
          const { mediaType } = yield* media.inspect(path, length)
          if (!isPhoto(mediaType)) return yield* noPhoto
          return yield* readPhoto([yield* picture(path, mediaType)])
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([
      Parts.layer,
      PartIds.layer,
      Types.layer,
      Documents.layer,
      DocumentTexts.layer,
      Duplicates.layer,
      Proposals.layer,
      Findings.layer,
      Lookups.layer
    ])
  )
}

const mostTypes = 500

const purposeOf = (kind: ProposalKind) => `inventory.${kind}`

const isPhoto = (mediaType: string | null): mediaType is "image/jpeg" | "image/png" | "image/webp" =>
  mediaType === "image/jpeg" || mediaType === "image/png" || mediaType === "image/webp"

const noPhoto = new UnsupportedMedia({ detail: "A photo is a JPEG, PNG or WebP image." })
const photoGone = new JobFailure({ code: "photo-gone", detail: "The photo is not kept any more. Send it again." })

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
