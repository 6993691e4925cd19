import { fold } from "./fold.ts"
import { bareUnits, type Decimal, decimalText, exponentOf, ohm, type Quantity, symbols, type Unit, units, volt } from "./units.ts"

export interface Value {
  readonly quantity: Quantity
  /** The exact decimal in the base unit (Ω F H V A W Ah Hz mm), without exponent and without superfluous zeros. */
  readonly base: string
  /**
   * The value as it was written, folded, without a space and with a decimal point. Where m and M differ, in resistances, it keeps the letter
   * and starts with `^`, which no word does: `1MΩ` and `1mΩ` would otherwise be the same text.
   */
  readonly literal: string
  /** False for `1M`, `4k7`, `100n`: such a token may as well be meant as a plain word. */
  readonly hasUnit: boolean
}

/** A token of the text with what it says: one value, two for a bare `100n` (F and H), two or more for a range. */
export interface ValueSpan {
  readonly start: number
  readonly end: number
  readonly values: ReadonlyArray<Value>
}

/** Equal exactly when quantity and decimal are equal; the `~` keeps it apart from every word. */
export const valueLexeme = ({ quantity, base }: Pick<Value, "quantity" | "base">): string => `~${base}${symbols[quantity]}`

/** `1,500` groups thousands; `0,500`, `1,5` and `1,5000` are decimals. The answer has a point and no comma. */
const plainNumber = (written: string): string | undefined => {
  const grouped = /^(\d*[1-9]\d*)(?:,\d{3})+(?:\.\d+)?$/u.test(written)
  const plain = grouped ? written.replaceAll(",", "") : written.replace(",", ".")
  return plain.includes(",") ? undefined : plain.startsWith(".") ? `0${plain}` : plain
}

const decimal = (plain: string): Decimal => {
  const [integer = "", fraction = ""] = plain.split(".")
  return { mantissa: BigInt(integer + fraction), exponent: -fraction.length }
}

const valueOf = (unit: Unit, number: Decimal, prefix: string, hasUnit: boolean, written: readonly [string, string]): Value | undefined => {
  const exponent = exponentOf(unit, prefix)
  if (exponent === undefined) return undefined
  const [before, after] = written
  return {
    quantity: unit.quantity,
    base: decimalText({ mantissa: number.mantissa * unit.factor.mantissa, exponent: number.exponent + exponent + unit.factor.exponent }),
    literal: unit === ohm && /^m$/iu.test(prefix) ? `^${fold(before)}${prefix}${fold(after)}` : fold(before + prefix + after),
    hasUnit
  }
}

// No more than 15 digits on either side: longer rows of digits are codes.
const number = String.raw`\d{1,15}(?:,\d{3}){1,4}(?:\.\d{1,15})?|\d{1,15}[.,]\d{1,15}|\d{1,15}|\.\d{1,15}`
const unitName = "Ω|ohms?|R|farad|F|henry|H|VDC|VAC|volt|V|amp|Ah|A|watt|W|Hz|mm|cm|mil|inch"
const spelledUnit = "Ω|ohms?|farad|henry|volt|amp|watt|Hz"

const wholeNumber = new RegExp(`^(?:${number})$`, "u")
// `3.3-V` is how Texas Instruments writes it, and `3-v` how a tag keeps `3 V`.
const withUnit = new RegExp(`^(${number})([ -]?)([pnumkg]?)(${unitName})$`, "iu")
const prefixThenUnit = new RegExp(`^(${number})([pnumkg]) (${spelledUnit})$`, "iu") // 10k ohm
const bare = new RegExp(`^(${number})([kKMRrpnu])$`, "u")
const infix = new RegExp(`^(\\d{1,6})([pnumkgRV])(\\d{1,4})(${unitName}| (?:${spelledUnit}))?$`, "iu")
// R0805 and R1206 are packages; four digits are a resistance only as in R0005.
const leadingR = /^R(\d{1,3}|00\d{2})$/iu
// R23 would split `1/4W` at the slash and read four watts.
const fraction = /^(\d{1,2})\/(2|4|8|16|32|64)([ -]?)(W|watt|inch)$/iu

interface Amount {
  readonly values: ReadonlyArray<Value>
  /** What the first number of `a-bU` takes over; absent where the unit stands inside the number. */
  readonly suffix?: string
}

