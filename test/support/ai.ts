import { Context, Duration, Effect, Layer, Schema } from "effect"
import type { Ask } from "#platform/ai/ask.ts"
import { OpenAi, type Patience } from "#platform/ai/openai.service.ts"
import { AppConfig } from "#platform/config.ts"
import { Database } from "../../src/server.ts"
import { type StandIn, standIn } from "./openai.ts"
import { freshDatabase } from "./postgres.ts"
import { connectionOf } from "./world.ts"

export const key = "sk-proj-hidden-key"

/** The provider of a test. */
export class Provider extends Context.Service<Provider, StandIn>()("test/Provider") {
  static readonly layer = Layer.effect(Provider, standIn)
}

/** So short that tests need not wait, and long enough for a busy machine. */
export const impatient: Partial<Patience> = {
  pauses: [Duration.millis(1), Duration.millis(1)],
  idle: Duration.seconds(10),
  call: Duration.seconds(20),
  whole: Duration.seconds(25)
}

/** The service on a provider and a database of its own. */
export const aiWorld = (env: Record<string, string> = {}, patience: Partial<Patience> = impatient) => {
  const Configured = Layer.unwrap(
    Effect.map(Provider, ({ url }) =>
      AppConfig.fromEnv({ OPENAI_API_KEY: key, OPENAI_BASE_URL: url, OPENAI_MODEL: "gpt-4.1-mini", ...env })
    )
  )
  return Layer.unwrap(
    Effect.map(freshDatabase("ai"), (database) =>
      OpenAi.layerWith(patience).pipe(
        Layer.provideMerge(Database(connectionOf(database))),
        Layer.provideMerge(Configured),
        Layer.provideMerge(Provider.layer)
      )
    )
  )
}

/** A second one beside what is there, as another replica has it. */
export const another = (patience: Partial<Patience> = impatient) => Layer.build(Layer.fresh(OpenAi.layerWith(patience)))

export const Fruit = Schema.Struct({ name: Schema.String, count: Schema.NullOr(Schema.Int) })
export const pear = { name: "pear", count: 3 }

let asked = 0

/** A question that nobody has asked before. */
export const question = <R = never>(more: Partial<Ask<typeof Fruit.Type, R>> = {}): Ask<typeof Fruit.Type, R> => ({
  purpose: "test.fruit",
  instructions: "Name the fruit.",
  input: [{ type: "text", label: "description", text: `bag number ${++asked}` }],
  answer: Fruit,
  answerName: "fruit",
  ...more
})
