import { Context, Data, Effect, Layer, Result } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { Boxes } from "../boxes/boxes.service.ts"
import { formatSlot, type Slot } from "../boxes/slot.ts"
import type { BarcodeTaken, Id4 } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { Parts } from "../parts/parts.service.ts"
import { squash } from "../search/fold.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import { linkOrNumber, type SellerId } from "../sellers/seller.ts"
import { SellerLinks } from "../sellers/seller-links.service.ts"
import { Sellers } from "../sellers/sellers.service.ts"
import type { Command } from "../stock/ledger.ts"
import { Stock } from "../stock/stock.service.ts"
import { Types } from "../types/types.service.ts"
import type { Row } from "./csv.ts"
import { type ImportOptions, type Problem, type ReadRow, type RowOutcome, readRow } from "./import.ts"
import { type Known, type Meant, type PlannedRow, plan, type Seen } from "./matching.ts"
import type { Survey } from "./survey.ts"

/** What all batches of one file have in common. */
export interface Job {
  readonly importId: string
  /** Null when a command imports. */
  readonly jobId: string | null
  readonly survey: Survey
  readonly options: ImportOptions
  readonly seen: Seen
}

export interface Done {
  /** In the order of the file. */
  readonly outcomes: ReadonlyArray<RowOutcome>
  /** The parts that the rows mean, for `Seen` once the batch is there to stay. */
  readonly parts: ReadonlyArray<{ readonly id4: Id4; readonly meant: Meant }>
}

/** Internal: these rows cannot be written, or someone else wrote what the batch was decided on. Undoes the batch. */
class Again extends Data.TaggedError("Again")<{ readonly rejected: ReadonlyMap<number, ReadonlyArray<Problem>> }> {}

const rowsPerChange = 100
const mostConflicts = 10

/** Some rows of a file at a time, in a number of statements that does not depend on how many they are. */
export class ImportBatches extends Context.Service<
  ImportBatches,
  {
    /** Writes the rows that can be written, and says of each what became of it. Of a rejected row nothing stays. */
    readonly write: (rows: ReadonlyArray<Row>, job: Job) => Effect.Effect<Done, never, Transaction>
  }
