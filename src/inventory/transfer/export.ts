import { textFields } from "../parts/part.ts"
import { joinTexts } from "./csv.ts"
import { columns } from "./import.ts"

/** What can be exported, with its columns. Parts have those that an import reads. */
export const exportColumns = {
  parts: columns,
  movements: ["id", "operationId", "at", "kind", "principal", "note", "undoes", "id4", "boxNo", "locNo", "deltaQty", "balanceAfter"],
  sellers: ["id4", "manufacturerCode", "description", "seller", "website", "link", "sellerPartNumbers", "primary"]
} as const satisfies Record<string, ReadonlyArray<string>>

export type ExportKind = keyof typeof exportColumns
export const exportKinds = Object.keys(exportColumns) as ReadonlyArray<ExportKind>

/** Columns with several texts in a cell. */
export const severalTexts: ReadonlySet<string> = new Set(["tags", "barcodes", "sellerPartNumbers"])

export const textColumns = Object.keys(textFields)

export const fileName = (kind: ExportKind) => `partwright-${kind}.csv`

export const cellsOf = (columnNames: ReadonlyArray<string>, row: Readonly<Record<string, string | ReadonlyArray<string> | null>>) =>
  columnNames.map((name) => {
    const value = row[name]
    return value == null ? "" : typeof value === "string" ? value : joinTexts(value)
  })
