import { Effect, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "#api.ts"
import { Exports } from "./export.service.ts"
import { type ExportKind, fileName } from "./export.ts"

export const ExportHttp = HttpApiBuilder.group(
  Api,
  "export",
  Effect.fn(function* (handlers) {
    const exports = yield* Exports
    const answer = (kind: ExportKind, spreadsheetSafe = false) =>
      Effect.map(exports.csv(kind, { spreadsheetSafe }), (bytes) =>
        HttpServerResponse.stream(bytes, {
          contentType: "text/csv; charset=utf-8; header=present",
          headers: {
            "content-disposition": `attachment; filename="${fileName(kind)}"`,
            "content-encoding": "identity" // streams are not compressed: the edge takes this off again
          }
        })
      )
    return handlers.handleAll({
      parts: ({ query }) => answer("parts", query.spreadsheetSafe),
      movements: ({ query }) => answer("movements", query.spreadsheetSafe),
      sellers: ({ query }) => answer("sellers", query.spreadsheetSafe)
    })
  })
).pipe(Layer.provide(Exports.layer))
