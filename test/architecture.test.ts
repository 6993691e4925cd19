import { globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path/posix"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

interface Source {
  /** From the root of the repository, with slashes. */
  readonly path: string
  readonly text: string
}

/** What each area may lean on, besides itself. */
const leansOn: Readonly<Record<string, ReadonlyArray<string>>> = {
  platform: [],
  inventory: ["platform"],
  library: ["platform"],
  fabrication: ["platform", "inventory", "library"],
  prices: ["platform", "inventory", "library"]
}

/** Clients of outside services, each behind one folder or file. */
const clients: ReadonlyArray<readonly [name: RegExp, folder: string]> = [
  [/^@(?:aws-sdk|smithy)\//u, "src/platform/objects/object-store.s3.ts"],
  [/^amqplib$/u, "src/platform/jobs/"],
  [/^openai$/u, "src/platform/ai/"]
]

const code = (text: string) => text.replaceAll(/\/\*[\s\S]*?\*\//gu, "").replaceAll(/(?<![:"'`\w\\])\/\/.*/gu, "")

const imports = (text: string) =>
  [...text.matchAll(/^\s*(?:import|export)\b[^"'`;]*?\bfrom\s*"([^"]+)"|\bimport\s*\(?\s*"([^"]+)"/gmu)].map(
    ([, from, bare]) => from ?? bare ?? ""
  )

const target = (path: string, specifier: string) =>
  specifier.startsWith("#") ? `src/${specifier.slice(1)}` : specifier.startsWith(".") ? join(dirname(path), specifier) : undefined

/** Files whose services nobody else may use, and who may besides the folder that they are in. */
const inner: ReadonlyArray<readonly [file: RegExp, above: string]> = [
  // It can delete an object that a row still names.
  [/^src\/platform\/objects\/object-store\b/u, "src/server.ts"]
]

/** `src/area/…`; undefined for what stands above the areas and puts them together: api, server, main. */
const areaOf = (path: string) => /^src\/([^/]+)\//u.exec(path)?.[1]

const violations = ({ path, text: original }: Source): ReadonlyArray<string> => {
  const text = code(original)
  const area = areaOf(path)
  const found: Array<string> = []
  for (const specifier of imports(text)) {
    for (const [name, folder] of clients)
      if (name.test(specifier) && !path.startsWith(folder)) found.push(`${specifier} belongs to ${folder}`)
    if (/^(effect\/sql|@effect\/sql-pg)\b/u.test(specifier) && !mayHoldSql(path)) found.push(`${specifier} is for repositories`)
    const imported = target(path, specifier)
    for (const [file, above] of inner)
      if (imported !== undefined && file.test(imported) && dirname(imported) !== dirname(path) && path !== above)
        found.push(`${specifier} is for ${dirname(imported)} alone`)
    if (imported === undefined || area === undefined || !imported.startsWith("src/")) continue
    if (imported.endsWith(".repo.ts") && dirname(imported) !== dirname(path)) found.push(`${specifier} is another feature's repository`)
    const other = areaOf(imported)
    if (other === undefined) {
      if (!mayLookUp.some(([suffix, above]) => path.endsWith(suffix) && imported === above))
        found.push(`${specifier} stands above the areas`)
    } else if (other !== area && !(leansOn[area] ?? []).includes(other)) found.push(`${area} does not lean on ${other}: ${specifier}`)
  }
  if (area !== undefined && !(area in leansOn)) found.push(`${area} is no area`)
  if (/\bsql(?:\.unsafe\(|<[^`]*>`|`)/u.test(text) && !mayHoldSql(path)) found.push("SQL outside a repository")
  if (/\bprocess\s*\.\s*env\b/u.test(text) && path !== "src/platform/config.ts") found.push("process.env outside platform/config.ts")
  if (/\bconsole\s*\./u.test(text) && !mayPrint(path)) found.push("console outside commands and telemetry")
  return found.map((what) => `${path}: ${what}`)
}

// The contract that handlers implement, and what every command stands on.
const mayLookUp = [
  [".http.ts", "src/api.ts"],
  [".cli.ts", "src/command.ts"]
] as const

const mayHoldSql = (path: string) => path.endsWith(".repo.ts") || path.startsWith("src/platform/")

const mayPrint = (path: string) => path.endsWith(".cli.ts") || path.startsWith("src/platform/telemetry/") || path === "src/main.ts"

/** The migrator skips an id below the highest applied one without a word. */
const migrationViolations = (names: ReadonlyArray<string>) => {
  const ids = names.map((name) => /^(\d{4})_[a-z][a-z0-9_]*\.ts$/u.exec(name)?.[1])
  const misnamed = names.filter((_, index) => ids[index] === undefined).map((name) => `${name} is not named NNNN_what.ts`)
  const repeated = names.filter((_, index) => ids[index] !== undefined && ids.indexOf(ids[index]) !== index)
  return [...misnamed, ...repeated.map((name) => `${name} has the id of another one`)]
}

const root = fileURLToPath(new URL("..", import.meta.url))
const files = (pattern: string) => globSync(pattern, { cwd: root }).map((path) => path.replaceAll("\\", "/"))

describe("the architecture", () => {
  it("holds in every file", () => {
    const sources = files("src/**/*.ts").map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }))
    assert.isAbove(sources.length, 50)
    assert.deepStrictEqual(sources.flatMap(violations), [])
  })

  it("holds for the migrations", () => {
    const names = files("migrations/*").map((path) => path.slice("migrations/".length))
    assert.isAbove(names.length, 5)
    assert.deepStrictEqual(migrationViolations(names.toSorted()), [])
  })
})

describe("each rule", () => {
  const parts = "src/inventory/parts/parts.service.ts"
  const refused: ReadonlyArray<readonly [rule: string, path: string, text: string]> = [
    ["another feature's repository", parts, 'import { BoxesRepo } from "../boxes/boxes.repo.ts"'],
    ["another feature's repository", parts, 'import { ChangesRepo } from "#platform/changes/changes.repo.ts"'],
    ["another feature's repository", parts, 'import {\n  type A,\n  BoxesRepo\n} from "#inventory/boxes/boxes.repo.ts"'],
    ["another feature's repository", parts, 'export * from "../boxes/boxes.repo.ts"'],
    ["another feature's repository", parts, 'const { BoxesRepo } = await import("../boxes/boxes.repo.ts")'],
    ["does not lean on", "src/platform/http/edge.ts", 'import { Parts } from "#inventory/parts/parts.service.ts"'],
    ["does not lean on", parts, 'import { Units } from "#library/units/unit.ts"'],
    ["does not lean on", parts, 'import { Prices } from "../../prices/products/product.ts"'],
    ["does not lean on", "src/prices/a/a.ts", 'import { WorkPart } from "#fabrication/work-parts/work-part.ts"'],
    ["stands above", parts, 'import { Api } from "#api.ts"'],
    ["stands above", "src/inventory/types/types.service.ts", 'import { command } from "../../command.ts"'],
    ["stands above", "src/inventory/parts/parts.http.ts", 'import { serve } from "../../server.ts"'],
    ["is no area", "src/utils/text.ts", ""],
    ["for repositories", parts, 'import { SqlClient } from "effect/sql"'],
    ["for repositories", "src/server.ts", 'import { PgClient } from "@effect/sql-pg"'],
    ["SQL outside", parts, "const found = yield* sql`select 1`"],
    ["SQL outside", parts, "const found = yield* sql<{ readonly n: number }>`select 1`"],
    ["SQL outside", "src/inventory/parts/parts.http.ts", 'sql.unsafe("select 1")'],
    ["process.env", parts, "const port = process.env.PORT"],
    ["process.env", "src/platform/telemetry/logger.ts", "const { PORT } = process.env"],
    ["belongs to src/platform/objects", "src/platform/jobs/queue.ts", 'import { S3Client } from "@aws-sdk/client-s3"'],
    [
      "belongs to src/platform/objects/object-store.s3.ts",
      "src/platform/objects/objects.ts",
      'import { S3Client } from "@aws-sdk/client-s3"'
    ],
    ["belongs to src/platform/objects/object-store.s3.ts", parts, 'import { NodeHttpHandler } from "@smithy/node-http-handler"'],
    ["is for src/platform/objects alone", parts, 'import { ObjectStore } from "#platform/objects/object-store.ts"'],
    ["is for src/platform/objects alone", "src/serve.ts", 'import { layer } from "./platform/objects/object-store.layer.ts"'],
    ["is for src/platform/objects alone", "src/platform/system/health.service.ts", 'await import("../objects/object-store.s3.ts")'],
    ["belongs to src/platform/jobs", "src/platform/objects/objects.ts", 'import amqp from "amqplib"'],
    ["belongs to src/platform/ai", parts, 'import OpenAI from "openai"'],
    ["console outside", parts, 'console.log("here")'],
    ["console outside", "src/server.ts", 'console.error("here")']
  ]
  for (const [rule, path, text] of refused) {
    it(`refuses in ${path}: ${text.replaceAll(/\s+/gu, " ")}`, () => {
      const found = violations({ path, text })
      assert.strictEqual(found.length, 1, found.join("\n"))
      assert.include(found[0], rule)
    })
  }

  const allowed: ReadonlyArray<readonly [path: string, text: string]> = [
    [
      parts,
      'import { PartsRepo } from "./parts.repo.ts"\nimport { Boxes } from "../boxes/boxes.service.ts"\nimport { Db } from "#platform/db/db.ts"'
    ],
    [parts, '// process.env and console.log and sql`select` are spoken of here\nconst url = "https://a.example" /* console.log */'],
    ["src/inventory/parts/parts.repo.ts", 'import { SqlClient } from "effect/sql"\nsql`select 1`'],
    ["src/platform/db/db.ts", 'import { PgClient } from "@effect/sql-pg"\nsql`select 1`'],
    ["src/inventory/parts/parts.http.ts", 'import { Api } from "#api.ts"'],
    ["src/fabrication/a/a.ts", 'import { Parts } from "#inventory/parts/parts.service.ts"\nimport { Unit } from "#library/units/unit.ts"'],
    ["src/server.ts", 'import { PartsHttp } from "#inventory/parts/parts.http.ts"\nimport { PricesHttp } from "./prices/prices.http.ts"'],
    ["src/platform/config.ts", "process.env"],
    ["src/platform/objects/object-store.s3.ts", 'import { S3Client } from "@aws-sdk/client-s3"'],
    ["src/platform/objects/sweeper.jobs.ts", 'import { ObjectStore } from "./object-store.ts"'],
    ["src/server.ts", 'import { layer } from "#platform/objects/object-store.layer.ts"'],
    [parts, 'import type { Bucket } from "#platform/objects/object.ts"'],
    ["src/inventory/types/types.cli.ts", 'import { command } from "../../command.ts"\nconsole.log("done")'],
    ["src/platform/version.ts", 'import manifest from "../../package.json" with { type: "json" }']
  ]
  for (const [path, text] of allowed) {
    it(`allows in ${path}: ${text.replaceAll(/\s+/gu, " ")}`, () => assert.deepStrictEqual(violations({ path, text }), []))
  }

  it("of migrations refuses repeated ids and other names", () => {
    assert.deepStrictEqual(migrationViolations(["0001_a.ts", "0002_b_c.ts", "0010_c.ts"]), [])
    assert.deepStrictEqual(migrationViolations(["0001_a.ts", "0001_b.ts"]), ["0001_b.ts has the id of another one"])
    for (const name of ["1_a.ts", "00001_a.ts", "0001-a.ts", "0001_A.ts", "0001_a.js", "README.md"]) {
      assert.deepStrictEqual(migrationViolations([name]), [`${name} is not named NNNN_what.ts`])
    }
  })
})
