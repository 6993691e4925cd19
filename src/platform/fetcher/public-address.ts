import { BlockList, isIP } from "node:net"

/**
 * Everything in IANA's registries of special-purpose addresses, also the few entries that are called globally reachable: no web
 * server of anyone stands there. https://www.iana.org/assignments/iana-ipv4-special-registry
 */
const specialIPv4 = [
  "0.0.0.0/8", // this host on this network, RFC 791
  "10.0.0.0/8", // private, RFC 1918
  "100.64.0.0/10", // shared by carriers, RFC 6598
  "127.0.0.0/8", // loopback, RFC 1122
  "169.254.0.0/16", // link-local, RFC 3927; clouds answer with credentials here
  "172.16.0.0/12", // private, RFC 1918
  "192.0.0.0/24", // protocol assignments, RFC 6890
  "192.0.2.0/24", // documentation, RFC 5737
  "192.31.196.0/24", // AS112, RFC 7535
  "192.52.193.0/24", // AMT, RFC 7450
  "192.88.99.0/24", // 6to4 relays, RFC 7526
  "192.168.0.0/16", // private, RFC 1918
  "192.175.48.0/24", // AS112, RFC 7534
  "198.18.0.0/15", // benchmarking, RFC 2544
  "198.51.100.0/24", // documentation, RFC 5737
  "203.0.113.0/24", // documentation, RFC 5737
  "224.0.0.0/4", // multicast, RFC 5771
  "240.0.0.0/4", // reserved, RFC 1112, and broadcast, RFC 919
  "168.63.129.16/32" // in no registry: the agent of Azure's hosts, which answers at a public address to its own machines
]

/**
 * Only global unicast is allocated (RFC 4291, 2.4), so loopback, unspecified, IPv4-mapped, -compatible and -translated, NAT64
 * (64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64, 100:0:0:1::/64), SRv6 (5f00::/16), unique local (fc00::/7), link-local (fe80::/10),
 * site-local (fec0::/10) and multicast (ff00::/8) lie outside.
 */
const globalUnicast = "2000::/3"

/** What is special inside of it. https://www.iana.org/assignments/iana-ipv6-special-registry */
const specialIPv6 = [
  "2001::/23", // protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID, AMT
  "2001:db8::/32", // documentation, RFC 3849
  "2002::/16", // 6to4, RFC 3056: an IPv4 address of any kind inside
  "2620:4f:8000::/48", // AS112, RFC 7534
  "3fff::/20" // documentation, RFC 9637
]

/** The networks, written as address/prefix, as one set. */
export const networks = (cidrs: ReadonlyArray<string>) => {
  const set = new BlockList()
  for (const cidr of cidrs) {
    const [address = "", prefix] = cidr.split("/")
    set.addSubnet(address, Number(prefix), familyOf(address))
  }
  // Of an address with a zone (fe80::1%eth0) a block list says without a word that it is not in it.
  return { has: (address: string) => isIP(address) !== 0 && !address.includes("%") && set.check(address, familyOf(address)) }
}

const familyOf = (address: string) => (isIP(address) === 6 ? "ipv6" : "ipv4")

const special = networks([...specialIPv4, ...specialIPv6])
const unicast = networks([globalUnicast])

/** Whether the address, as an address and not as a name, belongs to somebody on the internet. What is no address is not public. */
export const isPublic = (address: string) =>
  isIP(address) !== 0 && !address.includes("%") && (isIP(address) === 4 || unicast.has(address)) && !special.has(address)
