import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { operation } from "#platform/http/endpoint.ts"
import { InvalidRequest } from "#platform/http/problems.ts"
import { DuplicateList, PartDraft } from "./duplicate.ts"

export class DuplicatesApi extends HttpApiGroup.make("duplicates")
  .add(
    HttpApiEndpoint.post("check", "/parts/check-duplicates", {
      payload: PartDraft,
      success: DuplicateList,
      error: InvalidRequest
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Whether a part is there already, before it is added",
        description:
          "Takes what POST /api/parts takes, but a part number or a description is enough; writes nothing. At most 30 parts: those with the same part number, however it is written, unless both manufacturers are known and differ; then those of the same type with the same values (4k7 is 4.7 kΩ) and nearly the same description.",
        example: {
          path: "/api/parts/check-duplicates",
          body: { description: "Timer IC, DIP-8", manufacturerCode: "ne-555 p", manufacturer: "Texas Instruments" }
        }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "Duplicates", description: "One bag, one part: what is there already." })) {}
