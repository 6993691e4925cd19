import { type DrawPart, smd, table, tht, words } from "./catalogue-part.ts"

interface Device {
  readonly base: string
  readonly text: string
  readonly tags: ReadonlyArray<string>
}

const devices = (text: string): ReadonlyArray<Device> =>
  table(text).map(([base = "", what = "", tags = ""]) => ({ base, text: what, tags: words(tags) }))

const bodies = [
  { name: "DIP", mounting: tht, pins: [8, 14, 16, 20, 28], suffixes: words("N P PE4 E/P") },
  { name: "SOIC", mounting: smd, pins: [8, 14, 16, 20], suffixes: words("D DR M -I/SN DG") },
  { name: "TSSOP", mounting: smd, pins: [8, 14, 16, 20, 28], suffixes: words("PW PWR -I/ST DTR2G") },
  { name: "SOT-23", mounting: smd, pins: [3, 5, 6], suffixes: words("DBVR DBVT T-I/OT") },
  { name: "QFN", mounting: smd, pins: [16, 20, 24, 32, 48], suffixes: words("RGTR RTER -I/MF") },
  { name: "MSOP", mounting: smd, pins: [8, 10], suffixes: words("DGK DGKR -E/MS") }
]
const grades = ["", ...words("A B C Q1 -EP /NOPB TR #PBF -TP")]
const makers = words("Texas_Instruments STMicroelectronics onsemi Microchip Analog_Devices Nexperia Diodes_Incorporated").map((name) =>
  name.replace("_", " ")
)

/** A chip of the list in some body, with the suffixes that makers hang on its base number for body, grade and reel. */
const chip =
  (list: ReadonlyArray<Device>): DrawPart =>
  (draws) => {
    const { base, tags, text } = draws.pick(list)
    const { mounting, name, pins, suffixes } = draws.pick(bodies)
    const pinCount = draws.pick(pins)
    const manufacturerCode = base + draws.pick(suffixes) + draws.pick(grades)
    const body = `${name}-${pinCount}`
    const description = `${text}, ${body}`
    return { ...mounting, description, manufacturer: draws.pick(makers), manufacturerCode, package: body, pinCount, tags, bag: [1, 50] }
  }

const logicFunctions = devices(`
  00   | Quad 2-input NAND gate                  | gate
  02   | Quad 2-input NOR gate                   | gate
  04   | Hex inverter                            | gate
  08   | Quad 2-input AND gate                   | gate
  14   | Hex Schmitt-trigger inverter            | schmitt
  32   | Quad 2-input OR gate                    | gate
  74   | Dual D-type flip-flop                   | flip-flop
  86   | Quad 2-input XOR gate                   | gate
  125  | Quad bus buffer, three-state            | buffer
  138  | 3-to-8 line decoder                     | decoder
  151  | 8-input multiplexer                     | multiplexer
  157  | Quad 2-input multiplexer                | multiplexer
  161  | 4-bit binary counter                    | counter
  164  | 8-bit shift register, serial in         | shift-register
  165  | 8-bit shift register, parallel in       | shift-register
  193  | 4-bit up/down counter                   | counter
  240  | Octal inverting buffer                  | buffer
  244  | Octal buffer, three-state               | buffer
  245  | Octal bus transceiver                   | transceiver
  273  | Octal D-type flip-flop                  | flip-flop
  373  | Octal transparent latch                 | latch
  393  | Dual 4-bit binary counter               | counter
  541  | Octal buffer                            | buffer
  574  | Octal D-type flip-flop, three-state     | flip-flop
  595  | 8-bit shift register with output latch  | shift-register
  4051 | 8-channel analog multiplexer            | multiplexer
  4060 | 14-stage binary counter with oscillator | counter
  4094 | 8-stage shift-and-store register        | shift-register`)

