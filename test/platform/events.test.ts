import { createHash } from "node:crypto"
import { get as httpGet, type IncomingMessage } from "node:http"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Option, Scope, Stream } from "effect"
import { HttpServer } from "effect/http"
import { SqlClient } from "effect/sql"
import { inject } from "vitest"
import { Imports } from "#inventory/transfer/import.service.ts"
import { defaults } from "#inventory/transfer/import.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { AppConfig } from "#platform/config.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import { formatPosition, parsePosition } from "#platform/events/event.ts"
import { Events } from "#platform/events/events.service.ts"
import { FeedSettings } from "#platform/events/feed.service.ts"
import { layer as Listening } from "#platform/http/listen.ts"
import { QueueLayer } from "#platform/jobs/jobs.layer.ts"
import { Lifecycle } from "#platform/system/lifecycle.ts"
import { Metrics } from "#platform/telemetry/metrics.ts"
import { Application, serve } from "../../src/server.ts"
import { type Block, blockOf, eventReader, feedOf } from "../support/event-stream.ts"
import { read } from "../support/exposition.ts"
import { inParallel, newBox, newPart, post } from "../support/inventory.ts"
import { connected, createDatabase, databaseOf, dropDatabase, freshDatabase } from "../support/postgres.ts"
import { eventually } from "../support/server-process.ts"
import { severableWorld, Wire } from "../support/severable.ts"
import { connectionOf, Http, world, worldOn } from "../support/world.ts"

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

const feed = (query = "", headers: Record<string, string> = {}) =>
  Effect.gen(function* () {
    const { fetch } = yield* Http
    return yield* eventReader(fetch(new Request(`http://test/api/events${query}`, { headers })))
  })
const resumed = (id: string, query = "") => feed(query, { "last-event-id": id })

const change = (entityId: string, action = "created") => ({ topic: "type", action, entity: "type", entityId }) as const
const idsOf = (events: ReadonlyArray<Block>) => events.map(({ data }) => data.id as string)

const gauge = (name: string) =>
  Effect.gen(function* () {
    const { page } = yield* Metrics
    return read(yield* page).series.find((one) => one.name === `partwright_${name}`)?.value
  })

/** A transaction that has recorded a change and stays open until it is told to end. */
const heldOpen = Effect.fnUntraced(function* (entityId: string) {
  const db = yield* Db
  const changes = yield* Changes
  const recorded = yield* Deferred.make<void>()
  const end = yield* Deferred.make<void, "undone">()
  const fiber = yield* db
    .transaction(
      changes.record(change(entityId)).pipe(Effect.andThen(Deferred.succeed(recorded, undefined)), Effect.andThen(Deferred.await(end)))
    )
    .pipe(Effect.forkScoped)
  yield* Deferred.await(recorded)
  return {
    commit: Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber)),
    undo: Effect.andThen(Deferred.fail(end, "undone"), Fiber.await(fiber))
  }
})

const recordOne = Effect.fnUntraced(function* (entityId: string, action?: string) {
  const db = yield* Db
  const changes = yield* Changes
  yield* db.transaction(changes.record(change(entityId, action)))
})

const withServices = <A, E, R>(inner: Layer.Layer<A, E, R>) =>
  Layer.mergeAll(Changes.layer, Events.layer, Imports.layer).pipe(Layer.provideMerge(inner))

