import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { onApplication } from "../../command.ts"
import { SearchIndex } from "./search-index.service.ts"

export const searchRebuild = Command.make("search-rebuild", {}, () =>
  Effect.flatMap(SearchIndex, (index) =>
    index.rebuild((done, total) =>
      process.stderr.isTTY ? Effect.sync(() => process.stderr.write(`\r${done} of ${total} parts`)) : Effect.void
    )
  ).pipe(
    Effect.flatMap(({ parts }) => Console.log(`${parts} parts indexed`)),
    onApplication(SearchIndex.layer)
  )
).pipe(Command.withDescription("Make the search index anew from the data"))
