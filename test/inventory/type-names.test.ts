import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { fold } from "#inventory/search/fold.ts"
import { TypeId } from "#inventory/types/type.ts"
import { resolveTypeName } from "#inventory/types/type-name.ts"
import { Types } from "#inventory/types/types.service.ts"
import { inParallel, newPart, post } from "../support/inventory.ts"
import { Http, world } from "../support/world.ts"
import { randomNumbers, randomTexts } from "./search-texts.ts"

const type = (id: number, name: string, ...aliases: ReadonlyArray<string>) => ({ id: TypeId.make(id), name, aliases })
const types = [
  type(1, "Resistor", "res", "chip resistor", "Widerstand"),
  type(2, "Relay", "relais", "switch"),
  type(3, "Kühlkörper", "heat sink"),
  type(4, "Switch", "Taster"),
  type(5, "Push Button", "taster"),
  type(6, "Bézier Plate"),
  type(7, "Bezier Plate"),
  type(8, "Proposed: Odd")
]

describe("R40: a type name that a model gives", () => {
  it.each([
    ["Resistor", 1],
    ["  rESISTOR\t", 1],
    ["proposed: Resistor", 1],
    ["Proposed :resistor", 1],
    ["PROPOSED:\u00a0proposed： Resistor", 1],
    ["chip \n resistor", 1],
    ["proposed:widerstand", 1],
    ["KUHLKORPER", 3],
    ["Kühlkörper".normalize("NFD"), 3],
    ["Ｒelay", 2],
    ["res\u00adistor\u0000", 1]
  ])("%j means the type with that name or alias", (name, id) => assert.strictEqual(resolveTypeName(name, types)?.id, id))

  it.each(["", " ", "proposed:", "proposed: Flux Capacitor", "Resistors", "res istor", "\u0000", "\ud800", "proposed Resistor"])(
    "%j means none",
    (name) => assert.isNull(resolveTypeName(name, types))
  )

  it("means a type of that name before one with that alias", () => assert.strictEqual(resolveTypeName("switch", types)?.id, 4))

  it("means none when it is an alias of several types", () => assert.isNull(resolveTypeName("taster", types)))

  it("means none when names differ from it and from each other only in accents, unless it is one of them", () => {
    assert.strictEqual(resolveTypeName("proposed: BÉZIER plate", types)?.id, 6)
    assert.strictEqual(resolveTypeName("Bezier Plate", types)?.id, 7)
    assert.isNull(resolveTypeName("Bèzier Plate", types))
  })

  it("may be the name of a type that begins like a proposal", () => {
    assert.strictEqual(resolveTypeName("Proposed: Odd", types)?.id, 8)
    assert.strictEqual(resolveTypeName("proposed: proposed: odd", [type(9, "Odd"), ...types])?.id, 9)
  })

  const Name = Schema.String.check(Schema.isPattern(/^[A-Za-zÄÖÜäöüéñØ0-9µΩ/-]{1,8}( [A-Za-zÄÖÜäöüéñ0-9+-]{1,8}){0,3}$/u))

  it.prop("hits the one type with that name, whatever its case, accents and blanks", [Name], ([name]) => {
    const own = type(99, name)
    const others = types.filter((other) => ![other.name, ...other.aliases].some((text) => fold(text) === fold(name)))
    const spellings = [
      name,
      name.toUpperCase(),
      name.toLowerCase(),
      name.normalize("NFD"),
      name.normalize("NFD").replaceAll(/[\u0300-\u036f]/gu, ""),
      `\u200b ${name.replaceAll(" ", " \t ")}\n`,
      `proposed: ${name}`,
      `PROPOSED : ${name.toUpperCase()}`
    ]
    for (const spelling of spellings) {
      assert.deepStrictEqual(resolveTypeName(spelling, [...others, own]), { id: own.id, name }, spelling)
      assert.deepStrictEqual(resolveTypeName(spelling, [...others, type(99, "Something", name)])?.id, own.id, spelling)
    }
  })

  it("never fails, whatever it is, and a type's own name is that type", () => {
    const draw = randomNumbers(7)
    const odd = [...randomTexts(400, 3)].map((text, n) => type(n + 1, text.trim() || "x", ...randomTexts(draw(3), n)))
    const named = odd.filter(({ name }, n) => odd.findIndex((other) => other.name.toLowerCase() === name.toLowerCase()) === n)
    for (const { id, name } of named) assert.strictEqual(resolveTypeName(name, named)?.id, id, JSON.stringify(name))
    for (const text of randomTexts(300, 9)) {
      const found = resolveTypeName(text, named)
      if (found !== null) assert.isDefined(named.find(({ id, name }) => id === found.id && name === found.name))
    }
  })
})

layer(Types.layer.pipe(Layer.provideMerge(world())), { excludeTestServices: true, timeout: "60 seconds" })(
  "R40: the types of an instance",
  (it) => {
    it.effect("are found by name and alias as they are now, by any number at once", () =>
      Effect.gen(function* () {
        const { send } = yield* Http
        const service = yield* Types
        const { body } = yield* post("/api/types", { name: "Zählrohr", aliases: ["Geiger tube"] })
        const meant = { id: body.id, name: "Zählrohr" }
        const spellings = ["proposed: zahlrohr", "ZÄHLROHR", " geiger  TUBE"]
        const found = yield* inParallel(36, (n) => service.resolveName(spellings[n % 3] ?? ""))
        assert.deepStrictEqual(
          found,
          found.map(() => meant)
        )
        yield* newPart({ typeId: body.id })
        yield* send("PATCH", `/api/types/${body.id}`, { name: "Geiger–Müller tube", aliases: [] })
        assert.isNull(yield* service.resolveName("Zählrohr"))
        assert.isNull(yield* service.resolveName("geiger tube"))
        assert.deepStrictEqual(yield* service.resolveName("GEIGER–MULLER  TUBE"), { id: body.id, name: "Geiger–Müller tube" })
        assert.isNull(yield* service.resolveName("proposed: nothing\u0000\ud800"))
        assert.strictEqual((yield* service.resolveName("mlcc"))?.name, "Ceramic Capacitor")
      })
    )
  }
)
