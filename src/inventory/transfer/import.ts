import { Result, Schema, SchemaIssue } from "effect"
import { sameName, text } from "#platform/http/text.ts"
import { BoxNo, LocNo } from "../boxes/slot.ts"
import { Id4InAnyCase, PartEdit, textFields } from "../parts/part.ts"
import { SellerLinkEdit } from "../sellers/seller.ts"
import { mostPieces } from "../stock/stock.ts"
import { type Row, splitTexts, unreadable } from "./csv.ts"

const { typeId: _, ...plainFields } = PartEdit.fields

const kicadColumns = {
  kicadSymbol: "symbol",
  kicadFootprint: "footprint",
  kicadReference: "reference",
  kicadValue: "value",
  kicadExcludeFromBom: "excludeFromBom",
  kicadExcludeFromBoard: "excludeFromBoard",
  kicadExcludeFromSim: "excludeFromSim"
} as const

/** The filled cells of a row, read. What a cell may hold is what the API takes for that field. */
const Cells = Schema.Struct({
  id4: Schema.optionalKey(Id4InAnyCase),
  ...plainFields,
  type: Schema.optionalKey(text(100)),
  seller: Schema.optionalKey(text(255)),
  sellerLink: SellerLinkEdit.fields.link,
  sellerPartNumbers: SellerLinkEdit.fields.sellerPartNumbers,
  boxNo: Schema.optionalKey(BoxNo),
  locNo: Schema.optionalKey(LocNo),
  quantity: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: mostPieces }))),
  boxDescription: Schema.optionalKey(text(255))
})
export type Cells = typeof Cells.Type

/** Everything that a row may say of a part itself: one bit each in what is remembered of the rows before. */
export const partColumns = [
  "description",
  "type",
  ...(Object.keys(textFields) as ReadonlyArray<keyof typeof textFields>),
  "tags",
  "productPage",
  "pinCount",
  "minQuantity",
  "barcodes",
  ...(Object.keys(kicadColumns) as ReadonlyArray<keyof typeof kicadColumns>),
  "seller",
  "sellerLink",
  "sellerPartNumbers"
] as const
export type PartColumn = (typeof partColumns)[number]

/** The columns of a list of parts, in the order in which they are written. */
export const columns = ["id4", ...partColumns, "boxNo", "locNo", "quantity", "boxDescription"] as const
export type Column = (typeof columns)[number]

const numbers = new Set<Column>(["pinCount", "minQuantity", "boxNo", "locNo", "quantity"])
const lists = new Set<Column>(["tags", "barcodes", "sellerPartNumbers"])

/** Column of the file → column of a list of parts; null leaves it out. Columns that are not named here are found by their names. */
export const Mapping = Schema.Record(text(255), Schema.NullOr(Schema.Literals(columns)))

export const Mode = Schema.Literals(["upsert", "create"])
export const StockMode = Schema.Literals(["count", "add"])

export const ImportOptions = Schema.Struct({
  /** What the bookings say they come from: the name of the file. */
  source: Schema.NullOr(Schema.String),
  mapping: Mapping,
  /** `create` rejects rows that mean a part which was there before. */
  mode: Mode,
  /** Whether a quantity is what lies in the slot, or what comes to it. */
  stockMode: StockMode,
  createTypes: Schema.Boolean,
  createSellers: Schema.Boolean,
  createBoxes: Schema.Boolean,
  /** All rows or none. */
  atomic: Schema.Boolean,
  /** Everything is done and then rolled back. */
  dryRun: Schema.Boolean
})
export type ImportOptions = typeof ImportOptions.Type

export const defaults: ImportOptions = {
  source: null,
  mapping: {},
  mode: "upsert",
  stockMode: "count",
  createTypes: false,
  createSellers: false,
  createBoxes: false,
  atomic: true,
  dryRun: false
}

export const Problem = Schema.Struct({
  /** As it is called in the file. */
  column: Schema.String,
  reason: Schema.String
})
export type Problem = typeof Problem.Type

export const RowOutcome = Schema.Struct({
  line: Schema.Int,
  outcome: Schema.Literals(["created", "updated", "unchanged", "rejected"]),
  /** Null for a rejected row, and for a part that a dry run would draw a label for. */
  id4: Schema.NullOr(Schema.String),
  /** Why it is rejected: everything that is wrong with the row. */
  problems: Schema.Array(Problem)
})
export type RowOutcome = typeof RowOutcome.Type

/** A report of an import as rows of CSV. */
export const reportColumns = ["line", "outcome", "id4", "column", "reason"]
export const reportCells = ({ id4, line, outcome, problems }: RowOutcome): ReadonlyArray<string> => [
  String(line),
  outcome,
  id4 ?? "",
  [...new Set(problems.map(({ column }) => column))].join("|"),
  problems.map(({ column, reason }) => (problems.length === 1 ? reason : `${column}: ${reason}`)).join("; ")
]

