import { Effect, Formatter, Layer, Logger, References } from "effect"
import { AppConfig } from "../config.ts"
import { CurrentRequest } from "../http/request.ts"

/** One JSON object a line: time, level, message, trace and request ids, annotations; a cause with its stack when there is one. */
export const jsonLogger = Logger.make((options) => {
  const { annotations, cause, level, message, timestamp } = Logger.formatStructured.log(options)
  const { principal, requestId } = options.fiber.getRef(CurrentRequest)
  const span = options.fiber.cache.span
  const fields = {
    time: timestamp,
    level: level.toLowerCase(),
    message: typeof message === "string" ? message : Formatter.formatJson(message),
    ...(span === undefined || span._tag !== "Span" || span.traceId === "noop" ? {} : { traceId: span.traceId, spanId: span.spanId }),
    ...(requestId === null ? {} : { requestId, principal })
  }
  const more = { ...annotations, ...(cause === undefined ? {} : { cause }) }
  // Unlike JSON.stringify it takes bigints and circles: a line that cannot be written would end the work that wrote it.
  console.log(Formatter.formatJson({ ...fields, ...more, ...fields }))
})

const levels = { trace: "Trace", debug: "Debug", info: "Info", warn: "Warn", error: "Error", none: "None" } as const

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { logFormat, logLevel } = yield* AppConfig
    const pretty = logFormat === "pretty" || (logFormat === "auto" && process.stdout.isTTY)
    return Layer.merge(
      Logger.layer([pretty ? Logger.consolePretty() : jsonLogger]),
      Layer.succeed(References.MinimumLogLevel, levels[logLevel])
    )
  })
)
