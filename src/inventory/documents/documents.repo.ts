import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { AppConfig } from "#platform/config.ts"
import { count, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import type { ObjectRef } from "#platform/objects/object.ts"
import { Document, DocumentId, type DocumentKind } from "./document.ts"

/** What a document is made of. A link has no object; a preview is what is shown of a link. */
export interface NewDocument {
  readonly id: string
  readonly id4: string
  readonly kind: DocumentKind
  readonly title: string
  readonly originalFilename: string | null
  readonly url: string | null
  readonly object: ObjectRef | null
  readonly preview: ObjectRef | null
  readonly mediaType: string | null
  readonly size: number | null
  readonly width: number | null
  readonly height: number | null
  readonly pageCount: number | null
  readonly isCover: boolean
}

/** A document with the objects it refers to. */
export const Kept = Schema.Struct({ ...Document.fields, objectId: Schema.NullOr(Schema.Int), previewId: Schema.NullOr(Schema.Int) })
export type Kept = typeof Kept.Type

/** The objects that a document refers to. */
export const objectsOf = ({ objectId, previewId }: Kept): ReadonlyArray<number> => [objectId, previewId].filter((id) => id !== null)

const kept = row(Kept)
const all = rows(Kept)
const page = rows(Schema.Struct({ ...Document.fields, ...PageKey }))
const parts = rows(Schema.Struct({ id4: Schema.String }))
const versions = rows(Schema.Struct({ version: Schema.Int }))
const ids = rows(Schema.Struct({ id: DocumentId }))
const objects = rows(Schema.Struct({ id: Schema.Int }))

const id = sortKey("d.id", "uuid")
const list = { list: "documents", sorts: { id }, defaultSort: "id", id }

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { basePath } = yield* AppConfig

  const address = `'${basePath}/api/documents/' || d.id`
  const columns = `d.id, d.part_id4 as "partId4", d.kind, d.title, d.original_filename as "originalFilename", d.url,
    d.media_type as "mediaType", d.size::float8 as size, d.width, d.height, d.page_count as "pageCount", d.is_cover as "isCover",
    case when d.object_id is not null then ${address} || '/content' end as "contentUrl",
    case when d.object_id is not null or d.preview_id is not null then ${address} || '/thumbnail?size=300' end as "thumbnailUrl",
    iso(d.created_at) as "createdAt", iso(d.updated_at) as "updatedAt", d.version::float8 as version`
  const keptColumns = sql.literal(`${columns}, d.object_id::float8 as "objectId", d.preview_id::float8 as "previewId"`)

  return {
    find: Effect.fn("DocumentsRepo.find")((id: string) => kept(sql`select ${keptColumns} from documents d where d.id = ${id}::uuid`)),

    list: Effect.fn("DocumentsRepo.list")(function* (id4: string, params: PageParams) {
      const keyed = yield* keyset(sql, list, params)
      const found = yield* page(sql`
        select ${sql.literal(columns)}, ${keyed.key} from documents d where d.part_id4 = ${id4} and ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from documents where part_id4 = ${id4}`))
    }),

    /** All of a part, oldest first. */
    of: Effect.fn("DocumentsRepo.of")((id4: string) =>
      all(sql`select ${keptColumns} from documents d where d.part_id4 = ${id4} order by d.id`)
    ),

    /** The objects that the documents of these parts refer to. */
    objectsOf: Effect.fn("DocumentsRepo.objectsOf")((ids: ReadonlyArray<string>) =>
      Effect.map(
        objects(sql`
          select o.id::float8 as id from documents d cross join lateral (values (d.object_id), (d.preview_id)) o (id)
          where d.part_id4 = any(${ids}::text[]) and o.id is not null`),
        (found) => found.map((object) => object.id)
      )
    ),

    /** Holds the parts, in the order of their labels, so that nobody else changes what hangs on them; answers those that exist. */
    lockParts: Effect.fn("DocumentsRepo.lockParts")(
      (wanted: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>, never, Transaction> =>
        Effect.map(
          parts(sql`select id4 from parts where id4 = any(${wanted}::text[]) order by id4 for no key update`),
          (found) => new Set(found.map(({ id4 }) => id4))
        )
    ),

    insert: Effect.fn("DocumentsRepo.insert")(
      ({
        id4,
        isCover,
        object,
        originalFilename,
        pageCount,
        preview,
        mediaType,
        ...others
      }: NewDocument): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into documents ${sql.insert({
            ...others,
            part_id4: id4,
            original_filename: originalFilename,
            object_id: object?.id ?? null,
            preview_id: preview?.id ?? null,
            media_type: mediaType,
            page_count: pageCount,
            is_cover: isCover
          })}`)
    ),

    retitle: Effect.fn("DocumentsRepo.retitle")(
      (id: string, title: string): Effect.Effect<void, never, Transaction> =>
        run(sql`update documents set title = ${title}, version = version + 1, updated_at = now() where id = ${id}::uuid`)
    ),

    remove: Effect.fn("DocumentsRepo.remove")(
      (wanted: ReadonlyArray<string>): Effect.Effect<void, never, Transaction> =>
        run(sql`delete from documents where id = any(${wanted}::uuid[])`)
    ),

    /** The part has this cover, or with null none, and no other. */
    setCover: Effect.fn("DocumentsRepo.setCover")(
      (id4: string, id: string | null): Effect.Effect<void, never, Transaction> =>
        Effect.andThen(
          run(sql`update documents set is_cover = false where part_id4 = ${id4} and is_cover and id is distinct from ${id}::uuid`),
          id === null
            ? Effect.void
            : run(sql`update documents set is_cover = true where part_id4 = ${id4} and id = ${id}::uuid and not is_cover`)
        )
    ),

    /** The part has another field now: its next version. */
    raisePart: Effect.fn("DocumentsRepo.raisePart")(
      (id4: string): Effect.Effect<void, never, Transaction> =>
        run(sql`update parts set version = version + 1, updated_at = now() where id4 = ${id4}`)
    ),

    /** Of a part that is held. */
    partVersion: Effect.fn("DocumentsRepo.partVersion")((id4: string) =>
      Effect.map(versions(sql`select version::float8 as version from parts where id4 = ${id4}`), ([part]) => part?.version ?? 0)
    ),

    hasCover: Effect.fn("DocumentsRepo.hasCover")((id4: string) =>
      Effect.map(ids(sql`select id from documents where part_id4 = ${id4} and is_cover`), ({ length }) => length > 0)
    ),

    /** The oldest image of the part. */
    oldestImage: Effect.fn("DocumentsRepo.oldestImage")((id4: string) =>
      Effect.map(ids(sql`select id from documents where part_id4 = ${id4} and kind = 'image' order by id limit 1`), ([oldest]) =>
        Option.map(Option.fromNullishOr(oldest), ({ id }) => id)
      )
    )
  }
})

export class DocumentsRepo extends Context.Service<DocumentsRepo, Effect.Success<typeof make>>()("inventory/DocumentsRepo") {
  static readonly layer = Layer.effect(DocumentsRepo, make)
}
