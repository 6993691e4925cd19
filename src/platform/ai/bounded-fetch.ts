import { CallFailure } from "./call-failure.ts"

/** Fetches answers of at most so many bytes; the client itself collects a line of any length before it looks at it. */
export const boundedFetch =
  (most: number, host: string): typeof fetch =>
  async (input, init) => {
    const { body, headers, status, statusText } = await fetch(input, init)
    let bytes = 0
    const counted = body?.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => {
          bytes += chunk.byteLength
          if (bytes <= most) return controller.enqueue(chunk)
          controller.error(
            new CallFailure({
              outcome: "too-long",
              detail: `${host} answered with more than ${most / 2 ** 20} MiB, which no answer has. Look at what listens there.`,
              retryable: false
            })
          )
        }
      })
    )
    return new Response(counted ?? null, { status, statusText, headers })
  }
