import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { type Dialect, delimiterOf, detect, joinTexts, read, splitTexts, write } from "#inventory/transfer/csv.ts"
import type { UnreadableFile } from "#platform/http/problems.ts"

const utf8 = new TextEncoder()
const bytesOf = (text: string) => Stream.make(utf8.encode(text))
const commas: Dialect = { encoding: "utf-8", delimiter: "," }

const rowsIn = (text: string, dialect: Dialect = commas) => Stream.runCollect(read(bytesOf(text), dialect))
const refusal = <A>(effect: Effect.Effect<A, UnreadableFile>) =>
  Effect.map(Effect.flip(effect), ({ column = null, detail, line = null }) => ({ line, column, detail }))
const textOf = (rows: ReadonlyArray<ReadonlyArray<string>>, spreadsheetSafe = false) =>
  Stream.mkString(Stream.decodeText(write(Stream.fromIterable(rows), { spreadsheetSafe })))

/** Texts of everything that is special in CSV, and of what is not. */
const Cell = Schema.Array(Schema.Literals(["a", "B", " ", ",", ";", "\t", '"', "\r", "\n", "\r\n", "'", "=", "\uFEFF", "é", "電", "𝄞"]))
const Cells = Schema.Array(Schema.Array(Cell).check(Schema.isBetweenLength(1, 5))).check(Schema.isMaxLength(8))
const ChunkSizes = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))).check(Schema.isMinLength(1))

/** With something in every row: rows of blank cells are passed over. */
const table = (cells: typeof Cells.Type) => cells.map((row, at) => [`row ${at}`, ...row.map((cell) => cell.join(""))])

const inChunks = (bytes: Uint8Array, sizes: ReadonlyArray<number>) => {
  const chunks: Array<Uint8Array> = []
  for (let from = 0, n = 0; from < bytes.length; n++) {
    const size = sizes[n % sizes.length] as number
    chunks.push(bytes.subarray(from, from + size))
    from += size
  }
  return Stream.fromIterable(chunks)
}

