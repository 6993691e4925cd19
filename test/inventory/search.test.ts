import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { SearchIndex } from "#inventory/search/search-index.service.ts"
import { Db } from "#platform/db/db.ts"
import { insertParts, nthId4 } from "../support/stock-rows.ts"
import { Http, world } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

interface Item {
  readonly id4: string
  readonly description: string
  readonly tier: number
  readonly score: number
  readonly matchedOn: ReadonlyArray<{ readonly field: string; readonly term: string }>
  readonly [field: string]: unknown
}

const search = Effect.fnUntraced(function* (q: string, more = "") {
  const { send } = yield* Http
  const answer = yield* send("GET", `/api/search?q=${encodeURIComponent(q)}${more}`)
  assert.strictEqual(answer.status, 200, answer.text)
  return answer.body as { readonly items: ReadonlyArray<Item>; readonly relaxed: boolean }
})
/** The first words of what was found. */
const found = (q: string, more = "") =>
  Effect.map(search(q, more), ({ items }) => items.map(({ description }) => description.split(",")[0]))
const hits = (q: string) =>
  Effect.map(search(q), ({ items, relaxed }) => ({
    relaxed,
    items: items.map(({ description, matchedOn, score, tier }) => [
      description.split(",")[0],
      tier,
      score,
      matchedOn.map(({ field, term }) => `${field}:${term}`).join(" ")
    ])
  }))

const add = Effect.fnUntraced(function* (part: object) {
  const { send } = yield* Http
  const answer = yield* send("POST", "/api/parts", part)
  assert.strictEqual(answer.status, 201, answer.text)
  return answer.body as { readonly id4: string; readonly version: number; readonly sellerLinks: ReadonlyArray<{ readonly id: number }> }
})
const post = Effect.fnUntraced(function* (path: string, body: object) {
  const { send } = yield* Http
  const answer = yield* send("POST", path, body)
  assert.isBelow(answer.status, 300, answer.text)
  return answer.body
})
const patch = Effect.fnUntraced(function* (path: string, body: object) {
  const { send } = yield* Http
  const answer = yield* send("PATCH", path, body)
  assert.strictEqual(answer.status, 200, answer.text)
  return answer.body
})
const put = (id4: string, boxNo: number, locNo: number, quantity: number) =>
  post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo }, quantity })
const typeNamed = Effect.fnUntraced(function* (name: string) {
  const { send } = yield* Http
  const { body } = yield* send("GET", "/api/types?limit=200")
  const type = (body.items as ReadonlyArray<{ readonly id: number; readonly name: string }>).find((one) => one.name === name)
  assert.isDefined(type, name)
  return type?.id ?? 0
})

const workshop = Effect.gen(function* () {
  const resistor = yield* typeNamed("Resistor")
  yield* post("/api/boxes", { description: "Passives", capacity: 10 })
  yield* post("/api/boxes", { description: "Active", capacity: 10 })
  const seller = yield* post("/api/sellers", { name: "Circuit Corner" })
  const parts = {
    resistor: yield* add({
      description: "Thick film resistor 4.7 kΩ, 1% 1/4W",
      manufacturerCode: "RC0805FR-074K7L",
      manufacturer: "Yageo",
      typeId: resistor,
      tags: ["smd"],
      package: "0805"
    }),
    big: yield* add({ description: "Wirewound resistor 1 MΩ, 5 W", typeId: resistor }),
    shunt: yield* add({ description: "Shunt 1 mΩ, 1% 3 W", typeId: resistor }),
    ceramic: yield* add({
      description: "Ceramic capacitor 100 nF, 50 V X7R",
      manufacturerCode: "GRM188R71H104KA93",
      package: "0603",
      voltageRating: "50 V",
      barcodes: ["4006381333931"]
    }),
    tantalum: yield* add({ description: "Tantalum capacitor 2.2 µF, 16V", manufacturerCode: "T491A225K016AT" }),
    mosfet: yield* add({
      description: "N-channel MOSFET, 55 V 47 A, logic level",
      manufacturerCode: "IRLZ44N",
      manufacturer: "Infineon",
      tags: ["mosfet", "N-Channel"],
      package: "TO-220"
    }),
    relay: yield* add({
      description: "Relay 12 V coil, SPDT 10A 250VAC",
      manufacturerCode: "SRD-12VDC-SL-C",
      sellerLinks: [{ sellerId: seller.id, sellerPartNumbers: ["655-7795/A"] }]
    }),
    timer: yield* add({ description: "Timer, 500 kHz", manufacturerCode: "NE555P", tags: ["555"] }),
    regulator: yield* add({
      description: "Low-dropout regulator 3.3V, 1 A, SOT-223",
      manufacturerCode: "AMS1117-3.3",
      outputVoltage: "3.3 V"
    }),
    reference: yield* add({ description: "Voltage reference 2.5 V, 0.1%", manufacturerCode: "LM4040AIM3-2.5" }),
    controller: yield* add({ description: "AVR microcontroller, 20 MHz, 32 KB flash", manufacturerCode: "ATmega328P-PU" }),
    converter: yield* add({ description: "Step-down converter, 5.5-36V 3A", manufacturerCode: "TPS5430DDAR" })
  }
  yield* put(parts.relay.id4, 1, 3, 5)
  yield* put(parts.relay.id4, 2, 1, 7)
  yield* put(parts.timer.id4, 2, 3, 40)
  yield* put(parts.mosfet.id4, 2, 3, 2)
  return { parts, seller: seller.id as number, resistor }
})

