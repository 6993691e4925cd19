import { type DrawPart, smd, table, tht, words } from "./catalogue-part.ts"

const twoDigits = (n: number) => String(n).padStart(2, "0")
const plain = (digits: string) => digits.replace(".", "")

export const pinHeader: DrawPart = (draws) => {
  const pitch = draws.pick(words("1.27 2.00 2.54"))
  const rows = draws.pick([1, 2])
  const columns = draws.between(2, 40)
  const shape = draws.pick(["straight", "angled", "socket"])
  const pins = twoDigits(columns)
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Harwin", `M${plain(pitch)}-${shape === "socket" ? "78" : shape === "angled" ? "97" : "99"}${rows}${pins}45`],
    [
      "Samtec",
      `${shape === "socket" ? "SSW" : "TSW"}-1${pins}-${plain(pitch)}-${shape === "angled" ? "RA" : "G"}-${rows === 1 ? "S" : "D"}`
    ],
    ["Würth Elektronik", `61${plain(pitch)}${rows}${pins}${shape === "angled" ? "21" : shape === "socket" ? "18" : "11"}`]
  ] as const)
  const description = `Pin ${shape === "socket" ? "socket" : "header"} ${rows}x${pins}, pitch ${pitch} mm, ${shape === "angled" ? "angled" : "straight"}`
  const tags = ["header", `${pitch}mm`]
  return { ...tht, description, manufacturer, manufacturerCode, pinPitch: `${pitch} mm`, pinCount: rows * columns, tags, bag: [2, 100] }
}

const jst = table("PH|2.0\nXH|2.5\nVH|3.96\nZH|1.5\nSH|1.0\nEH|2.5\nGH|1.25\nPA|2.0")

export const wireConnector: DrawPart = (draws) => {
  const [series = "", pitch = ""] = draws.pick(jst)
  const pins = draws.between(2, 16)
  const finish = draws.pick(["", "(LF)(SN)", "-GU"])
  const [kind, manufacturerCode] = draws.pick([
    ["plug housing", `${series}R-${twoDigits(pins)}${draws.pick(["", "-S", "-R"])}${finish}`],
    ["header, straight", `B${pins}B-${series}-${draws.pick(words("A K K-S"))}${finish}`],
    ["header, side entry", `S${pins}B-${series}-${draws.pick(words("A K K-S SM4-TB"))}${finish}`]
  ] as const)
  const description = `JST ${series} ${kind}, ${pins} pins, pitch ${pitch} mm`
  const tags = ["jst", series.toLowerCase()]
  return {
    ...tht,
    description,
    manufacturer: "JST",
    manufacturerCode,
    series,
    pinPitch: `${pitch} mm`,
    pinCount: pins,
    tags,
    bag: [5, 200]
  }
}

export const terminalBlock: DrawPart = (draws) => {
  const pitch = draws.pick(words("2.54 3.5 3.81 5.0 5.08 7.5"))
  const pins = draws.between(2, 24)
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Phoenix Contact", `${draws.pick(words("MKDS MC MSTB PTSA"))} ${draws.pick(words("1 1,5 2,5"))}/${pins}-${pitch}`],
    ["Würth Elektronik", `6912${plain(pitch)}${draws.between(1, 9)}000${twoDigits(pins)}`],
    ["Degson", `DG${draws.pick(words("128 300 308 500"))}-${pitch}-${twoDigits(pins)}P`]
  ] as const)
  const description = `Terminal block, ${pins} poles, pitch ${pitch} mm, ${draws.pick([6, 8, 10, 16, 24])} A`
  return {
    ...tht,
    description,
    manufacturer,
    manufacturerCode,
    pinPitch: `${pitch} mm`,
    pinCount: pins,
    tags: ["screw-terminal"],
    bag: [2, 50]
  }
}

export const usbConnector: DrawPart = (draws) => {
  const kind = draws.pick(["USB-C", "Micro-B", "Mini-B", "Type A", "Type B"])
  const [manufacturer, manufacturerCode] = draws.pick([
    ["GCT", `USB${draws.between(1000, 4999)}-${draws.pick(words("GF-A 30-A 15-C GF-R"))}`],
    ["Molex", `${draws.between(40_000, 49_999)}-${draws.pick(words("0001 0002 1000"))}`],
    ["Amphenol", `1011${draws.between(1000, 9999)}-0001LF`]
  ] as const)
  const description = `USB connector ${kind}, ${draws.pick(["receptacle", "plug"])}, ${draws.pick(["SMD", "mid mount", "vertical"])}`
  return { ...smd, description, manufacturer, manufacturerCode, tags: ["usb", kind.toLowerCase().replace(" ", "-")], bag: [1, 50] }
}

