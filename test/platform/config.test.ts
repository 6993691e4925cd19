import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { AppConfig, type ConfigError, describe as describeConfig } from "#platform/config.ts"

const read = (env: Record<string, string>) => AppConfig.use(Effect.succeed).pipe(Effect.provide(AppConfig.fromEnv(env)))

const refused = (env: Record<string, string>): Effect.Effect<ConfigError> =>
  Effect.flip(read(env)).pipe(
    Effect.map((error) => error as ConfigError),
    Effect.orDie
  )

describe("the configuration", () => {
  it.effect("needs no variable at all", () =>
    Effect.gen(function* () {
      const config = yield* read({})
      assert.include(config, { host: "127.0.0.1", port: 8080, basePath: "", publicUrl: null, databaseUrl: null, databasePoolMax: 10 })
      assert.deepStrictEqual(config.requestTimeout, Duration.seconds(60))
      assert.deepStrictEqual(config.corsOrigins, [])
      assert.strictEqual(config.maxBodyBytes, 1_048_576)
      assert.include(config, {
        s3Endpoint: null,
        s3AccessKeyId: null,
        s3SecretAccessKey: null,
        s3Region: "us-east-1",
        s3ForcePathStyle: true
      })
      assert.include(config, { s3BucketDocs: "inventory-docs", s3BucketImages: "inventory-images" })
    })
  )

  it.effect("takes an empty variable for one that is not set, and space around a value for nothing", () =>
    Effect.gen(function* () {
      const config = yield* read({ PORT: "", LOG_LEVEL: "  ", DATABASE_POOL_MAX: " 5 " })
      assert.include(config, { port: 8080, logLevel: "info", databasePoolMax: 5 })
    })
  )

  it.effect("tells every problem at once, with the name, what was expected and what was found", () =>
    Effect.gen(function* () {
      const { message, problems } = yield* refused({
        HOST: "0.0.0.0",
        PORT: "70000",
        BASE_PATH: "shop/",
        REQUEST_TIMEOUT: "5",
        MAX_BODY_BYTES: "1MB",
        CORS_ORIGINS: "https://app.example.org/",
        LOG_LEVEL: "loud",
        DATABASE_URL: "mysql://root:hunter2@db/partwright"
      })
      assert.deepStrictEqual(problems.map(({ variable }) => variable).toSorted(), [
        "BASE_PATH",
        "CORS_ORIGINS",
        "DATABASE_URL",
        "HOST",
        "LOG_LEVEL",
        "MAX_BODY_BYTES",
        "PORT",
        "REQUEST_TIMEOUT"
      ])
      assert.include(message, 'PORT: expected a whole number from 0 to 65535, found "70000"')
      assert.include(message, "DATABASE_URL: expected an address starting with postgres:// or postgresql://\n")
      assert.notInclude(message, "hunter2")
    })
  )

  it.effect("never shows a secret, nor the password in an address that is none", () =>
    Effect.gen(function* () {
      const env = {
        DATABASE_URL: "postgres://partwright:hunter2@db/partwright",
        OTEL_EXPORTER_OTLP_ENDPOINT: "https://user:swordfish@collector:4318/x",
        S3_ENDPOINT: "https://ceph.example.org",
        S3_ACCESS_KEY_ID: "workshop",
        S3_SECRET_ACCESS_KEY: "opensesame"
      }
      const config = yield* read(env)
      assert.isNotNull(config.databaseUrl)
      assert.strictEqual(Redacted.value(config.databaseUrl), env.DATABASE_URL)
      const shown = describeConfig(config)
      assert.include(shown, { DATABASE_URL: "<redacted>", S3_SECRET_ACCESS_KEY: "<redacted>", S3_ACCESS_KEY_ID: "workshop" })
      assert.strictEqual(shown.OTEL_EXPORTER_OTLP_ENDPOINT, "https://<redacted>@collector:4318/x")
      assert.notMatch(JSON.stringify(config) + JSON.stringify(shown), /hunter2|swordfish|opensesame/u)
      const { message } = yield* refused({ OTEL_EXPORTER_OTLP_ENDPOINT: "ftp://user:swordfish@collector" })
      assert.include(message, "ftp://<redacted>@collector")
    })
  )

  it.effect("is described by variable, in the units in which it is written", () =>
    Effect.gen(function* () {
      const shown = describeConfig(yield* read({ SHUTDOWN_DELAY: "1500ms", CORS_ORIGINS: "https://a.example, http://b.example:8080" }))
      assert.include(shown, {
        SHUTDOWN_DELAY: "1500ms",
        SHUTDOWN_GRACE: "25s",
        REQUEST_TIMEOUT: "1m",
        MAX_BODY_BYTES: 1_048_576,
        PUBLIC_URL: null
      })
      assert.deepStrictEqual(shown.CORS_ORIGINS, ["https://a.example", "http://b.example:8080"])
    })
  )

  it.effect("opens to the network only when it is told to twice", () =>
    Effect.gen(function* () {
      for (const HOST of ["127.0.0.1", "127.8.8.8", "::1", "localhost"]) assert.strictEqual((yield* read({ HOST })).host, HOST)
      for (const HOST of ["0.0.0.0", "::", "192.168.1.5", "partwright.local", "127.0.0.1.example.org"]) {
        assert.deepStrictEqual(
          (yield* refused({ HOST })).problems.map(({ variable }) => variable),
          ["HOST"],
          HOST
        )
        assert.strictEqual((yield* read({ HOST, AUTH_ALLOW_OPEN_NETWORK: "true" })).host, HOST)
      }
    })
  )

  it.effect("takes an S3 server with its keys or not at all, and names every one that is missing", () =>
    Effect.gen(function* () {
      const whole = { S3_ENDPOINT: "http://127.0.0.1:7480", S3_ACCESS_KEY_ID: "id", S3_SECRET_ACCESS_KEY: "opensesame" }
      const { s3Endpoint, s3SecretAccessKey } = yield* read(whole)
      assert.strictEqual(s3Endpoint, "http://127.0.0.1:7480")
      assert.strictEqual(s3SecretAccessKey === null ? null : Redacted.value(s3SecretAccessKey), "opensesame")
      const names = Object.keys(whole)
      for (const [variable, value] of Object.entries(whole)) {
        const { message, problems } = yield* refused({ [variable]: value })
        assert.deepStrictEqual(
          problems.map((problem) => problem.variable),
          names.filter((name) => name !== variable)
        )
        assert.notInclude(message, "opensesame")
      }
    })
  )

  it.effect("keeps documents and images in two buckets, or one would be cleared of what belongs to the other", () =>
    Effect.gen(function* () {
      const { problems } = yield* refused({ S3_BUCKET_DOCS: "inventory-images" })
      assert.deepStrictEqual(
        problems.map(({ variable }) => variable),
        ["S3_BUCKET_IMAGES"]
      )
    })
  )

  const accepted: ReadonlyArray<readonly [string, string, unknown]> = [
    ["REQUEST_TIMEOUT", "500ms", Duration.millis(500)],
    ["REQUEST_TIMEOUT", "10m", Duration.minutes(10)],
    ["REQUEST_TIMEOUT", "24h", Duration.hours(24)],
    ["SHUTDOWN_DELAY", "0s", Duration.zero],
    ["MAX_BODY_BYTES", "64KiB", 65_536],
    ["MAX_BODY_BYTES", "256 MiB", 268_435_456],
    ["MAX_BODY_BYTES", "1GiB", 1_073_741_824],
    ["MAX_BODY_BYTES", "1000", 1000],
    ["BASE_PATH", "/", ""],
    ["BASE_PATH", "/shop", "/shop"],
    ["BASE_PATH", "/a/b-c_d.e~1", "/a/b-c_d.e~1"],
    ["PUBLIC_URL", "https://shop.example.org/", "https://shop.example.org"],
    ["CORS_ORIGINS", " , https://a.example,", ["https://a.example"]],
    ["FETCH_ALLOW_HOSTS", "nas.local, 127.0.0.1:8099,[::1]:80,10.0.0.0/8", ["nas.local", "127.0.0.1:8099", "[::1]:80", "10.0.0.0/8"]],
    ["LOG_LEVEL", "DEBUG", "debug"],
    ["AUTH_ALLOW_OPEN_NETWORK", "True", true],
    ["S3_FORCE_PATH_STYLE", "false", false],
    ["S3_BUCKET_DOCS", "shop.docs-1", "shop.docs-1"],
    ["S3_REGION", "eu-central-1", "eu-central-1"],
    ["PORT", "0", 0]
  ]
  for (const [variable, text, value] of accepted) {
    it.effect(`reads ${variable}=${text}`, () =>
      Effect.map(read({ [variable]: text }), (config) => assert.deepInclude(Object.values(config), value))
    )
  }

  const refusedTexts: ReadonlyArray<readonly [string, string]> = [
    ...["5", "5 s", "-5s", "1.5s", "5d", "0s", "25h", "999999999h"].map((text) => ["REQUEST_TIMEOUT", text] as const),
    ...["0", "-1", "1MB", "1kib", "1.5MiB", "99999999999GiB"].map((text) => ["MAX_BODY_BYTES", text] as const),
    ...["shop", "/shop/", "//", "/a//b", "/a b", "/..", "/a/./b", "/ä", "/a?b"].map((text) => ["BASE_PATH", text] as const),
    ...["app.example.org", "https://a.example/", "https://a.example/x", "*", "null", "https://A.example"].map(
      (text) => ["CORS_ORIGINS", text] as const
    ),
    ...["ftp://a.example", "https://u:p@a.example", "https://a.example/?q", "shop"].map((text) => ["PUBLIC_URL", text] as const),
    ...[
      "http://nas.local",
      "nas.local/x",
      "nas local",
      "u@nas",
      "nas:0",
      "nas:65536",
      "nas:",
      ":80",
      "10.0.0.0/33",
      "fd00::/129",
      "10.0/8",
      "::1]:80",
      "*"
    ].map((text) => ["FETCH_ALLOW_HOSTS", text] as const),
    ...["65536", "-1", "8e3", "80 80"].map((text) => ["PORT", text] as const),
    ...["1", "0", "1001"].map((text) => ["DATABASE_POOL_MAX", text] as const),
    ...["ab", "Docs", "docs_1", "-docs", "docs-", "a..b", "docs/1", "x".repeat(64)].map((text) => ["S3_BUCKET_DOCS", text] as const),
    ...["ceph.example.org", "s3://ceph", "http://id:key@ceph"].map((text) => ["S3_ENDPOINT", text] as const),
    ["SHUTDOWN_DELAY", "25s"],
    ["AUTH_ALLOW_OPEN_NETWORK", "yes"],
    ["LOG_FORMAT", "xml"]
  ]
  for (const [variable, text] of refusedTexts) {
    it.effect(`refuses ${variable}=${text}`, () =>
      Effect.map(refused({ [variable]: text }), ({ problems }) =>
        assert.deepStrictEqual(
          problems.map((problem) => problem.variable),
          [variable]
        )
      )
    )
  }
})