export const logic = chip(
  logicFunctions.flatMap(({ base, tags, text }) =>
    words("HC HCT LS LVC AHC AHCT AC ACT LV ALVC").flatMap((technology) =>
      ["SN", "MC", "", "CD"].map((maker) => ({
        base: `${maker}74${technology}${base}`,
        text: `${text}, ${technology} logic`,
        tags: ["logic", ...tags]
      }))
    )
  )
)

export const amplifier = chip(
  devices(`
  LM358   | Dual operational amplifier                  | opamp
  LM324   | Quad operational amplifier                  | opamp
  TL071   | JFET-input operational amplifier            | opamp jfet
  TL072   | Dual JFET-input operational amplifier       | opamp jfet
  TL074   | Quad JFET-input operational amplifier       | opamp jfet
  NE5532  | Dual low-noise operational amplifier, audio | opamp audio
  OPA2134 | Dual audio operational amplifier            | opamp audio
  OPA2340 | Dual rail-to-rail operational amplifier     | opamp rail-to-rail
  MCP6002 | Dual 1 MHz rail-to-rail operational amplifier | opamp rail-to-rail
  MCP6004 | Quad 1 MHz rail-to-rail operational amplifier | opamp rail-to-rail
  LMV358  | Dual low-voltage operational amplifier      | opamp
  AD8605  | Precision low-noise operational amplifier   | opamp precision
  INA128  | Precision instrumentation amplifier         | instrumentation
  TLV2372 | Dual 3 MHz rail-to-rail operational amplifier | opamp
  LT1013  | Dual precision operational amplifier        | opamp precision`)
)

const at = (voltages: string, text: string) =>
  devices(
    words(voltages)
      .map((volts) => text.replaceAll("{V}", volts))
      .join("\n")
  )

export const linearRegulator = chip([
  ...at("1.8 2.5 3.0 3.3 5.0 12", "AMS1117-{V} | Low-dropout regulator {v} V 1 A | ldo"),
  ...at("3.0 3.3 5.0 8.0 9.0 10 12", "LM2940-{V} | Low-dropout regulator {v} V 1 A, automotive | ldo"),
  ...at("1.8 2.5 3.0 3.3 5.0", "MCP1700-{V} | Low-quiescent-current regulator {v} V 250 mA | ldo"),
  ...at("1.8 2.5 3.0 3.3 5.0", "TLV1117-{V} | Linear voltage regulator {v} V 800 mA | ldo"),
  ...at("1.2 1.8 2.5 3.3", "AP2112K-{V} | Low-dropout regulator {v} V 600 mA with enable | ldo"),
  ...at("2.5 3.0 3.3 5.0", "LP2985-{V} | Low-noise regulator {v} V 150 mA | ldo"),
  ...at("05 06 08 09 12 15 24", "L78{V} | Positive voltage regulator {v} V 1.5 A | regulator"),
  ...at("05 08 12 15 24", "LM79{V} | Negative voltage regulator -{v} V 1.5 A | regulator"),
  ...devices("LM317 | Adjustable voltage regulator 1.25-37 V 1.5 A | regulator adjustable")
])

export const switchingRegulator = chip(
  devices(`
  TPS5430    | Step-down converter 5.5-36 V 3 A             | buck
  TPS54331   | Step-down converter 3.5-28 V 3 A, 570 kHz    | buck
  LM2596-5.0 | Step-down converter 5 V 3 A, 150 kHz         | buck
  LM2596-3.3 | Step-down converter 3.3 V 3 A, 150 kHz       | buck
  MP1584     | Step-down converter 4.5-28 V 3 A             | buck
  MT3608     | Step-up converter 2-24 V 2 A                 | boost
  TPS61023   | Boost converter 0.5-5.5 V, 3.7 A switch      | boost
  MC34063    | Step-up, step-down or inverting converter    | buck boost
  TPS63020   | Buck-boost converter 1.8-5.5 V 4 A           | buck-boost`)
)

