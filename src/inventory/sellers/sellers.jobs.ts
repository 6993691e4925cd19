import { Effect, Layer } from "effect"
import { jobHandler } from "#platform/jobs/handlers.ts"
import { iconKind } from "./seller-icon.ts"
import { SellerLogos } from "./seller-logos.service.ts"

export const SellersJobs = jobHandler(
  iconKind,
  Effect.fnUntraced(function* ({ sellerId, website }, run) {
    return yield* (yield* SellerLogos).fetchIcon(sellerId, website, run)
  }, Effect.scoped)
).pipe(Layer.provide(SellerLogos.layer))