layer(withServices(world()), options)("the event feed", (it) => {
  it.effect("begins now, and tells each change with its id, what it is, who did it and in which request", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      yield* newPart({ description: "before" })
      const reader = yield* feed()
      assert.strictEqual(reader.status, 200)
      assert.strictEqual(reader.headers.get("content-type"), "text/event-stream")
      assert.strictEqual(reader.headers.get("cache-control"), "no-store")
      assert.strictEqual(reader.headers.get("x-accel-buffering"), "no")
      const opening = yield* reader.next
      assert.strictEqual(opening?.retry, "1000")
      assert.isDefined(parsePosition(opening?.id ?? ""))

      const made = yield* send("POST", "/api/parts", { description: "Relay" }, { headers: { "x-request-id": "make-it" } })
      const { id4 } = made.body
      yield* send("PATCH", `/api/parts/${id4}`, { description: "Big relay", tags: ["heavy"] })
      // The part before may come as well, when another transaction of the cluster held it back.
      const mine = Effect.repeat(reader.event, { until: ({ data }) => data.id === id4 })
      const [created, updated] = [yield* mine, yield* mine]
      assert.strictEqual(created?.event, "part.created")
      const { at, ...data } = created!.data
      assert.deepStrictEqual(data, { principal: "owner", requestId: "make-it", entity: "part", id: id4 })
      assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u)
      assert.strictEqual(updated?.event, "part.updated")
      assert.deepStrictEqual(updated?.data.changed, ["description", "tags"])
      assert.notStrictEqual(updated?.id, created?.id)
    }).pipe(Effect.scoped)
  )

  it.effect("of a booking tells what was booked", () =>
    Effect.gen(function* () {
      const boxNo = yield* newBox()
      const id4 = yield* newPart()
      const reader = yield* feed("?topics=stock")
      const { body } = yield* post(`/api/parts/${id4}/put`, { slot: { boxNo, locNo: 1 }, quantity: 5 })
      const { data, event } = yield* reader.event
      assert.strictEqual(event, "stock.booked")
      assert.deepInclude(data, { operationId: body.operation.id, kind: "put", totals: { [id4]: 5 }, id: body.operation.id })
      assert.deepStrictEqual(data.movements, body.operation.movements)
    }).pipe(Effect.scoped)
  )

  it.effect("has only the topics that were asked for", () =>
    Effect.gen(function* () {
      const reader = yield* feed("?topics=type,box")
      yield* newPart()
      yield* recordOne("first")
      yield* newPart()
      const boxNo = yield* newBox()
      const events = yield* reader.events(2)
      assert.deepStrictEqual(
        events.map(({ data, event }) => [event, data.id]),
        [
          ["type.created", "first"],
          ["box.created", String(boxNo)]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("answers HEAD with the same head and no body, and is never compressed", () =>
    Effect.gen(function* () {
      const { fetch, send } = yield* Http
      const head = yield* send("HEAD", "/api/events")
      assert.deepStrictEqual([head.status, head.headers.get("content-type"), head.text], [200, "text/event-stream", ""])
      assert.strictEqual(head.headers.get("x-accel-buffering"), "no")
      const reader = yield* eventReader(fetch(new Request("http://test/api/events", { headers: { "accept-encoding": "gzip, br" } })))
      assert.include([null, "identity"], reader.headers.get("content-encoding"))
      assert.isDefined((yield* reader.next)?.retry)
      assert.strictEqual((yield* send("HEAD", "/api/events?topics=nonsense")).status, 400)
    }).pipe(Effect.scoped)
  )

  it.effect("of transactions that overlap tells each change once, in one order, whatever order they commit in", () =>
    Effect.gen(function* () {
      const live = yield* feed("?topics=type")
      const start = (yield* live.next)?.id ?? ""
      const early = yield* heldOpen("early")
      const middle = yield* heldOpen("middle")
      yield* recordOne("late")
      yield* middle.commit
      // Who comes now, resumes or begins, does not see past the open transaction either.
      const joining = yield* resumed(start, "?topics=type")
      yield* eventually("the feed is held back", gauge("event_feed_lag_seconds"), (age) => (age ?? 0) > 0.3)
      yield* early.commit
      yield* recordOne("last")
      const order = ["early", "middle", "late", "last"]
      assert.deepStrictEqual(idsOf(yield* live.events(4)), order)
      assert.deepStrictEqual(idsOf(yield* joining.events(4)), order)
      assert.deepStrictEqual(idsOf(yield* (yield* resumed(start, "?topics=type")).events(4)), order)
    }).pipe(Effect.scoped)
  )

  it.effect("waits for nobody who records nothing, however long that takes", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const sql = yield* SqlClient.SqlClient
      const live = yield* feed("?topics=type")
      const begun = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const silent = yield* db
        .transaction(
          sql`select pg_current_xact_id()::text`.pipe(
            Effect.andThen(Deferred.succeed(begun, undefined)),
            Effect.andThen(Deferred.await(end))
          )
        )
        .pipe(Effect.forkScoped)
      yield* Deferred.await(begun)
      yield* recordOne("meanwhile")
      assert.deepStrictEqual(idsOf([yield* live.event]), ["meanwhile"])
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(silent)
    }).pipe(Effect.scoped)
  )

  it.effect("goes on when those who recorded are rolled back, wholly or to a savepoint", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const changes = yield* Changes
      const live = yield* feed("?topics=type")
      const undone = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const half = yield* db
        .transaction(
          changes
            .record(change("undone"))
            .pipe(
              Effect.andThen(Effect.fail("undone")),
              db.savepoint,
              Effect.exit,
              Effect.andThen(Deferred.succeed(undone, undefined)),
              Effect.andThen(Deferred.await(end))
            )
        )
        .pipe(Effect.forkScoped)
      yield* Deferred.await(undone)
      yield* recordOne("beside a savepoint")
      assert.deepStrictEqual(idsOf([yield* live.event]), ["beside a savepoint"])
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(half)

      const rolledBack = yield* heldOpen("rolled back")
      const before = (yield* gauge("event_feed_lag_seconds")) ?? 0
      yield* recordOne("waits")
      const next = yield* Effect.forkScoped(live.event)
      yield* eventually("the feed is held back", gauge("event_feed_lag_seconds"), (age) => (age ?? 0) > before + 0.1)
      assert.isUndefined(next.pollUnsafe())
      yield* rolledBack.undo
      assert.deepStrictEqual(idsOf([yield* Fiber.join(next)]), ["waits"])
    }).pipe(Effect.scoped)
  )

  it.effect("is not held back by a long transaction that defers what it records, and has it at its end, without what was undone", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const changes = yield* Changes
      const live = yield* feed("?topics=type")
      const half = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const long = yield* Effect.gen(function* () {
        yield* changes.record(change("first"))
        yield* changes.record(change("undone")).pipe(Effect.andThen(Effect.fail("undone")), db.savepoint, Effect.exit)
        yield* changes.record(change("second"), change("third"))
        yield* Deferred.succeed(half, undefined)
        yield* Deferred.await(end)
      }).pipe(changes.deferred, db.transaction, Effect.forkScoped)
      yield* Deferred.await(half)
      yield* recordOne("meanwhile")
      assert.deepStrictEqual(idsOf([yield* live.event]), ["meanwhile"])
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(long)
      assert.deepStrictEqual(idsOf(yield* live.events(3)), ["first", "second", "third"])
    }).pipe(Effect.scoped)
  )

  it.effect("what is settled stays as it is, whatever 24 writers do at once", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const changes = yield* Changes
      const sql = yield* SqlClient.SqlClient
      const writing = yield* inParallel(24, (n) =>
        Effect.forEach(Array.from({ length: 30 }), (_, m) => {
          const one = changes.record(change(`${n} ${m}`))
          const yields = Effect.repeat(Effect.yieldNow, { times: (n * 7 + m) % 13 })
          const kinds = [
            Effect.andThen(one, yields),
            Effect.andThen(yields, Effect.andThen(one, one)),
            one.pipe(Effect.andThen(yields), Effect.andThen(Effect.fail("undone"))),
            one.pipe(Effect.andThen(Effect.fail("undone")), db.savepoint, Effect.exit, Effect.andThen(yields), Effect.andThen(one)),
            changes.deferred(Effect.andThen(one, yields))
          ]
          return Effect.exit(db.transaction(kinds[(n + m) % kinds.length] as Effect.Effect<unknown, string, Transaction>))
        })
      ).pipe(Effect.forkScoped)
      const looks: Array<{ readonly settled: number; readonly seen: string }> = []
      const seenUpTo = (settled: number) =>
        Effect.map(
          sql<{
            readonly seen: string | null
          }>`select string_agg(seq::text, ' ' order by seq) as seen from changes where seq <= ${settled}::float8::bigint`,
          ([row]) => row?.seen ?? ""
        )
      while (writing.pollUnsafe() === undefined) {
        const [{ settled } = { settled: 0 }] = yield* sql<{ readonly settled: number }>`select settled_changes()::float8 as settled`
        looks.push({ settled, seen: yield* seenUpTo(settled) })
      }
      assert.isAbove(looks.length, 10)
      assert.isAbove(new Set(looks.map(({ settled }) => settled)).size, 5)
      for (const { seen, settled } of looks) assert.strictEqual(yield* seenUpTo(settled), seen)
    }).pipe(Effect.scoped)
  )

  it.effect("resumes after any event, from the header or the address, of which the header counts", () =>
    Effect.gen(function* () {
      const live = yield* feed("?topics=type")
      const names = Array.from({ length: 10 }, (_, n) => `r${n}`)
      yield* Effect.forEach(names, (name) => recordOne(name))
      const events = yield* live.events(10)
      for (const n of [0, 4, 8]) {
        const expected = names.slice(n + 1)
        const id = events[n]?.id ?? ""
        assert.deepStrictEqual(idsOf(yield* (yield* resumed(id, "?topics=type")).events(expected.length)), expected)
        const byAddress = yield* feed(`?topics=type&lastEventId=${id}`)
        assert.deepStrictEqual(idsOf(yield* byAddress.events(expected.length)), expected)
      }
      const both = yield* resumed(events[8]?.id ?? "", `?topics=type&lastEventId=${events[1]?.id}`)
      assert.deepStrictEqual(idsOf([yield* both.event]), ["r9"])
      // Nothing is behind the last one: the next event is a new one.
      const atEnd = yield* resumed(events[9]?.id ?? "", "?topics=type")
      yield* atEnd.next
      yield* recordOne("new")
      assert.deepStrictEqual(idsOf([yield* atEnd.event]), ["new"])
    }).pipe(Effect.scoped)
  )

  it.effect("a client that lost its connection before the first event misses nothing either", () =>
    Effect.gen(function* () {
      const first = yield* feed("?topics=type")
      yield* first.next
      yield* first.leave
      yield* recordOne("meanwhile")
      assert.deepStrictEqual(idsOf([yield* (yield* resumed(first.lastId(), "?topics=type")).event]), ["meanwhile"])
    }).pipe(Effect.scoped)
  )

  it.effect("catches up over thousands of changes while more are made, without gap or duplicate", () =>
    Effect.gen(function* () {
      const db = yield* Db
      const changes = yield* Changes
      const before = yield* feed("?topics=type")
      const start = (yield* before.next)?.id ?? ""
      yield* before.leave
      const old = Array.from({ length: 2000 }, (_, n) => `old ${n}`)
      yield* Effect.forEach(old, (name) => db.transaction(changes.record(change(name))), { concurrency: 8 })
      const reader = yield* resumed(start, "?topics=type")
      const writing = yield* inParallel(8, (n) => Effect.forEach(Array.from({ length: 50 }), (_, m) => recordOne(`new ${n} ${m}`))).pipe(
        Effect.forkScoped
      )
      const events = yield* reader.events(2400)
      yield* Fiber.join(writing)
      assert.strictEqual(new Set(idsOf(events)).size, 2400)
      assert.deepStrictEqual(idsOf(events.slice(0, 2000)).toSorted(), old.toSorted())
      yield* recordOne("end")
      assert.deepStrictEqual(idsOf([yield* reader.event]), ["end"])
    }).pipe(Effect.scoped)
  )

  it.effect("gives 200 clients each of the changes of 32 parallel writers exactly once, in one order", () =>
    Effect.gen(function* () {
      const readers = yield* inParallel(200, () => feed("?topics=type"))
      yield* eventually("all are connected", gauge("event_feed_clients"), (count) => (count ?? 0) >= 200)
      const seen = yield* Effect.forEach(readers, (reader) => reader.events(32 * 20), { concurrency: "unbounded" }).pipe(Effect.forkScoped)
      yield* inParallel(32, (n) => Effect.forEach(Array.from({ length: 20 }), (_, m) => recordOne(`${n} ${m}`)))
      const all = (yield* Fiber.join(seen)).map(idsOf)
      const [first = []] = all
      const expected = Array.from({ length: 32 }, (_, n) => Array.from({ length: 20 }, (_, m) => `${n} ${m}`)).flat()
      assert.deepStrictEqual(first.toSorted(), expected.toSorted())
      for (const ids of all) assert.deepStrictEqual(ids, first)
    }).pipe(Effect.scoped)
  )

  it.effect("forgets clients that have left", () => eventually("all have left", gauge("event_feed_clients"), (count) => count === 0))

  it.effect("refuses what is no event of it", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const reader = yield* feed()
      yield* reader.next
      yield* recordOne("real")
      const real = (yield* reader.event).id ?? ""
      const place = Option.getOrThrow(Option.fromNullishOr(parsePosition(real)))
      const future = formatPosition({ ...place, seq: place.seq + 1000 })
      const flipped = real.replace(/.$/u, (last) => (last === "0" ? "1" : "0"))
      const hostile = [
        "0",
        "-1",
        "1",
        "null",
        "x".repeat(5000),
        "'; drop table changes --",
        `${real}0`,
        real.slice(1),
        real.toUpperCase(),
        flipped,
        `${real}, ${real}`,
        formatPosition({ ...place, seq: 36 ** 12 }),
        future,
        "00000000-zzzzzzzzzzz-zzzzzzzzzzz-00000000"
      ]
      for (const id of hostile) {
        const byHeader = yield* send("GET", "/api/events", undefined, { headers: { "last-event-id": id } })
        assert.deepStrictEqual([byHeader.status, byHeader.body?.code], [400, "invalid-request"], id)
        assert.deepInclude(byHeader.body.errors[0], { in: "header", pointer: "/last-event-id" }, id)
        const byAddress = yield* send("GET", `/api/events?lastEventId=${encodeURIComponent(id)}`)
        assert.deepStrictEqual([byAddress.status, byAddress.body?.code], [400, "invalid-request"], id)
        assert.deepInclude(byAddress.body.errors[0], { in: "query", pointer: "/lastEventId" }, id)
      }
      for (const query of [
        "topics=",
        "topics=parts",
        "topics=part,",
        "topics=part, stock",
        "topics=part&topics=stock",
        "topic=part",
        "lastEventId="
      ]) {
        const answer = yield* send("GET", `/api/events?${query}`)
        assert.deepStrictEqual([answer.status, answer.body?.code], [400, "invalid-request"], query)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("resets a client whose events are not kept any more, and goes on from now", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const live = yield* feed("?topics=type")
      yield* recordOne("dropped")
      yield* recordOne("kept")
      const [dropped, kept] = yield* live.events(2)
      yield* sql`alter table changes disable trigger changes_append_only`
      yield* sql`delete from changes where entity_id = 'dropped'`
      yield* sql`alter table changes enable trigger changes_append_only`
      const late = yield* resumed(dropped?.id ?? "", "?topics=type")
      const reset = yield* late.event
      assert.strictEqual(reset.event, "reset")
      yield* recordOne("after the reset")
      assert.deepStrictEqual(idsOf([yield* late.event]), ["after the reset"])
      const fromReset = yield* resumed(reset.id ?? "", "?topics=type")
      assert.deepStrictEqual(idsOf([yield* fromReset.event]), ["after the reset"])
      const other = yield* resumed(kept?.id ?? "", "?topics=type")
      assert.deepStrictEqual(idsOf([yield* other.event]), ["after the reset"])
    }).pipe(Effect.scoped)
  )

  it.effect("resets a client of a version that counted transactions too", () =>
    Effect.gen(function* () {
      const body = "0a1b2c3d-mf-2"
      const id = `${body}-${createHash("sha256").update(`partwright event ${body}`).digest("hex").slice(0, 8)}`
      const old = yield* resumed(id, "?topics=type")
      assert.strictEqual((yield* old.event).event, "reset")
      yield* recordOne("after the upgrade")
      assert.deepStrictEqual(idsOf([yield* old.event]), ["after the upgrade"])
    }).pipe(Effect.scoped)
  )

  it.effect("sends events that are not stored too, without an id, and only to those who are there", () =>
    Effect.gen(function* () {
      const { send: tell } = yield* Events
      const live = yield* feed("?topics=job,type")
      const { id } = (yield* live.next) ?? {}
      yield* tell({ topic: "job", action: "progress", entity: "job", id: "7", said: { progress: 40, message: "half\nway", id: "8" } })
      const { data, ...progress } = yield* live.event
      assert.deepStrictEqual(progress, { event: "job.progress" })
      const { at, ...said } = data
      assert.deepStrictEqual(said, { principal: "owner", requestId: null, entity: "job", id: "7", progress: 40, message: "half\nway" })
      assert.match(at, /Z$/u)
      assert.strictEqual(live.lastId(), id)
      // Too long to be sent whole.
      yield* tell({ topic: "job", action: "progress", entity: "job", id: "9", said: { message: "ä".repeat(5000) } })
      const cut = yield* live.event
      assert.deepStrictEqual([cut.data.id, cut.data.message], ["9", undefined])
      yield* recordOne("stored")
      yield* live.event
      const late = yield* resumed(id ?? "", "?topics=job,type")
      assert.deepStrictEqual(idsOf([yield* late.event]), ["stored"])
    }).pipe(Effect.scoped)
  )

  it.effect("is not impressed by notifications of others", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const live = yield* feed("?topics=type")
      for (const payload of ["x", "{}", '{"topic":"type"}', "null", '{"topic":"nothing","action":"x"}']) {
        yield* sql`select pg_notify('partwright_events', ${payload})`
      }
      yield* recordOne("still there")
      assert.deepStrictEqual(idsOf([yield* live.event]), ["still there"])
    }).pipe(Effect.scoped)
  )

  it.effect("tells an import in events of 100 rows and one of its own", () =>
    Effect.gen(function* () {
      const imports = yield* Imports
      const live = yield* feed("?topics=part,stock,inventory-import")
      const rows = Array.from({ length: 250 }, (_, n) => `FED-${n},Fed ${n},700,${n + 1},5`)
      const csv = ["manufacturerCode,description,boxNo,locNo,quantity", ...rows, ""].join("\n")
      const watcher = { started: () => Effect.void, rows: () => Effect.void }
      yield* imports.run(Stream.make(new TextEncoder().encode(csv)), { ...defaults, createBoxes: true }, watcher)
      const events = yield* live.events(4)
      assert.deepStrictEqual(
        events.map(({ data, event }) => [event, data.created?.length ?? data.created]),
        [
          ["part.imported", 100],
          ["part.imported", 100],
          ["part.imported", 50],
          ["inventory-import.finished", 250]
        ]
      )
    }).pipe(Effect.scoped)
  )
})

