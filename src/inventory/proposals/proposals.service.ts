import { Context, Effect, Layer, Metric, Option, Schema, type Scope } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { isUuid, uuidv7 } from "#platform/db/uuid.ts"
import type { Download } from "#platform/http/download.ts"
import { type InvalidRequest, invalidField, type StorageUnavailable } from "#platform/http/problems.ts"
import { CurrentRequest } from "#platform/http/request.ts"
import type { Completed } from "#platform/jobs/job-kind.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { opening } from "#platform/objects/opening.ts"
import { Metrics, startAtZero } from "#platform/telemetry/metrics.ts"
import { Documents } from "../documents/documents.service.ts"
import {
  type BarcodeTaken,
  type Id4,
  type Id4SpaceExhausted,
  NewPart,
  type Part,
  type PartNotFound,
  type PartRetired
} from "../parts/part.ts"
import { mostTags } from "../parts/part-tag.ts"
import { Parts } from "../parts/parts.service.ts"
import type { TypeId } from "../types/type.ts"
import { Types } from "../types/types.service.ts"
import { type Choice, changedSince, choose, offerOf, replacedUnseen } from "./acceptance.ts"
import { kinds, type ProposalKind, type Proposed } from "./output.ts"
import {
  type Acceptance,
  type Proposal,
  ProposalDocumentNotFound,
  ProposalId,
  type ProposalInput,
  ProposalNotFound,
  ProposalSettled,
  ProposalStale,
  type ProposalsFilter,
  TypeUnknown,
  writableFields
} from "./proposal.ts"
import { type File, type Kept, type NewFile, objectsOf, ProposalsRepo } from "./proposals.repo.ts"

const outcomes = ["created", "accepted", "rejected", "superseded", "expired"] as const
const proposals = Metric.counter("inventory_proposals_total", { description: "Proposals, by what became of them", incremental: true })
const waiting = Metric.gauge("inventory_proposals_pending", { description: "Proposals that wait for a person" })

type Missing = PartNotFound | PartRetired
type Refused = ProposalNotFound | ProposalSettled
type AcceptRefused = Refused | Missing | ProposalStale | TypeUnknown | InvalidRequest | BarcodeTaken | Id4SpaceExhausted

/** What was proposed, and from what. */
export interface Made {
  readonly proposed: Proposed
  readonly jobId: string
  /** The part as the model was shown it. */
  readonly part: Part | null
  readonly input: ProposalInput
  readonly usage: Proposal["usage"]
}

/** What a language model proposed, and what people make of it. */
export class Proposals extends Context.Service<
  Proposals,
  {
    readonly list: (filter: ProposalsFilter, params: PageParams) => Effect.Effect<Page<Proposal>, InvalidCursor | InvalidRequest>
    readonly get: (id: string) => Effect.Effect<Proposal, ProposalNotFound>
    readonly document: (
      id: string,
      index: string
    ) => Effect.Effect<Download<ProposalDocumentNotFound | StorageUnavailable, Scope.Scope>, ProposalNotFound | ProposalDocumentNotFound>
    /** Keeps a file for the proposal that a job will make. */
    readonly keep: (jobId: string, file: NewFile) => Effect.Effect<void, never, Transaction>
    /** The photo that was sent for the proposal of a job. */
    readonly photoOf: (jobId: string) => Effect.Effect<Option.Option<File>>
    /** Lets go of what an earlier attempt of the job has found. */
    readonly restart: (jobId: string) => Effect.Effect<void>
    /**
     * Stores what was proposed, with the files that are kept for the job, and ends the job with it. An older proposal of the kind for the
     * part is superseded.
     */
    readonly propose: (
      made: Made,
      complete: (result: { readonly proposalId: ProposalId }) => Effect.Effect<Completed, never, Transaction>
    ) => Effect.Effect<Completed, Missing>
    /** Writes what was chosen, all or nothing. `created` when it made a part. */
    readonly accept: (
      id: string,
      acceptance: Acceptance
    ) => Effect.Effect<{ readonly proposal: Proposal; readonly created: boolean }, AcceptRefused>
    readonly reject: (id: string, reason?: string) => Effect.Effect<Proposal, Refused>
    /** Ends those whose time is over, and lets go of files of jobs that ended without a proposal; answers how many of each. */
    readonly expire: Effect.Effect<{ readonly expired: number; readonly abandoned: number }>
  }
