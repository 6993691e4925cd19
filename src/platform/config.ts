import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import { Config, ConfigProvider, Context, Data, Duration, Effect, Layer, Option, Redacted, Result } from "effect"
import { type Prices, parsePrices, priceOf } from "./ai/prices.ts"
import { isAllowEntry } from "./fetcher/allow-list.ts"

/** One setting that cannot be used: its name, what was expected; the value only when it is no secret. */
export interface ConfigProblem {
  readonly variable: string
  readonly expected: string
  readonly found?: string
}

export class ConfigError extends Data.TaggedError("ConfigError")<{ readonly problems: ReadonlyArray<ConfigProblem> }> {
  override get message() {
    const lines = this.problems.map(
      ({ expected, found, variable }) =>
        `  ${variable}: expected ${expected}${found === undefined ? "" : `, found ${JSON.stringify(found)}`}`
    )
    return `The configuration cannot be used:\n${lines.join("\n")}`
  }
}

interface Setting<A> {
  readonly variable: string
  readonly fallback: A
  readonly expected: string
  /** Undefined when the text does not fit. */
  readonly parse: (text: string) => A | undefined
  readonly secret?: boolean
  readonly show?: (value: A) => string | number | boolean | null | ReadonlyArray<string>
}

const text = <A extends string | null>(variable: string, fallback: A, expected = "text"): Setting<A | string> => ({
  variable,
  fallback,
  expected,
  parse: (s) => s
})

const int = (variable: string, fallback: number, min: number, max: number): Setting<number> => ({
  variable,
  fallback,
  expected: `a whole number from ${min} to ${max}`,
  parse: (s) => (/^\d{1,15}$/u.test(s) && Number(s) >= min && Number(s) <= max ? Number(s) : undefined)
})

const boolean = (variable: string, fallback: boolean): Setting<boolean> => ({
  variable,
  fallback,
  expected: "true or false",
  parse: (s) => ({ true: true, false: false })[s.toLowerCase()]
})

const oneOf = <const A extends string>(variable: string, fallback: A, ...values: ReadonlyArray<A>): Setting<A> => ({
  variable,
  fallback,
  expected: `one of ${values.join(", ")}`,
  parse: (s) => values.find((value) => value.toLowerCase() === s.toLowerCase())
})

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

// A timer takes at most 2^31 milliseconds; one that is set longer fires at once.
const longest = 24 * 3_600_000

const duration = (variable: string, fallback: string, min: "0s" | "1ms" = "1ms"): Setting<Duration.Duration> => {
  const parse = (s: string) => {
    const [, digits = "", unit = ""] = /^(\d{1,9})(ms|s|m|h)$/u.exec(s) ?? []
    const ms = Number(digits) * (units[unit] ?? 0)
    return digits === "" || ms > longest || (ms === 0 && min !== "0s") ? undefined : Duration.millis(ms)
  }
  return {
    variable,
    fallback: parse(fallback) as Duration.Duration,
    expected: `a number and a unit (500ms, 25s, 10m, 1h) from ${min} to 24h`,
    parse,
    show: (value) => shortest(Duration.toMillis(value))
  }
}

const shortest = (ms: number) => {
  const [unit, factor] = Object.entries(units).findLast(([, factor]) => ms % factor === 0) ?? ["ms", 1]
  return ms === 0 ? "0s" : `${ms / factor}${unit}`
}

const size = (variable: string, fallback: string): Setting<number> => {
  const parse = (s: string) => {
    const [, digits = "", unit = ""] = /^(\d{1,12}) ?(B|KiB|MiB|GiB)?$/u.exec(s) ?? []
    if (digits === "") return undefined
    const bytes = Number(digits) * { "": 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }[unit as "B"]
    return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined
  }
  return { variable, fallback: parse(fallback) as number, expected: "a number and a unit: 64KiB, 256MiB, 1GiB", parse }
}

const list = (variable: string, expected: string, fits: (item: string) => boolean): Setting<ReadonlyArray<string>> => ({
  variable,
  fallback: [],
  expected,
  parse: (s) => {
    const items = s
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "")
    return items.every(fits) ? items : undefined
  },
  show: (value) => value
})

const optionalUrl = (variable: string, protocols: ReadonlyArray<string>, secret: boolean): Setting<Redacted.Redacted | null> => ({
  variable,
  fallback: null,
  expected: `an address starting with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`,
  parse: (s) => (protocols.includes(URL.parse(s)?.protocol ?? "") ? Redacted.make(s) : undefined),
  secret
})

const plainUrl = (variable: string): Setting<string | null> => ({
  variable,
  fallback: null,
  expected: "an http:// or https:// address without credentials, query and fragment",
  parse: (s) => {
    const url = URL.parse(s)
    const plain = url !== null && ["http:", "https:"].includes(url.protocol) && url.username + url.password + url.search + url.hash === ""
    return plain ? s.replace(/\/+$/u, "") : undefined
  }
})

