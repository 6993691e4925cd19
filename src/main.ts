import { NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer } from "effect"
import { Command } from "effect/cli"
import { sample } from "#inventory/sample/sample.cli.ts"
import { searchRebuild } from "#inventory/search/search.cli.ts"
import { verify } from "#inventory/stock/ledger-check.cli.ts"
import { ai } from "#inventory/suggestions/suggestions.cli.ts"
import { exportCsv } from "#inventory/transfer/export.cli.ts"
import { importParts } from "#inventory/transfer/import.cli.ts"
import { typesSync } from "#inventory/types/types.cli.ts"
import { AppConfig, describe } from "#platform/config.ts"
import { connect } from "#platform/db/connect.ts"
import { migrate } from "#platform/db/migrator.ts"
import { jobs } from "#platform/jobs/jobs.cli.ts"
import { objects } from "#platform/objects/objects.cli.ts"
import { signalled } from "#platform/system/signals.ts"
import { layer as Logging } from "#platform/telemetry/logger.ts"
import { version } from "#platform/version.ts"
import { server } from "./serve.ts"
import { Client, Work } from "./server.ts"

const Settings = Logging.pipe(Layer.provideMerge(AppConfig.layer))

const serve = Command.make("serve", {}, () => Effect.flatMap(signalled, server("serve"))).pipe(
  Command.withDescription("The server: API and background work in one process"),
  Command.provide(Settings)
)

const api = Command.make("api", {}, () => Effect.flatMap(signalled, server("api"))).pipe(
  Command.withDescription("The API alone, for many of them beside workers; migrate first"),
  Command.provide(Settings)
)

const worker = Command.make("worker", {}, () => Effect.flatMap(signalled, server("worker"))).pipe(
  Command.withDescription("Background work alone: runs jobs, and serves probes and metrics on PORT, or any port without one"),
  Command.provide(Logging.pipe(Layer.provideMerge(AppConfig.layerWith({ port: 0 }))))
)

const migrateCommand = Command.make("migrate", {}, () =>
  Effect.gen(function* () {
    const { connection } = yield* connect("command")
    const applied = yield* Effect.provide(migrate, Client(connection))
    yield* Console.log(applied.length === 0 ? "the schema is up to date" : applied.map(([id, name]) => `applied ${id} ${name}`).join("\n"))
  }).pipe(Effect.scoped)
).pipe(Command.withDescription("Bring the database schema up to this version"), Command.provide(Settings))

const config = Command.make("config", {}, () =>
  Effect.flatMap(AppConfig, (values) => Console.log(JSON.stringify(describe(values), null, 2)))
).pipe(Command.withDescription("Print the effective configuration, secrets hidden"), Command.provide(Settings))

const inventory = Command.make("inventory").pipe(
  Command.withDescription("Stock, parts and their data"),
  Command.withSubcommands([verify, typesSync, sample, importParts, exportCsv, searchRebuild]),
  Command.provide(Settings)
)

const partwright = Command.make("partwright").pipe(
  Command.withDescription("Everything a workshop buys, stores, makes and prints"),
  Command.withSubcommands([
    serve,
    api,
    worker,
    migrateCommand,
    config,
    inventory,
    ai.pipe(Command.provide(Settings)),
    objects.pipe(Command.provide(Settings)),
    jobs(Work).pipe(Command.provide(Settings))
  ])
)

/** Errors that a person can mend are one message without a stack; exit codes: 0 done, 1 refused or failed. */
const exit = await Effect.runPromiseExit(Command.run(partwright, { version }).pipe(Effect.provide(NodeServices.layer)))
if (Exit.isFailure(exit)) {
  const error = Cause.squash(exit.cause)
  const known = exit.cause.reasons.some(Cause.isFailReason)
  process.stderr.write(known && error instanceof Error ? `${error.message}\n` : `${Cause.pretty(exit.cause)}\n`)
  process.exitCode = 1
}
process.exit()