>()("inventory/Proposals") {
  static readonly layerNoDeps = Layer.effect(
    Proposals,
    Effect.gen(function* () {
      const repo = yield* ProposalsRepo
      const parts = yield* Parts
      const documents = yield* Documents
      const types = yield* Types
      const objects = yield* Objects
      const changes = yield* Changes
      const db = yield* Db
      const metrics = yield* Metrics
      yield* startAtZero(
        proposals,
        kinds.flatMap((kind) => outcomes.map((outcome) => ({ kind, outcome })))
      )
      yield* metrics.register({ name: "pending proposals", collect: Effect.flatMap(repo.pending, (n) => Metric.update(waiting, n)) })

      const kept = (id: string) =>
        Effect.flatMap(
          isUuid(id) ? repo.find(id) : Effect.succeedNone,
          Option.match({
            onNone: () => Effect.fail(new ProposalNotFound({ detail: "No proposal has this id.", proposalId: id.slice(0, 64) })),
            onSome: Effect.succeed
          })
        )

      const told = (
        action: (typeof outcomes)[number],
        { id, kind, partId4 }: { readonly id: string; readonly kind: ProposalKind; readonly partId4: string | null },
        besides: object = {}
      ) =>
        Effect.andThen(
          changes.record({ topic: "proposal", action, entity: "proposal", entityId: id, after: { kind, partId4, ...besides } }),
          db.afterCommit(Metric.update(Metric.withAttributes(proposals, { kind, outcome: action }), 1))
        )

      const release = Effect.fnUntraced(function* (files: ReadonlyArray<File>) {
        yield* repo.removeFiles(files.map(({ id }) => id))
        yield* objects.release(objectsOf(files))
      })

      /** Of a job that has made no proposal. */
      const letGo = (jobId: string, which: (file: File) => boolean) =>
        Effect.gen(function* () {
          const files = (yield* repo.filesOfJob(jobId)).filter(which)
          if (files.length === 0) return
          yield* objects.lock(objectsOf(files))
          yield* release(files)
        }).pipe(db.transaction)

      /** Ends it without a part. Its objects are held. */
      const end = Effect.fnUntraced(function* (
        proposal: { readonly id: string; readonly kind: ProposalKind; readonly partId4: string | null },
        status: "rejected" | "superseded" | "expired",
        besides: object = {}
      ) {
        const { principal } = yield* CurrentRequest
        yield* repo.settle({ id: proposal.id, status, by: principal, fields: null, partId4: null })
        yield* release(yield* repo.filesOf([proposal.id]))
        yield* told(status, proposal, besides)
      })

      const requirePending = ({ id, status }: Kept) =>
        status === "pending"
          ? Effect.void
          : Effect.fail(new ProposalSettled({ detail: `The proposal is ${status}.`, proposalId: id, proposalStatus: status }))

      /** Takes the locks in the global order, objects, part, proposal, and answers all of them as they are then. */
      const locked = Effect.fnUntraced(function* (id: string, wanted: Id4 | undefined) {
        const seen = yield* kept(id)
        yield* requirePending(seen)
        if (seen.partId4 !== null && wanted !== undefined && wanted !== seen.partId4) {
          return yield* invalidField("body", "/id4", `The proposal is about ${seen.partId4}`)
        }
        yield* objects.lock(objectsOf(yield* repo.filesOf([id])))
        const target = seen.partId4 ?? wanted
        const part = target === undefined ? null : yield* parts.lock(target)
        yield* repo.lock(id)
        const proposal = yield* kept(id)
        yield* requirePending(proposal)
        return { proposal, part, files: yield* repo.filesOf([id]) }
      })

      const typeIdOf = Effect.fnUntraced(function* (type: Choice["type"] & {}, createType: boolean) {
        if ("id" in type) {
          const [unknown] = yield* types.unknown(type.id === null ? [] : [type.id])
          return unknown === undefined ? type.id : yield* invalidField("body", "/overrides/typeId", "No type has this id")
        }
        const { name } = type
        // Anew: what was found under that name may be called otherwise by now, and the name is what a person has seen.
        const known = yield* types.resolveName(name)
        if (known !== null) return known.id
        if (!createType) return yield* new TypeUnknown({ detail: `No type is called ${name}, by name or alias.`, name })
        return (yield* types.ensure([name])).get(name) as TypeId
      })

      const chosenFiles = Effect.fnUntraced(function* (files: ReadonlyArray<File>, { coverIndex, documentIndexes }: Acceptance) {
        const places = new Set(files.map(({ place }) => place ?? -1))
        const wanted = new Set(documentIndexes ?? places)
        for (const [at, index] of (documentIndexes ?? []).entries()) {
          if (!places.has(index)) {
            return yield* invalidField("body", `/documentIndexes/${at}`, `The proposal has ${files.length} documents, from 0`)
          }
        }
        const chosen = files.filter(({ place }) => wanted.has(place ?? -1))
        const cover = coverIndex === undefined ? undefined : chosen.findIndex(({ place }) => place === coverIndex)
        if (cover !== undefined && chosen[cover]?.kind !== "image") {
          return yield* invalidField("body", "/coverIndex", "Expected the index of an image among the chosen documents")
        }
        return { chosen, cover }
      })

      const accept = Effect.fnUntraced(function* (id: string, acceptance: Acceptance) {
        const { files, part, proposal } = yield* locked(id, acceptance.id4)
        const { kind } = proposal
        const choice = yield* Effect.fromResult(choose(offerOf(proposal as Proposed), acceptance))
        const { chosen, cover } = yield* chosenFiles(files, acceptance)
        if (choice.fields.length + chosen.length === 0) {
          return yield* invalidField("body", "", "Nothing of the proposal is chosen: reject it, or choose fields or documents")
        }
        const typeId = choice.type === undefined ? undefined : yield* typeIdOf(choice.type, acceptance.createType === true)
        const values = { ...choice.values, ...(typeId === undefined ? {} : { typeId }) }
        const { tags } = values
        // Tags that are proposed come to those that are there; tags that a person gives take their place.
        const mayAdd = kind === "tags" || proposal.before === null
        const adds = mayAdd && part !== null && tags !== undefined && acceptance.overrides?.tags === undefined
        const edit = adds ? { ...values, tags: [...new Set([...part.tags, ...tags])] } : values
        if (adds && (edit.tags?.length ?? 0) > mostTags) {
          return yield* invalidField("body", "/fields", `${part.id4} would have ${edit.tags?.length} tags; ${mostTags} are possible`)
        }
        if (part !== null && acceptance.force !== true) {
          // What a person has given in words of their own was meant to be written.
          const given = new Set(Object.keys({ ...acceptance.overrides, ...(adds ? { tags } : {}) }))
          if (given.has("name")) given.add("typeId")
          const stale =
            proposal.before === null
              ? replacedUnseen(part, edit).filter((field) => !given.has(field))
              : changedSince(proposal.before, part, choice.fields)
          if (stale.length > 0) {
            return yield* new ProposalStale({ detail: `${part.id4} has another ${stale.join(", ")} by now.`, fields: stale })
          }
        }
        const written =
          part === null
            ? yield* create(edit)
            : choice.fields.length === 0
              ? part
              : yield* parts.edit(part.id4, edit, undefined).pipe(Effect.catchTag("PreconditionFailed", Effect.die))
        yield* documents.attach(written.id4, chosen, cover)
        const { principal } = yield* CurrentRequest
        yield* repo.settle({ id, status: "accepted", by: principal, fields: choice.fields, partId4: written.id4 })
        yield* release(files)
        yield* told("accepted", { id, kind, partId4: written.id4 }, { fields: choice.fields, documents: chosen.map(({ place }) => place) })
        return { proposal: toProposal(yield* Effect.orDie(kept(id))), created: part === null }
      })

      const create = Effect.fnUntraced(function* (values: Readonly<Record<string, unknown>>) {
        if (values.description === undefined) {
          return yield* invalidField("body", "/overrides/description", "A new part needs a description, and none is proposed or chosen")
        }
        const draft = yield* Effect.orDie(Schema.decodeUnknownEffect(NewPart)(values))
        // Without seller links none can be taken.
        return yield* parts.create(draft).pipe(Effect.catchTags({ SellerLinkExists: Effect.die, SellerPartNumberTaken: Effect.die }))
      })

      return Proposals.of({
        list: Effect.fn("Proposals.list")((filter, params) => repo.list(filter, params)),
        get: Effect.fn("Proposals.get")((id) => Effect.map(kept(id), toProposal)),
        keep: Effect.fn("Proposals.keep")((jobId, file) => repo.addFile(jobId, file)),
        photoOf: Effect.fn("Proposals.photoOf")((jobId) =>
          Effect.map(repo.filesOfJob(jobId), (files) => Option.fromUndefinedOr(files.find(({ wasSent }) => wasSent)))
        ),
        restart: Effect.fn("Proposals.restart")((jobId) => letGo(jobId, ({ wasSent }) => !wasSent)),

        document: Effect.fn("Proposals.document")(function* (id, index) {
          yield* kept(id)
          const gone = () =>
            new ProposalDocumentNotFound({ detail: "The proposal has no such file now.", proposalId: id, index: index.slice(0, 20) })
          const file = (yield* repo.filesOf([id])).find(({ place }) => String(place) === index)
          if (file === undefined || file.objectId === null || file.mediaType === null) return yield* gone()
          const object = Option.getOrUndefined(yield* objects.find(file.objectId))
          if (object === undefined) return yield* gone()
          const open = opening(objects, `the proposal ${id}`, gone)(object)
          return {
            size: object.size,
            mediaType: file.mediaType,
            sha256: object.sha256,
            filename: file.originalFilename,
            attachment: file.mediaType === "image/svg+xml",
            immutable: false,
            open
          }
        }),

        propose: Effect.fn("Proposals.propose")(({ part, proposed, ...made }, complete) =>
          db.transaction(
            Effect.gen(function* () {
              const id = ProposalId.make(yield* uuidv7)
              const { kind } = proposed
              const olderThan = (id4: string) => repo.pendingOf(kind, id4)
              if (part !== null) {
                const seen = yield* olderThan(part.id4)
                yield* objects.lock(objectsOf(yield* repo.filesOf(seen.map((older) => older.id))))
                yield* parts.lock(part.id4)
                yield* Effect.forEach(
                  yield* olderThan(part.id4),
                  (older) => Effect.andThen(repo.lock(older.id), end(older, "superseded")),
                  {
                    discard: true
                  }
                )
              }
              const before = part === null ? null : Object.fromEntries(writableFields.map((field) => [field, part[field]]))
              yield* repo.insert({
                ...made,
                id,
                proposed,
                part: part === null ? null : { id4: part.id4, version: part.version, before }
              })
              yield* repo.give(
                id,
                (yield* repo.filesOfJob(made.jobId)).map((file) => file.id)
              )
              yield* told("created", { id, kind, partId4: part?.id4 ?? null })
              return yield* complete({ proposalId: id })
            })
          )
        ),

        accept: Effect.fn("Proposals.accept")((id, acceptance) => db.transaction(accept(id, acceptance))),

        reject: Effect.fn("Proposals.reject")((id, reason) =>
          db.transaction(
            Effect.gen(function* () {
              yield* kept(id)
              yield* objects.lock(objectsOf(yield* repo.filesOf([id])))
              yield* repo.lock(id)
              const proposal = yield* kept(id)
              yield* requirePending(proposal)
              yield* end(proposal, "rejected", reason === undefined ? {} : { reason })
              return toProposal(yield* kept(id))
            })
          )
        ),

        expire: Effect.gen(function* () {
          const overdue = yield* repo.overdue(mostAtOnce)
          const expired = yield* Effect.forEach(overdue, (proposal) =>
            db.transaction(
              Effect.gen(function* () {
                yield* objects.lock(objectsOf(yield* repo.filesOf([proposal.id])))
                yield* repo.lock(proposal.id)
                const now = yield* Effect.orDie(kept(proposal.id))
                // Somebody else was faster.
                if (now.isSettled) return 0
                yield* end(now, "expired")
                return 1
              })
            )
          )
          const abandoned = yield* repo.abandoned(mostAtOnce)
          yield* Effect.forEach(abandoned, ({ jobId }) => letGo(jobId, () => true), { discard: true })
          return { expired: expired.reduce((sum: number, n) => sum + n, 0), abandoned: abandoned.length }
        }).pipe(Effect.withSpan("Proposals.expire"))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([ProposalsRepo.layer, Parts.layer, Documents.layer, Types.layer, Changes.layer])
  )
}

const mostAtOnce = 1000

const toProposal = ({ before: _, isSettled: __, ...proposal }: Kept): Proposal => proposal