const settings = (given: Partial<(typeof FeedSettings)["Service"]>) =>
  Layer.succeed(FeedSettings, { heartbeat: Duration.seconds(15), poll: Duration.seconds(1), backlog: 512, ...given })

layer(withServices(world()).pipe(Layer.provide(settings({ heartbeat: Duration.millis(20) }))), options)("while nothing happens", (it) => {
  it.effect("a comment shows that the connection lives, and moves the place of those whom events do not concern", () =>
    Effect.gen(function* () {
      const quiet = yield* feed("?topics=document")
      const start = (yield* quiet.next)?.id
      assert.strictEqual((yield* quiet.next)?.comment, "heartbeat")
      const noted = yield* feed("?topics=type")
      yield* recordOne("elsewhere")
      const { id } = yield* noted.event
      const moved = yield* quiet.next.pipe(Effect.repeat({ until: (block) => block?.id !== start }))
      assert.deepStrictEqual(moved, { comment: "heartbeat", id: id ?? "" })
    }).pipe(Effect.scoped)
  )
})

class Port extends Context.Service<Port, number>()("test/Port") {}

const listened = Layer.effect(
  Port,
  Effect.map(HttpServer.HttpServer, ({ address }) => ("port" in address ? address.port : 0))
)

const socketServer = Layer.unwrap(
  Effect.map(freshDatabase("feed"), (database) =>
    listened.pipe(
      Layer.provideMerge(serve),
      Layer.provideMerge(Listening),
      Layer.provideMerge(QueueLayer),
      Layer.provideMerge(Application(connectionOf(database))),
      Layer.provideMerge(AppConfig.fromEnv({ PORT: "0" })),
      Layer.provideMerge(NodeServices.layer)
    )
  )
)

