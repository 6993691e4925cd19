import { Context } from "effect"

/**
 * What everything below the HTTP edge may know of the request it works for: written into logs, changes and operations.
 * Outside a request (commands, background fibers) the default holds.
 */
export interface RequestInfo {
  readonly requestId: string | null
  /** Whoever acts. Without identity it is the built-in owner. */
  readonly principal: string
  /** The path template that matched, for metrics and logs; set by the router, null before. */
  route: string | null
}

export const CurrentRequest = Context.Reference<RequestInfo>("platform/CurrentRequest", {
  defaultValue: () => ({ requestId: null, principal: "owner", route: null })
})
