import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Layer, Scope } from "effect"
import type { TestProject } from "vitest/node"
import { AppConfig } from "#platform/config.ts"
import { claim } from "#platform/db/data-dir.ts"
import { socketDirOf, start } from "#platform/db/embedded-postgres.ts"
import { Application } from "../../src/server.ts"
import { scratchFolder } from "./files.ts"
import { createDatabase, type Database, databaseOf, dropDatabase, type TestServer } from "./postgres.ts"
import { connectionOf } from "./world.ts"

/** What every new database begins with: the schema and the starter types. Connections are closed when it ends. */
const prepareTemplate = (template: Database): Effect.Effect<void, unknown> =>
  scratchFolder.pipe(
    Effect.flatMap((DATA_DIR) => Effect.provide(Layer.build(Application(connectionOf(template))), AppConfig.fromEnv({ DATA_DIR }))),
    Effect.scoped,
    Effect.asVoid
  )

const prefix = "partwright-test-"

const embedded = Effect.gen(function* () {
  yield* removeLeftovers
  const dataDir = yield* Effect.acquireRelease(
    Effect.sync(() => fs.realpathSync(fs.mkdtempSync(join(tmpdir(), prefix)))),
    (dir) => Effect.sync(() => fs.rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))
  )
  yield* claim({ dataDir, role: "server" })
  // Autovacuum would come to the template while it is copied. Tests that need statistics run `analyze`.
  const { database, host, port, username } = yield* start({ dataDir, durable: false, settings: { autovacuum: "off" } })
  return { host, port, username, password: "", database, template: "partwright_template", embedded: true } satisfies TestServer
})

const outside = (url: string): TestServer => {
  const { hostname, password, pathname, port, username } = new URL(url)
  return {
    host: decodeURIComponent(hostname),
    port: Number(port === "" ? 5432 : port),
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    template: `partwright_template_${randomBytes(6).toString("hex")}`, // several runs may share that server
    embedded: false
  }
}

// A run that was killed took its server with it, but not its directory. Nobody holds the lock of such a one.
const removeLeftovers = Effect.gen(function* () {
  const root = fs.realpathSync(tmpdir())
  for (const name of fs.readdirSync(root)) {
    const dataDir = join(root, name)
    const age = Date.now() - (fs.statSync(dataDir, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (!name.startsWith(prefix) || age < 60_000) continue
    yield* claim({ dataDir, role: "server" }).pipe(
      Effect.andThen(
        Effect.sync(() => [dataDir, socketDirOf(dataDir)].forEach((dir) => void fs.rmSync(dir, { recursive: true, force: true })))
      ),
      Effect.scoped,
      Effect.ignoreCause
    )
  }
})

export default async (project: TestProject) => {
  const scope = Scope.makeUnsafe()
  const close = () => Effect.runPromise(Scope.close(scope, Exit.void))
  const url = process.env.DATABASE_URL
  const begin = Effect.gen(function* () {
    const server: TestServer = url === undefined || url === "" ? yield* embedded : outside(url)
    yield* Effect.acquireRelease(createDatabase(server, server.template), () =>
      server.embedded ? Effect.void : dropDatabase(server, server.template)
    )
    yield* prepareTemplate(databaseOf(server, server.template))
    project.provide("postgres", server)
  })
  try {
    await Effect.runPromise(Scope.provide(begin, scope))
  } catch (error) {
    await close()
    throw error
  }
  return close
}
