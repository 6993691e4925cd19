import { Result } from "effect"
import { type Unreachable, unreachable } from "./unreachable.ts"

/** Where an address points to. */
export interface Target {
  readonly url: URL
  /** A name or an address without brackets. */
  readonly host: string
  readonly port: number
  readonly secure: boolean
}

/**
 * Ports of protocols that would take an HTTP request for something else: no browser opens them.
 * https://fetch.spec.whatwg.org/#port-blocking
 */
const foreignPorts = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117,
  119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
  989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080
])

// RFC 1035, 2.3.4, as text, with the final dot.
const longestName = 254

/** Reads an address as browsers do, which settles every odd spelling of a host. `what` names the address in the sentence. */
export const parseTarget = (
  text: string,
  { base, namesPort, what }: { readonly base?: string; readonly namesPort: (port: number) => boolean; readonly what: string }
): Result.Result<Target, Unreachable> => {
  const refused = (sentence: string) => Result.fail(unreachable("bad-address", sentence))
  const url = URL.parse(text, base)
  if (url === null || url.hostname.length > longestName) return refused(`${what} cannot be read as a web address.`)
  if (url.protocol !== "http:" && url.protocol !== "https:")
    return refused(`${what} begins neither with https:// nor with http://, and nothing else is fetched.`)
  if (url.username !== "" || url.password !== "") return refused(`${what} carries a user name or a password: give it without.`)
  const secure = url.protocol === "https:"
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port)
  if (foreignPorts.has(port) && !namesPort(port))
    return refused(`${what} names port ${port}, which belongs to another service than the web.`)
  url.hash = ""
  return Result.succeed({ url, host: url.hostname.replace(/^\[(.*)\]$/u, "$1"), port, secure })
}