/** Asks for the feed and reads nothing of it. */
const stuckClient = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<IncomingMessage>((resume) => {
      httpGet({ port, host: "127.0.0.1", path: "/api/events", agent: false }, (response) => resume(Effect.succeed(response)))
    }),
    (response) => Effect.sync(() => response.destroy())
  )

layer(withServices(socketServer).pipe(Layer.provide(settings({ backlog: 16 }))), options)("over a real socket", (it) => {
  it.effect("a client that does not read is disconnected, nobody waits for it, and it can resume", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const db = yield* Db
      const changes = yield* Changes
      const reader = yield* feedOf(port)
      const stuck = yield* stuckClient(port)
      // More than the buffers of both kernels take.
      const text = "x".repeat(100_000)
      const tell = (n: number) =>
        db.transaction(changes.record({ topic: "type", action: "described", entity: "type", entityId: String(n), after: { text } }))
      const all: Array<string> = []
      for (let n = 0; (yield* gauge("event_feed_slow_clients_total")) === 0 && n < 1000; n++) {
        yield* tell(n)
        all.push((yield* reader.event).data.id)
      }
      assert.strictEqual(yield* gauge("event_feed_slow_clients_total"), 1)
      assert.deepStrictEqual(
        all,
        all.map((_, n) => String(n))
      )

      const received = yield* Effect.callback<string>((resume) => {
        let soFar = ""
        stuck.setEncoding("utf8").on("data", (chunk: string) => (soFar += chunk))
        stuck.on("error", () => {}).on("close", () => resume(Effect.succeed(soFar)))
      })
      const blocks = received.split("\n\n").slice(0, -1).map(blockOf)
      const seen = blocks.filter(({ event }) => event !== undefined)
      assert.isBelow(seen.length, all.length)
      const again = yield* feedOf(port, "", { "last-event-id": blocks.at(-1)?.id ?? "" })
      const missed = yield* again.events(all.length - seen.length)
      assert.deepStrictEqual(idsOf([...seen, ...missed]), all)
    }).pipe(Effect.scoped)
  )

  it.effect("a client that goes away is forgotten", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const reader = yield* feedOf(port)
      yield* eventually("it is counted", gauge("event_feed_clients"), (count) => count === 1)
      yield* reader.leave
      yield* eventually("it is forgotten", gauge("event_feed_clients"), (count) => count === 0)
    }).pipe(Effect.scoped)
  )
})

