import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rowsOfAll } from "../support/assisted.ts"
import { commandFolder, commandOn } from "../support/command.ts"
import { image } from "../support/files.ts"
import { answer, standIn } from "../support/openai.ts"
import { connected, type Database, freshDatabase } from "../support/postgres.ts"

const scratch = commandFolder()
const ai = (database: Database, env: Record<string, string>, ...args: ReadonlyArray<string>) =>
  commandOn(database, scratch, env, "ai", ...args)

const read = {
  manufacturerCodes: [
    { value: "NE555P", confidence: "high" },
    { value: "NE555", confidence: "low" }
  ],
  manufacturer: "TI",
  description: null,
  typeName: "proposed: Timer",
  package: "DIP-8",
  quantity: 25,
  dateCode: "2431",
  lotCode: null,
  seller: null,
  codes: ["4006381333931"],
  visibleText: "TEXAS INSTRUMENTS\nNE555P",
  documentQueries: []
}

describe("the command ai", () => {
  it.live("reads a photo, says what is in it and what that cost, and leaves the inventory as it is", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase("try")
      const provider = yield* standIn
      provider.script(() => answer(read))
      const env = { OPENAI_BASE_URL: provider.url, OPENAI_MODEL: "gpt-4.1-mini", AI_MONTHLY_BUDGET_USD: "1" }
      const photo = join(scratch, "bag.jpg")
      writeFileSync(photo, yield* image({ seed: 8, format: "jpeg" }))
      assert.strictEqual((yield* ai(database, env, "status")).code, 0)
      const rows = connected(database, rowsOfAll(["ai_answers", "ai_spending", "schedule_runs"]))
      const before = yield* rows

      assert.deepStrictEqual(yield* ai(database, env, "try", photo), {
        code: 0,
        out: `part numbers    NE555P (high), NE555 (low)
manufacturer    TI
type            Timer (a new one)
package         DIP-8
quantity        25
date code       2431
other codes     4006381333931
text            TEXAS INSTRUMENTS
                NE555P

gpt-4.1-mini-2026-03-17, 1000 tokens in, 100 out, $0.0006
`,
        err: ""
      })
      const again = JSON.parse((yield* ai(database, env, "try", photo, "--json")).out)
      assert.deepStrictEqual(again.usage, {
        model: "gpt-4.1-mini-2026-03-17",
        inputTokens: 0,
        outputTokens: 0,
        costUsd: 0,
        cached: true
      })
      assert.deepInclude(again.output, { typeName: "Timer", existingTypeId: null, quantity: 25 })
      assert.strictEqual(provider.requests.length, 1)
      assert.deepStrictEqual(yield* rows, before)

      assert.strictEqual(
        (yield* ai(database, env, "status")).out,
        `configured      yes
model           gpt-4.1-mini
budget          $1.0000 a month
spent           $0.0006 this month, with the most that calls under way can cost
`
      )
    }).pipe(Effect.scoped)
  )

  it.live("says what to set when there is no model, and what is no photo", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase("none")
      const photo = join(scratch, "none.png")
      writeFileSync(photo, yield* image())
      const refused = yield* ai(database, {}, "try", photo)
      assert.deepStrictEqual([refused.code, refused.out], [1, ""])
      assert.match(refused.err, /OPENAI_API_KEY.*OPENAI_BASE_URL/u)
      const none = yield* ai(database, {}, "status")
      assert.strictEqual(none.code, 0)
      assert.match(none.out, /^configured {6}no: set OPENAI_API_KEY, or OPENAI_BASE_URL/u)
      assert.deepInclude(JSON.parse((yield* ai(database, {}, "status", "--json")).out), { configured: false, budgetUsd: null, spentUsd: 0 })

      const provider = yield* standIn
      const list = join(scratch, "list.jpg")
      writeFileSync(list, "not a photo")
      const env = { OPENAI_BASE_URL: provider.url }
      const noPhoto = yield* ai(database, env, "try", list)
      assert.deepStrictEqual([noPhoto.code, noPhoto.out], [1, ""])
      assert.match(noPhoto.err, /JPEG, PNG/u)
      assert.strictEqual((yield* ai(database, { ...env, AI_MONTHLY_BUDGET_USD: "0", AI_PRICES: "" }, "try", photo)).code, 1)
      assert.strictEqual((yield* ai(database, env, "try", join(scratch, "missing.jpg"))).code, 1)
      assert.strictEqual(provider.requests.length, 0)
    }).pipe(Effect.scoped)
  )
})
