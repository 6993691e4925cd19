import { type DrawPart, smd, tht, words } from "./catalogue-part.ts"

const e24 = words("1 1.1 1.2 1.3 1.5 1.6 1.8 2 2.2 2.4 2.7 3 3.3 3.6 3.9 4.3 4.7 5.1 5.6 6.2 6.8 7.5 8.2 9.1").map(Number)
const e12 = e24.filter((_, at) => at % 2 === 0)
const e96 = Array.from({ length: 96 }, (_, n) => Math.round(10 ** (n / 96) * 100) / 100)
const e192 = Array.from({ length: 192 }, (_, n) => Math.round(10 ** (n / 192) * 100) / 100)

/** Three significant digits, without the noise of binary fractions. */
const tidy = (value: number) => Number(value.toPrecision(3))

interface Shown {
  readonly digits: string
  readonly prefix: string
}

/** In the unit that leaves one to three digits before the point. */
const shown = (value: number, prefixes: string): Shown => {
  const step = Math.min(Math.floor(Math.log10(value * 1.0001) / 3), prefixes.length - 1)
  return { digits: String(tidy(value / 1000 ** step)), prefix: (prefixes[step] as string).trim() }
}

const ohms = (value: number) => shown(value, " kM")
const picofarads = (value: number) => shown(value, "pnµ")
const nanohenries = (value: number) => shown(value, "nµm")

/** 4700 → 4K7: the letter stands where the point would (IEC 60062). */
const letterCode = ({ digits, prefix }: Shown) => {
  const letter = prefix === "" ? "R" : prefix.toUpperCase()
  return digits.includes(".") ? digits.replace(".", letter) : digits + letter
}

/** 4700 → 472: the significant digits and the number of zeros behind them. */
const digitCode = (value: number, significant = 2) => {
  const zeros = Math.floor(Math.log10(value * 1.0001)) + 1 - significant
  return `${Math.round(value / 10 ** zeros)}${zeros < 0 ? "R" : zeros}`
}

const plain = (digits: string) => digits.replace(".", "")

const chipSizes = words("0402 0603 0805 1206 2512")
const watts: Record<string, string> = { "0402": "0.063", "0603": "0.1", "0805": "0.125", "1206": "0.25", "2512": "1" }

export const chipResistor: DrawPart = (draws) => {
  const tolerance = draws.pick(["0.1", "1", "1", "5"])
  const value = tidy(draws.pick(tolerance === "0.1" ? e192 : tolerance === "1" ? e96 : e24) * 10 ** draws.between(0, 5))
  const size = draws.pick(chipSizes)
  const power = watts[size] as string
  const { digits, prefix } = ohms(value)
  const code = letterCode(ohms(value))
  const letter = tolerance === "5" ? "J" : tolerance === "1" ? "F" : "B"
  const [manufacturer, series, manufacturerCode] = draws.pick([
    ["Yageo", `RC${size}`, `RC${size}${letter}R-07${code}L`],
    ["Vishay", "CRCW", `CRCW${size}${code}${letter}KEA`],
    ["Panasonic", "ERJ", `ERJ${size}EK${letter}${digitCode(value, 3)}V`],
    ["KOA Speer", "RK73H", `RK73H${size}TTD${digitCode(value, 3)}${letter}`]
  ] as const)
  // The same thing in three ways of writing, as labels and order confirmations have it.
  const description = draws.pick([
    `Chip resistor ${digits} ${prefix}Ω ±${tolerance}% ${power} W, thick film, ${size}`,
    `${code.toLowerCase().replace("r", "R")} ${tolerance}% ${size} SMD resistor`,
    `RES SMD ${digits}${prefix.toUpperCase()} OHM ${tolerance}% ${power}W ${size}`
  ])
  const tags = ["smd", `${tolerance}%`]
  return { ...smd, description, manufacturer, series, manufacturerCode, package: size, pinCount: 2, tags, bag: [50, 5000] }
}

