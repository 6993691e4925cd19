import { Context, Effect, Layer } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db } from "#platform/db/db.ts"
import type { InvalidCursor, Page, PageParams } from "#platform/db/paging.ts"
import type { InvalidRequest } from "#platform/http/problems.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import type { TagCount, TagRename } from "./part-tag.ts"
import { PartTagsRepo } from "./part-tags.repo.ts"

/** The tags of all parts taken together. Those of one part are a field of it. */
export class PartTags extends Context.Service<
  PartTags,
  {
    readonly list: (prefix: string | undefined, params: PageParams) => Effect.Effect<Page<TagCount>, InvalidCursor | InvalidRequest>
    /** Answers how many parts changed. */
    readonly rename: (rename: TagRename) => Effect.Effect<number>
  }
>()("inventory/PartTags") {
  static readonly layerNoDeps = Layer.effect(
    PartTags,
    Effect.gen(function* () {
      const repo = yield* PartTagsRepo
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes

      const rename = Effect.fnUntraced(function* ({ from, to }: TagRename) {
        const parts = from === to ? [] : yield* repo.lockTagged(from)
        if (parts.length === 0) return 0
        const ids = parts.map(({ id4 }) => id4)
        yield* repo.rename(ids, from, to)
        yield* index.refresh(ids)
        yield* changes.record(
          ...parts.map(
            ({ id4, tags }): NewChange => ({
              topic: "part",
              action: "updated",
              entity: "part",
              entityId: id4,
              before: { tags },
              after: { tags: [...new Set(tags.map((tag) => (tag === from ? to : tag)))] }
            })
          )
        )
        return parts.length
      })

      return PartTags.of({
        list: Effect.fn("PartTags.list")((prefix, params) => repo.list(prefix, params)),
        rename: Effect.fn("PartTags.rename")((request) => db.transaction(rename(request)))
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([PartTagsRepo.layer, SearchIndex.layer, Changes.layer]))
}
