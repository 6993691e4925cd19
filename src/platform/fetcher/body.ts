import type { IncomingMessage } from "node:http"
import { pipeline, type Readable, Transform } from "node:stream"
import { createBrotliDecompress, createGunzip } from "node:zlib"
import { NodeStream } from "@effect/platform-node"
import { Effect, Result, Stream } from "effect"
import { header } from "./exchange.ts"
import { Unreachable, unreachable } from "./unreachable.ts"

export interface Body {
  /** The decoded bytes. Can be read once. */
  readonly stream: Stream.Stream<Uint8Array, Unreachable>
  readonly abort: (error: Unreachable) => Effect.Effect<void>
}

const decoders = {
  identity: () => [],
  gzip: () => [createGunzip()],
  "x-gzip": () => [createGunzip()],
  br: () => [createBrotliDecompress()]
}

/** The limit holds for what is sent and for what it decodes to: a few bytes can become any number, and any number can become none. */
export const bodyOf = (response: IncomingMessage, host: string, maxBytes: number): Result.Result<Body, Unreachable> => {
  const tooLarge = unreachable("too-large", `${host} sends more than ${sizeOf(maxBytes)}.`)
  const encoding = (header(response, "content-encoding") ?? "identity").trim().toLowerCase()
  if (Number(header(response, "content-length") ?? 0) > maxBytes) return Result.fail(tooLarge)
  if (!Object.hasOwn(decoders, encoding))
    return Result.fail(unreachable("broken-body", `${host} sends a compression that was not asked for.`))

  const decoder = decoders[encoding as keyof typeof decoders]()
  const stages = [atMost(maxBytes, tooLarge), ...decoder.flatMap((decode) => [decode, atMost(maxBytes, tooLarge)])]
  const decoded: Readable = stages.at(-1) as Transform
  // The failure of one stage ends all, with the connection, and is read from the last.
  pipeline([response, ...stages], () => {})
  decoded.on("error", () => {})

  let taken = false
  return Result.succeed({
    stream: Stream.suspend(() => {
      if (taken) return Stream.die(new Error("The body of an answer can be read once"))
      taken = true
      return NodeStream.fromReadable<Uint8Array, Unreachable>({
        evaluate: () => decoded,
        // A pull reads on as long as there is something: a decoder always has more.
        chunkSize: 4,
        onError: (error) => (error instanceof Unreachable ? error : broken(host, error))
      })
    }),
    abort: (error) => Effect.sync(() => void decoded.destroy(error))
  })
}

const atMost = (maxBytes: number, tooLarge: Unreachable) => {
  let seen = 0
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      seen += chunk.length
      if (seen > maxBytes) done(tooLarge)
      else done(null, chunk)
    }
  })
}

const broken = (host: string, error: unknown) => {
  const code = error instanceof Error && "code" in error ? String(error.code) : ""
  // Z_BUF_ERROR: the compressed data ends too early.
  return /^(Z_(?!BUF_ERROR)|ERR_+(BROTLI|PADDING|FORMAT|_ERROR))/u.test(code)
    ? unreachable("broken-body", `${host} sends damaged compressed data.`)
    : unreachable("broken-body", `${host} broke off before everything was sent.`)
}

const sizeOf = (bytes: number) => {
  const [unit, factor] = (
    [
      ["MiB", 2 ** 20],
      ["KiB", 2 ** 10]
    ] as const
  ).find(([, factor]) => bytes % factor === 0) ?? ["bytes", 1]
  return `${bytes / factor} ${unit}`
}
