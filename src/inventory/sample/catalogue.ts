import type { CataloguePart, DrawPart } from "./catalogue-part.ts"
import type { Draws } from "./draws.ts"
import * as Hardware from "./hardware.ts"
import * as Passives from "./passives.ts"
import * as Semiconductors from "./semiconductors.ts"

/** What a workshop buys: a starter type, how many of a thousand parts are such, and one of them. */
const families: ReadonlyArray<readonly [type: string, share: number, draw: DrawPart]> = [
  ["Resistor", 150, Passives.chipResistor],
  ["Resistor", 35, Passives.leadedResistor],
  ["Ceramic Capacitor", 120, Passives.ceramicCapacitor],
  ["Electrolytic Capacitor", 40, Passives.electrolyticCapacitor],
  ["Film Capacitor", 20, Passives.filmCapacitor],
  ["Inductor", 30, Passives.inductor],
  ["Ferrite Bead", 8, Passives.ferriteBead],
  ["Crystal", 12, Passives.crystal],
  ["Diode", 25, Semiconductors.diode],
  ["Zener Diode", 10, Semiconductors.zener],
  ["Bipolar Transistor", 25, Semiconductors.transistor],
  ["MOSFET", 45, Semiconductors.mosfet],
  ["LED", 35, Semiconductors.led],
  ["Logic IC", 80, Semiconductors.logic],
  ["Operational Amplifier", 35, Semiconductors.amplifier],
  ["Linear Regulator", 35, Semiconductors.linearRegulator],
  ["Switching Regulator", 15, Semiconductors.switchingRegulator],
  ["Interface and Transceiver IC", 20, Semiconductors.transceiver],
  ["Memory IC", 25, Semiconductors.memory],
  ["Temperature Sensor", 10, Semiconductors.temperatureSensor],
  ["Timer IC", 6, Semiconductors.timer],
  ["Motor Driver", 12, Semiconductors.motorDriver],
  ["Microcontroller", 60, Semiconductors.microcontroller],
  ["Pin Header and Socket", 20, Hardware.pinHeader],
  ["Wire-to-Board Connector", 25, Hardware.wireConnector],
  ["Terminal Block", 20, Hardware.terminalBlock],
  ["USB Connector", 12, Hardware.usbConnector],
  ["Push Button", 12, Hardware.button],
  ["Relay", 10, Hardware.relay],
  ["Fastener and Standoff", 25, Hardware.fastener],
  ["Wire and Cable", 13, Hardware.wire],
  ["Wireless Module", 10, Hardware.radioModule]
]

/** Every family as often as its share says. */
const shelf = families.flatMap(([type, share, draw]) => Array.from({ length: share }, () => ({ type, draw })))

export const typeNames: ReadonlyArray<string> = [...new Set(families.map(([type]) => type))]

export const drawType = (draws: Draws): string => draws.pick(shelf).type

export const drawPart = (draws: Draws): CataloguePart & { readonly type: string } => {
  const { draw, type } = draws.pick(shelf)
  return { type, ...draw(draws) }
}

/** Where parts are bought, and how each seller numbers them. */
export const sellers = [
  { name: "Digi-Key", page: "https://www.digikey.com/en/products/detail/", number: (n: number) => `${1 + (n % 2000)}-${1000 + n}-ND` },
  { name: "Mouser", page: "https://www.mouser.com/ProductDetail/", number: (n: number) => `${100 + (n % 900)}-${10_000 + n}` },
  { name: "Farnell", page: "https://uk.farnell.com/", number: (n: number) => String(1_000_000 + n) },
  { name: "Reichelt", page: "https://www.reichelt.com/de/en/", number: (n: number) => `P${100_000 + n}` },
  { name: "LCSC", page: "https://www.lcsc.com/product-detail/", number: (n: number) => `C${10_000 + n}` },
  { name: "TME", page: "https://www.tme.eu/en/details/", number: (n: number) => `TME-${(n * 7919).toString(36).toUpperCase()}` }
]
