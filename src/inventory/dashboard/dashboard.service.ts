import { Context, Effect, Layer } from "effect"
import { Db } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { Boxes } from "../boxes/boxes.service.ts"
import type { PartRow } from "../parts/part.ts"
import { Parts } from "../parts/parts.service.ts"
import { Stock } from "../stock/stock.service.ts"
import type { Operation } from "../stock/stock.ts"
import { DashboardRepo } from "./dashboard.repo.ts"
import { type BoxUsage, lowStockThreshold, type Stats, type TypeUsage } from "./dashboard.ts"
import { shared } from "./shared.ts"

type Listed<A> = Effect.Effect<Page<A>, InvalidCursor | InvalidRequest>

export class Dashboard extends Context.Service<
  Dashboard,
  {
    readonly stats: Effect.Effect<Stats>
    /** Newest first. */
    readonly activity: (params: PageParams) => Listed<Operation>
    readonly storage: (params: PageParams & { readonly sort?: string | undefined }) => Listed<BoxUsage>
    /** Parts at or below their own level, or without one at or below the threshold; the lowest first. */
    readonly lowStock: (threshold: number | undefined, params: PageParams) => Listed<PartRow>
    /** In the order of their labels. */
    readonly partsWithoutDocuments: (params: PageParams) => Listed<PartRow>
    /** The types with most parts first. */
    readonly types: (params: PageParams) => Listed<TypeUsage>
  }
>()("inventory/Dashboard") {
  static readonly layerNoDeps = Layer.effect(
    Dashboard,
    Effect.gen(function* () {
      const repo = yield* DashboardRepo
      const boxes = yield* Boxes
      const parts = yield* Parts
      const stock = yield* Stock
      const db = yield* Db

      /** The parts of a page, as of the same moment. */
      const withRows = <E>(listed: Effect.Effect<Page<{ readonly id4: string }>, E>) =>
        db.snapshot(
          Effect.gen(function* () {
            const page = yield* listed
            const rows = new Map((yield* parts.rows(page.items.map(({ id4 }) => id4))).map((part): [string, PartRow] => [part.id4, part]))
            return { ...page, items: page.items.map(({ id4 }) => rows.get(id4)!) }
          })
        )

      // Read-only, and bounded in the wait for a connection, which single statements are not.
      const stats = yield* shared(
        Effect.map(
          Effect.all([db.snapshot(repo.shelves), db.snapshot(repo.recent)], { concurrency: 2 }),
          ([shelves, recent]): Stats => ({ ...shelves, ...recent })
        )
      )

      return Dashboard.of({
        stats: stats.pipe(Effect.withSpan("Dashboard.stats")),
        activity: Effect.fn("Dashboard.activity")((params) => stock.operations({}, { ...params, limit: params.limit ?? 20 })),
        storage: Effect.fn("Dashboard.storage")((params) =>
          Effect.map(boxes.list(params), (page) => ({
            ...page,
            items: page.items.map(({ boxNo, description, freeSlots, occupiedSlots, totalSlots, usagePercent }) => ({
              boxNo,
              description,
              totalSlots,
              occupiedSlots,
              freeSlots,
              usagePercent
            }))
          }))
        ),
        lowStock: Effect.fn("Dashboard.lowStock")((threshold = lowStockThreshold, params) => withRows(repo.low(threshold, params))),
        partsWithoutDocuments: Effect.fn("Dashboard.partsWithoutDocuments")((params) => withRows(repo.withoutDocuments(params))),
        types: Effect.fn("Dashboard.types")((params) => db.snapshot(repo.types(params)))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([DashboardRepo.layer, Boxes.layer, Parts.layer, Stock.layer]))
}