describe("CSV", () => {
  it.effect.prop("what is written reads back the same", [Cells], ([cells]) =>
    Effect.gen(function* () {
      const rows = table(cells)
      const read = yield* rowsIn(yield* textOf(rows))
      assert.deepStrictEqual(
        read.map((row) => row.cells),
        rows
      )
    })
  )

  it.effect.prop("the pieces in which a file arrives make no difference", [Cells, ChunkSizes], ([cells, sizes]) =>
    Effect.gen(function* () {
      const text = yield* textOf(table(cells))
      const bytes = utf8.encode(text)
      const dialect = yield* detect(inChunks(bytes, sizes))
      assert.deepStrictEqual(dialect, yield* detect(Stream.make(bytes)))
      assert.strictEqual(dialect.encoding, "utf-8")
      assert.deepStrictEqual(yield* Stream.runCollect(read(inChunks(bytes, sizes), commas)), yield* rowsIn(text))
    })
  )

  it.effect.prop("a row knows the line it begins on, whatever its cells hold", [Cells], ([cells]) =>
    Effect.gen(function* () {
      const rows = table(cells)
      const expected: Array<number> = []
      let before = ""
      for (const row of rows) {
        expected.push(1 + (before.match(/\r\n|\r|\n/gu) ?? []).length)
        before += yield* textOf([row])
      }
      const read = yield* rowsIn(before)
      assert.deepStrictEqual(
        read.map(({ line }) => line),
        expected
      )
    })
  )

  const Texts = Schema.Array(Schema.Array(Schema.Literals(["a", "|", "\\", " ", "b|c"])).check(Schema.isMinLength(1)))
  it.prop("several texts share a cell, whatever is in them", [Texts], ([drawn]) => {
    const texts = drawn.map((parts) => parts.join("")).filter((text) => text.trim() !== "")
    assert.deepStrictEqual(splitTexts(joinTexts(texts)), texts)
  })

  it.each([
    ["a|b", ["a", "b"]],
    ["|a||b|", ["a", "b"]],
    ["a\\|b|c", ["a|b", "c"]],
    ["C:\\temp|b", ["C:\\temp", "b"]],
    ["a\\\\|b", ["a\\", "b"]],
    [" ", []]
  ])("the texts of the cell %j", (cell, texts) => {
    assert.deepStrictEqual(splitTexts(cell), texts)
  })

  it.each([
    ["a,b;c,d\n1;2;3;4", ","],
    ["a;b;c\n1,2,3,4,5", ";"],
    ["a\tb\r1,2,3", "\t"],
    ['"a,b,c";d', ";"],
    ["only one column", ","],
    ["", ","]
  ])("the delimiter of %j", (head, delimiter) => {
    assert.strictEqual(delimiterOf(head), delimiter)
  })

  it.each([
    ["LF", "a,b\n1,2\n3,4\n"],
    ["CRLF", "a,b\r\n1,2\r\n3,4\r\n"],
    ["CR", "a,b\r1,2\r3,4"],
    ["a byte order mark", "\uFEFFa,b\r\n1,2\r\n3,4"],
    ["quotes", '"a","b"\n"1",2\n3,"4"\n']
  ])("a file with %s", (_, text) =>
    Effect.runPromise(
      Effect.map(rowsIn(text), (rows) =>
        assert.deepStrictEqual(rows, [
          { line: 1, cells: ["a", "b"] },
          { line: 2, cells: ["1", "2"] },
          { line: 3, cells: ["3", "4"] }
        ])
      )
    )
  )

  it.effect("rows without anything are passed over, but counted as lines", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* rowsIn('a,b\n\n,\n" ", \n1,2'), [
        { line: 1, cells: ["a", "b"] },
        { line: 5, cells: ["1", "2"] }
      ])
    })
  )

  it.effect("a file that is not UTF-8 is read as Windows-1252", () =>
    Effect.gen(function* () {
      // 10 µF €5, then a valid UTF-8 sequence, which is what it says all the same.
      const bytes = Uint8Array.from([0x31, 0x30, 0x20, 0xb5, 0x46, 0x20, 0x80, 0x35, 0x3b, 0xc3, 0xa9])
      const dialect = yield* detect(Stream.make(bytes))
      assert.deepStrictEqual(dialect, { encoding: "windows-1252", delimiter: ";" })
      const [row] = yield* Stream.runCollect(read(Stream.make(bytes), dialect))
      assert.deepStrictEqual(row?.cells, ["10 µF €5", "Ã©"])
    })
  )

  it.effect("a character cut off at the end makes a file Windows-1252", () =>
    Effect.gen(function* () {
      const bytes = utf8.encode("a,é")
      assert.strictEqual((yield* detect(Stream.make(bytes))).encoding, "utf-8")
      assert.strictEqual((yield* detect(Stream.make(bytes.subarray(0, -1)))).encoding, "windows-1252")
    })
  )

  it.effect("files of other kinds are refused with the reason", () =>
    Effect.gen(function* () {
      const [utf16, halfUtf8, large] = [
        yield* refusal(detect(Stream.make(Uint8Array.from([0xff, 0xfe, 0x61, 0])))),
        yield* refusal(detect(Stream.make(Uint8Array.from([0xef, 0xbb, 0xbf, 0x61, 0xb5, 0x61])))),
        yield* refusal(detect(Stream.fromIterable(Array.from({ length: 65 }, () => new Uint8Array(1024 * 1024)))))
      ]
      assert.deepStrictEqual(utf16, { line: null, column: null, detail: "The file is UTF-16. Save it as CSV in UTF-8." })
      assert.strictEqual(halfUtf8.detail, "The file says that it is UTF-8, but it is not.")
      assert.strictEqual(large.detail, "The file is larger than 64 MiB.")
    })
  )

  it.each([
    ["a quote inside a cell", 'a,b\n1,2"3"\n', 2, 2],
    ["text after a quoted cell", 'a,b\n"1"x,2\n', 2, 1],
    ["a quote that is never closed", 'a,b\n"x\ny",2\n1,"2\n3,4\n', 4, 2]
  ])("%s is refused with line and column", (_, text, line, column) =>
    Effect.runPromise(
      Effect.map(refusal(rowsIn(text)), (found) => {
        assert.deepStrictEqual({ line: found.line ?? null, column: found.column ?? null }, { line, column })
        assert.match(found.detail ?? "", new RegExp(`^Line ${line}, column ${column}: `, "u"))
      })
    )
  )

  it.effect("a row without end is refused before it fills the memory", () =>
    Effect.gen(function* () {
      const endless = Stream.concat(bytesOf('a\n"'), Stream.forever(bytesOf("x".repeat(65_536))))
      assert.deepStrictEqual(yield* refusal(Stream.runDrain(read(endless, commas))), {
        line: 2,
        column: null,
        detail: "Line 2: The row is longer than 1 MiB. Is a quote missing?"
      })
    })
  )

  it.effect("what a spreadsheet takes for a formula gets an apostrophe where that is asked for", () =>
    Effect.gen(function* () {
      const cells = ["=1+2", "+49", "-3", "@x", "a=b", "'", ""]
      assert.strictEqual(yield* textOf([cells]), "=1+2,+49,-3,@x,a=b,',\r\n")
      assert.strictEqual(yield* textOf([cells], true), "'=1+2,'+49,'-3,'@x,a=b,',\r\n")
    })
  )
})
