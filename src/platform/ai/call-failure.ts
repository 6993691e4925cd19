import { Data, Duration } from "effect"

/** How a call ended, in metrics and traces. */
export const outcomes = [
  "ok",
  /** Answered without a call. */
  "cached",
  /** Not made. */
  "over-budget",
  "refused",
  "filtered",
  "too-long",
  /** Not JSON, or not what was asked for. */
  "unusable",
  "rate-limited",
  "no-quota",
  "unauthorized",
  "rejected",
  "server-error",
  "unreachable",
  "timeout",
  "broken",
  "interrupted"
] as const
export type Outcome = (typeof outcomes)[number]

/** One call that gave no answer. `detail` names neither what was asked nor what the provider wrote. */
export class CallFailure extends Data.TaggedError("CallFailure")<{
  readonly outcome: Outcome
  readonly detail: string
  /** Whether the same call may go better. */
  readonly retryable: boolean
  /** When the provider says so; else after the usual pause. */
  readonly retryAfter?: Duration.Duration
  /** Certain to have cost nothing. */
  readonly free?: boolean
}> {}

/** What the client of the provider throws, in our words. */
export const failureOf = (error: unknown, host: string): CallFailure => {
  if (error instanceof CallFailure) return error
  const { cause, code, headers, requestID, status, type } = asThrown(error)
  // The provider's own sentences may repeat the key or the prompt.
  const words = [code, type].filter(isWord)
  const said = [...new Set(words)].join(", ") + (isId(requestID) ? `${words.length > 0 ? ", " : ""}request ${requestID}` : "")
  const saying = said === "" ? "" : ` (${said})`

  const isQuota = words.includes("insufficient_quota")
  if (status === undefined && headers === undefined) return unconnected(cause, host)
  if (isQuota) {
    return new CallFailure({
      outcome: "no-quota",
      detail: `The account at ${host} has no credit left${saying}. Add some, or raise its limit there.`,
      retryable: false,
      free: true
    })
  }
  if (status === undefined) {
    return new CallFailure({ outcome: "server-error", detail: `${host} failed in the middle of its answer${saying}.`, retryable: true })
  }
  const answered = { ...classified(status, host), free: true }
  const retryAfter = retryAfterOf(headers)
  return new CallFailure({
    ...answered,
    detail: `${answered.detail.replace("{status}", `${status}${saying}`)}`,
    ...(retryAfter === undefined ? {} : { retryAfter })
  })
}

const classified = (status: number, host: string) => {
  if (status === 429) {
    return {
      outcome: "rate-limited" as const,
      detail: `${host} takes no more requests now: {status}. Try again in some minutes.`,
      retryable: true
    }
  }
  if (status >= 500) {
    return { outcome: "server-error" as const, detail: `${host} failed: {status}. Try again later.`, retryable: true }
  }
  if (status === 401 || status === 403) {
    return {
      outcome: "unauthorized" as const,
      detail: `${host} refuses the key: {status}. Check OPENAI_API_KEY and what it may use.`,
      retryable: false
    }
  }
  const what = status === 404 ? "does not know the model or the address" : "does not take the request"
  return {
    outcome: "rejected" as const,
    detail: `${host} ${what}: {status}. Check OPENAI_MODEL and OPENAI_BASE_URL; the model must take images, tools and a JSON schema for its answer.`,
    retryable: false
  }
}

// Nothing was sent to a server that could not be reached.
const notConnected =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|EPROTO|\w*CERT\w*|UNABLE_TO_\w+|ERR_(TLS|SSL)_\w+)$/u

const unconnected = (cause: unknown, host: string) => {
  const code = codeIn(cause)
  if (code !== undefined && notConnected.test(code)) {
    return new CallFailure({
      outcome: "unreachable",
      detail: `${host} cannot be reached (${code}). Check OPENAI_BASE_URL and the network.`,
      retryable: true,
      free: true
    })
  }
  return new CallFailure({
    outcome: "broken",
    detail: `The connection to ${host} broke before the answer was complete. Try again later.`,
    retryable: true
  })
}

const codeIn = (cause: unknown): string | undefined => {
  for (let at = cause, depth = 0; typeof at === "object" && at !== null && depth < 5; depth++) {
    const { cause: inner, code, errors } = at as { readonly code?: unknown; readonly cause?: unknown; readonly errors?: unknown }
    if (typeof code === "string") return code
    at = inner ?? (Array.isArray(errors) ? errors[0] : undefined)
  }
  return undefined
}

interface Thrown {
  readonly status?: number | undefined
  readonly code?: unknown
  readonly type?: unknown
  readonly requestID?: unknown
  readonly headers?: Headers | undefined
  readonly cause?: unknown
}

const asThrown = (error: unknown): Thrown => (typeof error === "object" && error !== null ? (error as Thrown) : {})

const isWord = (value: unknown): value is string => typeof value === "string" && /^[a-z][a-z_]{1,60}$/u.test(value)

const isId = (value: unknown): value is string => typeof value === "string" && /^req_\w{1,80}$/u.test(value)

const longest = Duration.seconds(60)

/** In seconds, as a date, or in the milliseconds that OpenAI adds; never more than a minute. */
export const retryAfterOf = (headers: Headers | undefined, now = Date.now()): Duration.Duration | undefined => {
  const ms = headers?.get("retry-after-ms")?.trim() ?? ""
  const given = headers?.get("retry-after")?.trim() ?? ""
  const wait = isNumber(ms)
    ? Number(ms)
    : isNumber(given)
      ? Number(given) * 1000
      : /^\w{3},/u.test(given)
        ? Date.parse(given) - now
        : Number.NaN
  return Number.isNaN(wait) ? undefined : Duration.min(Duration.millis(Math.max(0, wait)), longest)
}

const isNumber = (text: string) => /^\d+(\.\d+)?$/u.test(text)