export const button: DrawPart = (draws) => {
  const size = draws.pick(words("3x6 4.5x4.5 6x6 12x12"))
  const height = draws.pick(words("4.3 5 7 9.5 13"))
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Omron", `B3F-${draws.between(1000, 5999)}`],
    ["C&K", `PTS${draws.between(125, 850)}${draws.pick(words("SM SK GH"))}${plain(height)}SMTR`],
    ["Würth Elektronik", `43${draws.between(100, 499)}1${draws.between(10_000, 99_999)}6`]
  ] as const)
  const description = `Tactile switch ${size} mm, height ${height} mm, ${draws.pick(["1.6", "2.6"])} N`
  return { description, manufacturer, manufacturerCode, dimensions: `${size} x ${height} mm`, tags: ["tactile"], bag: [2, 100] }
}

export const relay: DrawPart = (draws) => {
  const volts = draws.pick([3, 5, 6, 9, 12, 24, 48])
  const contacts = draws.pick(["SPST", "SPDT", "DPDT"])
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Omron", `G${draws.pick(words("2R 5LE 5Q 6K"))}-${draws.between(1, 2)}${draws.pick(["", "A", "E"])}-DC${volts}`],
    [
      "Finder",
      `${draws.between(30, 46)}.${draws.pick(words("22 51 52 61"))}.7.0${twoDigits(volts)}.${draws.pick(words("0000 0010 4000"))}`
    ],
    ["Songle", `SRD-${twoDigits(volts)}VDC-S${draws.pick(["L", "H"])}-${draws.pick(["A", "B", "C"])}`]
  ] as const)
  const description = `Relay ${volts} V coil, ${contacts}, ${draws.pick([1, 2, 5, 8, 10, 16])} A 250 VAC`
  const tags = ["relay", contacts.toLowerCase()]
  return { ...tht, description, manufacturer, manufacturerCode, voltageRating: `${volts} V`, tags, bag: [1, 20] }
}

const shapes = table(`
  Hex socket screw {T} x {L} mm         | din-912
  Countersunk screw {T} x {L} mm        | din-7991
  Pan head screw {T} x {L} mm, Torx     | iso-14583
  Set screw {T} x {L} mm                | din-913
  Standoff {T}, {L} mm, female-female   | standoff
  Standoff {T}, {L} mm, male-female     | standoff
  Spacer for {T}, {L} mm                | spacer`)

export const fastener: DrawPart = (draws) => {
  const thread = draws.pick(words("M2 M2.5 M3 M4 M5 M6 M8"))
  const length = draws.pick([4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40, 45, 50])
  const material = draws.pick(["steel, zinc plated", "stainless steel A2", "stainless steel A4", "brass", "nylon, black", "steel, black"])
  const [text = "", tag = ""] = draws.pick(shapes)
  const description = `${text.replace("{T}", thread).replace("{L}", String(length))}, ${material}`
  return { description, dimensions: `${length} mm`, tags: [thread.toLowerCase(), tag], bag: [10, 1000] }
}

export const wire: DrawPart = (draws) => {
  const colour = draws.pick(words("black red blue green yellow white brown orange grey violet pink"))
  const description = draws.pick([
    `Stranded wire ${draws.pick(words("0.14 0.25 0.5 0.75 1.0 1.5 2.5"))} mm², ${colour}, ${draws.pick([1, 5, 10, 25, 100])} m`,
    `Heat-shrink tube ${draws.pick(words("1.2 2.4 3.2 4.8 6.4 9.5 12.7 19"))} mm, ${draws.pick(["2:1", "3:1"])}, ${colour}`,
    `Hook-up wire AWG ${draws.pick([18, 20, 22, 24, 26, 28, 30])}, ${colour}, solid core, ${draws.pick([10, 30, 100, 305])} m`,
    `Jumper wire ${draws.pick([10, 15, 20, 30])} cm, ${draws.pick(words("male-male male-female female-female"))}, ${colour}`
  ])
  return { description, tags: ["wire", colour], bag: [1, 40] }
}

export const radioModule: DrawPart = (draws) => {
  const [manufacturer, what, tag, manufacturerCode] = draws.pick([
    [
      "Espressif",
      "Wi-Fi and Bluetooth module ESP32",
      "esp32",
      `ESP32-${draws.pick(words("WROOM WROVER MINI S3-WROOM C3-MINI"))}-${draws.pick(words("1 32 32D 32E 32UE"))}-N${draws.pick(words("4 8 16 4R2 8R8 16R8"))}`
    ],
    [
      "u-blox",
      "Bluetooth Low Energy module",
      "ble",
      `${draws.pick(words("NINA ANNA"))}-B${draws.between(100, 499)}-0${draws.between(0, 4)}B`
    ],
    ["u-blox", "LTE modem", "lte", `${draws.pick(words("SARA LARA"))}-R${draws.between(200, 599)}-0${draws.between(0, 4)}B`],
    ["HopeRF", "LoRa module", "lora", `RFM${draws.between(22, 98)}${draws.pick(words("W CW HW"))}-${draws.pick([433, 868, 915])}S2`]
  ] as const)
  const description = `${what}, ${draws.pick(["PCB antenna", "U.FL", "castellated"])}`
  return { ...smd, description, manufacturer, manufacturerCode, tags: ["module", tag], bag: [1, 10] }
}
