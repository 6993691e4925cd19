import { Channel, Effect, Stream } from "effect"
import { Csv } from "effect/encoding"
import { UnreadableFile } from "#platform/http/problems.ts"

export const unreadable = (message: string, line: number | null = null, column: number | null = null) => {
  const place = line === null ? "" : column === null ? `Line ${line}: ` : `Line ${line}, column ${column}: `
  return new UnreadableFile({ detail: `${place}${message}`, ...(line === null ? {} : { line }), ...(column === null ? {} : { column }) })
}

export interface Dialect {
  readonly encoding: "utf-8" | "windows-1252"
  readonly delimiter: "," | ";" | "\t"
}

/** The cells of a row and the line of the file it begins on, from 1: a quoted cell may go over several lines. */
export interface Row {
  readonly line: number
  readonly cells: ReadonlyArray<string>
}

export const largestFile = 64 * 1024 * 1024
const longestHeader = 64 * 1024

/** Reads the whole file for its encoding, and its first line for the delimiter. */
export const detect = Effect.fnUntraced(function* <E>(bytes: Stream.Stream<Uint8Array, E>) {
  const utf8 = new TextDecoder("utf-8", { fatal: true })
  const beginning = new TextDecoder("utf-8", { ignoreBOM: true })
  let size = 0
  let head = ""
  let isUtf8 = true
  yield* Stream.runForEach(bytes, (chunk) => {
    if (size === 0 && isUtf16(chunk)) return Effect.fail(unreadable("The file is UTF-16. Save it as CSV in UTF-8."))
    size += chunk.length
    if (size > largestFile) return Effect.fail(unreadable(`The file is larger than ${largestFile / 1024 / 1024} MiB.`))
    if (head.length < longestHeader) head += beginning.decode(chunk, { stream: true })
    isUtf8 = isUtf8 && decodes(utf8, chunk, true)
    return Effect.void
  })
  isUtf8 = isUtf8 && decodes(utf8, undefined, false)
  if (!isUtf8 && head.startsWith("\uFEFF")) return yield* unreadable("The file says that it is UTF-8, but it is not.")
  return { encoding: isUtf8 ? "utf-8" : "windows-1252", delimiter: delimiterOf(head) } satisfies Dialect as Dialect
})

const isUtf16 = ([first, second]: Uint8Array) => (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)

const decodes = (decoder: InstanceType<typeof TextDecoder>, chunk: Uint8Array | undefined, stream: boolean) => {
  try {
    decoder.decode(chunk, { stream })
    return true
  } catch {
    return false
  }
}

/** The one that separates most cells of the first line. */
export const delimiterOf = (head: string): Dialect["delimiter"] => {
  const counts = { ",": 0, ";": 0, "\t": 0 }
  let quoted = false
  for (const c of head) {
    if (c === '"') quoted = !quoted
    else if (!quoted && (c === "\n" || c === "\r")) break
    else if (!quoted && c in counts) counts[c as keyof typeof counts]++
  }
  return ([",", ";", "\t"] as const).reduce((best, delimiter) => (counts[delimiter] > counts[best] ? delimiter : best))
}

/** The rows that have a cell with something in it. */
export const read = <E>(bytes: Stream.Stream<Uint8Array, E>, { delimiter, encoding }: Dialect): Stream.Stream<Row, E | UnreadableFile> =>
  bytes.pipe(
    Stream.pipeThroughChannel(Channel.decodeText<E, unknown>(encoding, { ignoreBOM: true })),
    Stream.pipeThroughChannel(Csv.decodeString<E, unknown>({ delimiter })),
    Stream.mapError((error) => (Csv.isCsvError(error) ? notCsv(error) : error)),
    Stream.mapAccum(
      () => 1,
      (line, cells) => [line + cells.reduce((breaks, cell) => breaks + lineBreaks(cell), 1), [{ line, cells }]]
    ),
    Stream.filter(({ cells }) => cells.some((cell) => cell.trim() !== ""))
  )

const lineBreaks = (cell: string) => (cell.includes("\n") || cell.includes("\r") ? (cell.match(/\r\n|\r|\n/gu) ?? []).length : 0)

const notCsv = ({ column, kind, line, message }: Csv.CsvError) =>
  unreadable(kind === "RecordSize" ? "The row is longer than 1 MiB. Is a quote missing?" : `${message}.`, line, column ?? null)

/** As bytes in UTF-8 with CRLF. `spreadsheetSafe`: no cell is taken for a formula, but a file written so does not read back the same. */
export const write = <E, R>(
  rows: Stream.Stream<ReadonlyArray<string>, E, R>,
  options: { readonly spreadsheetSafe: boolean }
): Stream.Stream<Uint8Array, E, R> =>
  (options.spreadsheetSafe ? Stream.map(rows, (cells) => cells.map(withoutFormula)) : rows).pipe(Stream.pipeThroughChannel(Csv.encode<E>()))

const withoutFormula = (cell: string) => (/^[=+\-@]/u.test(cell) ? `'${cell}` : cell)

/** Several texts in one cell, `a|b`. A bar or backslash inside a text has a backslash before it. */
export const joinTexts = (texts: ReadonlyArray<string>) => texts.map((text) => text.replaceAll(/[\\|]/gu, "\\$&")).join("|")

/** The texts of such a cell without blank ones; a backslash before anything else is a backslash. */
export const splitTexts = (cell: string): ReadonlyArray<string> =>
  cell
    .split(/(?<=(?<!\\)(?:\\\\)*)\|/u)
    .map((text) => text.replaceAll(/\\([\\|])/gu, "$1"))
    .filter((text) => text.trim() !== "")
