import { Context, Effect, Layer, Option, Schema } from "effect"
import { type Tool, tool } from "#platform/ai/ask.ts"
import { LinkCapture } from "../documents/capture.service.ts"
import { DocumentTexts } from "../documents/document-texts.service.ts"
import { type Candidate, mostCandidates } from "../duplicates/duplicate.ts"
import { Duplicates } from "../duplicates/duplicates.service.ts"
import { address } from "./legible.ts"

/** What the model may look up for one question, and what it has seen by that. */
export interface Desk {
  readonly tools: ReadonlyArray<Tool<never>>
  /** Parts that it was shown, and may call duplicates. */
  readonly offered: Map<string, Candidate>
  /** What was written at the addresses that it read. */
  readonly texts: Map<string, string>
  /** Reads these addresses as well, as far as they can be read: an answer that was kept cites what was read long ago. */
  readonly read: (urls: ReadonlyArray<string>) => Effect.Effect<void>
}

/** How much one tool answers of a page or a data sheet: at 4 characters a token some 5,000 tokens. */
export const longestText = 20_000
/** A quote may stand further down than the model was shown. */
const longestCited = 200_000

/** The model's tools. They only read. */
export class Lookups extends Context.Service<
  Lookups,
  {
    /** Tools for one question, with the parts that the model is shown from the start. */
    readonly desk: (options: { readonly parts: boolean; readonly offered: ReadonlyArray<Candidate> }) => Desk
  }
>()("inventory/Lookups") {
  static readonly layerNoDeps = Layer.effect(
    Lookups,
    Effect.gen(function* () {
      const capture = yield* LinkCapture
      const duplicates = yield* Duplicates
      const texts = yield* DocumentTexts

      return Lookups.of({
        desk: ({ offered, parts }) => {
          const shown = new Map<string, Candidate>(offered.map((part) => [part.id4, part]))
          const read = new Map<string, string>()
          const readAddress = tool({
            name: "read_address",
            description: "The text of a web page or a PDF.",
            parameters: Schema.Struct({ url: Schema.String }),
            run: ({ url }) =>
              Effect.suspend(() => {
                const at = address(url)
                if (at === null) return Effect.succeed({ error: "This is no http or https address." })
                return capture.text(at, longestText).pipe(
                  Effect.tap(({ text }) => Effect.sync(() => read.set(at, text))),
                  Effect.catch(({ detail }) => Effect.succeed({ error: detail ?? "Nothing can be read there." }))
                )
              })
          })
          const searchParts = tool({
            name: "search_parts",
            description: "Parts that are in the catalogue already, by part number, value or words.",
            parameters: Schema.Struct({ query: Schema.String }),
            run: ({ query }) =>
              Effect.gen(function* () {
                const found = yield* duplicates.candidates(query, 10)
                // No more in all than may be offered at once.
                const fresh = found.filter(({ id4 }) => !shown.has(id4)).slice(0, mostCandidates - shown.size)
                for (const part of fresh) shown.set(part.id4, part)
                return { parts: found.filter(({ id4 }) => shown.has(id4)) }
              })
          })
          const readDatasheet = tool({
            name: "read_datasheet",
            description: "The beginning of the data sheet of a part in the catalogue, by its four letters.",
            parameters: Schema.Struct({ id4: Schema.String }),
            run: ({ id4 }) =>
              Effect.gen(function* () {
                if (!/^[A-Za-z]{4}$/u.test(id4)) return { error: "This is not the four letters of a part." }
                const found = yield* texts.ofPart(id4.toUpperCase(), longestText)
                return Option.getOrElse(found, () => ({ error: "This part has no data sheet that could be read." }))
              })
          })
          return {
            tools: parts ? [searchParts, readDatasheet, readAddress] : [readAddress],
            offered: shown,
            texts: read,
            read: (urls) =>
              Effect.forEach(
                urls,
                (url) =>
                  capture.text(url, longestCited).pipe(
                    Effect.tap(({ text }) => Effect.sync(() => read.set(url, text))),
                    Effect.ignore
                  ),
                { concurrency: 5, discard: true }
              )
          }
        }
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([LinkCapture.layer, Duplicates.layer, DocumentTexts.layer]))
}