/** What the columns of a file are: in its order, null for one that is left out. */
export interface Header {
  readonly fields: ReadonlyArray<Column | null>
  readonly nameOf: (column: Column) => string
}

const plainName = (name: string) => name.toLowerCase().replaceAll(/[_\s]/gu, "")
const byName = new Map<string, Column>(columns.map((column) => [plainName(column), column]))

export const columnNamed = (name: string): Column | undefined => byName.get(plainName(name))

export const readHeader = ({ cells, line }: Row, mapping: ImportOptions["mapping"]) => {
  const mapped = new Map(Object.entries(mapping).map(([name, column]) => [plainName(name), column]))
  const fields: Array<Column | null> = []
  const names = new Map<Column, string>()
  const seen = new Set<string>()
  for (const [at, cell] of cells.entries()) {
    const name = cell.trim()
    const key = plainName(name)
    const field = mapped.has(key) ? (mapped.get(key) as Column | null) : byName.get(key)
    if (name === "") return Result.fail(unreadable("The column has no name.", line, at + 1))
    if (seen.has(key)) return Result.fail(unreadable(`There are two columns ${name}.`, line, at + 1))
    if (field === undefined)
      return Result.fail(unreadable(`No field is called ${name}. Map it to the one that it means, or leave it out.`, line, at + 1))
    const other = field === null ? undefined : names.get(field)
    if (other !== undefined) return Result.fail(unreadable(`${other} and ${name} both mean ${field}.`, line, at + 1))
    seen.add(key)
    fields.push(field)
    if (field !== null) names.set(field, name)
  }
  const missing = Object.keys(mapping).find((name) => !seen.has(plainName(name)))
  if (missing !== undefined) return Result.fail(unreadable(`There is no column ${missing}, which the mapping names.`, line))
  return Result.succeed<Header>({ fields, nameOf: (column) => names.get(column) ?? column })
}

/** A row that can be understood. */
export interface ReadRow {
  readonly line: number
  readonly cells: Cells
  readonly filled: ReadonlyArray<PartColumn>
}

/** The key of the column inside a part's `kicad`, when it is one of those. */
export const kicadKeyOf = (column: Column) =>
  (kicadColumns as Partial<Record<Column, (typeof kicadColumns)[keyof typeof kicadColumns]>>)[column]

const decode = Schema.decodeUnknownResult(Cells, { errors: "all" })
const format = SchemaIssue.makeFormatterStandardSchemaV1()
const kicadColumn = new Map(Object.entries(kicadColumns).map(([column, key]) => [key as string, column as Column]))

/** Blank cells are as good as none. A row may be shorter than the header: some spreadsheets leave out the last cells when they are empty. */
export const readRow = ({ cells, line }: Row, { fields, nameOf }: Header): Result.Result<ReadRow, ReadonlyArray<Problem>> => {
  const given: Record<string, unknown> = {}
  const kicad: Record<string, unknown> = {}
  const filled = new Set<Column>()
  const problems: Array<Problem> = []
  const problem = (column: Column, reason: string) => void problems.push({ column: nameOf(column), reason })
  for (const [at, cell] of cells.entries()) {
    const field = fields[at] ?? null
    if (field === null || cell.trim() === "") continue
    filled.add(field)
    if (numbers.has(field)) {
      if (/^\d{1,15}$/u.test(cell.trim())) given[field] = Number(cell)
      else problem(field, "Expected a whole number, not below 0")
    } else if (lists.has(field)) given[field] = splitTexts(cell)
    else if (!(field in kicadColumns)) given[field] = field === "id4" ? cell.trim() : cell
    else if (!field.startsWith("kicadExclude")) kicad[kicadColumns[field as keyof typeof kicadColumns]] = cell
    else if (sameName(cell.trim(), "true") || sameName(cell.trim(), "false")) {
      kicad[kicadColumns[field as keyof typeof kicadColumns]] = sameName(cell.trim(), "true")
    } else problem(field, "Expected true or false")
  }
  if (Object.keys(kicad).length > 0) given.kicad = kicad
  if (filled.has("boxNo") !== filled.has("locNo")) {
    problem(filled.has("boxNo") ? "locNo" : "boxNo", "A slot needs both the number of its box and its own")
  }
  for (const column of ["quantity", "boxDescription"] as const) {
    if (filled.has(column) && !filled.has("boxNo")) problem("boxNo", `Expected a box, because ${nameOf(column)} is filled`)
  }
  const decoded = decode(given)
  if (Result.isFailure(decoded)) {
    for (const { message, path = [] } of format(decoded.failure.issue).issues) {
      const [first, second] = path.map((step) => String(typeof step === "object" ? step.key : step))
      problem(first === "kicad" ? (kicadColumn.get(second ?? "") as Column) : (first as Column), message)
    }
  }
  if (problems.length > 0 || Result.isFailure(decoded)) return Result.fail(problems)
  return Result.succeed({ line, cells: decoded.success, filled: partColumns.filter((column) => filled.has(column)) })
}