export const leadedResistor: DrawPart = (draws) => {
  const value = tidy(draws.pick(e96) * 10 ** draws.between(0, 5))
  const power = draws.pick(["0.25", "0.6", "1", "2"])
  const { digits, prefix } = ohms(value)
  const code = letterCode(ohms(value))
  const [manufacturer, series, manufacturerCode] = draws.pick([
    ["Yageo", "MFR", `MFR-${plain(power)}FBF52-${code}`],
    ["Vishay", "MBB", `MBB0${plain(power)}7${digitCode(value, 3)}FCT00`],
    ["TE Connectivity", "LR", `LR${plain(power)}F${code}`]
  ] as const)
  const description = `${digits} ${prefix}Ω 1% ${power} W metal film resistor, axial`
  const tags = ["tht", "1%", "metal-film"]
  return { ...tht, description, manufacturer, series, manufacturerCode, package: "DIN0207", pinCount: 2, tags, bag: [10, 500] }
}

export const ceramicCapacitor: DrawPart = (draws) => {
  const dielectric = draws.pick(["C0G", "X7R", "X7R", "X5R"])
  const value = tidy(draws.pick(e12) * 10 ** (dielectric === "C0G" ? draws.between(1, 3) : draws.between(3, 6)))
  const volts = draws.pick(words("6.3 10 16 25 50 100"))
  const size = draws.pick(chipSizes)
  const { digits, prefix } = picofarads(value)
  const unit = prefix === "µ" ? "u" : prefix
  const [manufacturer, series, manufacturerCode] = draws.pick([
    ["Murata", "GRM", `GRM${size}${dielectric === "C0G" ? "5C" : "R7"}${plain(volts)}${digitCode(value)}KA`],
    ["Samsung", "CL", `CL${size}${dielectric === "C0G" ? "C" : "B"}${digitCode(value)}K${plain(volts)}NNNC`],
    ["Yageo", "CC", `CC${size}KRX${dielectric}${plain(volts)}BB${digitCode(value)}`],
    ["TDK", "C", `C${size}${dielectric}${plain(volts)}V${digitCode(value)}K`]
  ] as const)
  const description = draws.pick([
    `Ceramic capacitor ${digits} ${prefix}F ${volts} V ${dielectric} ${size}`,
    `${digits}${unit} ${volts}V ${dielectric} MLCC ${size}`,
    `CAP CER ${digits}${unit.toUpperCase()}F ${volts}V ${dielectric} ${size}`
  ])
  const tags = ["smd", "mlcc", dielectric.toLowerCase()]
  const voltageRating = `${volts} V`
  return { ...smd, description, manufacturer, series, manufacturerCode, voltageRating, package: size, pinCount: 2, tags, bag: [50, 4000] }
}

export const electrolyticCapacitor: DrawPart = (draws) => {
  const microfarads = tidy(draws.pick([1, 2.2, 3.3, 4.7, 6.8]) * 10 ** draws.between(0, 3))
  const volts = draws.pick(words("6.3 10 16 25 35 50 63 100 400"))
  const size = draws.pick(words("5x11 6.3x11 8x12 10x12.5 10x20 12.5x25 16x25"))
  const code = plain(volts) + digitCode(microfarads * 10)
  const [manufacturer, series, manufacturerCode] = draws.pick([
    ["Panasonic", "FR", `EEU-FR${code}`],
    ["Nichicon", "VR", `UVR${code}M${plain(size).split("x")[0]}`],
    ["Rubycon", "ZLH", `${plain(volts)}ZLH${microfarads}MEFC${size.toUpperCase()}`],
    ["Würth Elektronik", "WCAP-ATG5", `8600${code}${plain(size).replace("x", "")}`]
  ] as const)
  const description = `Electrolytic capacitor ${microfarads} µF ${volts} V 105 °C, radial ${size} mm`
  const dimensions = `${size.replace("x", " x ")} mm`
  const voltageRating = `${volts} V`
  return { ...tht, description, manufacturer, series, manufacturerCode, voltageRating, dimensions, tags: ["tht", "105c"], bag: [5, 200] }
}

