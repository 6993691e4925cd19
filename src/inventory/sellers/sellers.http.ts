import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { AppConfig } from "#platform/config.ts"
import { download } from "#platform/http/download.ts"
import { created, versioned } from "#platform/http/preconditions.ts"
import { invalidField, StorageUnavailable } from "#platform/http/problems.ts"
import { receiveFile } from "#platform/http/upload.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { maxLogoBytes } from "./seller.ts"
import { SellerLogos } from "./seller-logos.service.ts"
import { Sellers } from "./sellers.service.ts"

export const SellersHttp = HttpApiBuilder.group(
  Api,
  "sellers",
  Effect.fn(function* (handlers) {
    const sellers = yield* Sellers
    const logos = yield* SellerLogos
    const objects = yield* Objects
    const { maxUploadBytes } = yield* AppConfig
    return handlers.handleAll({
      list: ({ query }) => sellers.list(query),
      create: ({ payload }) => Effect.map(sellers.create(payload), (seller) => created(`/api/sellers/${seller.id}`, seller)),
      get: ({ params }) => Effect.map(sellers.get(params.sellerId), versioned),
      edit: ({ headers, params, payload }) => Effect.map(sellers.edit(params.sellerId, payload, headers["if-match"]), versioned),
      remove: ({ headers, params }) => sellers.remove(params.sellerId, headers["if-match"]),
      logo: ({ params }) =>
        Effect.flatMap(logos.file(params.sellerId), download).pipe(
          Effect.retry({ times: 5, while: ({ _tag }) => _tag === "LogoReplaced" }),
          Effect.catchTag("LogoReplaced", () => new StorageUnavailable({ detail: "The logo is being replaced all the time." }))
        ),
      putLogo: Effect.fnUntraced(function* ({ headers, params: { sellerId }, payload }) {
        yield* sellers.get(sellerId)
        const { fields, staged } = yield* receiveFile(payload, {
          stage: objects.stage,
          maxBytes: Math.min(maxLogoBytes, maxUploadBytes)
        })
        for (const other of Object.keys(fields)) return yield* invalidField("body", `/${other}`, "Unknown field or parameter")
        return versioned(yield* logos.put(sellerId, staged, headers["if-match"]))
      }, Effect.scoped),
      removeLogo: ({ headers, params }) => logos.remove(params.sellerId, headers["if-match"])
    })
  })
).pipe(Layer.provide([Sellers.layer, SellerLogos.layer]))
