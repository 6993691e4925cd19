import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { InvalidRequest, PreconditionFailed } from "#platform/http/problems.ts"
import { Id4InPath, PartNotFound, PartRetired } from "../parts/part.ts"
import {
  NewSellerLink,
  SellerLink,
  SellerLinkEdit,
  SellerLinkExists,
  SellerLinkIdInPath,
  SellerLinkNotFound,
  SellerPartNumberTaken
} from "./seller.ts"

const ofPart = { id4: Id4InPath }
const params = { ...ofPart, linkId: SellerLinkIdInPath }
const missing = [PartNotFound, PartRetired] as const

export class SellerLinksApi extends HttpApiGroup.make("sellerLinks")
  .add(
    HttpApiEndpoint.post("add", "/parts/:id4/seller-links", {
      params: ofPart,
      headers: IdempotencyHeader,
      payload: NewSellerLink,
      success: Created(SellerLink),
      error: [...missing, SellerLinkExists, SellerPartNumberTaken, InvalidRequest]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Say where a part is sold",
          description:
            "A link, the seller's part numbers, or both; one link per seller. The first link of a part is primary, whatever `primary` says; a later one that is primary takes the place of the one before.",
          example: {
            path: "/api/parts/ABCD/seller-links",
            body: { sellerId: 1, link: "https://shop.example/ne555p", sellerPartNumbers: ["595-NE555P"] }
          }
        })
      ),
    HttpApiEndpoint.patch("edit", "/parts/:id4/seller-links/:linkId", {
      params,
      headers: IfMatch,
      payload: asMergePatch(SellerLinkEdit),
      success: Versioned(SellerLink),
      error: [...missing, SellerLinkNotFound, SellerLinkExists, SellerPartNumberTaken, InvalidRequest, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change a seller link",
        description:
          "JSON merge patch: absent fields stay, null empties, sellerPartNumbers is replaced as a whole. `primary: true` takes the place of the primary link; `primary: false` on the primary one is refused, because a part with links always has one.",
        example: { path: "/api/parts/ABCD/seller-links/1", body: { sellerPartNumbers: ["595-NE555P", "NE555P-TI"] } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/parts/:id4/seller-links/:linkId", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [...missing, SellerLinkNotFound, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Remove a seller link",
        description: "The oldest link left becomes primary when the primary one goes.",
        example: { path: "/api/parts/ABCD/seller-links/1" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Seller links", description: "Where a part is sold, and under which numbers." })) {}
