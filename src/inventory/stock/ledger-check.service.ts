import { Context, Effect, Layer, Metric } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db } from "#platform/db/db.ts"
import { LedgerCheckRepo } from "./ledger-check.repo.ts"
import { describeViolation, type LedgerReport, ruleNames } from "./ledger-check.ts"

const ledgerViolations = Metric.gauge("inventory_ledger_violations", { description: "Violations that the last check of the ledger found" })

/** Proves the ledger from its rows. What is wrong is reported and never repaired: nobody but a person knows which side is right. */
export class LedgerCheck extends Context.Service<
  LedgerCheck,
  {
    /** Of one moment, beside bookings that go on. Names at most so many violations of each rule. */
    readonly run: (limit: number) => Effect.Effect<LedgerReport>
    /** Runs it and tells whoever watches the log and the events of violations, of which it gives the number. */
    readonly watch: Effect.Effect<number>
  }
>()("inventory/LedgerCheck") {
  static readonly layerNoDeps = Layer.effect(
    LedgerCheck,
    Effect.gen(function* () {
      const repo = yield* LedgerCheckRepo
      const db = yield* Db
      const changes = yield* Changes
      yield* Metric.update(ledgerViolations, 0)

      const run = Effect.fn("LedgerCheck.run")(function* (limit: number) {
        const { found, size } = yield* db.snapshot(
          Effect.all({
            size: repo.size,
            found: Effect.forEach(ruleNames, (rule) => Effect.map(repo.broken(rule, limit), (broken) => ({ rule, ...broken })))
          })
        )
        const report: LedgerReport = {
          ...size,
          violations: found.reduce((sum, { count }) => sum + count, 0),
          shown: found.flatMap(({ first, rule }) => first.map((violation) => ({ rule, ...violation })))
        }
        yield* Metric.update(ledgerViolations, report.violations)
        return report
      })

      return LedgerCheck.of({
        run,
        watch: Effect.gen(function* () {
          const { shown, violations } = yield* run(10)
          if (violations === 0) return 0
          yield* Effect.logError(`the ledger has ${violations} violations`, shown.map(describeViolation))
          yield* db.transaction(
            changes.record({ topic: "ledger", action: "violation", entity: "ledger", entityId: "stock", after: { violations, shown } })
          )
          return violations
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([LedgerCheckRepo.layer, Changes.layer]))
}
