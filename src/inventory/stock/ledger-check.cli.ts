import { Console, Data, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { onApplication } from "../../command.ts"
import { LedgerCheck } from "./ledger-check.service.ts"
import { describeViolation } from "./ledger-check.ts"

class LedgerViolated extends Data.TaggedError("LedgerViolated")<{ readonly violations: number; readonly shown: number }> {
  override get message() {
    const { shown, violations } = this
    return `${violations} ${violations === 1 ? "violation" : "violations"}${shown < violations ? `, of which ${shown} are listed` : ""}`
  }
}

export const verify = Command.make(
  "verify",
  {
    json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("Print the report as JSON"))
  },
  ({ json }) =>
    Effect.gen(function* () {
      const ledger = yield* LedgerCheck
      const report = yield* ledger.run(20)
      const { movements, operations, shown, violations } = report
      if (json) yield* Console.log(JSON.stringify(report, null, 2))
      else {
        for (const violation of shown) yield* Console.log(describeViolation(violation))
        if (violations === 0) yield* Console.log(`the ledger is right: ${operations} operations, ${movements} movements`)
      }
      if (violations > 0) return yield* new LedgerViolated({ violations, shown: shown.length })
    }).pipe(onApplication(LedgerCheck.layer))
).pipe(Command.withDescription("Prove that every slot and total is the sum of its movements; exit code 1 when one is not"))