>()("inventory/ImportBatches") {
  static readonly layerNoDeps = Layer.effect(
    ImportBatches,
    Effect.gen(function* () {
      const parts = yield* Parts
      const ids = yield* PartIds
      const types = yield* Types
      const sellers = yield* Sellers
      const links = yield* SellerLinks
      const boxes = yield* Boxes
      const stock = yield* Stock
      const index = yield* SearchIndex
      const changes = yield* Changes
      const db = yield* Db

      /** Everything that the rows name, read or, where that is allowed, made. */
      const gather = Effect.fnUntraced(function* (rows: ReadonlyArray<ReadRow>, { options, survey: { boxes: named } }: Job) {
        const all = <A>(of: (row: ReadRow) => A | undefined) => [...new Set(rows.flatMap((row) => of(row) ?? []))]
        const typeNames = all(({ cells }) => cells.type)
        const sellerNames = all(({ cells }) => cells.seller)
        const boxNos = all(({ cells }) => cells.boxNo)
        const wantedIds = all(({ cells }) => cells.id4)

        const knownSellers = yield* sellerNames.length === 0 ? Effect.succeed(new Map<string, SellerId>()) : sellers.named(sellerNames)
        const newSellers = options.createSellers ? sellerNames.filter((name) => !knownSellers.has(name)) : []
        const capacities = yield* boxes.capacities(boxNos)
        const newBoxes = options.createBoxes ? boxNos.filter((boxNo) => !capacities.has(boxNo)) : []
        const found = yield* parts.candidates({
          ids: wantedIds,
          manufacturerCodes: all(({ cells }) =>
            cells.id4 === undefined && cells.manufacturerCode ? squash(cells.manufacturerCode) : undefined
          ),
          descriptions: all(({ cells }) =>
            cells.id4 === undefined && !squash(cells.manufacturerCode ?? "") ? cells.description : undefined
          )
        })
        const foundIds = found.map(({ id4 }) => id4)
        const present = new Set<string>(foundIds)
        const retired = yield* ids.retired(wantedIds.filter((id4) => !present.has(id4)))
        const quantities = new Map((yield* stock.held(foundIds)).map((held) => [`${held.id4} ${formatSlot(held)}`, held.quantity]))
        return {
          types: yield* options.createTypes ? types.ensure(typeNames) : types.named(typeNames),
          sellers: newSellers.length === 0 ? knownSellers : new Map([...knownSellers, ...(yield* sellers.ensure(newSellers))]),
          parts: found,
          links: yield* links.primaries(foundIds),
          retired: new Set(retired.map(({ id4 }) => id4)),
          barcodes: yield* parts.barcodeHolders([...new Set(rows.flatMap(({ cells }) => cells.barcodes ?? []))]),
          boxes:
            newBoxes.length === 0
              ? capacities
              : new Map([
                  ...capacities,
                  ...(yield* boxes.createMany(
                    newBoxes.map((boxNo) => {
                      const { capacity = 1, description = null } = named.get(boxNo) ?? {}
                      return { boxNo, capacity, description: description ?? `Box ${boxNo}` }
                    })
                  ))
                ]),
          quantity: (id4: string, slot: Slot) => quantities.get(`${id4} ${formatSlot(slot)}`) ?? 0
        } satisfies Known
      })

      /** Sellers of the parts that the rows say one for. Answers which parts changed by it, and which cannot. */
      const link = Effect.fnUntraced(function* (planned: ReadonlyArray<PlannedRow>, idOf: (part: Meant) => Id4, job: Job) {
        const said = [...new Set(planned.filter(({ saysSeller }) => saysSeller).map(({ part }) => part))].flatMap((part) =>
          part.sellerEdit === null ? [] : [{ part, entry: { id4: idOf(part), ...part.sellerEdit } }]
        )
        const results = yield* links.attachMany(said.map(({ entry }) => entry))
        const changed = new Set<Meant>()
        const refused = new Map<Meant, Problem>()
        for (const [at, result] of results.entries()) {
          const { part } = said[at] as (typeof said)[number]
          if (result === "changed") changed.add(part)
          else if (result === "says-nothing") {
            refused.set(part, { column: job.survey.header.nameOf("seller"), reason: `Expected ${linkOrNumber} besides the seller` })
          } else if (result !== "unchanged") {
            refused.set(part, {
              column: job.survey.header.nameOf("sellerPartNumbers"),
              reason: `${result.number} belongs to ${result.id4}`
            })
          }
        }
        return { changed, refused }
      })

      const book = Effect.fnUntraced(function* (planned: ReadonlyArray<PlannedRow>, idOf: (part: Meant) => Id4, job: Job) {
        const rejected = new Map<number, ReadonlyArray<Problem>>()
        const { source, stockMode } = job.options
        const booked = planned.flatMap(({ line, part, stock: booking }) =>
          booking === null ? [] : [{ line, id4: idOf(part), ...booking }]
        )
        if (booked.length === 0) return rejected
        const results = yield* stock.bookAll(
          booked.map(({ id4, line, quantity, slot }): Command => {
            const what = {
              id4,
              slot,
              kind: "import",
              note: source === null ? `line ${line}` : `${source}, line ${line}`,
              jobId: job.jobId
            } as const
            return stockMode === "add" ? { ...what, verb: "put", quantity } : { ...what, verb: "count", counted: quantity }
          })
        )
        const { nameOf } = job.survey.header
        for (const [at, result] of results.entries()) {
          if (Result.isSuccess(result)) continue
          const column = nameOf(result.failure.code === "location-not-found" ? "locNo" : "quantity")
          rejected.set((booked[at] as (typeof booked)[number]).line, [{ column, reason: result.failure.detail ?? result.failure.title }])
        }
        return rejected
      })

      /** Everything or nothing of these rows. */
      const attempt = Effect.fnUntraced(function* (rows: ReadonlyArray<ReadRow>, job: Job) {
        const { options, survey: file, seen } = job
        const planned = plan(rows, yield* gather(rows, job), { options, seen, survey: file })
        // A type, seller or box that only a rejected row names must not stay.
        if (planned.rejected.size > 0 && (options.createTypes || options.createSellers || options.createBoxes)) {
          return yield* new Again({ rejected: planned.rejected })
        }

        const edits = planned.parts.flatMap(({ before, changed, fields }) => (before === null || !changed ? [] : [{ before, fields }]))
        if (!(yield* parts.editMany(edits).pipe(orAgain))) return yield* new Again({ rejected: new Map() })
        const made = planned.parts.filter(({ before }) => before === null)
        const drawn = yield* parts.insertMany(made, file.names).pipe(
          Effect.catchTag("Id4SpaceExhausted", ({ detail }) => {
            const unnamed = planned.rows.filter(({ created, part }) => created && part.id4 === null)
            const problem = { column: file.header.nameOf("id4"), reason: detail ?? "No label is left" }
            return Effect.fail(new Again({ rejected: new Map(unnamed.map(({ line }) => [line, [problem]])) }))
          }),
          orAgain
        )
        const labels = new Map(made.map((part, at) => [part, drawn[at] as Id4]))
        const idOf = (part: Meant) => part.id4 ?? (labels.get(part) as Id4)

        const linked = yield* link(planned.rows, idOf, job)
        if (linked.refused.size > 0) {
          const refused = planned.rows.filter(({ part, saysSeller }) => saysSeller && linked.refused.has(part))
          return yield* new Again({ rejected: new Map(refused.map(({ line, part }) => [line, [linked.refused.get(part) as Problem]])) })
        }
        const unbooked = yield* book(planned.rows, idOf, job)
        if (unbooked.size > 0) return yield* new Again({ rejected: unbooked })

        const done = planned.rows.map(({ changed, created, line, part, saysSeller, stock: booking }): RowOutcome => {
          const relinked = saysSeller && linked.changed.has(part)
          const outcome = created ? "created" : changed || relinked || booking !== null ? "updated" : "unchanged"
          const id4 = idOf(part)
          return { line, outcome, id4: options.dryRun && part.made && !file.names(id4) ? null : id4, problems: [] }
        })
        const refreshed = planned.parts.filter((part) => part.before === null || part.changed || linked.changed.has(part))
        if (refreshed.length > 0) yield* index.refresh(refreshed.map(idOf))
        yield* record(done, job)
        return {
          outcomes: [...done, ...rejections(planned.rejected)],
          parts: planned.parts.map((meant) => ({ id4: idOf(meant), meant }))
        } satisfies Done
      })

      const record = (done: ReadonlyArray<RowOutcome>, { importId }: Job): Effect.Effect<void, never, Transaction> => {
        const written = done.filter(({ outcome }) => outcome !== "unchanged")
        const idsOf = (some: ReadonlyArray<RowOutcome>, wanted: RowOutcome["outcome"]) => [
          ...new Set(some.flatMap(({ id4, outcome }) => (outcome === wanted ? (id4 ?? []) : [])))
        ]
        return changes.record(
          ...Array.from({ length: Math.ceil(written.length / rowsPerChange) }, (_, n) => {
            const some = written.slice(n * rowsPerChange, (n + 1) * rowsPerChange)
            return {
              topic: "part" as const,
              action: "imported",
              entity: "inventory-import",
              entityId: importId,
              after: { created: idsOf(some, "created"), updated: idsOf(some, "updated") }
            }
          })
        )
      }

      return ImportBatches.of({
        write: Effect.fn("ImportBatches.write")(function* (rows, job) {
          const rejected = new Map<number, ReadonlyArray<Problem>>()
          const readable: Array<ReadRow> = []
          for (const row of rows) {
            const read = readRow(row, job.survey.header)
            if (Result.isSuccess(read)) readable.push(read.success)
            else rejected.set(row.line, read.failure)
          }
          for (let conflicts = 0; ; ) {
            const written = yield* db
              .savepoint(
                attempt(
                  readable.filter(({ line }) => !rejected.has(line)),
                  job
                )
              )
              .pipe(Effect.result)
            if (Result.isSuccess(written)) {
              const { outcomes: done, parts: meant } = written.success
              return { parts: meant, outcomes: [...done, ...rejections(rejected)].sort((a, b) => a.line - b.line) } satisfies Done
            }
            if (written.failure.rejected.size === 0 && ++conflicts > mostConflicts) {
              return yield* Effect.die(new Error("others change the same parts faster than they can be imported"))
            }
            for (const [line, problems] of written.failure.rejected) rejected.set(line, problems)
          }
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(
    Layer.provide([
      Parts.layer,
      PartIds.layer,
      Types.layer,
      Sellers.layer,
      SellerLinks.layer,
      Boxes.layer,
      Stock.layer,
      SearchIndex.layer,
      Changes.layer
    ])
  )
}

const rejections = (rejected: ReadonlyMap<number, ReadonlyArray<Problem>>): ReadonlyArray<RowOutcome> =>
  [...rejected].map(([line, problems]) => ({ line, outcome: "rejected", id4: null, problems }))

/** Someone took a barcode or removed a type since the batch was decided: decided again, it is a rejected row or none. */
const orAgain = <A, R>(effect: Effect.Effect<A, BarcodeTaken | InvalidRequest | Again, R>): Effect.Effect<A, Again, R> =>
  Effect.mapError(effect, (error) => (error instanceof Again ? error : new Again({ rejected: new Map() })))