layer(withServices(socketServer), options)("when the server leaves", (it) => {
  it.effect("each client is told, the one that does not read is cut off, and who comes now is told at once", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const db = yield* Db
      const changes = yield* Changes
      const { beginDrain } = yield* Lifecycle
      const reader = yield* feedOf(port)
      yield* reader.next
      yield* stuckClient(port)
      const text = "x".repeat(100_000)
      // Less than the backlog, more than the buffers of both kernels take.
      for (let n = 0; n < 150; n++) {
        yield* db.transaction(changes.record({ topic: "type", action: "described", entity: "type", entityId: String(n), after: { text } }))
        yield* reader.event
      }
      yield* beginDrain
      assert.deepStrictEqual(yield* reader.next, { event: "shutdown", data: {} })
      assert.isUndefined(yield* reader.next)
      const late = yield* feedOf(port)
      assert.strictEqual((yield* late.event).event, "shutdown")
      assert.isUndefined(yield* late.next)
      const again = yield* feedOf(port, "", { "last-event-id": reader.lastId() })
      assert.strictEqual((yield* again.event).event, "shutdown")
      yield* eventually("all are gone", gauge("event_feed_clients"), (count) => count === 0)
    }).pipe(Effect.scoped)
  )
})

/** Another server in this process; the context has all it runs. */
const another = (database: Parameters<typeof worldOn>[0]) =>
  Effect.gen(function* () {
    const memoMap = Layer.makeMemoMapUnsafe()
    return yield* Layer.buildWithMemoMap(withServices(worldOn(database)), memoMap, yield* Scope.Scope)
  })

