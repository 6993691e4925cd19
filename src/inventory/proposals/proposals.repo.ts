import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { count, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import type { ObjectRef } from "#platform/objects/object.ts"
import { DocumentType, type ProposalKind, type Proposed } from "./output.ts"
import { Proposal, type ProposalInput, type ProposalStatus, type ProposalsFilter, pendingDays } from "./proposal.ts"

/** A photo that was sent, or what was found at an address: of a job, and of its proposal as soon as there is one. */
export interface NewFile {
  readonly wasSent: boolean
  readonly kind: "image" | "pdf" | "link"
  readonly documentType: DocumentType | null
  readonly title: string
  readonly originalFilename: string | null
  readonly url: string | null
  readonly object: ObjectRef | null
  /** What is shown of a page. */
  readonly preview: ObjectRef | null
  readonly mediaType: string | null
  readonly size: number | null
  readonly width: number | null
  readonly height: number | null
  readonly pageCount: number | null
  /** Of a data sheet, whether it is about the part number. */
  readonly verified: boolean | null
}

const File = Schema.Struct({
  id: Schema.Int,
  place: Schema.NullOr(Schema.Int),
  wasSent: Schema.Boolean,
  kind: Schema.Literals(["image", "pdf", "link"]),
  documentType: Schema.NullOr(DocumentType),
  title: Schema.String,
  originalFilename: Schema.NullOr(Schema.String),
  url: Schema.NullOr(Schema.String),
  objectId: Schema.NullOr(Schema.Int),
  previewId: Schema.NullOr(Schema.Int),
  mediaType: Schema.NullOr(Schema.String),
  size: Schema.NullOr(Schema.Int),
  width: Schema.NullOr(Schema.Int),
  height: Schema.NullOr(Schema.Int),
  pageCount: Schema.NullOr(Schema.Int)
})
export type File = typeof File.Type

/** The objects that files refer to. */
export const objectsOf = (files: ReadonlyArray<Pick<File, "objectId" | "previewId">>) =>
  files.flatMap(({ objectId, previewId }) => [objectId, previewId]).filter((id) => id !== null)

export interface NewProposal {
  readonly id: string
  readonly proposed: Proposed
  readonly jobId: string
  readonly part: { readonly id4: string; readonly version: number; readonly before: unknown } | null
  readonly input: ProposalInput
  readonly usage: Proposal["usage"]
}

/** With what an acceptance compares. */
const Kept = Schema.Struct({
  ...Proposal.fields,
  before: Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown)),
  /** An expired one may still have to be. */
  isSettled: Schema.Boolean
})
export type Kept = typeof Kept.Type

const one = row(Kept)
const listed = rows(Schema.Struct({ ...Proposal.fields, ...PageKey }))
const files = rows(File)
const ids = rows(Schema.Struct({ id: Schema.String, kind: Proposal.fields.kind, partId4: Schema.NullOr(Schema.String) }))
const jobs = rows(Schema.Struct({ jobId: Schema.String }))