const amount = (text: string): Amount | undefined => {
  const found = (values: ReadonlyArray<Value | undefined>, suffix?: string): Amount | undefined => {
    const valid = values.filter((value) => value !== undefined)
    return valid.length === 0 ? undefined : suffix === undefined ? { values: valid } : { values: valid, suffix }
  }

  const measured = withUnit.exec(text)
  const [, written = "", joint = "", prefix = "", name = ""] = measured ?? []
  // A lone R counts as a bare prefix, and those stand at the number: `5 R` in a text is hardly a resistance.
  if (measured !== null && !(joint !== "" && prefix === "" && /^r$/iu.test(name))) {
    const unit = units.get(fold(name))
    const plain = plainNumber(written)
    if (unit !== undefined && plain !== undefined) {
      return found([valueOf(unit, decimal(plain), prefix, true, [plain, name])], prefix + name)
    }
  }

  const apart = prefixThenUnit.exec(text)
  if (apart !== null) return amount(`${apart[1]}${apart[2]}${apart[3]}`)

  const short = bare.exec(text)
  if (short !== null) {
    const [, written = "", prefix = ""] = short
    const plain = plainNumber(written)
    return plain === undefined
      ? undefined
      : found(
          (bareUnits[prefix] ?? []).map((unit) => valueOf(unit, decimal(plain), prefix, false, [plain, ""])),
          prefix
        )
  }

  const inside = infix.exec(text)
  if (inside !== null) {
    const [, integer = "", letter = "", digits = "", name = ""] = inside
    const written = [integer, digits + name.trimStart()] as const
    const value = decimal(`${integer}.${digits}`)
    if (/^[rv]$/iu.test(letter)) {
      const unit = /^r$/iu.test(letter) ? ohm : volt
      const repeated = name === "" ? unit : units.get(fold(name.trimStart()))
      return repeated === unit && (name === "" || unit === ohm)
        ? found([valueOf(unit, value, "", name !== "", [integer + letter + written[1], ""])])
        : undefined
    }
    if (name !== "") {
      const unit = units.get(fold(name.trimStart()))
      return unit === undefined ? undefined : found([valueOf(unit, value, letter, true, written)])
    }
    // 1n4148, 2n3904 and 6n137 are semiconductors, typed in lower case.
    if (/[pnu]/u.test(letter) && digits.length > 2) return undefined
    return found((bareUnits[letter] ?? []).map((unit) => valueOf(unit, value, letter, false, written)))
  }

  const shunt = leadingR.exec(text)
  if (shunt !== null) return found([valueOf(ohm, decimal(`0.${shunt[1]}`), "", false, [text, ""])])

  const part = fraction.exec(text)
  if (part !== null) {
    const [, numerator = "", denominator = "", , name = ""] = part
    const unit = units.get(fold(name))
    const power = Math.log2(Number(denominator))
    if (unit === undefined || Number(numerator) >= Number(denominator)) return undefined
    const value = { mantissa: BigInt(numerator) * 5n ** BigInt(power), exponent: -power }
    return found([valueOf(unit, value, "", true, [`${numerator}/${denominator}`, name])])
  }
  return undefined
}

const read = (text: string): ReadonlyArray<Value> | undefined => {
  const single = amount(text)
  if (single !== undefined) return single.values
  // NFKC has turned … into three points.
  for (const joint of text.matchAll(/-|\.{2,3}/gu)) {
    const left = text.slice(0, joint.index)
    const last = amount(text.slice(joint.index + joint[0].length).replace(/^[+-]/u, ""))
    if (last === undefined) continue
    const first = amount(left) ?? (last.suffix !== undefined && wholeNumber.test(left) ? amount(left + last.suffix) : undefined)
    if (first !== undefined) return [...first.values, ...last.values]
  }
  return undefined
}

interface Token {
  /** Between the separators. */
  readonly start: number
  readonly end: number
  /** Without outer punctuation. */
  readonly from: number
  readonly to: number
}

const tokenAt = (text: string, start: number, end: number): Token => {
  const raw = text.slice(start, end)
  // The point of `.1uF` belongs to the number.
  const leading = /^(?:(?!(?<!\.)\.\d)[^\p{L}\p{N}])*/u.exec(raw)?.[0].length ?? 0
  let to = raw.length
  while (to > leading && /[^\p{L}\p{N}\ud800-\udfff]/u.test(raw.charAt(to - 1))) to--
  return { start, end, from: start + leading, to: start + to }
}

/** Splits like R23, but keeps a comma or slash between digits: whether it belongs to a number is seen only in the whole token. */
const tokens = (text: string): Array<Token> =>
  Array.from(text.matchAll(/(?:[^\s,;()/|"'±]|(?<=\d)[,/](?=\d))+/gu), (match) => tokenAt(text, match.index, match.index + match[0].length))

const splitAtNumbers = (text: string, token: Token): Array<Token> =>
  Array.from(text.slice(token.start, token.end).matchAll(/[^,/]+/gu), (match) =>
    tokenAt(text, token.start + match.index, token.start + match.index + match[0].length)
  )

/** The values in a text that `normalise` has prepared and nobody has put into lower case; positions are those of this text. */
export const recogniseValues = (normalised: string): ReadonlyArray<ValueSpan> => {
  if (!/\d/u.test(normalised)) return []
  // Both replacements keep every position.
  const text = normalised.replaceAll("μ", "u").replace(/[\u2010-\u2015\u2212]/gu, "-")
  const pending = tokens(text).reverse()
  const spans: Array<ValueSpan> = []
  for (let token = pending.pop(); token !== undefined; token = pending.pop()) {
    const span = /[\dRr.]/u.test(text.charAt(token.from)) ? longestValue(text, token, pending) : undefined
    if (span !== undefined) {
      spans.push(span)
      while ((pending.at(-1)?.start ?? Infinity) < span.end) pending.pop()
    } else if (/[,/]/u.test(text.slice(token.start, token.end))) {
      pending.push(...splitAtNumbers(text, token).reverse())
    }
  }
  return spans
}

/** `4.5 V-5 V` needs three tokens, `5 V` two; exactly one space may stand between them, and no punctuation. */
const longestValue = (text: string, first: Token, following: ReadonlyArray<Token>): ValueSpan | undefined => {
  const chain = [first]
  for (let last = first; chain.length < 3; ) {
    const next = following.at(-chain.length)
    if (next === undefined || last.to !== last.end || next.from !== last.end + 1 || text.charAt(last.end) !== " ") break
    chain.push(next)
    last = next
  }
  for (const { to } of chain.reverse()) {
    const values = to - first.from > 100 ? undefined : read(text.slice(first.from, to))
    if (values !== undefined) return { start: first.from, end: to, values }
  }
  return undefined
}