describe("the feeds of several servers", () => {
  it.live("have the changes and the unstored events of all, in one order", () =>
    Effect.gen(function* () {
      const database = yield* freshDatabase("two")
      const [one, two] = yield* Effect.all([another(database), another(database)])
      const readers = yield* Effect.forEach([one, two, one, two], (server) => Effect.provide(feed("?topics=type,job"), server))
      for (const reader of readers) yield* reader.next
      yield* inParallel(32, (n) => Effect.provide(recordOne(String(n)), n % 2 === 0 ? one : two))
      const all = yield* Effect.forEach(readers, (reader) => Effect.map(reader.events(32), idsOf))
      assert.strictEqual(new Set(all[0]).size, 32)
      for (const ids of all) assert.deepStrictEqual(ids, all[0])
      yield* Effect.provide(
        Effect.flatMap(Events, ({ send }) => send({ topic: "job", action: "progress", entity: "job", id: "1" })),
        one
      )
      for (const reader of readers) assert.strictEqual((yield* reader.event).event, "job.progress")
      // What one server has sent is a place in the feed of the other.
      yield* Effect.provide(recordOne("then"), two)
      const moved = yield* Effect.provide(resumed(readers[0]!.lastId(), "?topics=type"), two)
      assert.deepStrictEqual(idsOf([yield* moved.event]), ["then"])
    }).pipe(Effect.scoped)
  )
})

