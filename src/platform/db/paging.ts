import { createHash } from "node:crypto"
import { Effect, Option, Schema } from "effect"
import type { SqlClient, Statement } from "effect/sql"
import { invalidField, Problem } from "../http/problems.ts"

export class InvalidCursor extends Problem<InvalidCursor>()("InvalidCursor", {
  code: "invalid-cursor",
  status: 400,
  title: "This cursor does not belong to this list",
  help: "A cursor is the nextCursor of the page before, for the same address and the same sort. Start again without a cursor."
}) {}

/** Query parameters of every list. */
export const PageParams = {
  limit: Schema.optional(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 200 })).annotate({ description: "Items per page, 50 when absent" })
  ),
  cursor: Schema.optional(
    Schema.String.check(Schema.isMaxLength(2000)).annotate({ description: "nextCursor of the page before; absent for the first page" })
  ),
  includeTotal: Schema.optional(Schema.Boolean.annotate({ description: "Also count all items of the list into `total`" }))
}

export type PageParams = {
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
  readonly includeTotal?: boolean | undefined
}

/** What every list answers. `nextCursor` is null on the last page; `total` comes with `includeTotal=true`. */
export const Page = <S extends Schema.Top>(item: S) =>
  Schema.Struct({
    items: Schema.Array(item),
    nextCursor: Schema.NullOr(Schema.String),
    total: Schema.optionalKey(Schema.Int)
  })

export type Page<A> = { readonly items: ReadonlyArray<A>; readonly nextCursor: string | null; readonly total?: number }

/**
 * How a list may be sorted. `asc` and `desc` are SQL expressions over the query's tables that are never null, so that one row
 * comparison over one index finds any page: a nullable column appears as `coalesce(x, <last>)` ascending and
 * `coalesce(x, <first>)` descending, which puts nulls last both ways. `type` is what a cursor's text is cast to.
 */
export interface SortKey {
  readonly asc: string
  readonly desc: string
  readonly type: "text" | "bigint" | "timestamptz" | "uuid" | "integer"
  /** The tie-break as it stands in the same index, where that is another column than the list's `id`, equal to it by the join. */
  readonly id?: string
}

export const sortKey = (expression: string, type: SortKey["type"], id?: string): SortKey => ({
  asc: expression,
  desc: expression,
  type,
  ...(id === undefined ? {} : { id })
})

/** Sorts after every text: the last code point there is. */
export const nullableText = (expression: string): SortKey => ({
  asc: `coalesce(${expression}, U&'\\+10FFFF')`,
  desc: `coalesce(${expression}, '')`,
  type: "text"
})

export interface ListOptions {
  /** Names the list in its cursors: a cursor of another list is refused. */
  readonly list: string
  readonly sorts: Record<string, SortKey>
  readonly defaultSort: string
  /** The unique tie-break, an SQL expression that is never null. */
  readonly id: SortKey
}

/** The `sort` parameter of a list: the names it knows, each with an optional `-`. */
export const SortParam = (names: ReadonlyArray<string>, defaultSort: string) =>
  Schema.optional(
    Schema.Literals(names.flatMap((name) => [name, `-${name}`])).annotate({ description: `${defaultSort} when absent; - sorts descending` })
  )

/**
 * Keyset paging: any page costs what the first one costs. Gives the pieces of the query; the caller selects
 * `${piece.key}` besides its columns, filters with `${piece.after}`, and orders and limits with `${piece.order}`.
 */
