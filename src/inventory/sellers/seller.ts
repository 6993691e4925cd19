import { Effect, Schema, SchemaTransformation } from "effect"
import { idInPath } from "#platform/http/ids.ts"
import { Problem } from "#platform/http/problems.ts"
import { Instant, int, sameName, text, webAddress } from "#platform/http/text.ts"

export const SellerId = int(1, 2_147_483_647).pipe(Schema.brand("SellerId")).annotate({ identifier: "SellerId" })
export type SellerId = typeof SellerId.Type

export const SellerIdInPath = idInPath(SellerId)

/** Who parts are bought from. */
export const NewSeller = Schema.Struct({
  name: text(255),
  website: Schema.NullOr(webAddress(500)).pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null)))
}).annotate({ identifier: "NewSeller" })
export type NewSeller = typeof NewSeller.Type

export const SellerEdit = Schema.Struct({
  name: Schema.optionalKey(text(255)),
  website: Schema.optionalKey(Schema.NullOr(webAddress(500)))
}).annotate({ identifier: "SellerEdit" })
export type SellerEdit = typeof SellerEdit.Type

export const Seller = Schema.Struct({
  id: SellerId,
  name: Schema.String,
  website: Schema.NullOr(Schema.String),
  logoUrl: Schema.NullOr(Schema.String).annotate({
    description: "The logo that was uploaded, else the icon of the website, which is looked for once; null when there is neither"
  }),
  /** Parts that have a link to this seller. */
  partCount: Schema.Int,
  createdAt: Instant,
  updatedAt: Instant,
  version: Schema.Int
}).annotate({ identifier: "Seller" })
export type Seller = typeof Seller.Type

export const maxLogoBytes = 2 * 2 ** 20

export const SellerLinkId = int(1, 2_147_483_647).pipe(Schema.brand("SellerLinkId")).annotate({ identifier: "SellerLinkId" })
export type SellerLinkId = typeof SellerLinkId.Type

export const SellerLinkIdInPath = idInPath(SellerLinkId)

/** The first spelling of each number stays; their order too. */
export const distinctNumbers = (numbers: ReadonlyArray<string>) =>
  numbers.filter((number, at) => numbers.findIndex((other) => sameName(other, number)) === at)

const SellerPartNumbers = Schema.Array(text(100))
  .check(Schema.isMaxLength(20))
  .pipe(
    Schema.decodeTo(
      Schema.Array(Schema.String),
      SchemaTransformation.transform<ReadonlyArray<string>, ReadonlyArray<string>>({ decode: distinctNumbers, encode: (all) => all })
    )
  )

const Link = Schema.NullOr(webAddress(2000))

/** What a link must say to be of use. */
export const saysSomething = (link: { readonly link: string | null; readonly sellerPartNumbers: ReadonlyArray<string> }) =>
  link.link !== null || link.sellerPartNumbers.length > 0

export const linkOrNumber = "a link or at least one seller part number"

/** Where a part is sold: the page, the numbers it has there, or both. */
export const NewSellerLink = Schema.Struct({
  sellerId: SellerId,
  link: Link.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(null))),
  sellerPartNumbers: SellerPartNumbers.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed([]))),
  /** The first link of a part is primary whatever this says. */
  primary: Schema.Boolean.pipe(Schema.withDecodingDefaultTypeKey(Effect.succeed(false)))
})
  .check(Schema.makeFilter(saysSomething, { expected: linkOrNumber }))
  .annotate({ identifier: "NewSellerLink" })
export type NewSellerLink = typeof NewSellerLink.Type

export const SellerLinkEdit = Schema.Struct({
  sellerId: Schema.optionalKey(SellerId),
  link: Schema.optionalKey(Link),
  sellerPartNumbers: Schema.optionalKey(Schema.NullOr(SellerPartNumbers)),
  primary: Schema.optionalKey(Schema.Boolean)
}).annotate({ identifier: "SellerLinkEdit" })
export type SellerLinkEdit = typeof SellerLinkEdit.Type

/** One of the links of a part; exactly one of them is primary. */
export const SellerLink = Schema.Struct({
  id: SellerLinkId,
  sellerId: SellerId,
  sellerName: Schema.String,
  link: Schema.NullOr(Schema.String),
  sellerPartNumbers: Schema.Array(Schema.String),
  primary: Schema.Boolean,
  createdAt: Instant,
  updatedAt: Instant,
  version: Schema.Int
}).annotate({ identifier: "SellerLink" })
export type SellerLink = typeof SellerLink.Type

export class SellerNotFound extends Problem<SellerNotFound>()(
  "SellerNotFound",
  { code: "seller-not-found", status: 404, title: "No such seller", help: "No seller has this id. GET /api/sellers lists them." },
  { sellerId: Schema.Int }
) {}

export class SellerLogoNotFound extends Problem<SellerLogoNotFound>()(
  "SellerLogoNotFound",
  {
    code: "seller-logo-not-found",
    status: 404,
    title: "The seller has no logo",
    help: "No logo was uploaded for this seller, and no icon was found on its website. PUT /api/sellers/{sellerId}/logo uploads one."
  },
  { sellerId: Schema.Int }
) {}

export class SellerNameTaken extends Problem<SellerNameTaken>()(
  "SellerNameTaken",
  {
    code: "seller-name-taken",
    status: 409,
    title: "Another seller has this name",
    help: "Names of sellers are unique, ignoring case. Use the existing seller or choose another name."
  },
  { name: Schema.String }
) {}

export class SellerInUse extends Problem<SellerInUse>()(
  "SellerInUse",
  {
    code: "seller-in-use",
    status: 409,
    title: "Parts are linked to this seller",
    help: "A seller can be deleted when no part has a link to it. Remove those links or give them another seller first; GET /api/parts?sellerId= lists the parts."
  },
  { partCount: Schema.Int }
) {}

export class SellerLinkNotFound extends Problem<SellerLinkNotFound>()(
  "SellerLinkNotFound",
  {
    code: "seller-link-not-found",
    status: 404,
    title: "The part has no such seller link",
    help: "This part has no seller link with this id; another part may have it. The sellerLinks of the part list its links with their ids."
  },
  { id4: Schema.String, linkId: Schema.Int }
) {}

export class SellerLinkExists extends Problem<SellerLinkExists>()(
  "SellerLinkExists",
  {
    code: "seller-link-exists",
    status: 409,
    title: "The part has a link to this seller already",
    help: "A part has one link per seller. Change that link, or add the number to its sellerPartNumbers."
  },
  { sellerId: Schema.Int }
) {}

export class SellerPartNumberTaken extends Problem<SellerPartNumberTaken>()(
  "SellerPartNumberTaken",
  {
    code: "seller-part-number-taken",
    status: 409,
    title: "Another part has this seller part number",
    help: "A number names one part of its seller, ignoring case, so that an order or a bag never means two. Remove it from the part id4, or use that part."
  },
  { number: Schema.String, id4: Schema.String }
) {}
