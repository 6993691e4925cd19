import { Console, Effect, Layer } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { OpenAi } from "#platform/ai/openai.service.ts"
import { onApplication } from "../../command.ts"
import type { Output } from "../proposals/output.ts"
import type { Proposal } from "../proposals/proposal.ts"
import { Suggestions } from "./suggestions.service.ts"

const json = Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Print JSON"))

const dollars = (usd: number) => `$${usd.toFixed(4)}`

const paid = ({ cached, costUsd, inputTokens, model, outputTokens }: Proposal["usage"]) =>
  cached
    ? `${model}, known from the same question before: no tokens, ${dollars(0)}`
    : `${model}, ${inputTokens} tokens in, ${outputTokens} out, ${costUsd === null ? "its price is not known: set AI_PRICES" : dollars(costUsd)}`

const width = 16

/** Names beside what they stand for; what has no value is left out. */
const table = (rows: Readonly<Record<string, string | number | null>>) =>
  Object.entries(rows)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name.padEnd(width)}${String(value).replaceAll("\n", `\n${" ".repeat(width)}`)}`)
    .join("\n")

const found = (photo: Output<"photo">) =>
  table({
    "part numbers": photo.manufacturerCodes.map(({ confidence, value }) => `${value} (${confidence})`).join(", "),
    manufacturer: photo.manufacturer,
    description: photo.description,
    type: photo.typeName === null || photo.existingTypeId !== null ? photo.typeName : `${photo.typeName} (a new one)`,
    package: photo.package,
    quantity: photo.quantity,
    "date code": photo.dateCode,
    "lot code": photo.lotCode,
    seller: photo.seller,
    "other codes": photo.codes.join(", "),
    "to look for": photo.documentQueries.join(", "),
    text: photo.visibleText
  })

const tryPhoto = Command.make(
  "try",
  {
    photo: Argument.File("photo", { mustExist: true }).pipe(
      Argument.withDescription("A JPEG, PNG or WebP photo of a part, or of the bag it came in")
    ),
    json
  },
  ({ json, photo }) =>
    Effect.gen(function* () {
      const suggestions = yield* Suggestions
      yield* (yield* OpenAi).ready
      const { output, usage } = yield* suggestions.look(photo)
      if (json) return yield* Console.log(JSON.stringify({ output, usage }, null, 2))
      const words = found(output)
      yield* Console.log(words === "" ? "nothing can be read in it" : words)
      yield* Console.log(`\n${paid(usage)}`)
    }).pipe(onApplication(Suggestions.layer))
).pipe(Command.withDescription("Read a photo with the language model, to see that key and model work; the inventory stays as it is"))

const status = Command.make("status", { json }, ({ json }) =>
  Effect.gen(function* () {
    const now = yield* Effect.flatMap(OpenAi, ({ status }) => status)
    if (json) return yield* Console.log(JSON.stringify(now, null, 2))
    yield* Console.log(
      table({
        configured: now.configured ? "yes" : "no: set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server of your own",
        model: now.model,
        budget: now.budgetUsd === null ? "none" : `${dollars(now.budgetUsd)} a month`,
        spent: `${dollars(now.spentUsd)} this month, with the most that calls under way can cost`
      })
    )
  }).pipe(onApplication(Layer.empty))
).pipe(Command.withDescription("Whether a language model is configured, and what it has cost this month"))

export const ai = Command.make("ai").pipe(
  Command.withDescription("The language model that proposes"),
  Command.withSubcommands([tryPhoto, status])
)
