import { isIP } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { allowList } from "#platform/fetcher/allow-list.ts"
import { isPublic } from "#platform/fetcher/public-address.ts"
import { parseTarget } from "#platform/fetcher/target.ts"

const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const IPv4 = Schema.Tuple([Byte, Byte, Byte, Byte])
type IPv4 = typeof IPv4.Type
const Groups = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))).check(
  Schema.isMinLength(7),
  Schema.isMaxLength(7)
)

const hexOf = (bytes: ReadonlyArray<number>) => bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")
const groupsOf = ([a, b, c, d]: IPv4) => `${hexOf([a, b])}:${hexOf([c, d])}`
const numberOf = ([a, b, c, d]: IPv4) => a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d

const hostOf = (text: string) => Result.map(parseTarget(text, { namesPort: () => false, what: "It" }), ({ host }) => host)

describe("an address is public", () => {
  /** The last before a range and the first after it; the first and the last of the range itself. */
  const edges: ReadonlyArray<readonly [around: ReadonlyArray<string>, inside: ReadonlyArray<string>]> = [
    [["1.0.0.0"], ["0.0.0.0", "0.255.255.255"]],
    [
      ["9.255.255.255", "11.0.0.0"],
      ["10.0.0.0", "10.255.255.255"]
    ],
    [
      ["100.63.255.255", "100.128.0.0"],
      ["100.64.0.0", "100.127.255.255"]
    ],
    [
      ["126.255.255.255", "128.0.0.0"],
      ["127.0.0.0", "127.255.255.255"]
    ],
    [
      ["169.253.255.255", "169.255.0.0"],
      ["169.254.0.0", "169.254.169.254", "169.254.255.255"]
    ],
    [
      ["172.15.255.255", "172.32.0.0"],
      ["172.16.0.0", "172.31.255.255"]
    ],
    [
      ["191.255.255.255", "192.0.1.0"],
      ["192.0.0.0", "192.0.0.255"]
    ],
    [
      ["192.0.1.255", "192.0.3.0"],
      ["192.0.2.0", "192.0.2.255"]
    ],
    [
      ["192.88.98.255", "192.88.100.0"],
      ["192.88.99.0", "192.88.99.255"]
    ],
    [
      ["192.167.255.255", "192.169.0.0"],
      ["192.168.0.0", "192.168.255.255"]
    ],
    [
      ["198.17.255.255", "198.20.0.0"],
      ["198.18.0.0", "198.19.255.255"]
    ],
    [
      ["198.51.99.255", "198.51.101.0"],
      ["198.51.100.0", "198.51.100.255"]
    ],
    [
      ["203.0.112.255", "203.0.114.0"],
      ["203.0.113.0", "203.0.113.255"]
    ],
    [["223.255.255.255"], ["224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.254", "255.255.255.255"]],
    [["168.63.129.15", "168.63.129.17"], ["168.63.129.16"]],
    [[], ["192.31.196.1", "192.52.193.1", "192.175.48.1"]],
    [
      ["2000::", "2000:ffff::"],
      ["::", "::1", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
    ],
    [["2001:200::"], ["2001::", "2001:0:ffff::", "2001:2::1", "2001:10::", "2001:20::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"]],
    [
      ["2001:db7:ffff::", "2001:db9::"],
      ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"]
    ],
    [
      ["2001:ffff::", "2003::"],
      ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]
    ],
    [["2620:4f:7fff::", "2620:4f:8001::"], ["2620:4f:8000::"]],
    [
      ["3ffe:ffff::", "3fff:1000::"],
      ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"]
    ],
    [["3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["4000::", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"]],
    [[], ["100::1", "100:0:0:1::1", "64:ff9b::808:808", "64:ff9b:1::808:808", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::8.8.8.8"]]
  ]
  for (const [around, inside] of edges) {
    it(`outside ${inside[0]} … ${inside.at(-1)} and not inside`, () => {
      for (const address of [...around, ...inside]) assert.notStrictEqual(isIP(address), 0, address)
      assert.deepStrictEqual(
        around.filter((address) => !isPublic(address)),
        []
      )
      assert.deepStrictEqual(inside.filter(isPublic), [])
    })
  }

  it("only when it is an address, without a zone", () => {
    for (const text of [
      "",
      "example.org",
      "8.8.8.8 ",
      "8.8.8.8.",
      "010.1.1.1",
      "0x8.8.8.8",
      "134744072",
      "[2a00::1]",
      "2a00::1%eth0",
      "2a00::/16"
    ])
      assert.isFalse(isPublic(text), text)
  })

  it.prop("never with an IPv4 address inside, however it is put there", [IPv4], ([bytes]) => {
    const dotted = bytes.join(".")
    const forms = [
      `::${dotted}`,
      `::ffff:${dotted}`,
      `::ffff:${groupsOf(bytes)}`,
      `::ffff:0:${dotted}`,
      `64:ff9b::${dotted}`,
      `64:ff9b:1::${groupsOf(bytes)}`,
      `2002:${groupsOf(bytes)}::1`,
      `2001:0:${groupsOf(bytes)}::1`
    ]
    assert.deepStrictEqual(
      forms.filter((form) => isIP(form) !== 6 || isPublic(form)),
      []
    )
  })

  it.prop("never in a range that is not the internet's", [Groups], ([groups]) => {
    const rest = groups.map((group) => group.toString(16)).join(":")
    for (const first of ["0", "64", "100", "2002", "5f00", "fc00", "fdff", "fe80", "febf", "fec0", "ff02"])
      assert.isFalse(isPublic(`${first}:${rest}`))
  })
})

describe("a host", () => {
  it.prop("is one address in every spelling of it", [IPv4], ([bytes]) => {
    const [a, b, c, d] = bytes
    const spellings = [
      bytes.join("."),
      `${bytes.join(".")}.`,
      String(numberOf(bytes)),
      `0x${numberOf(bytes).toString(16)}`,
      `0${numberOf(bytes).toString(8)}`,
      bytes.map((byte) => `0${byte.toString(8)}`).join("."),
      bytes.map((byte) => `0X${byte.toString(16)}`).join("."),
      `${a}.${numberOf([0, b, c, d])}`,
      `${a}.${b}.${c * 256 + d}`,
      bytes.join("。"),
      [...bytes.join(".")].map((digit) => (digit === "." ? "．" : String.fromCodePoint(0xff10 + Number(digit)))).join("")
    ]
    for (const spelling of spellings) assert.deepStrictEqual(hostOf(`http://${spelling}:8080/x`), Result.succeed(bytes.join(".")), spelling)
    assert.deepStrictEqual(hostOf(`http://[::ffff:${bytes.join(".")}]`).pipe(Result.map(isPublic)), Result.succeed(false))
  })

  it.prop("is never had from what is neither http nor https, or carries a password", [Schema.String], ([text]) => {
    const parsed = parseTarget(text, { namesPort: () => false, what: "It" })
    if (Result.isFailure(parsed)) return
    const { url } = parsed.success
    assert.match(url.href, /^https?:\/\/[^/@]+\//u)
  })
})

describe("the list of allowed hosts", () => {
  it("takes names in any case, in Unicode, with or without a final dot", () => {
    const list = allowList(["NAS.local", "bücher.example:8080", "printer."])
    for (const host of ["nas.local", "nas.local.", "printer"]) assert.isTrue(list.hasName(host, 1234), host)
    assert.isTrue(list.hasName("xn--bcher-kva.example", 8080))
    assert.isFalse(list.hasName("xn--bcher-kva.example", 80))
    for (const host of ["local", "x.nas.local", "nas.local.evil.example"]) assert.isFalse(list.hasName(host, 80), host)
    assert.isFalse(list.hasAddress("127.0.0.1", 80))
  })

  it("takes addresses and networks, of both families, with a port or any", () => {
    const list = allowList(["127.0.0.1:8099", "10.0.0.0/8", "[::1]:80", "fd00::/8", "[fe00::1]", "2a00::1", "0x7f.2"])
    const hit: ReadonlyArray<readonly [string, number]> = [
      ["127.0.0.1", 8099],
      ["10.255.0.1", 1],
      ["::ffff:10.0.0.1", 1],
      ["::1", 80],
      ["0:0:0:0:0:0:0:1", 80],
      ["fdff::1", 5000],
      ["fe00::1", 1],
      ["2a00::1", 1],
      ["127.0.0.2", 1]
    ]
    for (const [address, port] of hit) assert.isTrue(list.hasAddress(address, port), address)
    const missed: ReadonlyArray<readonly [string, number]> = [
      ["127.0.0.1", 8098],
      ["11.0.0.0", 1],
      ["::1", 81],
      ["fc00::1", 80],
      ["2a00::2", 80],
      ["fd00::1%eth0", 80],
      ["", 80]
    ]
    for (const [address, port] of missed) assert.isFalse(list.hasAddress(address, port), address)
    assert.deepStrictEqual([8099, 80, 1].map(list.namesPort), [true, true, false])
  })

  it("allows nothing when it is empty", () => {
    const list = allowList([])
    assert.isFalse(list.hasName("localhost", 80) || list.hasAddress("127.0.0.1", 80) || list.namesPort(80))
  })
})
