import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { operation } from "../http/endpoint.ts"
import { SystemHealth } from "./health.ts"

export class SystemApi extends HttpApiGroup.make("system")
  .add(
    HttpApiEndpoint.get("health", "/system/health", { success: SystemHealth }).annotateMerge(
      operation({
        role: "admin",
        summary: "How this process and its database are",
        description: "Versions, schema, memory and connections. Probes use /healthz and /readyz.",
        example: { path: "/api/system/health" }
      })
    )
  )
  .annotateMerge(OpenApi.annotations({ title: "System", description: "For whoever runs the server." })) {}
