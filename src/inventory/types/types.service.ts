import { Context, Effect, Layer, type Option } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import type { InvalidRequest, PreconditionFailed } from "#platform/http/problems.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import starter from "./starter-types.json" with { type: "json" }
import { type NewType, type PartType, type TypeEdit, type TypeId, TypeInUse, type TypeNameTaken, TypeNotFound } from "./type.ts"
import { type NamedType, resolveTypeName } from "./type-name.ts"
import { TypesRepo } from "./types.repo.ts"

export class Types extends Context.Service<
  Types,
  {
    readonly get: (id: TypeId) => Effect.Effect<PartType, TypeNotFound>
    readonly list: (
      params: PageParams & { readonly sort?: string | undefined }
    ) => Effect.Effect<Page<PartType>, InvalidCursor | InvalidRequest>
    readonly create: (type: NewType) => Effect.Effect<PartType, TypeNameTaken>
    readonly edit: (
      id: TypeId,
      edit: TypeEdit,
      ifMatch: IfMatch
    ) => Effect.Effect<PartType, TypeNotFound | TypeNameTaken | PreconditionFailed>
    readonly remove: (id: TypeId, ifMatch: IfMatch) => Effect.Effect<void, TypeNotFound | TypeInUse | PreconditionFailed>
    /** Those of the ids that no type has. */
    readonly unknown: (ids: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<number>>
    /** Which types the words mean: the type of that name, ignoring case, else the only one that has it as an alias. */
    readonly named: (words: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TypeId>>
    /** What the types are called, the oldest first. */
    readonly names: Effect.Effect<ReadonlyArray<string>>
    /** What the types are called that a new instance has. */
    readonly starterNames: ReadonlyArray<string>
    /** The type that a name means which no person chose from the list; see {@link resolveTypeName}. */
    readonly resolveName: (name: string) => Effect.Effect<NamedType | null>
    /** Which types have the names, ignoring case, with a new type for every name of none. Aliases do not count here. */
    readonly ensure: (names: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, TypeId>, never, Transaction>
    /** Inserts the starter types whose keys were never inserted before; answers how many. Safe to run at every start. */
    readonly sync: Effect.Effect<number>
  }
>()("inventory/Types") {
  static readonly layerNoDeps = Layer.effect(
    Types,
    Effect.gen(function* () {
      const repo = yield* TypesRepo
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes

      const orNotFound = (id: TypeId) => (found: Option.Option<PartType>) =>
        Effect.fromOption(found).pipe(
          Effect.mapError(() => new TypeNotFound({ detail: id === 0 ? "There is no such type." : `No type has the id ${id}.`, typeId: id }))
        )
      const get = Effect.fn("Types.get")((id: TypeId) => Effect.flatMap(repo.find(id), orNotFound(id)))
      const locked = (id: TypeId, ifMatch: IfMatch) =>
        repo.lock(id).pipe(
          Effect.flatMap(orNotFound(id)),
          Effect.tap((type) => checkVersion(ifMatch, type.version))
        )
      const record = (
        action: string,
        id: TypeId,
        before: PartType | null,
        after: PartType | null
      ): Effect.Effect<void, never, Transaction> =>
        changes.record({ topic: "type", action, entity: "type", entityId: String(id), before, after })

      return Types.of({
        get,
        list: Effect.fn("Types.list")((params) => repo.list(params)),
        create: Effect.fn("Types.create")((type) =>
          db.transaction(
            Effect.gen(function* () {
              const id = yield* repo.insert(type)
              const made = yield* Effect.orDie(get(id))
              yield* record("created", id, null, made)
              return made
            })
          )
        ),
        edit: Effect.fn("Types.edit")((id, edit, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(id, ifMatch)
              const type = { ...before, ...edit, aliases: edit.aliases === undefined ? before.aliases : (edit.aliases ?? []) }
              yield* repo.update(id, type)
              if (type.name !== before.name || !sameWords(type.aliases, before.aliases)) yield* index.refreshType(id)
              const after = yield* Effect.orDie(get(id))
              yield* record("updated", id, before, after)
              return after
            })
          )
        ),
        remove: Effect.fn("Types.remove")((id, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const type = yield* locked(id, ifMatch)
              if (type.partCount > 0) {
                return yield* new TypeInUse({ detail: `${type.partCount} parts have the type ${type.name}.`, partCount: type.partCount })
              }
              yield* repo.remove(id)
              yield* record("deleted", id, type, null)
            })
          )
        ),
        unknown: Effect.fn("Types.unknown")((ids) =>
          ids.length === 0
            ? Effect.succeed([])
            : Effect.map(repo.existing(ids), (known) => ids.filter((id) => !known.some((other) => other === id)))
        ),
        named: Effect.fn("Types.named")(function* (words) {
          if (words.length === 0) return new Map()
          const found = yield* repo.named(words)
          const others = words.filter((word) => !found.has(word))
          return others.length === 0 ? found : new Map([...(yield* repo.aliased(others)), ...found])
        }),
        starterNames: starter.types.map(({ name }) => name),
        names: Effect.map(repo.called, (types) => types.map(({ name }) => name)),
        resolveName: Effect.fn("Types.resolveName")((name) => Effect.map(repo.called, (types) => resolveTypeName(name, types))),
        ensure: Effect.fn("Types.ensure")(function* (names) {
          if (names.length === 0) return new Map()
          const found = yield* repo.named(names)
          const others = names.filter((name) => !found.has(name))
          if (others.length === 0) return found
          const made = yield* Effect.flatMap(repo.insertMissing(others), repo.many)
          yield* changes.record(
            ...made.map(
              (type): NewChange => ({
                topic: "type",
                action: "created",
                entity: "type",
                entityId: String(type.id),
                before: null,
                after: type
              })
            )
          )
          return yield* repo.named(names)
        }),
        sync: db
          .transaction(
            Effect.gen(function* () {
              yield* repo.lockStarters
              const seen = yield* repo.seenStarterKeys
              const missing = starter.types.filter(({ key }) => !seen.has(key))
              yield* Effect.forEach(missing, repo.insertStarter, { discard: true })
              return missing.length
            })
          )
          .pipe(Effect.withSpan("Types.sync"))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([TypesRepo.layer, SearchIndex.layer, Changes.layer]))
}

const sameWords = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) => a.length === b.length && a.every((word, at) => word === b[at])
