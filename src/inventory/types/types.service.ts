import { Context, Effect, Layer, type Option } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import type { InvalidRequest, PreconditionFailed } from "#platform/http/problems.ts"
import starter from "./starter-types.json" with { type: "json" }
import { type NewType, type PartType, type TypeEdit, type TypeId, TypeInUse, type TypeNameTaken, TypeNotFound } from "./type.ts"
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
    /** Inserts the starter types whose keys were never inserted before; answers how many. Safe to run at every start. */
    readonly sync: Effect.Effect<number>
  }
>()("inventory/Types") {
  static readonly layerNoDeps = Layer.effect(
    Types,
    Effect.gen(function* () {
      const repo = yield* TypesRepo
      const db = yield* Db
      const changes = yield* Changes

      const orNotFound = (id: TypeId) => (found: Option.Option<PartType>) =>
        Effect.fromOption(found).pipe(Effect.mapError(() => new TypeNotFound({ detail: `No type has the id ${id}.`, typeId: id })))
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
              yield* repo.update(id, { ...before, ...edit, aliases: edit.aliases === undefined ? before.aliases : (edit.aliases ?? []) })
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
  static readonly layer = this.layerNoDeps.pipe(Layer.provide(TypesRepo.layer), Layer.provide(Changes.layer))
}
