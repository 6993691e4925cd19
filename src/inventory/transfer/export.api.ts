import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { operation } from "#platform/http/endpoint.ts"

const query = {
  spreadsheetSafe: Schema.optional(
    Schema.Boolean.annotate({
      description: "Puts ' before cells that a spreadsheet would take for a formula: those that begin with = + - @"
    })
  )
}
const success = HttpApiSchema.StreamUint8Array({ contentType: "text/csv" })

const described = (kind: string, summary: string, description: string) =>
  operation({
    role: "viewer",
    summary,
    description: `${description} RFC 4180 in UTF-8 with a header line; everything as of one moment.`,
    example: { path: `/api/inventory/export/${kind}.csv` }
  })

export class ExportApi extends HttpApiGroup.make("export")
  .add(
    HttpApiEndpoint.get("parts", "/inventory/export/parts.csv", { query, success }).annotateMerge(
      described(
        "parts",
        "All parts as CSV",
        "A line per slot that holds the part, one line for a part without stock. The command `inventory import` reads it: in an empty instance it makes the same parts, labels, slots and quantities."
      )
    ),
    HttpApiEndpoint.get("movements", "/inventory/export/movements.csv", { query, success }).annotateMerge(
      described("movements", "The whole ledger as CSV", "A line per movement with its booking, oldest first.")
    ),
    HttpApiEndpoint.get("sellers", "/inventory/export/sellers.csv", { query, success }).annotateMerge(
      described("sellers", "All seller links as CSV", "A line per part and seller.")
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Export", description: "The inventory as files." })) {}