describe("a database that was restored somewhere else", () => {
  it.live("has a feed of its own: old clients are reset, and old changes do not come again", () =>
    Effect.gen(function* () {
      const server = inject("postgres")
      const origin = yield* freshDatabase("origin")
      const before = yield* Effect.gen(function* () {
        const reader = yield* feed()
        yield* recordOne("old")
        return (yield* reader.event).id ?? ""
      }).pipe(Effect.provide(withServices(worldOn(origin))), Effect.scoped)
      const copy = `${origin.database}_copy`
      yield* Effect.acquireRelease(createDatabase(server, copy, origin.database), () => dropDatabase(server, copy))
      const restored = databaseOf(server, copy)
      // As from a cluster that had counted further.
      yield* connected(
        restored,
        Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql`
            insert into changes (xact, principal, topic, action, entity, entity_id)
            select (pg_current_xact_id()::text::bigint + 1 + n)::text::xid8, 'x', 'type', 'created', 'type', 'old ' || n
            from generate_series(1, 200) n`
        )
      )
      const there = yield* another(restored)
      yield* Effect.gen(function* () {
        const old = yield* resumed(before)
        const fresh = yield* feed()
        const { event, id } = yield* old.event
        assert.strictEqual(event, "reset")
        const names = Array.from({ length: 300 }, (_, n) => `new ${n}`)
        yield* Effect.forEach(names, (name) => recordOne(name))
        assert.deepStrictEqual(idsOf(yield* old.events(300)), names)
        assert.deepStrictEqual(idsOf(yield* fresh.events(300)), names)
        assert.deepStrictEqual(idsOf(yield* (yield* resumed(id ?? "")).events(300)), names)
      }).pipe(Effect.provide(there))
    }).pipe(Effect.scoped)
  )

  it.live("resets those who are connected when it is found out at work", () =>
    Effect.gen(function* () {
      const there = yield* another(yield* freshDatabase("moved"))
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const live = yield* feed()
        yield* recordOne("one")
        const { id } = yield* live.event
        yield* sql`update event_epochs set origin = 'elsewhere'`
        yield* sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like 'LISTEN%'`
        assert.strictEqual((yield* live.event).event, "reset")
        yield* recordOne("two")
        assert.deepStrictEqual(idsOf([yield* live.event]), ["two"])
        assert.strictEqual((yield* (yield* resumed(id ?? "")).event).event, "reset")
      }).pipe(Effect.provide(there))
    }).pipe(Effect.scoped)
  )
})

layer(severableWorld("feed"), options)("while the database is away", (it) => {
  it.effect("clients stay connected and have what they missed once it is back; new ones are told", () =>
    Effect.gen(function* () {
      const { send } = yield* Http
      const { cut, mend, straight } = yield* Wire
      const live = yield* feed("?topics=type")
      const insert = (name: string) =>
        connected(
          straight,
          Effect.flatMap(
            SqlClient.SqlClient,
            (sql) => sql`insert into changes (principal, topic, action, entity, entity_id) values ('x', 'type', 'created', 'type', ${name})`
          )
        )
      yield* insert("before")
      yield* live.event
      for (const round of [1, 2]) {
        yield* cut
        yield* insert(`during ${round}`)
        const refused = yield* send("GET", "/api/events")
        assert.deepStrictEqual([refused.status, refused.body.code], [503, "database-unavailable"])
        yield* mend
        assert.deepStrictEqual(idsOf([yield* live.event]), [`during ${round}`])
        yield* insert(`after ${round}`)
        assert.deepStrictEqual(idsOf([yield* live.event]), [`after ${round}`])
      }
    }).pipe(Effect.scoped)
  )
})
