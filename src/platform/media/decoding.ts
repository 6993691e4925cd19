import type { Kind, MediaType } from "./formats.ts"

/** What the server asks of a decoding process, one question at a time. */
export type Question =
  | { readonly ask: "inspect"; readonly path: string; readonly size: number }
  | {
      readonly ask: "thumbnail"
      readonly path: string
      readonly mediaType: MediaType
      readonly size: number
      readonly format: "jpeg" | "webp"
    }
  | { readonly ask: "preview"; readonly path: string; readonly size: number }
  | { readonly ask: "text"; readonly path: string; readonly pages: number; readonly bytes: number }

export interface Drawn {
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
}

export interface Answers {
  readonly inspect: {
    readonly kind: Kind
    readonly mediaType: MediaType
    readonly width: number | null
    readonly height: number | null
    readonly pageCount: number | null
  }
  readonly thumbnail: Drawn
  readonly preview: Drawn
  readonly text: string
}

export type Reply = (
  | { readonly reply: "answer"; readonly answer: unknown }
  | { readonly reply: "refusal"; readonly because: Because; readonly detail: string }
  /** A fault of ours or of the machine (the file is gone, no descriptors left), no verdict on the file. */
  | { readonly reply: "fault"; readonly stack: string }
) & { readonly memory: number }

export type Because = "unsupported" | "unreadable" | "too-large"

/** A verdict on the file, in a sentence for the person who sent it. */
export class Refusal extends Error {
  readonly because: Because
  constructor(because: Because, detail: string, cause?: unknown) {
    super(detail, { cause })
    this.because = because
  }
}

/** The reader of a format threw: whatever it says, the file is at fault. */
export const unreadable = (detail: string) => (cause: unknown) => {
  throw cause instanceof Refusal ? cause : new Refusal("unreadable", detail, cause)
}

/** Last word of a decoding process that took more memory than it may. */
export const outOfMemory = "partwright: more memory than allowed"