layer(world(), options)("search in a workshop", (it) => {
  let made: Effect.Success<typeof workshop> | undefined
  /** Made by the first test that needs it. */
  const shop = Effect.gen(function* () {
    made ??= yield* workshop
    return made
  })

  it.effect("finds what a maker would type", () =>
    Effect.gen(function* () {
      yield* shop
      const expected: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
        ["irlz44n", ["N-channel MOSFET"]],
        ["tps5430", ["Step-down converter"]],
        ["relay 12v", ["Relay 12 V coil"]],
        ["mosfte", ["N-channel MOSFET"]],
        ["voltge reference", ["Voltage reference 2.5 V"]],
        ["microcontrolller avr", ["AVR microcontroller"]],
        ["low dropout regulator 3.3v", ["Low-dropout regulator 3.3V"]],
        ["4k7 0805", ["Thick film resistor 4.7 kΩ"]],
        ["100n", ["Ceramic capacitor 100 nF"]],
        ["0.1uF 50V", ["Ceramic capacitor 100 nF"]],
        ["0,1 µF", ["Ceramic capacitor 100 nF"]],
        ["2,2µ", ["Tantalum capacitor 2.2 µF"]],
        ["3V3", ["Low-dropout regulator 3.3V"]],
        ["n channel", ["N-channel MOSFET"]],
        ["atmega328", ["AVR microcontroller"]],
        ["4006381333931", ["Ceramic capacitor 100 nF"]],
        ["655 7795 a", ["Relay 12 V coil"]],
        ["capacitor", ["Ceramic capacitor 100 nF", "Tantalum capacitor 2.2 µF"]],
        ["yageo", ["Thick film resistor 4.7 kΩ"]],
        ["circuit corner", ["Relay 12 V coil"]],
        ["20MHz", ["AVR microcontroller"]],
        ["1 mΩ", ["Shunt 1 mΩ"]],
        ["1MΩ", ["Wirewound resistor 1 MΩ"]],
        ["250 vac", ["Relay 12 V coil"]]
      ]
      for (const [q, names] of expected) assert.sameMembers(yield* found(q), [...names], q)
    })
  )

  it.effect("a label in any case comes first and the other hits follow", () =>
    Effect.gen(function* () {
      const { id4 } = (yield* shop).parts.timer
      const swapped = id4.charAt(0).toLowerCase() + id4.slice(1)
      const other = yield* add({ description: `Cable tie, marked ${id4}` })
      for (const q of [id4, id4.toLowerCase(), ` ${swapped}\u0000\t`]) {
        const { items, relaxed } = yield* search(q)
        assert.deepStrictEqual(
          items.map((item) => [item.id4, item.tier, item.score, item.matchedOn[0]?.field]),
          [
            [id4, 0, 1, "id4"],
            [other.id4, 3, 0.7, "description"]
          ]
        )
        assert.isFalse(relaxed)
      }
      const { send } = yield* Http
      yield* send("DELETE", `/api/parts/${other.id4}`)
    })
  )

  it.effect("a slot is answered with the parts in it", () =>
    Effect.gen(function* () {
      const { parts } = yield* shop
      const { items } = yield* search("2-3")
      assert.deepStrictEqual(
        items.map(({ id4, matchedOn, tier }) => [id4, tier, matchedOn]),
        [parts.mosfet.id4, parts.timer.id4].toSorted().map((id4) => [id4, 0, [{ field: "location", term: "2-3" }]])
      )
      assert.deepStrictEqual((yield* search("2-4")).items, [])
    })
  )

  it.effect("an item is a row of the part with its slots, and says where it was found", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4 } = (yield* shop).parts.relay
      const { locations, sellerLinks: _, ...row } = (yield* send("GET", `/api/parts/${id4}`)).body
      const [item] = (yield* search("relay 12v")).items
      assert.deepStrictEqual(item, {
        kind: "part",
        tier: 3,
        score: 0.75, // 12v begins 12VDC of the part number: 1.0 × 0.8
        matchedOn: [
          { field: "description", term: "relay" },
          { field: "manufacturerCode", term: "12v" },
          { field: "description", term: "12v" }
        ],
        ...row,
        locations
      } as never)
      assert.strictEqual(row.totalQuantity, 12)
      assert.deepStrictEqual(
        locations.map(({ location, quantity }: { location: string; quantity: number }) => [location, quantity]),
        [
          ["1-3", 5],
          ["2-1", 7]
        ]
      )
    })
  )

  it.effect("tiers: an equal number before its beginning, before words, before typos", () =>
    Effect.gen(function* () {
      yield* shop
      assert.deepStrictEqual((yield* hits("ne-555 p")).items, [["Timer", 1, 1, "manufacturerCode:ne-555 p"]])
      assert.deepStrictEqual((yield* hits("NE5")).items, [["Timer", 2, 1, "manufacturerCode:NE5"]])
      assert.deepStrictEqual((yield* hits("ir")).items, [["N-channel MOSFET", 3, 0.8, "manufacturerCode:ir"]])
      assert.deepStrictEqual((yield* hits("555")).items, [["Timer", 3, 0.8, "tags:555"]])
      assert.deepStrictEqual((yield* hits("convreter")).items, [["Step-down converter", 4, 0.42, "description:convreter"]])
    })
  )

  it.effect("only when no part has every term, those with some of them, the most terms first", () =>
    Effect.gen(function* () {
      yield* shop
      assert.deepStrictEqual(yield* hits("timer infineon 500khz"), {
        relaxed: true,
        items: [
          ["Timer", 5, 0.4667, "description:timer description:500khz"],
          ["N-channel MOSFET", 5, 0.1667, "manufacturer:infineon"]
        ]
      })
      assert.deepStrictEqual(yield* hits("timer wobblegadget"), {
        relaxed: true,
        items: [["Timer", 5, 0.35, "description:timer"]]
      })
      assert.deepStrictEqual(yield* hits("wobblegadget"), { relaxed: false, items: [] })
    })
  )

  it.effect("filters hold for every tier", () =>
    Effect.gen(function* () {
      const { parts, resistor } = yield* shop
      assert.deepStrictEqual(yield* found("resistor", `&typeId=${resistor}&inStock=true`), [])
      assert.strictEqual((yield* found("resistor", `&typeId=${resistor}&typeId=1000000`)).length, 3)
      assert.deepStrictEqual(yield* found("relay", "&boxNo=2"), ["Relay 12 V coil"])
      assert.deepStrictEqual(yield* found("timer", "&boxNo=1"), [])
      assert.deepStrictEqual(yield* found("ne555p", "&inStock=false"), [])
      assert.deepStrictEqual(yield* found("ne5", "&inStock=false"), [])
      assert.deepStrictEqual(yield* found("ne5", "&inStock=true&boxNo=2"), ["Timer"])
      assert.deepStrictEqual(yield* found(parts.timer.id4, "&boxNo=1"), [])
      assert.deepStrictEqual(yield* found("2-3", "&boxNo=1"), [])
      assert.deepStrictEqual(yield* found("resistor", "&limit=2"), (yield* found("resistor")).slice(0, 2))
    })
  )

  it.effect("percent sign, underscore and the signs of query languages have no meaning", () =>
    Effect.gen(function* () {
      yield* shop
      for (const q of ["%", "_", "re%", "rela_", "%relay%", "*", "' & | ! <->", "\\", "!", "(", "relay & !", ":*", "re:*"]) {
        const { items, relaxed } = yield* search(q)
        assert.isTrue(items.length === 0 || q.startsWith("re") || q.includes("relay"), q)
        assert.isFalse(relaxed, q)
      }
      assert.deepStrictEqual(yield* found("relay & !"), ["Relay 12 V coil"])
      assert.deepStrictEqual(yield* found("rela_y"), ["Relay 12 V coil"]) // a part number may be written with any joint
      assert.deepStrictEqual(yield* found("x%lay"), [])
    })
  )

  it.effect("hostile queries are answered like any other", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* shop
      const words = Array.from({ length: 70 }, (_, n) => String.fromCharCode(97 + (n % 26)) + n.toString(36)).join(" ")
      const queries = [
        words.slice(0, 200),
        "a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 0",
        "x".repeat(200),
        "😀".repeat(200),
        "ﷺ".repeat(200),
        "'\\''\\\\'".repeat(25),
        "שלום עולם مرحبا \u202e reversed",
        "a\u200bb\u200cc\u200d\ufeff",
        "\u200b",
        "\u0301\u0301",
        "1".repeat(200),
        `${"9".repeat(99)}k`,
        "99999-9999",
        "1e308V",
        "\ud800 x".replace("\ud800", "%ED%A0%80")
      ]
      for (const q of queries) assert.isFalse((yield* search(q)).items.length > 20, q)
      const raw = yield* send("GET", "/api/search?q=relay%00%01%1f%7f%C2%85coil%ED%A0%80")
      assert.strictEqual(raw.status, 200, raw.text)
    })
  )

  it.effect("a query of blanks, one that is too long and unknown parameters are refused", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const refusals: ReadonlyArray<readonly [string, string]> = [
        ["", "/q"],
        ["?q=", "/q"],
        ["?q=%20%00%09", "/q"],
        [`?q=${"x".repeat(201)}`, "/q"],
        [`?q=${"y".repeat(10_000)}`, "/q"],
        [`?q=${encodeURIComponent(Array.from({ length: 200 }, (_, n) => `word${n}`).join(" "))}`, "/q"],
        ["?q=a&limit=0", "/limit"],
        ["?q=a&limit=101", "/limit"],
        ["?q=a&limit=ten", "/limit"],
        ["?q=a&typeId=x", "/typeId/0"],
        ["?q=a&boxNo=0", "/boxNo"],
        ["?q=a&inStock=maybe", "/inStock"],
        ["?q=a&sort=id4", "/sort"]
      ]
      for (const [query, pointer] of refusals) {
        const { body, status } = yield* send("GET", `/api/search${query}`)
        assert.deepStrictEqual(
          [status, body.code, body.errors.map((e: { pointer: string }) => e.pointer)],
          [400, "invalid-request", [pointer]],
          query.slice(0, 40)
        )
      }
      assert.strictEqual((yield* send("GET", `/api/search?q=${"%20".repeat(300)}relay`)).status, 200)
    })
  )
})

