import { isIP } from "node:net"
import { networks } from "./public-address.ts"

/** An entry of FETCH_ALLOW_HOSTS: a name, or a network of which an address is the smallest; a port, or any. */
type Entry = { readonly port: number | undefined } & ({ readonly name: string } | { readonly network: string })

const parse = (text: string): Entry | undefined => {
  const network = /^(?<address>[\d.]+|[\da-f:.]+)\/(?<prefix>\d{1,3})$/iu.exec(text)?.groups
  if (network !== undefined) {
    const { address = "", prefix } = network
    const fits = isIP(address) !== 0 && Number(prefix) <= (isIP(address) === 6 ? 128 : 32)
    return fits ? { network: text, port: undefined } : undefined
  }
  const [, host = "", digits] =
    isIP(text) === 6 ? [text, `[${text}]`] : (/^(\[[^\]]+\]|[^:[\]/?#@\\\s]+)(?::(\d{1,5}))?$/u.exec(text) ?? [])
  const port = digits === undefined ? undefined : Number(digits)
  // As the host of an address is read: in lower case, IDN in ASCII, 0x7f.1 as 127.0.0.1.
  const hostname = host === "" ? undefined : URL.parse(`http://${host}/`)?.hostname
  if (hostname === undefined || hostname.includes("*") || port === 0 || (port ?? 1) > 65_535) return undefined
  const address = hostname.replace(/^\[(.*)\]$/u, "$1")
  return isIP(address) === 0 ? { name: withoutFinalDot(hostname), port } : { network: `${address}/${isIP(address) === 6 ? 128 : 32}`, port }
}

const withoutFinalDot = (name: string) => name.replace(/\.$/u, "")

export const isAllowEntry = (text: string) => parse(text) !== undefined

export interface AllowList {
  /** Whether the name is allowed as it stands in the address, wherever it leads. */
  readonly hasName: (host: string, port: number) => boolean
  readonly hasAddress: (address: string, port: number) => boolean
  /** Whether an entry names exactly this port. */
  readonly namesPort: (port: number) => boolean
}

export const allowList = (texts: ReadonlyArray<string>): AllowList => {
  const entries = texts.map(parse).filter((entry) => entry !== undefined)
  const names = entries.filter((entry) => "name" in entry)
  const addresses = entries.filter((entry) => "network" in entry).map(({ network, port }) => ({ network: networks([network]), port }))
  const fits = (entry: { readonly port: number | undefined }, port: number) => entry.port === undefined || entry.port === port
  return {
    hasName: (host, port) => names.some((entry) => entry.name === withoutFinalDot(host) && fits(entry, port)),
    hasAddress: (address, port) => addresses.some((entry) => fits(entry, port) && entry.network.has(address)),
    namesPort: (port) => entries.some((entry) => entry.port === port)
  }
}
