import { Clock, Effect, Metric } from "effect"
import { startAtZero } from "#platform/telemetry/metrics.ts"
import { type AlreadyUndone, type Kind, kinds, type LocationGone, type NotUndoable, type Operation, type Refusal } from "./stock.ts"

const operationsTotal = Metric.counter("inventory_operations_total", { description: "Bookings, by kind", incremental: true })
const quantityChanged = Metric.counter("inventory_quantity_changed_total", {
  description: "Pieces booked, moves included, by kind",
  incremental: true
})
const stockRefusals = Metric.counter("inventory_stock_refusals_total", {
  description: "Bookings refused, by problem code",
  incremental: true
})
const stockDuration = Metric.histogram("inventory_stock_duration_seconds", {
  description: "Time of a stock verb, by kind",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]
})

type Code = (Refusal | AlreadyUndone | NotUndoable | LocationGone)["code"]
const codes = Object.keys({
  "part-not-found": true,
  "part-retired": true,
  "location-not-found": true,
  "part-not-in-location": true,
  "insufficient-stock": true,
  "location-ambiguous": true,
  "quantity-too-large": true,
  "stock-changed": true,
  "already-undone": true,
  "not-undoable": true,
  "location-gone": true
} satisfies Record<Code, true>)

type Timed = Kind | "batch"
const timedKinds: ReadonlyArray<Timed> = ["put", "take", "move", "count", "undo", "batch"]

/** Every series is there from the start, so that a rate over it sees the first event. */
export const startMetrics = Effect.all(
  [
    startAtZero(
      operationsTotal,
      kinds.map((kind) => ({ kind }))
    ),
    startAtZero(
      quantityChanged,
      kinds.map((kind) => ({ kind }))
    ),
    startAtZero(
      stockRefusals,
      codes.map((code) => ({ code }))
    ),
    Effect.forEach(timedKinds, (kind) => Metric.value(Metric.withAttributes(stockDuration, { kind })))
  ],
  { discard: true }
)

/** Counts bookings that are committed. */
export const countBooked = (operations: ReadonlyArray<Operation>) => {
  // The sums are taken at once: what waits for the commit of a long import must not hold on to its bookings.
  const sums = new Map<Kind, { readonly bookings: number; readonly pieces: number }>()
  for (const { kind, movements } of operations) {
    const { bookings, pieces } = sums.get(kind) ?? { bookings: 0, pieces: 0 }
    sums.set(kind, { bookings: bookings + 1, pieces: movements.reduce((sum, { deltaQty }) => sum + Math.abs(deltaQty), pieces) })
  }
  return Effect.forEach(
    sums,
    ([kind, { bookings, pieces }]) =>
      Effect.andThen(
        Metric.update(Metric.withAttributes(operationsTotal, { kind }), bookings),
        Metric.update(Metric.withAttributes(quantityChanged, { kind }), pieces)
      ),
    { discard: true }
  )
}

export const countRefused = ({ code }: { readonly code: string }) => Metric.update(Metric.withAttributes(stockRefusals, { code }), 1)

/** Measures a verb from its call to its commit or refusal. */
export const timed = <A, E, R>(kind: Timed, verb: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Clock.monotonicTimeNanos, (since) =>
    Effect.ensuring(
      verb,
      Effect.flatMap(Clock.monotonicTimeNanos, (until) =>
        Metric.update(Metric.withAttributes(stockDuration, { kind }), Number(until - since) / 1e9)
      )
    )
  )
