import { Effect, Stream } from "effect"
import { id4Place, id4Places } from "../parts/part.ts"
import { type Dialect, detect, type Row, read, unreadable } from "./csv.ts"
import { type Header, type ImportOptions, readHeader } from "./import.ts"

/** What a file must say before its first row can be imported. It is read three times, never held. */
export interface Survey {
  readonly dialect: Dialect
  readonly header: Header
  readonly rows: number
  /** Every box that the file names: its highest slot there, and what it is called where it is called something first. */
  readonly boxes: ReadonlyMap<number, { readonly capacity: number; readonly description: string | null; readonly line: number }>
  /** Whether a row brings this label: it must not be drawn for a row further up. */
  readonly names: (id4: string) => boolean
}

const mostRows = 200_000

/** Fails on the first place where the file is not a list of parts. */
export const survey = Effect.fnUntraced(function* <E>(bytes: Stream.Stream<Uint8Array, E>, mapping: ImportOptions["mapping"]) {
  const dialect = yield* detect(bytes)
  const boxes = new Map<number, { capacity: number; description: string | null; line: number }>()
  const ids = new Uint8Array(id4Places)
  let header: Header | undefined
  let rows = 0
  yield* Stream.runForEach(
    read(bytes, dialect),
    Effect.fnUntraced(function* (row) {
      if (header === undefined) {
        header = yield* Effect.fromResult(readHeader(row, mapping))
        return
      }
      if (row.cells.length > header.fields.length) {
        return yield* unreadable(
          `The row has ${row.cells.length} cells, the header ${header.fields.length}.`,
          row.line,
          header.fields.length + 1
        )
      }
      if (++rows > mostRows) return yield* unreadable(`The file has more than ${mostRows} rows.`, row.line)
      const id4 = cellOf(row, header, "id4").toUpperCase()
      if (/^[A-Z]{4}$/u.test(id4)) ids[id4Place(id4)] = 1
      const boxNo = wholeNumber(row, header, "boxNo", 99_999)
      const locNo = wholeNumber(row, header, "locNo", 1000)
      if (boxNo === undefined || locNo === undefined) return
      const description = cellOf(row, header, "boxDescription") || null
      const box = boxes.get(boxNo)
      if (box === undefined) boxes.set(boxNo, { capacity: locNo, description, line: row.line })
      else {
        box.capacity = Math.max(box.capacity, locNo)
        if (box.description === null && description !== null) Object.assign(box, { description, line: row.line })
      }
    })
  )
  if (header === undefined) return yield* unreadable("The file is empty.", 1)
  return { dialect, header, rows, boxes, names: (id4) => ids[id4Place(id4)] === 1 } satisfies Survey as Survey
})

/** The rows below the header. */
export const rowsOf = <E>(bytes: Stream.Stream<Uint8Array, E>, { dialect }: Survey) => Stream.drop(read(bytes, dialect), 1)

const cellOf = ({ cells }: Row, { fields }: Header, column: (typeof fields)[number]) => (cells[fields.indexOf(column)] ?? "").trim()

const wholeNumber = (row: Row, header: Header, column: "boxNo" | "locNo", max: number) => {
  const cell = cellOf(row, header, column)
  return /^\d{1,5}$/u.test(cell) && Number(cell) >= 1 && Number(cell) <= max ? Number(cell) : undefined
}
