/** US dollars per million tokens. Thinking is output. */
export interface Price {
  readonly input: number
  readonly output: number
}

export type Prices = ReadonlyMap<string, Price>

/** Of models that take images and answer by schema, as their maker lists them without discounts for cached input. */
export const knownPrices: Prices = new Map([
  ["gpt-4o-mini", { input: 0.15, output: 0.6 }],
  ["gpt-4o", { input: 2.5, output: 10 }],
  ["gpt-4.1-mini", { input: 0.4, output: 1.6 }],
  ["gpt-4.1", { input: 2, output: 8 }],
  ["gpt-5-nano", { input: 0.05, output: 0.4 }],
  ["gpt-5-mini", { input: 0.25, output: 2 }],
  ["gpt-5", { input: 1.25, output: 10 }],
  ["gpt-5.1", { input: 1.25, output: 10 }],
  ["gpt-5.2", { input: 1.75, output: 14 }],
  ["gpt-5.4-nano", { input: 0.2, output: 1.25 }],
  ["gpt-5.4-mini", { input: 0.75, output: 4.5 }],
  ["gpt-5.4", { input: 2.5, output: 15 }]
])

/** The price of a model, given ones first; of a dated snapshot (`…-2026-03-17`), that of its model. */
export const priceOf = (model: string, given: Prices): Price | null => {
  const undated = model.replace(/-\d{4}-\d{2}-\d{2}$/u, "")
  return given.get(model) ?? given.get(undated) ?? knownPrices.get(model) ?? knownPrices.get(undated) ?? null
}

/** `{"model": {"input": 0.4, "output": 1.6}}`; undefined when it is anything else. */
export const parsePrices = (text: string): Prices | undefined => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isRecord(json)) return undefined
  const prices = new Map<string, Price>()
  for (const [model, price] of Object.entries(json)) {
    if (!isRecord(price) || Object.keys(price).toSorted().join() !== "input,output") return undefined
    const { input, output } = price
    if (!isAmount(input) || !isAmount(output)) return undefined
    prices.set(model, { input, output })
  }
  return prices
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value)

const isAmount = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1e6

export interface Tokens {
  readonly input: number
  readonly output: number
}

/** In billionths of a dollar, which the tokens of every listed price are whole numbers of; parts of one are rounded up. */
export const nanoUsd = ({ input, output }: Tokens, price: Price) =>
  // Binary fractions: 0.15 × 1000 is a little more than 150.
  Math.ceil(Number(((input * price.input + output * price.output) * 1000).toFixed(3)))

export const toUsd = (nano: number) => nano / 1e9

export const fromUsd = (usd: number) => Math.round(usd * 1e9)
