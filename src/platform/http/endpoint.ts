import { Context } from "effect"
import { OpenApi } from "effect/http-api"

export type Role = "public" | "viewer" | "editor" | "admin"

/** The role an endpoint asks for. A test walks every route and fails on one that declares none. */
export class RequiredRole extends Context.Service<RequiredRole, Role>()("platform/RequiredRole") {}

/** A request that a test replays and whose answer it compares with the document: a path with its query, and a body. */
export interface Example {
  readonly path: string
  readonly body?: unknown
  /** The same as a form, where an operation takes one: texts by their names. A file is shown as the text of its name. */
  readonly form?: unknown
}
export class RequestExample extends Context.Service<RequestExample, Example>()("platform/RequestExample") {}

/** What every operation says of itself. `description` may have several sentences; `summary` is one line. */
export const operation = (declaration: {
  readonly role: Role
  readonly summary: string
  readonly description: string
  readonly example: Example
}): Context.Context<RequiredRole | RequestExample> =>
  OpenApi.annotations({
    summary: declaration.summary,
    description: declaration.description,
    transform: (spec) => ({ ...spec, "x-required-role": declaration.role })
  }).pipe(Context.add(RequiredRole, declaration.role), Context.add(RequestExample, declaration.example))