export const transceiver = chip(
  devices(`
  MAX232     | Dual RS-232 driver and receiver, 5 V         | rs232
  MAX3232    | Dual RS-232 transceiver, 3 V to 5.5 V        | rs232
  MAX485     | RS-485 transceiver, half duplex              | rs485
  SN65HVD230 | CAN transceiver 3.3 V                        | can
  MCP2551    | CAN transceiver 5 V                          | can
  TJA1050    | High-speed CAN transceiver                   | can
  MCP23017   | 16-bit I/O expander, I²C                     | i2c gpio
  MCP23S17   | 16-bit I/O expander, SPI                     | spi gpio
  PCF8574    | 8-bit I/O expander, I²C                      | i2c gpio
  FT232R     | USB to UART bridge                           | usb uart
  CP2102N    | USB to UART bridge                           | usb uart
  CH340      | USB to UART bridge                           | usb uart
  TCA9548    | 8-channel I²C switch                         | i2c`)
)

export const memory = chip([
  ...at("01 02 04 08 16 32 64 128 256 512", "24LC{V} | Serial EEPROM {v} kbit, I²C | eeprom i2c"),
  ...at("01 02 04 08 16 32 64 128 256 512", "AT24C{V} | Serial EEPROM {v} kbit, I²C, 1.7-5.5 V | eeprom i2c"),
  ...at("01 02 04 08 16 32 64 128 256 512", "25LC{V} | Serial EEPROM {v} kbit, SPI | eeprom spi"),
  ...at("16 32 64 128 256", "W25Q{V}JV | Serial flash {V} Mbit, quad SPI | flash spi")
])

export const temperatureSensor = chip(
  devices(`
  DS18B20  | Digital thermometer, 1-Wire, ±0.5 °C             | 1-wire
  LM35     | Analog temperature sensor 10 mV/°C               | analog
  TMP36    | Analog temperature sensor, 2.7-5.5 V             | analog
  TMP117   | Digital temperature sensor ±0.1 °C, I²C          | i2c
  LM75     | Digital temperature sensor with watchdog, I²C    | i2c
  MCP9808  | Digital temperature sensor ±0.25 °C, I²C         | i2c
  MAX31855 | Thermocouple converter, SPI                      | spi thermocouple`)
)

export const timer = chip(
  devices(`
  NE555   | Precision timer, 555                         | 555
  LM556   | Dual precision timer                         | 556
  TLC555  | CMOS timer, 555 compatible                   | 555 cmos
  ICM7555 | CMOS general-purpose timer, 555 compatible   | 555 cmos`)
)

export const motorDriver = chip(
  devices(`
  L293    | Quadruple half-H driver                | h-bridge
  L298    | Dual full-bridge driver 46 V 4 A       | h-bridge
  DRV8825 | Stepper motor driver 45 V 2.5 A        | stepper
  A4988   | Stepper motor driver with translator   | stepper
  TMC2209 | Silent stepper motor driver, UART      | stepper
  TB6612  | Dual DC motor driver 1.2 A             | h-bridge
  ULN2003 | Seven Darlington transistor array      | darlington
  DRV8871 | H-bridge motor driver 3.6 A            | h-bridge`)
)

