import { Effect, Layer, Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { download } from "#platform/http/download.ts"
import { Answers } from "#platform/http/idempotency.ts"
import { LinkPreview } from "./link-preview.ts"
import { LinkPreviews } from "./link-previews.service.ts"

const encode = Schema.encodeSync(LinkPreview)
const createdResponse = (preview: LinkPreview) => HttpServerResponse.jsonUnsafe(encode(preview), { status: 201 })

export const LinkPreviewsHttp = HttpApiBuilder.group(
  Api,
  "linkPreviews",
  Effect.fn(function* (handlers) {
    const previews = yield* LinkPreviews
    const answers = yield* Answers
    return handlers.handleAll({
      create: ({ payload: { url }, request }) =>
        answers
          .around(request, [url], (once) => previews.create(url, (written) => once(Effect.map(written, createdResponse))))
          .pipe(Effect.scoped),
      image: ({ params }) => Effect.flatMap(previews.image(params.id), download)
    })
  })
).pipe(Layer.provide([LinkPreviews.layer, Answers.layer]))
