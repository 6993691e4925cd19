import { Effect, Layer } from "effect"
import { jobHandler } from "#platform/jobs/handlers.ts"
import type { ProposalKind } from "../proposals/output.ts"
import { suggestionKinds } from "./suggestion.ts"
import { Suggestions } from "./suggestions.service.ts"

const work = (kind: ProposalKind) =>
  jobHandler(
    suggestionKinds[kind],
    Effect.fnUntraced(function* ({ input }, run) {
      return yield* (yield* Suggestions).run(kind, input, run)
    })
  )

/** Asking the language model takes as long as it takes: never in a request. */
export const SuggestionsJobs = Layer.mergeAll(
  work("tags"),
  work("type"),
  work("photo"),
  work("datasheet"),
  work("part"),
  work("cleanup")
).pipe(Layer.provide(Suggestions.layer))