const bucketName = (variable: string, fallback: string): Setting<string> => ({
  variable,
  fallback,
  expected: "the name of a bucket: 3 to 63 small letters, digits, dots and hyphens",
  parse: (s) => (/^[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]$/u.test(s) ? s : undefined)
})

const secret = (variable: string): Setting<Redacted.Redacted | null> => ({
  variable,
  fallback: null,
  expected: "text",
  parse: (s) => Redacted.make(s),
  secret: true
})

/** An address may carry a password although the setting is no secret. */
const withoutCredentials = (text: string) => text.replaceAll(/\/\/[^/?#\s]*@/gu, "//<redacted>@")

const isOrigin = (s: string) => URL.parse(s)?.origin === s

const settings = {
  host: text("HOST", "127.0.0.1", "an address to listen on"),
  port: int("PORT", 8080, 0, 65_535),
  basePath: {
    variable: "BASE_PATH",
    fallback: "",
    expected: "empty, or a path such as /partwright without a slash at its end",
    parse: (s) => (s === "/" ? "" : /^(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._~-]+)+$/u.test(s) ? s : undefined)
  } satisfies Setting<string>,
  publicUrl: plainUrl("PUBLIC_URL"),
  dataDir: {
    variable: "DATA_DIR",
    fallback: resolve("data"),
    expected: "a folder",
    parse: (s) => (s === "" ? undefined : resolve(s))
  } as Setting<string>,
  databaseUrl: optionalUrl("DATABASE_URL", ["postgres:", "postgresql:"], true),
  databasePoolMax: int("DATABASE_POOL_MAX", 10, 2, 1000),
  s3Endpoint: plainUrl("S3_ENDPOINT"),
  s3AccessKeyId: text("S3_ACCESS_KEY_ID", null),
  s3SecretAccessKey: secret("S3_SECRET_ACCESS_KEY"),
  s3Region: text("S3_REGION", "us-east-1"),
  s3ForcePathStyle: boolean("S3_FORCE_PATH_STYLE", true),
  s3BucketDocs: bucketName("S3_BUCKET_DOCS", "inventory-docs"),
  s3BucketImages: bucketName("S3_BUCKET_IMAGES", "inventory-images"),
  openaiApiKey: secret("OPENAI_API_KEY"),
  openaiBaseUrl: plainUrl("OPENAI_BASE_URL"),
  openaiModel: {
    variable: "OPENAI_MODEL",
    fallback: "gpt-5.4-mini",
    expected: "the name of a model, without spaces",
    parse: (s) => (/^[\x21-\x7e]{1,200}$/u.test(s) ? s : undefined)
  } as Setting<string>,
  aiPrices: {
    variable: "AI_PRICES",
    fallback: new Map(),
    expected: 'US dollars per million tokens by model, as JSON: {"gpt-4.1-mini": {"input": 0.4, "output": 1.6}}',
    parse: parsePrices,
    show: (prices) => JSON.stringify(Object.fromEntries(prices))
  } satisfies Setting<Prices>,
  aiMonthlyBudgetUsd: {
    variable: "AI_MONTHLY_BUDGET_USD",
    fallback: null,
    expected: "US dollars from 0 to 1000000, such as 5 or 2.50; empty for no limit",
    parse: (s) => (/^\d{1,7}(\.\d{1,6})?$/u.test(s) && Number(s) <= 1e6 ? Number(s) : undefined)
  } as Setting<number | null>,
  amqpUrl: optionalUrl("AMQP_URL", ["amqp:", "amqps:"], true),
  authAllowOpenNetwork: boolean("AUTH_ALLOW_OPEN_NETWORK", false),
  corsOrigins: list("CORS_ORIGINS", "origins such as https://app.example.org, separated by commas", isOrigin),
  fetchAllowHosts: list(
    "FETCH_ALLOW_HOSTS",
    "hosts, addresses or networks such as nas.local, 127.0.0.1:8099, [::1]:80 or 10.0.0.0/8, separated by commas",
    isAllowEntry
  ),
  maxBodyBytes: size("MAX_BODY_BYTES", "1MiB"),
  maxUploadBytes: size("MAX_UPLOAD_BYTES", "256MiB"),
  objectIntentGrace: duration("OBJECT_INTENT_GRACE", "1h"),
  requestTimeout: duration("REQUEST_TIMEOUT", "60s"),
  shutdownDelay: duration("SHUTDOWN_DELAY", "0s", "0s"),
  shutdownGrace: duration("SHUTDOWN_GRACE", "25s"),
  logLevel: oneOf("LOG_LEVEL", "info", "trace", "debug", "info", "warn", "error", "none"),
  logFormat: oneOf("LOG_FORMAT", "auto", "auto", "pretty", "json"),
  otlpEndpoint: optionalUrl("OTEL_EXPORTER_OTLP_ENDPOINT", ["http:", "https:"], false),
  otelServiceName: text("OTEL_SERVICE_NAME", "partwright"),
  jobConcurrency: int("JOB_CONCURRENCY", availableParallelism(), 1, 1000)
}

type Settings = typeof settings
type Values = { readonly [K in keyof Settings]: Settings[K] extends Setting<infer A> ? A : never }

/** The whole configuration, read once. The only reader of the environment. */
export class AppConfig extends Context.Service<AppConfig, Values>()("platform/AppConfig") {
  /** Fails with every problem at once. */
  static readonly layer = Layer.effect(
    AppConfig,
    Effect.suspend(() => load({}))
  )

  /** With other defaults for settings that are not given. */
  static readonly layerWith = (defaults: Partial<Values>) =>
    Layer.effect(
      AppConfig,
      Effect.suspend(() => load(defaults))
    )

  static readonly fromEnv = (env: Record<string, string>) =>
    Layer.provide(AppConfig.layer, ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
}

const load = Effect.fnUntraced(function* (defaults: Partial<Values>) {
  const problems: Array<ConfigProblem> = []
  const values: Record<string, unknown> = {}
  for (const [name, setting] of Object.entries(settings) as Array<[string, Setting<unknown>]>) {
    const found = yield* Effect.result(Config.option(Config.String(setting.variable)))
    if (Result.isFailure(found)) {
      problems.push({ variable: setting.variable, expected: setting.expected })
      continue
    }
    if (found.success._tag === "None" || found.success.value.trim() === "") {
      values[name] = defaults[name as keyof Values] ?? setting.fallback
      continue
    }
    const given = found.success.value.trim()
    const value = setting.parse(given)
    if (value === undefined) {
      problems.push({
        variable: setting.variable,
        expected: setting.expected,
        ...(setting.secret ? {} : { found: withoutCredentials(given) })
      })
    } else values[name] = value
  }
  const config = values as unknown as Values
  if (config.authAllowOpenNetwork === false && !isLoopback(config.host)) {
    problems.push({
      variable: "HOST",
      expected:
        "a loopback address, because everyone who reaches this server is its owner; AUTH_ALLOW_OPEN_NETWORK=true listens all the same",
      found: config.host
    })
  }
  if (config.shutdownDelay && config.shutdownGrace && Duration.isGreaterThanOrEqualTo(config.shutdownDelay, config.shutdownGrace)) {
    problems.push({ variable: "SHUTDOWN_DELAY", expected: "less than SHUTDOWN_GRACE, which it is a part of" })
  }
  problems.push(...objectStoreProblems(config), ...priceProblems(config))
  if (problems.length > 0) return yield* new ConfigError({ problems })
  return AppConfig.of(config)
})

// With half of them the objects would go to files, and nobody would notice until they look for them on the server.
const objectStoreProblems = ({ s3AccessKeyId, s3BucketDocs, s3BucketImages, s3Endpoint, s3SecretAccessKey }: Values) => {
  const together = { S3_ENDPOINT: s3Endpoint, S3_ACCESS_KEY_ID: s3AccessKeyId, S3_SECRET_ACCESS_KEY: s3SecretAccessKey }
  const isSet = Object.values(together).some((value) => value !== null && value !== undefined)
  const problems: Array<ConfigProblem> = Object.entries(together)
    .filter(([, value]) => isSet && value === null)
    .map(([variable]) => ({ variable, expected: `a value, because ${Object.keys(together).join(", ")} belong together` }))
  if (s3BucketDocs !== undefined && s3BucketDocs === s3BucketImages)
    problems.push({ variable: "S3_BUCKET_IMAGES", expected: "another bucket than S3_BUCKET_DOCS", found: s3BucketImages })
  return problems
}

// What a call may cost must be known before it is made, or the budget would be a guess.
const priceProblems = ({ aiMonthlyBudgetUsd, aiPrices, openaiModel }: Values): ReadonlyArray<ConfigProblem> => {
  if (aiMonthlyBudgetUsd === null || aiMonthlyBudgetUsd === undefined || !openaiModel || !aiPrices) return []
  if (priceOf(openaiModel, aiPrices) !== null) return []
  const example = JSON.stringify({ [openaiModel]: { input: 0.4, output: 1.6 } })
  return [{ variable: "AI_PRICES", expected: `the price of ${openaiModel}, because AI_MONTHLY_BUDGET_USD is set, in the form ${example}` }]
}

/** Whether `npm start` or another npm script started the process. No setting of a person's: npm says so itself. */
export const startedByNpm = Effect.map(Config.option(Config.String("npm_lifecycle_event")), Option.isSome).pipe(
  Effect.orElseSucceed(() => false)
)

export const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/u.test(host)

/** The effective configuration as `partwright config` prints it: by variable, secrets hidden. */
export const describe = (config: Values): Record<string, unknown> =>
  Object.fromEntries(
    (Object.entries(settings) as Array<[keyof Values, Setting<never>]>).map(([name, setting]) => {
      const value = config[name] as never
      const shown = Redacted.isRedacted(value)
        ? setting.secret
          ? "<redacted>"
          : withoutCredentials(Redacted.value(value))
        : setting.show
          ? setting.show(value)
          : value
      return [setting.variable, shown]
    })
  )
