import { Schema } from "effect"

/** What must hold of the ledger. */
export const rules = {
  quantity: "a slot holds the sum of its movements",
  balance: "a movement continues the balance of its place",
  transfer: "a move or reorganisation changes no total",
  undo: "an undo negates its original",
  empty: "only a count moves nothing",
  slot: "stock lies in slots that exist",
  total: "a part's total is the sum of its slots"
} as const
export type Rule = keyof typeof rules
export const ruleNames = Object.keys(rules) as ReadonlyArray<Rule>

/** Where a rule is broken: what it should be there, and what it is. */
export const Violation = Schema.Struct({
  part: Schema.NullOr(Schema.String),
  location: Schema.NullOr(Schema.String),
  operationId: Schema.NullOr(Schema.String),
  expected: Schema.Finite,
  found: Schema.NullOr(Schema.Finite)
})
export type Violation = typeof Violation.Type

export interface LedgerReport {
  readonly operations: number
  readonly movements: number
  /** How often rules are broken, all taken together. */
  readonly violations: number
  /** The first of each rule. */
  readonly shown: ReadonlyArray<Violation & { readonly rule: Rule }>
}

export const describeViolation = ({ expected, found, location, operationId, part, rule }: LedgerReport["shown"][number]) => {
  const where = [part ?? "", location === null ? "" : `in ${location}`, operationId === null ? "" : `operation ${operationId}`]
  return `${where.filter((some) => some !== "").join(", ")}: ${rules[rule]}; expected ${expected}, found ${found ?? "nothing"}`
}
