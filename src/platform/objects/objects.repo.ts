import { Context, Data, Duration, Effect, Layer, Option, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { Db, row, rows, run, type Transaction } from "../db/db.ts"
import { isStillReferenced } from "../db/sql-errors.ts"
import { buckets, type NewObject, type ObjectAddress, type ObjectRef, StoredObject } from "./object.ts"

const one = row(StoredObject)
const many = rows(StoredObject)
const ids = rows(Schema.Struct({ id: Schema.Int }))
const places = rows(Schema.Struct({ bucket: Schema.Literals(buckets), key: Schema.String }))
const known = rows(Schema.Struct({ key: Schema.String }))
const pending = row(Schema.Struct({ uploads: Schema.Int, deletions: Schema.Int }))

class StillUsed extends Data.TaggedError("StillUsed") {}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const db = yield* Db

  const columns = sql.literal('o.id::float8 as id, o.sha256, o.bucket, o.key, o.size::float8 as size, o.media_type as "mediaType"')
  // The only place where a proof is made: the row is held by a lock that lasts to the end of the transaction.
  const held = (id: number) => ({ id }) as ObjectRef
  const holding = (
    found: Effect.Effect<ReadonlyArray<{ readonly id: number }>>
  ): Effect.Effect<Option.Option<ObjectRef>, never, Transaction> =>
    Effect.map(found, ([object]) => (object === undefined ? Option.none() : Option.some(held(object.id))))

  return {
    find: Effect.fn("ObjectsRepo.find")((id: number) => one(sql`select ${columns} from objects o where o.id = ${id}`)),

    withHash: Effect.fn("ObjectsRepo.withHash")((sha256: string) => one(sql`select ${columns} from objects o where o.sha256 = ${sha256}`)),

    variant: Effect.fn("ObjectsRepo.variant")((source: number, name: string) =>
      one(
        sql`select ${columns} from object_variants v join objects o on o.id = v.object_id where v.source_id = ${source} and v.name = ${name}`
      )
    ),

    /** Announces an upload, outside any transaction: it must be known before the first byte is sent. */
    announce: Effect.fn("ObjectsRepo.announce")(({ bucket, key }: ObjectAddress) =>
      run(sql`insert into object_uploads ${sql.insert({ bucket, key })}`)
    ),

    /** Ends the announcement; false when it is not there any more, as the upload was given up by then. */
    settle: Effect.fn("ObjectsRepo.settle")(
      (key: string): Effect.Effect<boolean, never, Transaction> =>
        Effect.map(known(sql`delete from object_uploads where key = ${key} returning key`), ({ length }) => length === 1)
    ),

    /** Makes the row of an uploaded object; none when another object has these bytes. Waits for one that is just being deleted. */
    insert: Effect.fn("ObjectsRepo.insert")(({ bucket, mediaType, staged: { sha256, size } }: NewObject, key: string) =>
      holding(
        ids(sql`
          insert into objects ${sql.insert({ sha256, bucket, key, size, media_type: mediaType })}
          on conflict (sha256) do nothing returning id::float8 as id`)
      )
    ),

    holdHash: Effect.fn("ObjectsRepo.holdHash")((sha256: string) =>
      holding(ids(sql`select id::float8 as id from objects where sha256 = ${sha256} for key share`))
    ),

    hold: Effect.fn("ObjectsRepo.hold")((id: number) =>
      holding(ids(sql`select id::float8 as id from objects where id = ${id} for key share`))
    ),

    lock: Effect.fn("ObjectsRepo.lock")(
      (wanted: ReadonlyArray<number>): Effect.Effect<void, never, Transaction> =>
        Effect.asVoid(ids(sql`select id::float8 as id from objects where id = any(${wanted}::bigint[]) order by id for update`))
    ),

    addVariant: Effect.fn("ObjectsRepo.addVariant")((source: number, name: string, { id }: ObjectRef) =>
      run(sql`insert into object_variants (source_id, name, object_id) values (${source}, ${name}, ${id}) on conflict do nothing`)
    ),

    /** Deletes the row and those of its variants, unless something refers to it; answers where the bytes lie, and the variants' objects. */
    drop: Effect.fn("ObjectsRepo.drop")(
      (
        id: number
      ): Effect.Effect<Option.Option<{ readonly place: ObjectAddress; readonly variants: ReadonlyArray<number> }>, never, Transaction> =>
        Effect.gen(function* () {
          const variants = yield* ids(sql`delete from object_variants where source_id = ${id} returning object_id::float8 as id`)
          const [place] = yield* Effect.flatMap(
            sql`delete from objects where id = ${id} returning bucket, key`,
            Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ bucket: Schema.Literals(buckets), key: Schema.String })))
          )
          return place === undefined ? Option.none() : Option.some({ place, variants: variants.map((variant) => variant.id) })
        }).pipe(
          Effect.catchIf(SqlError.isSqlError, (error) => (isStillReferenced(error) ? Effect.fail(new StillUsed()) : Effect.die(error))),
          db.savepoint,
          Effect.catchTag("StillUsed", () => Effect.succeedNone),
          Effect.orDie
        )
    ),

    /** From the commit on, these bytes may go. */
    condemn: Effect.fn("ObjectsRepo.condemn")(
      (condemned: ReadonlyArray<ObjectAddress>): Effect.Effect<void> =>
        condemned.length === 0
          ? Effect.void
          : run(sql`
              insert into object_deletions (bucket, key)
              select * from unnest(${condemned.map(({ bucket }) => bucket)}::text[], ${condemned.map(({ key }) => key)}::text[])
              on conflict do nothing`)
    ),

    /** The upload is given up: what was announced is condemned. Waits for a transaction that is just settling it, and then does nothing. */
    giveUp: Effect.fn("ObjectsRepo.giveUp")((key: string) =>
      places(sql`
        with given_up as (delete from object_uploads where key = ${key} returning bucket, key)
        insert into object_deletions (bucket, key) select bucket, key from given_up on conflict do nothing returning bucket, key`)
    ),

    /** The same for uploads that were announced so long ago. */
    giveUpOld: Effect.fn("ObjectsRepo.giveUpOld")((age: Duration.Duration, most: number) =>
      places(sql`
        with old as (
          select key from object_uploads where created_at < now() - ${Duration.toMillis(age)} * interval '1 millisecond'
          order by created_at limit ${most} for update skip locked),
        given_up as (delete from object_uploads u using old where u.key = old.key returning u.bucket, u.key)
        insert into object_deletions (bucket, key) select bucket, key from given_up on conflict do nothing returning bucket, key`)
    ),

    /** Takes deletions that are due. Each comes back by itself later, and later each time, unless it is `deleted` by then. */
    due: Effect.fn("ObjectsRepo.due")((most: number) =>
      places(sql`
        with due as (
          select key from object_deletions where next_attempt_at <= now() order by next_attempt_at limit ${most} for update skip locked)
        update object_deletions d set attempts = attempts + 1, next_attempt_at = now() + least(interval '1 hour', interval '30 seconds' * power(2, least(attempts, 10)))
        from due where d.key = due.key returning d.bucket, d.key`)
    ),

    deleted: Effect.fn("ObjectsRepo.deleted")((key: string) => run(sql`delete from object_deletions where key = ${key}`)),

    notDeleted: Effect.fn("ObjectsRepo.notDeleted")((key: string, reason: string) =>
      run(sql`update object_deletions set last_error = ${reason} where key = ${key}`)
    ),

    pending: Effect.map(
      pending(sql`select (select count(*)::int from object_uploads) as uploads, (select count(*)::int from object_deletions) as deletions`),
      Option.getOrThrow
    ).pipe(Effect.withSpan("ObjectsRepo.pending")),

    page: Effect.fn("ObjectsRepo.page")((after: number, most: number) =>
      many(sql`select ${columns} from objects o where o.id > ${after} order by o.id limit ${most}`)
    ),

    /** Those of the keys that a row or an intent knows. */
    known: Effect.fn("ObjectsRepo.known")((keys: ReadonlyArray<string>) =>
      Effect.map(
        known(sql`
          with k as materialized (select unnest(${keys}::text[]) collate "C" as key)
          select key from objects where key in (select key from k)
          union select key from object_uploads where key in (select key from k)
          union select key from object_deletions where key in (select key from k)`),
        (found) => new Set(found.map(({ key }) => key))
      )
    )
  }
})

export class ObjectsRepo extends Context.Service<ObjectsRepo, Effect.Success<typeof make>>()("platform/ObjectsRepo") {
  static readonly layer = Layer.effect(ObjectsRepo, make)
}
