import { Effect, Layer } from "effect"
import { standIn } from "./openai.ts"
import { world } from "./world.ts"

/** A world with a language model that answers the least it can. */
export const worldWithModel = (env: Record<string, string> = {}) =>
  Layer.unwrap(Effect.map(standIn, ({ url }) => world({ OPENAI_BASE_URL: url, ...env })))
