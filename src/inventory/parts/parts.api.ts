import { Schema, SchemaTransformation } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams, SortParam } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { asMergePatch } from "#platform/http/merge-patch.ts"
import { Created, IfMatch, Versioned } from "#platform/http/preconditions.ts"
import { InvalidRequest, PreconditionFailed } from "#platform/http/problems.ts"
import { InstantInput, text } from "#platform/http/text.ts"
import { BoxNo } from "../boxes/slot.ts"
import { SellerId, SellerLinkExists, SellerPartNumberTaken } from "../sellers/seller.ts"
import { TypeId } from "../types/type.ts"
import {
  BarcodeTaken,
  BulkEdit,
  Id4InPath,
  Id4SpaceExhausted,
  includes,
  ListedPart,
  NewPart,
  Part,
  PartEdit,
  PartInUse,
  PartNotFound,
  PartRetired,
  partSorts
} from "./part.ts"
import { mostTags, Tag, TagCount, TagRename } from "./part-tag.ts"

const params = { id4: Id4InPath }
const missing = [PartNotFound, PartRetired] as const

const anyInclude = includes.join("|")

/** `include=locations`, repeated or separated by commas. */
const Include = Schema.Array(
  Schema.String.check(Schema.isPattern(new RegExp(`^(${anyInclude})(,(${anyInclude}))*$`, "u"), { expected: includes.join(", ") }))
).pipe(
  Schema.decodeTo(
    Schema.Array(Schema.Literals(includes)),
    SchemaTransformation.transform<ReadonlyArray<(typeof includes)[number]>, ReadonlyArray<string>>({
      decode: (all) => includes.filter((name) => all.some((some) => some.split(",").includes(name))),
      encode: (all) => all
    })
  )
)

export class PartsApi extends HttpApiGroup.make("parts")
  .add(
    HttpApiEndpoint.get("list", "/parts", {
      query: {
        ...PageParams,
        sort: SortParam(partSorts, "-createdAt"),
        typeId: Schema.optional(Schema.Array(TypeId).annotate({ description: "Any of these types; repeat the parameter" })),
        tag: Schema.optional(
          Schema.Array(Tag).check(Schema.isMaxLength(mostTags)).annotate({ description: "All of these tags; repeat the parameter" })
        ),
        sellerId: Schema.optional(SellerId),
        boxNo: Schema.optional(BoxNo),
        manufacturer: Schema.optional(text(255).annotate({ description: "Ignoring case" })),
        package: Schema.optional(text(100)),
        mountingType: Schema.optional(text(50)),
        inStock: Schema.optional(Schema.Boolean),
        hasDocuments: Schema.optional(Schema.Boolean),
        belowMinimum: Schema.optional(Schema.Boolean.annotate({ description: "Stock at or below the part's own minQuantity" })),
        updatedSince: Schema.optional(InstantInput),
        include: Schema.optional(Include.annotate({ description: "locations: also the slots of each part" }))
      },
      success: Page(ListedPart),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Parts, newest first unless sorted otherwise",
        description: "Filters are combined. For finding a part by what a person remembers of it there is GET /api/search.",
        example: { path: "/api/parts?limit=10&inStock=true&include=locations&sort=-totalQuantity" }
      })
    ),
    HttpApiEndpoint.post("create", "/parts", {
      headers: IdempotencyHeader,
      payload: NewPart,
      success: Created(Part),
      error: [BarcodeTaken, SellerLinkExists, SellerPartNumberTaken, Id4SpaceExhausted, InvalidRequest]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Add a part; the answer carries its new label",
          description: "The label is drawn by the server. Stock is booked afterwards with POST /api/parts/{id4}/put.",
          example: {
            path: "/api/parts",
            body: {
              description: "Timer IC, DIP-8",
              manufacturerCode: "NE555P",
              manufacturer: "Texas Instruments",
              tags: ["timer"],
              package: "DIP-8",
              pinCount: 8
            }
          }
        })
      ),
    HttpApiEndpoint.get("get", "/parts/:id4", { params, success: Versioned(Part), error: missing }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One part by the label on its bag",
        description: "With its stock in every slot and its seller links. The label is read in any case.",
        example: { path: "/api/parts/ABCD" }
      })
    ),
    HttpApiEndpoint.patch("edit", "/parts/:id4", {
      params,
      headers: IfMatch,
      payload: asMergePatch(PartEdit),
      success: Versioned(Part),
      error: [...missing, BarcodeTaken, InvalidRequest, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Change a part",
        description: "JSON merge patch: absent fields stay, null empties, kicad merges key by key. Stock changes by the verbs only.",
        example: { path: "/api/parts/ABCD", body: { minQuantity: 10, tags: ["timer", "classic"] } }
      })
    ),
    HttpApiEndpoint.delete("remove", "/parts/:id4", {
      params,
      headers: IfMatch,
      success: HttpApiSchema.NoContent,
      error: [...missing, PartInUse, PreconditionFailed]
    }).annotateMerge(
      operation({
        role: "editor",
        summary: "Delete a part",
        description: "Only without stock. Its history stays, its label is never given out again.",
        example: { path: "/api/parts/ABCD" }
      })
    ),
    HttpApiEndpoint.post("bulkEdit", "/parts/bulk-edit", {
      headers: IdempotencyHeader,
      payload: BulkEdit,
      success: Schema.Struct({ changed: Schema.Int, unchanged: Schema.Int }),
      error: [...missing, InvalidRequest]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Change up to 500 parts at once",
          description: "All or nothing. Sets fields, then removes and adds tags; parts that look the same afterwards are not touched.",
          example: { path: "/api/parts/bulk-edit", body: { ids: ["ABCD"], set: { mountingType: "Through-Hole" }, addTags: ["tht"] } }
        })
      ),
    HttpApiEndpoint.get("listTags", "/part-tags", {
      query: { ...PageParams, prefix: Schema.optional(Tag) },
      success: Page(TagCount),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Tags in use, by name",
        description: "With the number of parts that carry each.",
        example: { path: "/api/part-tags?prefix=s&limit=20" }
      })
    ),
    HttpApiEndpoint.post("renameTag", "/part-tags/rename", {
      headers: IdempotencyHeader,
      payload: TagRename,
      success: Schema.Struct({ changed: Schema.Int })
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Rename a tag on all its parts",
          description: "A target that is in use already is merged into: no part carries a tag twice.",
          example: { path: "/api/part-tags/rename", body: { from: "op-amp", to: "opamp" } }
        })
      )
  )
  .annotateMerge(OpenApi.annotations({ title: "Parts", description: "What is kept in stock." })) {}