export const keyset = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  options: ListOptions,
  params: PageParams & { readonly sort?: string | undefined }
) {
  const sort = params.sort ?? options.defaultSort
  const descending = sort.startsWith("-")
  const by = options.sorts[descending ? sort.slice(1) : sort]
  if (by === undefined) return yield* invalidField("query", "/sort", `Expected one of ${Object.keys(options.sorts).join(", ")}`)
  const direction = descending ? "desc" : "asc"
  const expression = by[direction]
  const id = by.id ?? options.id[direction]
  const limit = params.limit ?? 50

  const after = params.cursor === undefined ? undefined : decode(params.cursor, `${options.list} ${sort}`)
  if (after === null) return yield* new InvalidCursor({ detail: `The cursor was not given by this list in the order ${sort}.` })
  if (after !== undefined && !(fits(by.type, after[0]) && fits(options.id.type, after[1]))) {
    return yield* new InvalidCursor({ detail: `The cursor was not given by this list in the order ${sort}.` })
  }

  const comparison = sql.literal(descending ? "<" : ">")
  const pieces: Pieces = {
    key: sql`json_build_array((${sql.literal(expression)})::text, (${sql.literal(id)})::text) as "pageKey"`,
    after:
      after === undefined
        ? sql`true`
        : sql`(${sql.literal(expression)}, ${sql.literal(id)}) ${comparison} (${after[0]}::${sql.literal(by.type)}, ${after[1]}::${sql.literal(options.id.type)})`,
    order: sql`order by ${sql.literal(`${expression} ${direction}, ${id} ${direction}`)} limit ${limit + 1}`
  }

  /** Cuts the row that was fetched to know whether there is a next page, and takes the paging key out of the items. */
  const toPage = <A extends { readonly pageKey: readonly [string, string] }>(found: ReadonlyArray<A>) => {
    const items = found.slice(0, limit)
    const last = items.at(-1)
    return {
      items: items.map(({ pageKey: _, ...item }) => item),
      nextCursor: found.length > limit && last !== undefined ? encode(`${options.list} ${sort}`, last.pageKey) : null
    }
  }
  return { ...pieces, toPage }
})

/** Adds `total` when it was asked for. */
export const withTotal = <A, R>(
  page: Page<A>,
  params: PageParams,
  count: Effect.Effect<number, never, R>
): Effect.Effect<Page<A>, never, R> =>
  params.includeTotal === true ? Effect.map(count, (total) => ({ ...page, total })) : Effect.succeed(page)

interface Pieces {
  readonly key: Statement.Fragment
  readonly after: Statement.Fragment
  readonly order: Statement.Fragment
}

export const PageKey = { pageKey: Schema.Tuple([Schema.String, Schema.String]) }

// Self-checking, not secret: whoever forges one gets a page of the same list.
const checksum = (body: string) => createHash("sha256").update(`partwright cursor ${body}`).digest("base64url").slice(0, 10)

const Payload = Schema.fromJsonString(Schema.Tuple([Schema.String, Schema.String, Schema.String]))
const parse = Schema.decodeUnknownOption(Payload)

const encode = (list: string, key: readonly [string, string]) => {
  const body = Buffer.from(JSON.stringify([list, ...key])).toString("base64url")
  return `${body}.${checksum(body)}`
}

const decode = (cursor: string, list: string): readonly [string, string] | null => {
  const [body = "", check, ...rest] = cursor.split(".")
  if (rest.length > 0 || checksum(body) !== check) return null
  const parts = parse(Buffer.from(body, "base64url").toString())
  return Option.isSome(parts) && parts.value[0] === list ? [parts.value[1], parts.value[2]] : null
}

/** Whether PostgreSQL will take the text as a value of the type: a forged cursor must not become an error of the database. */
const fits = (type: SortKey["type"], value: string) => {
  switch (type) {
    case "text":
      return value.isWellFormed() && !value.includes("\0")
    case "bigint":
      return /^-?\d{1,18}$/u.test(value)
    case "integer":
      return /^-?\d{1,10}$/u.test(value) && Math.abs(Number(value)) <= 2_147_483_647
    case "timestamptz": {
      const [, date = ""] = /^(\d{4}-\d{2}-\d{2}) \d{2}:\d{2}:\d{2}(\.\d{1,6})?\+00$/u.exec(value) ?? []
      const time = Date.parse(`${value.replace(" ", "T").replace(/\+00$/u, "Z")}`)
      return date !== "" && !Number.isNaN(time) && new Date(time).toISOString().startsWith(date)
    }
    case "uuid":
      return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u.test(value)
  }
}
