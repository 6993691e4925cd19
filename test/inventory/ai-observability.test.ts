import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { Provider } from "../support/ai.ts"
import { asked, assisted, proposed } from "../support/assisted.ts"
import { eventReader } from "../support/event-stream.ts"
import { read } from "../support/exposition.ts"
import { newPart, post } from "../support/inventory.ts"
import { answer } from "../support/openai.ts"
import { Http } from "../support/world.ts"

const kinds = ["tags", "type", "photo", "datasheet", "part", "cleanup"]
const outcomes = ["created", "accepted", "rejected", "superseded", "expired"]

const page = Effect.map(
  Metrics.use(({ page }) => page),
  read
)

/** The value of the series with at least these labels. */
const valueOf = ({ series }: ReturnType<typeof read>, name: string, labels: Readonly<Record<string, string>> = {}) =>
  series.find((one) => one.name === `partwright_${name}` && Object.entries(labels).every(([label, value]) => one.labels[label] === value))
    ?.value

layer(assisted({ AI_MONTHLY_BUDGET_USD: "5" }), { excludeTestServices: true, timeout: "60 seconds" })(
  "R38, R44: what proposals are seen by",
  (it) => {
    it.effect("metrics are there from the start, for every kind, with right names", () =>
      Effect.gen(function* () {
        const now = yield* page
        assert.deepStrictEqual(now.faults, [])
        for (const kind of kinds) {
          const purpose = `inventory.${kind}`
          for (const outcome of outcomes) assert.strictEqual(valueOf(now, "inventory_proposals_total", { kind, outcome }), 0, kind)
          for (const outcome of ["ok", "cached", "over-budget", "rate-limited"]) {
            assert.strictEqual(valueOf(now, "openai_requests_total", { purpose, outcome }), 0, purpose)
          }
          for (const direction of ["input", "output"]) {
            assert.strictEqual(valueOf(now, "openai_tokens_total", { purpose, direction }), 0, purpose)
          }
          assert.strictEqual(valueOf(now, "openai_cost_usd_total", { purpose }), 0, purpose)
          assert.strictEqual(valueOf(now, "openai_request_duration_seconds_count", { purpose }), 0, purpose)
        }
        assert.strictEqual(valueOf(now, "inventory_proposals_pending"), 0)
        assert.deepStrictEqual([valueOf(now, "openai_budget_usd"), valueOf(now, "openai_spent_usd")], [5, 0])
      })
    )

    it.effect("events tell that one was made, accepted and rejected, with its part and who did it; metrics count each", () =>
      Effect.gen(function* () {
        const provider = yield* Provider
        const { fetch } = yield* Http
        const feed = yield* eventReader(fetch(new Request("http://test/api/events?topics=proposal")))
        const id4 = yield* newPart({ description: "Relay 5 V" })
        provider.script((_, nth) => answer({ tags: [`tag-${nth}`] }))
        const one = yield* proposed("tags", { id4 })
        assert.strictEqual((yield* post(`/api/ai/proposals/${one.id}/accept`, {})).status, 200)
        const two = yield* proposed("tags", { id4 })
        assert.strictEqual((yield* post(`/api/ai/proposals/${two.id}/reject`, {})).status, 200)
        // What fails proposes nothing.
        provider.script(() => ({ type: "refusal", text: "no" }))
        assert.strictEqual((yield* asked("tags", { description: "Relay" })).state, "failed")

        const events = yield* feed.events(4)
        assert.deepStrictEqual(
          events.map(({ data, event }) => [event, data.entityId ?? data.id]),
          [
            ["proposal.created", one.id],
            ["proposal.accepted", one.id],
            ["proposal.created", two.id],
            ["proposal.rejected", two.id]
          ]
        )
        assert.include(JSON.stringify(events[1]?.data), id4)

        const now = yield* page
        assert.deepStrictEqual(now.faults, [])
        assert.deepStrictEqual(
          outcomes.map((outcome) => valueOf(now, "inventory_proposals_total", { kind: "tags", outcome })),
          [2, 1, 1, 0, 0]
        )
        const ofTags = (labels: Record<string, string>) => ({ purpose: "inventory.tags", ...labels })
        assert.strictEqual(valueOf(now, "openai_requests_total", ofTags({ outcome: "ok" })), 2)
        assert.strictEqual(valueOf(now, "openai_requests_total", ofTags({ outcome: "refused" })), 1)
        assert.strictEqual(valueOf(now, "openai_tokens_total", ofTags({ direction: "input" })), 3000)
        assert.strictEqual(valueOf(now, "openai_request_duration_seconds_count", ofTags({})), 3)
        assert.closeTo(valueOf(now, "openai_cost_usd_total", ofTags({})) ?? 0, 3 * 0.00056, 1e-9)
      }).pipe(Effect.scoped)
    )
  }
)
