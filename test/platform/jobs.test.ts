import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Http, world } from "../support/world.ts"

layer(world({ JOB_CONCURRENCY: "8" }), { excludeTestServices: true, timeout: "60 seconds" })("jobs", (it) => {
  const probe = (body: unknown) =>
    Http.use(({ send }) =>
      Effect.map(send("POST", "/api/jobs/probe", body), ({ body, status }) => ({ status, ids: body.ids as ReadonlyArray<string>, body }))
    )
  const get = (id: string) => Http.use(({ send }) => send("GET", `/api/jobs/${id}`))
  const ended = (id: string) =>
    Effect.gen(function* () {
      for (;;) {
        const { body } = yield* get(id)
        if (["succeeded", "failed", "cancelled"].includes(body.state)) return body
        yield* Effect.sleep("10 millis")
      }
    })

  it.effect("that were asked for are done", () =>
    Effect.gen(function* () {
      const { ids, status } = yield* probe({ count: 3, steps: 2, stepMs: 1 })
      assert.strictEqual(status, 202)
      for (const id of ids) {
        const job = yield* ended(id)
        assert.strictEqual(job.state, "succeeded")
        assert.deepStrictEqual(job.result, { attempt: 1 })
        assert.strictEqual(job.progress, 100)
      }
    })
  )
})
