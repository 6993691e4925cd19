import type { HttpServerRequest } from "effect/http"

export interface OwnOrigins {
  readonly corsOrigins: ReadonlyArray<string>
  readonly publicUrl: string | null
  /** Whether the server may be reached under any name; else only as this machine, or as PUBLIC_URL says. */
  readonly openNetwork: boolean
}

/**
 * Whether a page of another origin sent this. CORS keeps such a page from reading answers, not from sending forms and texts, and a name
 * that someone else owns can lead to 127.0.0.1. Programs send none of these headers.
 */
export const isForeign = ({ corsOrigins, openNetwork, publicUrl }: OwnOrigins) => {
  const known = new Set(corsOrigins)
  if (publicUrl !== null) known.add(new URL(publicUrl).origin)
  return ({ headers }: HttpServerRequest.HttpServerRequest): boolean => {
    const { host = "", origin, "sec-fetch-site": site } = headers
    if (origin === undefined) return site !== undefined && site !== "same-origin" && site !== "none"
    if (known.has(origin)) return false
    const url = URL.parse(origin)
    return url === null || url.host !== host.toLowerCase() || !(openNetwork || isThisMachine(url.hostname))
  }
}

const isThisMachine = (hostname: string) => /^(localhost|[^.]+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/u.test(hostname)
