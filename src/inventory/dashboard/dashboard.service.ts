import { Context, Effect, Layer } from "effect"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { Boxes } from "../boxes/boxes.service.ts"
import { Parts } from "../parts/parts.service.ts"
import { Stock } from "../stock/stock.service.ts"
import type { Operation } from "../stock/stock.ts"
import { DashboardRepo } from "./dashboard.repo.ts"
import type { BoxUsage, LowPart, Stats, TypeUsage } from "./dashboard.ts"

type Listed<A> = Effect.Effect<Page<A>, InvalidCursor | InvalidRequest>

export class Dashboard extends Context.Service<
  Dashboard,
  {
    readonly stats: Effect.Effect<Stats>
    readonly activity: (limit: number) => Listed<Operation>
    readonly storage: (params: PageParams) => Listed<BoxUsage>
    /** Ascending by quantity, then id4; parts at 0 included. */
    readonly lowStock: (threshold: number, params: PageParams) => Listed<LowPart>
    /** Most parts first, types without parts included. */
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
      return Dashboard.of({
        stats: Effect.withSpan(repo.stats, "Dashboard.stats"),
        activity: Effect.fn("Dashboard.activity")((limit) => stock.operations({}, { limit })),
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
        lowStock: Effect.fn("Dashboard.lowStock")(function* (threshold, params) {
          const page = yield* repo.low(threshold, params)
          const found = new Map((yield* parts.rows(page.items.map(({ id4 }) => id4))).map((part) => [part.id4 as string, part]))
          return {
            ...page,
            items: page.items.flatMap(({ id4, level }) => {
              const part = found.get(id4)
              return part === undefined ? [] : [{ ...part, level }]
            })
          }
        }),
        types: Effect.fn("Dashboard.types")((params) => repo.types(params))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([DashboardRepo.layer, Boxes.layer, Parts.layer, Stock.layer]))
}