const id = sortKey("p.id", "uuid")
const list = { list: "proposals", sorts: { id }, defaultSort: "-id", id }

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { basePath } = yield* AppConfig

  // Its time ends it, whether or not somebody has looked through the proposals since.
  const status = `case when p.status = 'pending' and p.expires_at <= now() then 'expired' else p.status end`
  const columns = `p.id, p.kind, p.job_id as "jobId", p.part_id4 as "partId4", p.part_version::float8 as "partVersion", ${status} as status, p.input,
    p.output, p.usage, iso(p.created_at) as "createdAt", iso(p.expires_at) as "expiresAt", p.settled_by as "settledBy",
    iso(p.settled_at) as "settledAt", p.accepted_fields as "acceptedFields",
    coalesce((
      select json_agg(json_build_object('index', f.place, 'kind', f.kind, 'documentType', f.document_type, 'title', f.title, 'url', f.url,
        'mediaType', f.media_type, 'size', f.size, 'verified', f.verified,
        'contentUrl', case when f.object_id is not null then '${basePath}/api/ai/proposals/' || p.id || '/documents/' || f.place end)
        order by f.place)
      from proposal_files f where f.proposal_id = p.id
    ), '[]') as documents`
  const isIn = (wanted: ProposalStatus) => {
    const stored = sql`p.status = ${wanted}`
    if (wanted === "pending") return sql`(${stored} and p.expires_at > now())`
    return wanted === "expired" ? sql`(${stored} or (p.status = 'pending' and p.expires_at <= now()))` : stored
  }
  const fileColumns = sql.literal(`f.id::float8 as id, f.place::int as place, f.was_sent as "wasSent", f.kind,
    f.document_type as "documentType", f.title, f.original_filename as "originalFilename", f.url, f.object_id::float8 as "objectId",
    f.preview_id::float8 as "previewId", f.media_type as "mediaType", f.size::float8 as size, f.width, f.height, f.page_count as "pageCount"`)

  return {
    find: Effect.fn("ProposalsRepo.find")((id: string) =>
      one(sql`
        select ${sql.literal(columns)}, p.before, p.settled_at is not null as "isSettled"
        from proposals p where p.id = ${id}::uuid`)
    ),

    lock: Effect.fn("ProposalsRepo.lock")((id: string) => run(sql`select from proposals where id = ${id}::uuid for update`)) as (
      id: string
    ) => Effect.Effect<void, never, Transaction>,

    list: Effect.fn("ProposalsRepo.list")(function* (filter: ProposalsFilter, params: PageParams) {
      const page = yield* keyset(sql, list, params)
      const where = sql.and([
        sql`true`,
        ...(filter.kind === undefined ? [] : [sql`p.kind = ${filter.kind}`]),
        ...(filter.status === undefined ? [] : [isIn(filter.status)]),
        ...(filter.id4 === undefined ? [] : [sql`p.part_id4 = ${filter.id4}`])
      ])
      const found = yield* listed(sql`
        select ${sql.literal(columns)}, ${page.key} from proposals p where ${where} and ${page.after} ${page.order}`)
      return yield* withTotal(page.toPage(found), params, count(sql`select count(*)::int as count from proposals p where ${where}`))
    }),

    insert: Effect.fn("ProposalsRepo.insert")(({ id, input, jobId, part, proposed, usage }: NewProposal) =>
      run(sql`
        insert into proposals (id, kind, job_id, part_id4, part_version, input, output, before, usage, expires_at)
        values (${id}::uuid, ${proposed.kind}, ${jobId}::uuid, ${part?.id4 ?? null}, ${part?.version ?? null}::float8::bigint,
          ${JSON.stringify(input)}::jsonb, ${JSON.stringify(proposed.output)}::jsonb, ${JSON.stringify(part?.before ?? null)}::jsonb,
          ${JSON.stringify(usage)}::jsonb, now() + ${pendingDays} * interval '1 day')`)
    ) as (proposal: NewProposal) => Effect.Effect<void, never, Transaction>,

    /** Those whose place a new one of the kind for the part takes. */
    pendingOf: Effect.fn("ProposalsRepo.pendingOf")((kind: ProposalKind, id4: string) =>
      ids(
        sql`select id, kind, part_id4 as "partId4" from proposals where kind = ${kind} and part_id4 = ${id4} and status = 'pending' order by id`
      )
    ),

    /** Some of those whose time is over, or whose part is gone. */
    overdue: (most: number) =>
      ids(sql`
        select id, kind, part_id4 as "partId4" from proposals where status = 'pending'
          and (expires_at <= now() or part_id4 is not null and not exists (select from parts where id4 = part_id4))
        order by expires_at limit ${most}`),

    settle: Effect.fn("ProposalsRepo.settle")(
      ({
        by,
        fields,
        id,
        partId4,
        status
      }: {
        readonly id: string
        readonly status: Exclude<ProposalStatus, "pending">
        readonly by: string
        readonly fields: ReadonlyArray<string> | null
        readonly partId4: string | null
      }) =>
        run(sql`
          update proposals set status = ${status}, settled_by = ${by}, settled_at = now(), accepted_fields = ${fields}::text[],
            part_id4 = coalesce(part_id4, ${partId4})
          where id = ${id}::uuid`)
    ) as (settlement: {
      readonly id: string
      readonly status: Exclude<ProposalStatus, "pending">
      readonly by: string
      readonly fields: ReadonlyArray<string> | null
      readonly partId4: string | null
    }) => Effect.Effect<void, never, Transaction>,

    addFile: Effect.fn("ProposalsRepo.addFile")(function* (jobId: string, file: NewFile) {
      yield* run(sql`
        insert into proposal_files ${sql.insert({
          job_id: jobId,
          was_sent: file.wasSent,
          kind: file.kind,
          document_type: file.documentType,
          title: file.title,
          original_filename: file.originalFilename,
          url: file.url,
          object_id: file.object?.id ?? null,
          preview_id: file.preview?.id ?? null,
          media_type: file.mediaType,
          size: file.size,
          width: file.width,
          height: file.height,
          page_count: file.pageCount,
          verified: file.verified
        })}`)
    }) as (jobId: string, file: NewFile) => Effect.Effect<void, never, Transaction>,

    /** What a job has that has made no proposal yet: what was sent, then what was found, in the order in which it was added. */
    filesOfJob: Effect.fn("ProposalsRepo.filesOfJob")((jobId: string) =>
      files(sql`
        select ${fileColumns} from proposal_files f where f.job_id = ${jobId}::uuid and f.proposal_id is null order by f.was_sent desc, f.id`)
    ),

    filesOf: Effect.fn("ProposalsRepo.filesOf")((proposalIds: ReadonlyArray<string>) =>
      files(
        sql`select ${fileColumns} from proposal_files f where f.proposal_id = any(${proposalIds}::uuid[]) order by f.proposal_id, f.place`
      )
    ),

    /** The proposal has these, in this order. */
    give: Effect.fn("ProposalsRepo.give")((proposalId: string, fileIds: ReadonlyArray<number>) =>
      run(sql`
        update proposal_files f set proposal_id = ${proposalId}::uuid, place = given.nth - 1
        from unnest(${fileIds.map(String)}::bigint[]) with ordinality as given (id, nth) where f.id = given.id`)
    ) as (proposalId: string, fileIds: ReadonlyArray<number>) => Effect.Effect<void, never, Transaction>,

    removeFiles: Effect.fn("ProposalsRepo.removeFiles")((fileIds: ReadonlyArray<number>) =>
      run(sql`delete from proposal_files where id = any(${fileIds.map(String)}::bigint[])`)
    ) as (fileIds: ReadonlyArray<number>) => Effect.Effect<void, never, Transaction>,

    /** Jobs that have files and will not make a proposal of them any more. One that failed may be tried again. */
    abandoned: (most: number) =>
      jobs(sql`
        select distinct f.job_id as "jobId" from proposal_files f left join jobs j on j.id = f.job_id
        where f.proposal_id is null and (j.id is null or j.state in ('succeeded', 'cancelled')) limit ${most}`),

    pending: count(sql`select count(*)::int as count from proposals where status = 'pending' and expires_at > now()`)
  }
})

export class ProposalsRepo extends Context.Service<ProposalsRepo, Effect.Success<typeof make>>()("inventory/ProposalsRepo") {
  static readonly layer = Layer.effect(ProposalsRepo, make)
}
