import { Effect, Schema, type Scope, type Stream } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { ByteRange } from "../objects/object.ts"
import { Problem, toResponse } from "./problems.ts"

export class RangeNotSatisfiable extends Problem<RangeNotSatisfiable>()("RangeNotSatisfiable", {
  code: "range-not-satisfiable",
  status: 416,
  title: "The file has no such bytes",
  help: "The Range header asks for bytes beyond the end. Content-Range in the answer says how many there are."
}) {}

export const Disposition = {
  disposition: Schema.optional(
    Schema.Literals(["inline", "attachment"]).annotate({ description: "attachment makes a browser save the file instead of showing it" })
  )
}

/** A file as it is to be sent. */
export interface Download<E, R> {
  readonly size: number
  readonly mediaType: string
  /** Of these bytes and no others. */
  readonly sha256: string
  readonly filename: string | null
  readonly attachment: boolean
  /** Whether the address will never name other bytes. */
  readonly immutable: boolean
  readonly vary?: string
  /** Opens the file; whoever only asks for the head does not. */
  readonly open: (range: ByteRange | undefined) => Effect.Effect<Stream.Stream<Uint8Array, unknown>, E, R>
}

// What a browser may show. Everything else could be active content in our origin, so it is saved instead.
const shown = /^(image\/(png|jpeg|webp|gif|avif)|application\/pdf|model\/gltf-binary|text\/plain)$/u

/** Answers conditional (RFC 9110, 13) and ranged (14) requests; of several ranges, and of a range that cannot be read, all is sent. */
export const download = <E, R>(
  file: Download<E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E | RangeNotSatisfiable, R | Scope.Scope | HttpServerRequest.HttpServerRequest> =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const etag = `"${file.sha256}"`
    const isShown = shown.test(file.mediaType)
    const headers: Record<string, string> = {
      etag,
      "accept-ranges": "bytes",
      "cache-control": file.immutable ? "private, max-age=31536000, immutable" : "private, no-cache",
      "content-disposition": disposition(isShown && !file.attachment ? "inline" : "attachment", file.filename),
      // Shown alone, by the browser's own viewer; nothing in it may run or reach out.
      "content-security-policy": isShown ? "default-src 'none'; frame-ancestors 'none'" : "sandbox; default-src 'none'",
      ...(file.vary === undefined ? {} : { vary: file.vary })
    }
    if (matches(request.headers["if-none-match"], etag)) return HttpServerResponse.empty({ status: 304, headers })
    const ifRange = request.headers["if-range"]
    const asked = ifRange === undefined || ifRange.trim() === etag ? rangeOf(request.headers.range, file.size) : undefined
    if (asked === "beyond") {
      const problem = new RangeNotSatisfiable({ detail: `The file has ${file.size} bytes, and ${request.headers.range} lies beyond them.` })
      return toResponse(problem, { "content-range": `bytes */${file.size}` })
    }
    const length = asked === undefined ? file.size : asked.end - asked.start + 1
    const options = {
      status: asked === undefined ? 200 : 206,
      contentType: file.mediaType,
      contentLength: length,
      headers: {
        ...headers,
        "content-length": String(length),
        ...(asked === undefined ? {} : { "content-range": `bytes ${asked.start}-${asked.end}/${file.size}` })
      }
    }
    if (request.method === "HEAD")
      return HttpServerResponse.empty({ status: options.status, headers: { ...options.headers, "content-type": file.mediaType } })
    return HttpServerResponse.stream(yield* file.open(asked), options)
  })

const matches = (header: string | undefined, etag: string) =>
  header !== undefined && (header.trim() === "*" || header.split(",").some((tag) => tag.trim().replace(/^W\//u, "") === etag))

/** One range of bytes; "beyond" when nothing of it is there; undefined when there is none, several, or one that cannot be read. */
export const rangeOf = (header: string | undefined, size: number): ByteRange | "beyond" | undefined => {
  const [, first = "", last = ""] = /^bytes=\s*(\d{0,30})-(\d{0,30})\s*$/iu.exec(header ?? "") ?? []
  if (first === "" && last === "") return undefined
  if (first === "") return Number(last) === 0 || size === 0 ? "beyond" : { start: Math.max(0, size - Number(last)), end: size - 1 }
  if (last !== "" && Number(last) < Number(first)) return undefined
  if (Number(first) >= size) return "beyond"
  return { start: Number(first), end: last === "" ? size - 1 : Math.min(Number(last), size - 1) }
}

/** RFC 6266 with the name twice: in ASCII for old clients, and as RFC 8187 wants it. */
const disposition = (kind: "inline" | "attachment", filename: string | null) => {
  if (filename === null) return kind
  const plain = filename.replaceAll(/[^\x20-\x7e]|["\\%]/gu, "_")
  const encoded = encodeURIComponent(filename.toWellFormed()).replaceAll(
    /['()*]/gu,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`
  )
  return `${kind}; filename="${plain}"; filename*=UTF-8''${encoded}`
}