export const filmCapacitor: DrawPart = (draws) => {
  const value = tidy(draws.pick(e12) * 10 ** draws.between(3, 6))
  const volts = draws.pick(words("63 100 250 400 630"))
  const pitch = draws.pick(words("5 7.5 10 15 22.5"))
  const { digits, prefix } = picofarads(value)
  const [manufacturer, manufacturerCode] = draws.pick([
    ["WIMA", `MKS4C${volts}${digitCode(value)}P${plain(pitch)}`],
    ["Kemet", `R82${volts}${digitCode(value)}${plain(pitch)}K`],
    ["Epcos", `B3252C${plain(pitch)}${volts}${digitCode(value)}K`]
  ] as const)
  const description = `Film capacitor ${digits} ${prefix}F ${volts} V, pitch ${pitch} mm`
  const voltageRating = `${volts} V`
  return {
    ...tht,
    description,
    manufacturer,
    manufacturerCode,
    voltageRating,
    pinPitch: `${pitch} mm`,
    tags: ["tht", "film"],
    bag: [5, 100]
  }
}

export const inductor: DrawPart = (draws) => {
  const value = tidy(draws.pick(e12) * 10 ** draws.between(2, 6))
  const amperes = draws.pick(words("0.3 0.8 1.5 2.2 3.5 5 8"))
  const size = draws.pick(words("3015 4020 5030 6045 8040 1265"))
  const { digits, prefix } = nanohenries(value)
  const [manufacturer, series, manufacturerCode] = draws.pick([
    ["Bourns", "SRN", `SRN${size}-${letterCode({ digits, prefix })}M`],
    ["Würth Elektronik", "WE-PD", `7447${size}${digitCode(value)}`],
    ["TDK", "VLS", `VLS${size}EX-${letterCode({ digits, prefix })}M`],
    ["Coilcraft", "XAL", `XAL${size}-${digitCode(value)}ME`]
  ] as const)
  const description = `Power inductor ${digits} ${prefix}H ${amperes} A, shielded`
  const tags = ["smd", "shielded"]
  return { ...smd, description, manufacturer, series, manufacturerCode, package: size, pinCount: 2, tags, bag: [5, 500] }
}

export const ferriteBead: DrawPart = (draws) => {
  const size = draws.pick(chipSizes)
  const impedance = draws.pick([10, 22, 33, 60, 100, 120, 220, 330, 470, 600, 1000, 1500])
  const amperes = draws.pick(words("0.2 0.5 1 2 3 6"))
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Murata", `BLM${size}PG${digitCode(impedance)}SN${plain(amperes)}D`],
    ["TDK", `MPZ${size}S${digitCode(impedance)}A${plain(amperes)}T`],
    ["Würth Elektronik", `74279${size}${digitCode(impedance)}${plain(amperes)}`]
  ] as const)
  const description = `Ferrite bead ${impedance} Ω at 100 MHz, ${amperes} A, ${size}`
  return { ...smd, description, manufacturer, manufacturerCode, package: size, pinCount: 2, tags: ["smd", "emi"], bag: [50, 4000] }
}

export const crystal: DrawPart = (draws) => {
  const megahertz = draws.pick(words("3.6864 4 6 7.3728 8 10 11.0592 12 14.7456 16 18.432 20 24 25 26 27 32 40 48"))
  const load = draws.pick([6, 8, 10, 12, 18, 20])
  const body = draws.pick(words("HC-49S 3225 5032 2016"))
  const ppm = draws.pick([10, 20, 30])
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Abracon", `ABM${body.slice(0, 2)}-${megahertz}MHZ-${load}-${ppm}`],
    ["NDK", `NX${body}GA-${megahertz}M-${load}P${ppm}`],
    ["ECS", `ECS-${plain(megahertz)}-${load}-${body}-${ppm}`]
  ] as const)
  const description = `Crystal ${megahertz} MHz, ${load} pF, ±${ppm} ppm, ${body}`
  const mounting = body === "HC-49S" ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, package: body, tags: ["quartz"], bag: [2, 100] }
}
