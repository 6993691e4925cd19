export type Quantity = "resistance" | "capacitance" | "inductance" | "voltage" | "current" | "power" | "charge" | "frequency" | "length"

export const symbols = {
  resistance: "ohm",
  capacitance: "f",
  inductance: "h",
  voltage: "v",
  current: "a",
  power: "w",
  charge: "ah",
  frequency: "hz",
  length: "mm"
} as const satisfies Record<Quantity, string>

type Prefixes = Readonly<Record<string, number>>
const ohmPrefixes: Prefixes = { m: -3, k: 3, K: 3, M: 6, G: 9, g: 9 }
const smallPrefixes: Prefixes = { p: -12, P: -12, n: -9, N: -9, u: -6, U: -6, m: -3, M: -3 }
const powerPrefixes: Prefixes = { p: -12, n: -9, u: -6, m: -3, M: -3, k: 3, K: 3 }
const hertzPrefixes: Prefixes = { k: 3, K: 3, m: 6, M: 6, G: 9, g: 9 }

export interface Unit {
  readonly quantity: Quantity
  readonly prefixes: Prefixes
  readonly factor: Decimal
}
export interface Decimal {
  readonly mantissa: bigint
  readonly exponent: number
}
const one: Decimal = { mantissa: 1n, exponent: 0 }
export const ohm: Unit = { quantity: "resistance", prefixes: ohmPrefixes, factor: one }
const farad: Unit = { quantity: "capacitance", prefixes: smallPrefixes, factor: one }
const henry: Unit = { quantity: "inductance", prefixes: smallPrefixes, factor: one }
export const volt: Unit = { quantity: "voltage", prefixes: powerPrefixes, factor: one }
const ampere: Unit = { quantity: "current", prefixes: powerPrefixes, factor: one }
const watt: Unit = { quantity: "power", prefixes: powerPrefixes, factor: one }
const ampereHour: Unit = { quantity: "charge", prefixes: powerPrefixes, factor: one }
const hertz: Unit = { quantity: "frequency", prefixes: hertzPrefixes, factor: one }
const millimetres = (mantissa: bigint, exponent: number): Unit => ({ quantity: "length", prefixes: {}, factor: { mantissa, exponent } })

export const units: ReadonlyMap<string, Unit> = new Map([
  ["ohm", ohm],
  ["ohms", ohm],
  ["r", ohm],
  ["f", farad],
  ["farad", farad],
  ["h", henry],
  ["henry", henry],
  ["v", volt],
  ["vdc", volt],
  ["vac", volt],
  ["volt", volt],
  ["a", ampere],
  ["amp", ampere],
  ["w", watt],
  ["watt", watt],
  ["ah", ampereHour],
  ["hz", hertz],
  ["mm", millimetres(1n, 0)],
  ["cm", millimetres(1n, 1)],
  ["mil", millimetres(254n, -4)],
  ["inch", millimetres(254n, -1)]
])

export const bareUnits: Readonly<Record<string, ReadonlyArray<Unit>>> = {
  k: [ohm],
  K: [ohm],
  M: [ohm],
  R: [ohm],
  r: [ohm],
  p: [farad, henry],
  n: [farad, henry],
  u: [farad, henry]
}

export const decimalText = ({ mantissa, exponent }: Decimal): string => {
  const digits = mantissa.toString()
  if (mantissa === 0n) return "0"
  if (exponent >= 0) return digits + "0".repeat(exponent)
  const padded = digits.padStart(1 - exponent, "0")
  const fraction = padded.slice(exponent).replace(/0+$/u, "")
  const integer = padded.slice(0, exponent)
  return fraction === "" ? integer : `${integer}.${fraction}`
}

export const exponentOf = (unit: Unit, prefix: string): number | undefined =>
  prefix === "" ? 0 : Object.hasOwn(unit.prefixes, prefix) ? unit.prefixes[prefix] : undefined
