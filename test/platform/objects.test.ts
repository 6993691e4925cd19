import { assert, layer } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Db } from "#platform/db/db.ts"
import type { NewObject, ObjectRef } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { world } from "../support/world.ts"

declare const object: NewObject

// What the compiler refuses is the proof; none of this runs.
export const forbidden = () => {
  // @ts-expect-error nobody but Objects makes a reference to an object, so no row can name one that is not stored
  const forged: ObjectRef = { id: 1 }

  // @ts-expect-error what is stored is released, never removed: the store's own delete stays in its folder
  type Remove = Objects["Service"]["remove"]

  // @ts-expect-error a release must be a part of the transaction that removes the last row
  const released: Effect.Effect<void, never, Objects> = Effect.flatMap(Objects, ({ release }) => release([1]))

  // @ts-expect-error so must be whatever holds or locks an object
  const locked: Effect.Effect<void, never, Objects> = Effect.flatMap(Objects, ({ lock }) => lock([1]))

  return [forged, released, locked] as ReadonlyArray<unknown | Remove>
}

layer(world(), { excludeTestServices: true, timeout: "60 seconds" })("objects", (it) => {
  it.effect("are never stored inside a transaction, which would wait for the store", () =>
    Effect.gen(function* () {
      const { store } = yield* Objects
      const { transaction } = yield* Db
      const exit = yield* Effect.exit(transaction(store({ ...({} as typeof object) }, () => Effect.void)))
      assert.isTrue(Exit.isFailure(exit))
      assert.match(String(Exit.isFailure(exit) ? exit.cause : ""), /Objects\.store inside a transaction/u)
    })
  )
})