export const microcontroller: DrawPart = (draws) => {
  const pins = draws.pick([8, 14, 20, 28, 32, 44, 48, 64, 100, 144])
  const flash = draws.pick([4, 8, 16, 32, 64, 128, 256, 512, 1024])
  const body = pins <= 14 ? "SOIC" : draws.pick(words(pins <= 28 ? "SSOP DIP SOIC" : "LQFP QFN TQFP"))
  const stm32 = `STM32${draws.pick(words("F0 F1 F3 F4 F7 G0 G4 H7 L0 L4"))}${draws.between(10, 79)}${draws.pick(words("F G K C R V Z"))}`
  const pic = `PIC${draws.pick(words("16F 18F 24FJ 32MX"))}${draws.between(1000, 9999)}`
  const [manufacturer, core, tag, manufacturerCode] = draws.pick([
    ["STMicroelectronics", "Arm Cortex-M", "stm32", stm32 + draws.pick(words("4T6 6T6 8T6 BT6 CT6 ET6 8U6 BU6 GT6 GT7 CT6TR 8T6TR"))],
    [
      "Microchip",
      "8-bit AVR",
      "avr",
      `ATmega${flash}${draws.pick(words("8 4 0 9"))}${draws.pick(words("P-PU PA-AU PB-MU A-AUR P-AN PA-MN"))}`
    ],
    ["Microchip", "PIC", "pic", pic + draws.pick(words("K22-I/P K40-I/SO -E/PT -I/ML"))],
    [
      "NXP",
      "Arm Cortex-M",
      "lpc",
      `LPC${draws.pick(words("11 13 17 54"))}${draws.between(10, 99)}FBD${pins},${draws.pick(words("151 118"))}`
    ],
    ["Texas Instruments", "16-bit MSP430", "msp430", `MSP430${draws.pick(words("G2 F2 F5 FR5"))}${draws.between(100, 999)}IPW${pins}R`]
  ] as const)
  const megahertz = draws.pick([16, 20, 32, 48, 72, 100, 168, 216])
  const description = `Microcontroller ${core}, ${flash} KB flash, ${megahertz} MHz, ${body}-${pins}`
  const tags = ["microcontroller", tag]
  const mounting = body === "DIP" ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, package: `${body}-${pins}`, pinCount: pins, tags, bag: [1, 25] }
}

const transistorBases = words(
  "BC547 BC557 BC337 BC327 BC817 BC807 BC847 BC857 2N3904 2N3906 2N2222 2N2907 BD139 BD140 MMBT3904 BCX52 BCX55 TIP41 TIP42 S8050 S8550"
)
const transistorSuffixes = ["", ...words("A B C -16 -25 -40 ATA BTA LT1G ,215 -7-F RLRA W DS")]

export const transistor: DrawPart = (draws) => {
  const polarity = draws.pick(["NPN", "PNP"])
  const body = draws.pick(words("TO-92 SOT-23 SOT-89 TO-126 TO-220 SOT-323"))
  const manufacturer = draws.pick(words("onsemi Nexperia Diotec STMicroelectronics Infineon"))
  const manufacturerCode = draws.pick(transistorBases) + draws.pick(transistorSuffixes)
  const volts = draws.pick([25, 30, 40, 45, 60, 80, 100])
  const description = `${polarity} transistor ${volts} V ${draws.pick(words("0.1 0.2 0.5 0.8 1 1.5"))} A, ${body}`
  const tags = [polarity.toLowerCase(), "bjt"]
  const mounting = body.startsWith("TO") ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, package: body, pinCount: 3, tags, bag: [5, 500] }
}

export const mosfet: DrawPart = (draws) => {
  const channel = draws.pick(["N", "N", "P"])
  const volts = draws.pick([20, 30, 40, 60, 100, 200, 500, 600])
  const body = draws.pick(words("SOT-23 SOIC-8 TO-220 TO-252 TO-247 PowerPAK-8"))
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Infineon", `IRL${draws.pick(words("Z B ML R FZ"))}${draws.between(10, 999)}${draws.pick(words("N S PBF NPBF TRPBF"))}`],
    ["Infineon", `IPP${draws.between(10, 99)}${channel}${volts / 10}${draws.pick(words("S4 N3 L S4G N3G"))}`],
    ["onsemi", `FQP${draws.between(2, 99)}${channel}${volts / 10}${draws.pick(["", "L", "C"])}`],
    ["Alpha & Omega", `AO${draws.between(3400, 4999)}${draws.pick(["", "A", "C"])}`],
    ["Vishay", `SI${draws.between(1000, 7999)}${draws.pick(words("DS BDS CDS"))}-T1-${draws.pick(["E3", "GE3"])}`],
    ["Diodes Incorporated", `DM${channel}${volts / 10}${draws.between(10, 99)}${draws.pick(["U", "L", "SN"])}-7`]
  ] as const)
  const amperes = draws.pick([0.2, 1.2, 4.2, 8, 17, 30, 47, 80, 120])
  const description = `${channel}-channel MOSFET ${volts} V ${amperes} A, ${draws.pick(["", "logic level, "])}${body}`
  const tags = ["mosfet", `${channel.toLowerCase()}-channel`]
  const mounting = body === "TO-220" || body === "TO-247" ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, voltageRating: `${volts} V`, package: body, tags, bag: [2, 200] }
}

