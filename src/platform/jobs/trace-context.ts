import { Effect, Option, Tracer } from "effect"

/** The span that work is asked in, as a W3C traceparent; null without one. It travels in the job's row and in the broker's messages. */
export const traceparent = Effect.map(Effect.serviceOption(Tracer.ParentSpan), (span) =>
  Option.match(span, {
    onNone: () => null,
    onSome: ({ sampled, spanId, traceId }) => (/^[0-9a-f]{32}$/u.test(traceId) ? `00-${traceId}-${spanId}-${sampled ? "01" : "00"}` : null)
  })
)

/** Undefined when the text is none, or of a version that is not known. */
export const spanOf = (text: string | null) => {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/u.exec(text ?? "") ?? []
  return traceId === undefined || spanId === undefined
    ? undefined
    : Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags ?? "0", 16) & 1) === 1 })
}