layer(world(), options)("the index follows", (it) => {
  it.effect("every text of a part, within its answer", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { id4, version } = yield* add({ description: "Gizmo" })
      assert.strictEqual(version, 1)
      assert.deepStrictEqual(yield* found("gizmo"), ["Gizmo"])
      const fields = {
        description: ["Gizmo, flurbish edition", "flurbish"],
        manufacturerCode: ["XQ-7731", "q 7731"],
        manufacturer: ["Zarquon Works", "zarquon"],
        package: ["QFZ-77", "qfz77"],
        series: ["Vorpal", "vorpal"],
        mountingType: ["Snapfit", "snapfit"],
        voltageRating: ["417 V", "417V"],
        inputVoltage: ["7.5-18.5 V", "18.5V"],
        outputVoltage: ["911 mV", "0.911V"],
        pinPitch: ["1.27 mm", "50 mil"],
        dimensions: ["13 x 77 mm", "7.7cm"],
        pinCount: [4321, "4321"],
        tags: [["blinky thing"], "blinky"],
        barcodes: [["5901234123457"], "5901234123457"]
      }
      for (const [name, [value, q]] of Object.entries(fields)) {
        yield* patch(`/api/parts/${id4}`, { [name]: value })
        const [item] = (yield* search(String(q))).items
        assert.strictEqual(item?.id4, id4, name)
        const field = { barcodes: "barcode" }[name] ?? name
        assert.include(item?.matchedOn.map((match) => match.field) ?? [], field, name)
      }
      yield* patch(`/api/parts/${id4}`, { manufacturer: null, tags: [] })
      for (const q of ["zarquon", "blinky"]) assert.deepStrictEqual(yield* found(q), [], q)
      yield* send("DELETE", `/api/parts/${id4}`)
      for (const q of ["flurbish", "vorpal", id4]) assert.deepStrictEqual(yield* found(q), [], q)
    })
  )

  it.effect("names of types and sellers, aliases, links and tags of many parts", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const type = yield* post("/api/types", { name: "Thermocouple Amplifier", aliases: ["heatsniffer"] })
      const seller = yield* post("/api/sellers", { name: "Snark Supplies" })
      const both = [
        yield* add({ description: "Alpha", typeId: type.id, tags: ["prototype"] }),
        yield* add({ description: "Beta", tags: ["prototype"] })
      ]
      const [alpha, beta] = both.map(({ id4 }) => id4)
      assert.deepStrictEqual(yield* found("heatsniffer"), ["Alpha"])
      yield* patch(`/api/types/${type.id}`, { name: "Pyrometer", aliases: ["glowgauge"] })
      assert.deepStrictEqual(
        [yield* found("pyrometer"), yield* found("glowgauge"), yield* found("heatsniffer")],
        [["Alpha"], ["Alpha"], []]
      )

      const link = yield* post(`/api/parts/${beta}/seller-links`, { sellerId: seller.id, sellerPartNumbers: ["SNK-90210"] })
      assert.deepStrictEqual([yield* found("snk90210"), yield* found("snark"), yield* found("90210")], [["Beta"], ["Beta"], ["Beta"]])
      yield* patch(`/api/sellers/${seller.id}`, { name: "Boojum Supplies" })
      assert.deepStrictEqual([yield* found("boojum"), yield* found("snark")], [["Beta"], []])
      yield* patch(`/api/parts/${beta}/seller-links/${link.id}`, { sellerPartNumbers: ["SNK-31337"] })
      assert.deepStrictEqual([yield* found("31337"), yield* found("90210")], [["Beta"], []])
      yield* send("DELETE", `/api/parts/${beta}/seller-links/${link.id}`)
      assert.deepStrictEqual([yield* found("31337"), yield* found("boojum")], [[], []])

      yield* post("/api/part-tags/rename", { from: "prototype", to: "heirloom" })
      assert.sameMembers(yield* found("heirloom"), ["Alpha", "Beta"])
      assert.deepStrictEqual(yield* found("prototype"), [])
      yield* post("/api/parts/bulk-edit", {
        ids: [alpha, beta],
        set: { typeId: type.id, manufacturer: "Jabberwock" },
        removeTags: ["heirloom"]
      })
      assert.sameMembers(yield* found("jabberwock pyrometer"), ["Alpha", "Beta"])
      assert.deepStrictEqual(yield* found("heirloom"), [])
    })
  )

  it.effect("a word that no part has any more does not hide what it was a typo of", () =>
    Effect.gen(function* () {
      const right = yield* add({ description: "Potentiometer" })
      const wrong = yield* add({ description: "Potentoimeter" })
      assert.strictEqual((yield* search("potentoimeter")).items[0]?.id4, wrong.id4)
      yield* patch(`/api/parts/${wrong.id4}`, { description: "Trimmer" })
      const { items } = yield* search("potentoimeter")
      assert.deepStrictEqual(
        items.map(({ id4, tier }) => [id4, tier]),
        [[right.id4, 4]]
      )
    })
  )

  it.effect("32 writers and 32 searches beside each other: each writer finds its part at once, and no word gets lost", () =>
    Effect.gen(function* () {
      const writers = Array.from({ length: 32 }, (_, n) =>
        Effect.gen(function* () {
          const own = `quux${n.toString(26)}`
          const { id4 } = yield* add({ description: `Sprocket ${own}`, tags: ["shared", `family-${n % 4}`] })
          assert.deepStrictEqual(
            (yield* search(own)).items.map((item) => item.id4).filter((found) => found === id4),
            [id4]
          )
          yield* patch(`/api/parts/${id4}`, { manufacturer: "Commonplace", tags: ["shared", `clan-${n % 4}`] })
          return id4
        })
      )
      const searches = Array.from({ length: 32 }, (_, n) => search(["sprocket", "shared clan", "comonplace", "quux"][n % 4] ?? ""))
      const [ids] = yield* Effect.all(
        [Effect.all(writers, { concurrency: "unbounded" }), Effect.all(searches, { concurrency: "unbounded" })],
        { concurrency: 2 }
      )
      for (const q of ["sprocket", "shared", "commonplace", "clan"]) {
        assert.sameMembers(
          (yield* search(q, "&limit=100")).items.map(({ id4 }) => id4),
          ids,
          q
        )
      }
      assert.deepStrictEqual(yield* found("family"), [])
    })
  )
})

