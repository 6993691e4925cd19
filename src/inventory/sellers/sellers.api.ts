import { Schema } from "effect"
import { Multipart } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams, SortParam } from "#platform/db/paging.ts"
import { RangeNotSatisfiable } from "#platform/http/download.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { InvalidRequest, PayloadTooLarge, PreconditionFailed, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { formLimits } from "#platform/http/upload.ts"
import { UnsupportedMedia } from "#platform/media/media.ts"
import {
  NewSeller,
  Seller,
  SellerEdit,
  SellerIdInPath,
  SellerInUse,
  SellerLogoNotFound,
  SellerNameTaken,
  SellerNotFound
} from "./seller.ts"

const params = { sellerId: SellerIdInPath }

const LogoForm = Schema.Struct({ file: Multipart.SingleFileSchema }).pipe(HttpApiSchema.asMultipartStream(formLimits))

export class SellersApi extends HttpApiGroup.make("sellers")
  .add(
    HttpApiEndpoint.get("list", "/sellers", {
      query: { ...PageParams, sort: SortParam(["name", "createdAt"], "name") },
      success: Page(Seller),
      error: InvalidCursor
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Sellers, by name",
        description: "Each with the number of parts that have a link to it.",
        example: { path: "/api/sellers?limit=5" }
      })
    ),
    HttpApiEndpoint.post("create", "/sellers", {
      headers: IdempotencyHeader,
      payload: NewSeller,
      success: Created(Seller),
      error: SellerNameTaken
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Add a seller",
          description: "The name must be unique, ignoring case.",
          example: { path: "/api/sellers", body: { name: "Bolt & Nut Trading", website: "https://bolts.example" } }
        })
      ),
    HttpApiEndpoint.get("get", "/sellers/:sellerId", { params, success: Versioned(Seller), error: SellerNotFound }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One seller",
        description: "With the number of parts that have a link to it; GET /api/parts?sellerId= lists them.",
        example: { path: "/api/sellers/1" }
      })
    ),
    HttpApiEndpoint.patch("edit", "/sellers/:sellerId", {
      params,
      headers: IfMatch,
      payload: asMergePatch(SellerEdit),
      success: Versioned(Seller),
      error: [SellerNotFound, SellerNameTaken, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change a seller",
        description: "JSON merge patch: absent fields stay, null empties. Parts show and are found by the new name at once.",
        example: { path: "/api/sellers/1", body: { website: "https://shop.example" } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/sellers/:sellerId", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [SellerNotFound, SellerInUse, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Delete a seller",
        description: "Only when no part has a link to it.",
        example: { path: "/api/sellers/1" }
      })
    ),
    HttpApiEndpoint.get("logo", "/sellers/:sellerId/logo", {
      params,
      success: HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" }),
      error: [SellerNotFound, SellerLogoNotFound, RangeNotSatisfiable, StorageUnavailable]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "The logo of a seller",
        description:
          "The one that was uploaded, else the icon of the website: a job fetches it when a website is given. Answers Range, If-None-Match and HEAD.",
        example: { path: "/api/sellers/1/logo" }
      })
    ),
    HttpApiEndpoint.put("putLogo", "/sellers/:sellerId/logo", {
      params,
      headers: IfMatch,
      payload: LogoForm,
      success: Versioned(Seller),
      error: [SellerNotFound, PreconditionFailed, InvalidRequest, PayloadTooLarge, UnsupportedMedia, UnreadableFile, StorageUnavailable]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Upload the logo of a seller",
        description:
          "A form with the file: JPEG, PNG or WebP up to 2 MiB; its bytes decide what it is. It takes the place of an earlier one.",
        example: { path: "/api/sellers/1/logo", form: { file: "@logo.png" } }
      })
    ),
    HttpApiEndpoint.delete("removeLogo", "/sellers/:sellerId/logo", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [SellerNotFound, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Remove the uploaded logo of a seller",
        description: "The icon of the website is shown again, if there is one.",
        example: { path: "/api/sellers/1/logo" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Sellers", description: "Who parts are bought from." })) {}
