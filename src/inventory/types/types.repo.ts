import { Context, Effect, Layer, type Option, Schema, Struct } from "effect"
import { SqlClient } from "effect/sql"
import { count, onConstraint, row, rows, run, type Transaction } from "#platform/db/db.ts"
import { keyset, PageKey, type PageParams, sortKey, withTotal } from "#platform/db/paging.ts"
import { type NewType, PartType, type StarterType, type TypeId, TypeNameTaken } from "./type.ts"

const one = row(PartType)
const page = rows(Schema.Struct({ ...PartType.fields, ...PageKey }))
const ids = rows(Schema.Struct({ id: PartType.fields.id }))
const named = rows(Schema.Struct({ name: Schema.String, id: PartType.fields.id }))
const called = rows(PartType.mapFields(Struct.pick(["id", "name", "aliases"])))
const keys = rows(Schema.Struct({ key: Schema.String }))

const list = {
  list: "types",
  sorts: { name: sortKey(`lower(t.name) collate "C"`, "text") },
  defaultSort: "name",
  id: sortKey("t.id", "integer")
}

const nameTaken = (name: string) =>
  onConstraint({ part_types_name_key: () => new TypeNameTaken({ detail: `There is already a type named ${name}.`, name }) })

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const columns = sql.literal(`t.id, t.key, t.name, t.type_group as "group", t.aliases, t.reference, t.kicad_symbol as "kicadSymbol",
    t.kicad_footprint as "kicadFootprint", (select count(*)::int from parts p where p.type_id = t.id) as "partCount",
    iso(t.created_at) as "createdAt", iso(t.updated_at) as "updatedAt", t.version::float8 as version`)

  const values = (type: NewType) => ({
    name: type.name,
    type_group: type.group,
    aliases: type.aliases,
    reference: type.reference,
    kicad_symbol: type.kicadSymbol,
    kicad_footprint: type.kicadFootprint
  })

  return {
    find: Effect.fn("TypesRepo.find")(
      (id: TypeId): Effect.Effect<Option.Option<PartType>> => one(sql`select ${columns} from part_types t where t.id = ${id}`)
    ),

    /** Holds the row to the end of the transaction. */
    lock: Effect.fn("TypesRepo.lock")(
      (id: TypeId): Effect.Effect<Option.Option<PartType>, never, Transaction> =>
        Effect.andThen(
          run(sql`select 1 from part_types where id = ${id} for update`),
          one(sql`select ${columns} from part_types t where t.id = ${id}`)
        )
    ),

    list: Effect.fn("TypesRepo.list")(function* (params: PageParams & { readonly sort?: string | undefined }) {
      const keyed = yield* keyset(sql, list, params)
      const found = yield* page(sql`select ${columns}, ${keyed.key} from part_types t where ${keyed.after} ${keyed.order}`)
      return yield* withTotal(keyed.toPage(found), params, count(sql`select count(*)::int as count from part_types`))
    }),

    insert: Effect.fn("TypesRepo.insert")(
      (type: NewType): Effect.Effect<TypeId, TypeNameTaken, Transaction> =>
        sql<{ readonly id: TypeId }>`insert into part_types ${sql.insert(values(type)).returning("id")}`.pipe(
          nameTaken(type.name),
          Effect.map(([inserted]) => inserted!.id)
        )
    ),

    update: Effect.fn("TypesRepo.update")(
      (id: TypeId, type: NewType): Effect.Effect<void, TypeNameTaken, Transaction> =>
        sql`update part_types set ${sql.update(values(type))}, version = version + 1, updated_at = now() where id = ${id}`.pipe(
          nameTaken(type.name),
          Effect.asVoid
        )
    ),

    remove: Effect.fn("TypesRepo.remove")(
      (id: TypeId): Effect.Effect<void, never, Transaction> => run(sql`delete from part_types where id = ${id}`)
    ),

    /** Which of these ids exist. */
    existing: Effect.fn("TypesRepo.existing")((wanted: ReadonlyArray<number>) =>
      Effect.map(ids(sql`select id from part_types where ${sql.in("id", [...wanted])}`), (found) => found.map(({ id }) => id))
    ),

    /** Which types the names mean, ignoring case; names of none are left out. */
    named: Effect.fn("TypesRepo.named")((names: ReadonlyArray<string>) =>
      Effect.map(
        named(sql`select n.name, t.id from unnest(${names}::text[]) as n (name) join part_types t on lower(t.name) = lower(n.name)`),
        (found) => new Map(found.map(({ id, name }) => [name, id]))
      )
    ),

    /** Which types have these words among their aliases, ignoring case; words of none or of several are left out. */
    aliased: Effect.fn("TypesRepo.aliased")((words: ReadonlyArray<string>) =>
      Effect.map(
        named(sql`
          select n.name, min(t.id) as id from unnest(${words}::text[]) as n (name)
          join part_types t on lower(n.name) in (select lower(a) from unnest(t.aliases) a) group by n.name having count(*) = 1`),
        (found) => new Map(found.map(({ id, name }) => [name, id]))
      )
    ),

    /** What every type may be called, in the order of their ids. */
    called: called(sql`select id, name, aliases from part_types order by id`).pipe(Effect.withSpan("TypesRepo.called")),

    /** Inserts types with these names where there are none yet; answers the new ones. */
    insertMissing: Effect.fn("TypesRepo.insertMissing")(
      (names: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<TypeId>, never, Transaction> =>
        Effect.map(
          ids(sql`
            insert into part_types (name) select n.name from unnest(${names}::text[]) with ordinality as n (name, position)
            order by lower(n.name), n.position on conflict (lower(name)) do nothing returning id`),
          (inserted) => inserted.map(({ id }) => id)
        )
    ),

    many: Effect.fn("TypesRepo.many")((wanted: ReadonlyArray<TypeId>) =>
      rows(PartType)(sql`select ${columns} from part_types t where ${sql.in("t.id", [...wanted])} order by t.id`)
    ),

    /** Starter keys that were inserted at any time before. */
    seenStarterKeys: Effect.map(keys(sql`select key from starter_types`), (found) => new Set(found.map(({ key }) => key))),

    /** Inserts a starter type; a type that already has its name, ignoring case, adopts the key instead. */
    insertStarter: Effect.fn("TypesRepo.insertStarter")(function* (type: StarterType) {
      yield* run(sql`insert into starter_types ${sql.insert({ key: type.key })} on conflict do nothing`)
      const adopted = yield* ids(
        sql`update part_types set key = ${type.key} where lower(name) = lower(${type.name}) and key is null returning id`
      )
      if (adopted.length > 0) return
      yield* run(
        sql`insert into part_types ${sql.insert({
          key: type.key,
          name: type.name,
          type_group: type.group,
          aliases: type.aliases,
          reference: type.reference,
          kicad_symbol: type.kicadSymbol ?? null
        })} on conflict do nothing`
      )
    }) as (type: StarterType) => Effect.Effect<void, never, Transaction>,

    /** Only one process at a time synchronises the starter types. */
    lockStarters: run(sql`select pg_advisory_xact_lock(hashtextextended('starter-types', 0))`) as Effect.Effect<void, never, Transaction>
  }
})

export class TypesRepo extends Context.Service<TypesRepo, Effect.Success<typeof make>>()("inventory/TypesRepo") {
  static readonly layer = Layer.effect(TypesRepo, make)
}
