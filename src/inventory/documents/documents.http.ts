import { Effect, Layer, Schema, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { AppConfig } from "#platform/config.ts"
import { download } from "#platform/http/download.ts"
import { Answers, type IdempotencyKeyInUse, type IdempotencyKeyReused, type Once } from "#platform/http/idempotency.ts"
import { created, etag, versioned } from "#platform/http/preconditions.ts"
import { decodeFields, receiveFile } from "#platform/http/upload.ts"
import { largestOf } from "#platform/media/sniff.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Document, fileName, UploadFields } from "./document.ts"
import { Documents, type Within } from "./documents.service.ts"
import { Pictures } from "./pictures.service.ts"

const decodeUpload = decodeFields(UploadFields)
const encode = Schema.encodeSync(Document)

const addressOf = ({ id }: Document) => `/api/documents/${id}`
const createdResponse = (document: Document) =>
  HttpServerResponse.jsonUnsafe(encode(document), { status: 201, headers: { etag: etag(document.version), location: addressOf(document) } })

const answered =
  (once: Once): Within<HttpServerResponse.HttpServerResponse, IdempotencyKeyInUse | IdempotencyKeyReused> =>
  (written) =>
    once(Effect.map(written, createdResponse))

export const DocumentsHttp = HttpApiBuilder.group(
  Api,
  "documents",
  Effect.fn(function* (handlers) {
    const documents = yield* Documents
    const pictures = yield* Pictures
    const objects = yield* Objects
    const partIds = yield* PartIds
    const answers = yield* Answers
    const { maxUploadBytes } = yield* AppConfig

    return handlers.handleAll({
      list: ({ params, query }) => documents.list(params.id4, query),
      add: Effect.fnUntraced(function* ({ params: { id4 }, payload, request }) {
        if (!Stream.isStream(payload)) {
          return yield* answers.around(request, [JSON.stringify(payload)], (once) => documents.link(id4, payload, answered(once)))
        }
        yield* partIds.require(id4)
        const { fields, filename, staged } = yield* receiveFile(payload, {
          stage: objects.stage,
          maxBytes: (head) => Math.min(maxUploadBytes, largestOf(head))
        })
        const { title } = yield* decodeUpload(fields)
        const upload = { staged, filename: fileName(filename), title: title ?? null }
        return yield* answers.around(request, [staged.sha256, filename, title ?? ""], (once) =>
          documents.upload(id4, upload, answered(once))
        )
      }, Effect.scoped),
      setCover: ({ headers, params, payload }) => documents.setCover(params.id4, payload.documentId, headers["if-match"]),
      removeCover: ({ headers, params }) => documents.removeCover(params.id4, headers["if-match"]),
      get: ({ params }) => Effect.map(documents.get(params.id), versioned),
      edit: ({ headers, params, payload }) => Effect.map(documents.edit(params.id, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => documents.remove(params.id, headers["if-match"]),
      content: ({ params, query }) => Effect.flatMap(pictures.content(params.id, query.disposition === "attachment"), download),
      thumbnail: ({ params, query, request }) =>
        Effect.flatMap(
          pictures.thumbnail(params.id, { size: query.size, format: acceptsWebp(request.headers.accept) ? "webp" : "jpeg" }),
          download
        ),
      copy: ({ params, payload }) => Effect.map(documents.copy(params.id, payload), (document) => created(addressOf(document), document))
    })
  })
).pipe(Layer.provide([Documents.layer, Pictures.layer, PartIds.layer, Answers.layer]))

const acceptsWebp = (accept: string | undefined) => /image\/webp(?!\s*;\s*q=0(\.0+)?\s*(,|$))/iu.test(accept ?? "")
