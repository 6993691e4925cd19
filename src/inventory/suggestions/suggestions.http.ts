import { Effect, Layer, Option, Schema, type Scope, Stream } from "effect"
import { type HttpServerRequest, HttpServerResponse, type Multipart } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { AppConfig } from "#platform/config.ts"
import { Answers } from "#platform/http/idempotency.ts"
import { type InvalidRequest, invalidField, type PayloadTooLarge, type StorageUnavailable } from "#platform/http/problems.ts"
import { decodeFields, receiveForm } from "#platform/http/upload.ts"
import { Job } from "#platform/jobs/job.ts"
import { largestOf } from "#platform/media/sniff.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { fileName } from "../documents/document.ts"
import type { ProposalKind } from "../proposals/output.ts"
import { PartForm, PhotoForm, photoFormLimits, type SuggestionInput } from "./suggestion.ts"
import { type Photo, Suggestions } from "./suggestions.service.ts"

const encode = Schema.encodeSync(Job)
const acceptedResponse = (job: Job) =>
  HttpServerResponse.jsonUnsafe(encode(job), { status: 202, headers: { location: `/api/jobs/${job.id}` } })

type Form = Stream.Stream<Multipart.Part, Multipart.MultipartError>

export const SuggestionsHttp = HttpApiBuilder.group(
  Api,
  "suggestions",
  Effect.fn(function* (handlers) {
    const suggestions = yield* Suggestions
    const objects = yield* Objects
    const answers = yield* Answers
    const { maxUploadBytes } = yield* AppConfig

    const ask = (kind: ProposalKind, request: HttpServerRequest.HttpServerRequest, input: SuggestionInput) =>
      answers.around(request, [kind, JSON.stringify(input)], (once) =>
        suggestions.request(kind, input, (made) => once(Effect.map(made, acceptedResponse)))
      )
    const askAbout = (kind: "photo" | "part", request: HttpServerRequest.HttpServerRequest, input: SuggestionInput, photo: Photo | null) =>
      answers.around(request, [kind, JSON.stringify(input), photo?.staged.sha256 ?? "", photo?.filename ?? ""], (once) =>
        suggestions.requestPhoto(kind, input, photo, (made) => once(Effect.map(made, acceptedResponse)))
      )

    /** A photo and texts, or texts alone as JSON. */
    const received = <A extends { readonly text?: string | null }>(
      payload: Form | A,
      decode: (fields: Readonly<Record<string, string>>) => Effect.Effect<A, InvalidRequest>
    ): Effect.Effect<
      { readonly fields: A; readonly photo: Photo | null },
      InvalidRequest | PayloadTooLarge | StorageUnavailable,
      Scope.Scope
    > =>
      Stream.isStream(payload)
        ? Effect.gen(function* () {
            const { fields, file } = yield* receiveForm(payload as Form, "image", {
              stage: objects.stage,
              maxBytes: (head) => Math.min(maxUploadBytes, largestOf(head)),
              maxFieldSize: photoFormLimits.maxFieldSize
            })
            const photo = Option.map(file, ({ filename, staged }) => ({ staged, filename: fileName(filename) }))
            return { fields: yield* decode(fields), photo: Option.getOrNull(photo) }
          })
        : Effect.succeed({ fields: payload as A, photo: null })

    return handlers.handleAll({
      tags: ({ payload, request }) => ask("tags", request, payload),
      type: ({ payload, request }) => ask("type", request, payload),
      datasheet: ({ payload, request }) => ask("datasheet", request, payload),
      cleanup: ({ payload, request }) => ask("cleanup", request, payload),
      photo: Effect.fnUntraced(function* ({ payload, request }) {
        const { fields, photo } = yield* received(payload, decodePhoto)
        if ((photo === null) === (fields.documentId === undefined)) {
          return yield* invalidField("body", "/image", "Expected either a photo as image, or the documentId of one that a part has")
        }
        return yield* askAbout("photo", request, withText(fields), photo)
      }, Effect.scoped),
      part: Effect.fnUntraced(function* ({ payload, request }) {
        const { fields, photo } = yield* received(payload, decodePart)
        if (photo === null && (fields.text ?? "") === "") {
          return yield* invalidField("body", "/text", "Expected a text, a photo as image, or both")
        }
        return yield* askAbout("part", request, withText(fields), photo)
      }, Effect.scoped)
    })
  })
).pipe(Layer.provide([Suggestions.layer, Answers.layer]))

const decodePhoto = decodeFields(PhotoForm)
const decodePart = decodeFields(PartForm)

const withText = <A extends { readonly text?: string | null }>({ text, ...fields }: A) => ({ ...fields, ...(text ? { text } : {}) })