layer(world(), options)("search among many", (it) => {
  const fill = (parts: Parameters<typeof insertParts>[0], stocked: ReadonlyArray<string> = []) =>
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      const index = yield* SearchIndex
      yield* db.transaction(
        Effect.gen(function* () {
          yield* insertParts(parts)
          yield* sql`update part_stock set total = 1 where ${sql.in("part_id4", [...stocked])}`
          yield* index.refresh(parts.map(({ id4 }) => id4))
        })
      )
    }).pipe(Effect.provide(SearchIndex.layer))

  it.effect("what is better than hundreds of parts with the same word comes first, and so does what is in stock", () =>
    Effect.gen(function* () {
      const ids = Array.from({ length: 700 }, (_, n) => nthId4(1000 + n))
      const better = nthId4(5000)
      yield* fill(
        [...ids.map((id4) => ({ id4, description: "Dowel" })), { id4: better, description: "Peg", manufacturerCode: "88-DOWEL-1" }],
        [nthId4(1350)]
      )
      const { items } = yield* search("dowel", "&limit=3")
      assert.deepStrictEqual(
        items.map(({ id4, score }) => [id4, score]),
        [
          [better, 1],
          [nthId4(1350), 0.7],
          [nthId4(1000), 0.7]
        ]
      )
      assert.deepStrictEqual(yield* search("dowel", "&limit=3"), { items, relaxed: false } as never)
    })
  )

  it.effect("parts with all words exactly are not crowded out by those that only begin like them", () =>
    Effect.gen(function* () {
      const ids = Array.from({ length: 600 }, (_, n) => nthId4(10_000 + n))
      const exact = nthId4(20_000)
      yield* fill([...ids.map((id4, n) => ({ id4, description: `Clampette ${n}` })), { id4: exact, description: "Clamp" }])
      const { items } = yield* search("clamp", "&limit=2")
      assert.deepStrictEqual(
        items.map(({ id4, score }) => [id4, score]),
        [
          [exact, 0.7],
          [nthId4(10_000), 0.56]
        ]
      )
    })
  )

  it.effect("the beginning of hundreds of part numbers: in stock before empty, then by label", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const ids = Array.from({ length: 300 }, (_, n) => nthId4(30_000 + n))
      yield* fill(
        ids.map((id4, n) => ({ id4, description: "Grommet", manufacturerCode: `GX-${n}` })),
        [nthId4(30_200), nthId4(30_100)]
      )
      yield* sql`update parts set manufacturer_code_squashed = replace(manufacturer_code, '-', '') where description = 'Grommet'`
      assert.deepStrictEqual(
        (yield* search("gx-", "&limit=4")).items.map(({ id4, tier }) => [id4, tier]),
        [30_100, 30_200, 30_000, 30_001].map((n) => [nthId4(n), 3]) // two letters are no beginning of a part number, but of a word
      )
      assert.deepStrictEqual(
        (yield* search("gx-1", "&limit=4")).items.map(({ id4, tier }) => [id4, tier]),
        [
          [nthId4(30_001), 1],
          [nthId4(30_100), 2],
          [nthId4(30_010), 2],
          [nthId4(30_011), 2]
        ]
      )
      assert.strictEqual((yield* search("gx-1", "&limit=100")).items.length, 100)
      assert.deepStrictEqual(
        (yield* search("gx-1", "&limit=4&inStock=true")).items.map(({ id4 }) => id4),
        [nthId4(30_100)]
      )
    })
  )

  it.effect("of many words that begin alike, those of most parts are tried", () =>
    Effect.gen(function* () {
      const once = Array.from({ length: 25 }, (_, n) => ({ id4: nthId4(40_000 + n), description: `Zeb${String.fromCharCode(97 + n)}` }))
      const often = Array.from({ length: 3 }, (_, n) => ({ id4: nthId4(41_000 + n), description: "Zebzz" }))
      yield* fill([...once, ...often])
      const { items } = yield* search("zeb", "&limit=100")
      assert.includeMembers(
        items.map(({ id4 }) => id4),
        often.map(({ id4 }) => id4)
      )
      assert.strictEqual(items.length, 19 + 3)
    })
  )
})
