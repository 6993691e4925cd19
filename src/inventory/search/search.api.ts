import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { operation } from "#platform/http/endpoint.ts"
import { int } from "#platform/http/text.ts"
import { SearchResult, SearchText } from "./search.ts"

export class SearchApi extends HttpApiGroup.make("search")
  .add(
    HttpApiEndpoint.get("find", "/search", {
      query: {
        q: SearchText.annotate({ description: "What is remembered of the part: words, part numbers, values, a label, a slot" }),
        limit: Schema.optional(int(1, 100).annotate({ description: "20 when absent" })),
        typeId: Schema.optional(Schema.Array(int(1, 2_147_483_647)).annotate({ description: "Any of these types; repeat the parameter" })),
        inStock: Schema.optional(Schema.Boolean),
        boxNo: Schema.optional(int(1, 99_999).annotate({ description: "Parts with stock in this box" }))
      },
      success: SearchResult
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Find parts by whatever is remembered of them",
        description:
          "A label or a slot like 7-3 comes first, then equal part numbers and barcodes, then parts that have every term: as a word, as the beginning of one, as a value (4k7 is 4.7 kΩ, 100n is 0.1 µF), or with a typo. Only when there is none, parts with some of the terms.",
        example: { path: "/api/search?q=timer&limit=5" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Search", description: "One box for everything that is known of a part." })) {}