const diodeBases = words("1N4148 1N4001 1N4004 1N4007 1N5817 1N5819 BAT54 BAS16 BAV99 SS14 SS34 SS54 MBR0520 UF4007 1N5408 ES1D US1M BAT85")
const diodeSuffixes = ["", ...words("-T W WS W-7-F -TR -E3/54 RLG T1G HE3 S A C ,215 -13-F FS -TAP")]

export const diode: DrawPart = (draws) => {
  const body = draws.pick(words("DO-35 DO-41 SOD-123 SOD-323 SMA SMB SOT-23"))
  const manufacturer = draws.pick(words("Vishay onsemi Diotec Nexperia STMicroelectronics"))
  const manufacturerCode = draws.pick(diodeBases) + draws.pick(diodeSuffixes)
  const kind = draws.pick(["Switching", "Rectifier", "Fast recovery"])
  const volts = draws.pick([20, 30, 40, 75, 100, 200, 400, 1000])
  const description = `${kind} diode ${volts} V ${draws.pick(words("0.2 0.5 1 3"))} A, ${body}`
  const mounting = body.startsWith("DO") ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, package: body, tags: ["diode"], bag: [10, 1000] }
}

const zenerVolts = words("2.4 2.7 3.0 3.3 3.6 3.9 4.3 4.7 5.1 5.6 6.2 6.8 7.5 8.2 9.1 10 12 13 15 18 20 24 27 33")
const zenerSeries = table("BZX55C|DO-35\nBZX84C|SOT-23\nBZT52C|SOD-123\nBZV85C|DO-41\nMMSZ|SOD-123")

export const zener: DrawPart = (draws) => {
  const volts = draws.pick(zenerVolts)
  const [series = "", body = ""] = draws.pick(zenerSeries)
  const manufacturerCode = series + volts.replace(".", "V") + draws.pick(["", ...words("-TR T1G ,215 -7-F S -TAP")])
  const description = `Zener diode ${volts} V ${draws.pick(words("0.25 0.5 1.3"))} W, ${body}`
  const manufacturer = draws.pick(words("Vishay Nexperia onsemi Diotec"))
  const mounting = body.startsWith("DO") ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, series, package: body, pinCount: 2, tags: ["zener"], bag: [10, 500] }
}

export const led: DrawPart = (draws) => {
  const colour = draws.pick(["red", "green", "yellow", "blue", "white", "amber", "warm white", "RGB"])
  const body = draws.pick(["0402", "0603", "0805", "1206", "3 mm", "5 mm", "PLCC-2", "5050"])
  const code = `${colour.slice(0, 1).toUpperCase()}${draws.between(100, 999)}`
  const [manufacturer, manufacturerCode] = draws.pick([
    ["Kingbright", `KP-${body.replaceAll(/\D/gu, "")}${code}CK`],
    ["Würth Elektronik", `150${draws.between(10, 99)}0${code}75000`],
    ["Everlight", `${draws.between(15, 67)}-21S${code}-A${draws.between(1, 6)}T`],
    ["Osram", `L${code}-${draws.pick(words("T2 Q9 M6"))}`]
  ] as const)
  const description = `LED ${colour}, ${body}, ${draws.pick([2, 5, 20])} mA, ${draws.pick([100, 250, 700, 1200])} mcd`
  const tags = ["led", colour.replace(" ", "-").toLowerCase()]
  const mounting = body.endsWith("mm") ? tht : smd
  return { ...mounting, description, manufacturer, manufacturerCode, package: body, tags, bag: [10, 1000] }
}
