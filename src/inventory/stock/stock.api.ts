import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { operation } from "#platform/http/endpoint.ts"
import { IdempotencyHeader, Idempotent } from "#platform/http/idempotency.ts"
import { InvalidRequest } from "#platform/http/problems.ts"
import { InstantInput, text } from "#platform/http/text.ts"
import { BoxNo, LocationNotFound } from "../boxes/slot.ts"
import { Id4InAnyCase, Id4InPath, PartNotFound, PartRetired, StockInSlot } from "../parts/part.ts"
import {
  AlreadyUndone,
  Batch,
  BatchResult,
  Booked,
  Count,
  HistoryItem,
  InsufficientStock,
  Kind,
  LocationAmbiguous,
  LocationGone,
  Move,
  NotUndoable,
  Operation,
  OperationNotFound,
  PartNotInLocation,
  Put,
  QuantityTooLarge,
  refusals,
  StockChanged,
  Take,
  Undo
} from "./stock.ts"

const params = { id4: Id4InPath }
const missing = [PartNotFound, PartRetired] as const
const span = { kind: Schema.optional(Kind), from: Schema.optional(InstantInput), to: Schema.optional(InstantInput) }

export class StockApi extends HttpApiGroup.make("stock")
  .add(
    HttpApiEndpoint.post("put", "/parts/:id4/put", {
      params,
      headers: IdempotencyHeader,
      payload: Put,
      success: Booked,
      error: [...missing, LocationNotFound, QuantityTooLarge]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Put pieces into a slot",
          description: "Adds to what is there. Answers the booking and the part's stock as of its own commit.",
          example: { path: "/api/parts/ABCD/put", body: { slot: { boxNo: 1, locNo: 1 }, quantity: 25, note: "new bag" } }
        })
      ),
    HttpApiEndpoint.post("take", "/parts/:id4/take", {
      params,
      headers: IdempotencyHeader,
      payload: Take,
      success: Booked,
      error: [...missing, LocationNotFound, PartNotInLocation, InsufficientStock, LocationAmbiguous]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Take pieces out of a slot",
          description:
            "Without a slot it works while the part lies in exactly one. Too little: nothing is booked and the answer says what is there.",
          example: { path: "/api/parts/ABCD/take", body: { quantity: 2, note: "prototype" } }
        })
      ),
    HttpApiEndpoint.post("move", "/parts/:id4/move", {
      params,
      headers: IdempotencyHeader,
      payload: Move,
      success: Booked,
      error: [...missing, LocationNotFound, PartNotInLocation, InsufficientStock, QuantityTooLarge]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Move pieces to another slot",
          description: "One booking of two movements. Without a quantity the whole content of the slot moves.",
          example: { path: "/api/parts/ABCD/move", body: { from: { boxNo: 1, locNo: 1 }, to: { boxNo: 1, locNo: 2 }, quantity: 5 } }
        })
      ),
    HttpApiEndpoint.post("count", "/parts/:id4/count", {
      params,
      headers: IdempotencyHeader,
      payload: Count,
      success: Booked,
      error: [...missing, LocationNotFound, StockChanged]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Set a slot to what was counted",
          description:
            "Books the difference, and the count itself when there is none. With `expected` it is refused when someone booked in the meantime.",
          example: { path: "/api/parts/ABCD/count", body: { slot: { boxNo: 1, locNo: 1 }, counted: 17 } }
        })
      ),
    HttpApiEndpoint.get("locations", "/parts/:id4/locations", {
      params,
      query: PageParams,
      success: Page(StockInSlot),
      error: [...missing, InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Where a part lies",
        description: "Slots with stock of the part, in slot order.",
        example: { path: "/api/parts/ABCD/locations" }
      })
    ),
    HttpApiEndpoint.get("history", "/parts/:id4/history", {
      params,
      query: { ...PageParams, ...span },
      success: Page(HistoryItem),
      error: [...missing, InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Movements of a part, newest first",
        description: "balanceAfter is the running balance of the part in that slot. from is inclusive, to exclusive.",
        example: { path: "/api/parts/ABCD/history?limit=10" }
      })
    ),
    HttpApiEndpoint.get("operations", "/stock/operations", {
      query: {
        ...PageParams,
        ...span,
        id4: Schema.optional(Id4InAnyCase),
        boxNo: Schema.optional(BoxNo),
        principal: Schema.optional(text(255))
      },
      success: Page(Operation),
      error: [InvalidCursor, InvalidRequest]
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "Bookings, newest first",
        description: "With their movements. Those of deleted parts stay.",
        example: { path: "/api/stock/operations?kind=take&limit=10" }
      })
    ),
    HttpApiEndpoint.get("operation", "/stock/operations/:operationId", {
      params: { operationId: Schema.String },
      success: Operation,
      error: OperationNotFound
    }).annotateMerge(
      operation({
        role: "viewer",
        summary: "One booking",
        description: "With its movements, and by which booking it was undone.",
        example: { path: "/api/stock/operations/019a0000-0000-7000-8000-000000000000" }
      })
    ),
    HttpApiEndpoint.post("undo", "/stock/operations/:operationId/undo", {
      params: { operationId: Schema.String },
      headers: IdempotencyHeader,
      payload: Undo,
      success: Booked,
      error: [OperationNotFound, AlreadyUndone, NotUndoable, LocationGone, InsufficientStock, QuantityTooLarge]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Undo a booking",
          description: "Books the exact negation. The body may be {}.",
          example: { path: "/api/stock/operations/019a0000-0000-7000-8000-000000000000/undo", body: { note: "wrong bag" } }
        })
      ),
    HttpApiEndpoint.post("batch", "/stock/batch", {
      headers: IdempotencyHeader,
      payload: Batch,
      success: BatchResult,
      error: [...refusals]
    })
      .middleware(Idempotent)
      .annotateMerge(
        operation({
          role: "editor",
          summary: "Up to 200 bookings at once",
          description:
            "In the order given. atomic (the default): the first refusal refuses all and its problem carries `index`. Otherwise every command has its own result or problem.",
          example: {
            path: "/api/stock/batch",
            body: { atomic: false, operations: [{ verb: "put", id4: "ABCD", slot: { boxNo: 1, locNo: 1 }, quantity: 3 }] }
          }
        })
      )
  )
  .annotateMerge(OpenApi.annotations({ title: "Stock", description: "The ledger: what lies where, and every booking that made it so." })) {}
