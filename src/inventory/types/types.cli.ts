import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { onApplication } from "../../command.ts"
import { Types } from "./types.service.ts"

export const typesSync = Command.make("types-sync", {}, () =>
  Effect.flatMap(Types, (types) => types.sync).pipe(
    Effect.flatMap((inserted) => Console.log(`${inserted} starter types inserted`)),
    onApplication(Types.layer)
  )
).pipe(Command.withDescription("Insert starter types that were never inserted before"))
