import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { count, row, run, type Transaction } from "#platform/db/db.ts"
import type { LinkPreview } from "./link-preview.ts"

export interface NewLinkPreview {
  readonly id: string
  readonly title: string
  readonly kind: LinkPreview["kind"]
  readonly finalUrl: string
  readonly image: { readonly bytes: Uint8Array; readonly sha256: string } | null
}

const facts = row(Schema.Struct({ size: Schema.Int, sha256: Schema.String }))
const image = row(Schema.Struct({ bytes: Schema.instanceOf(Uint8Array) }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const isSeen = (id: string) => sql`id = ${id}::uuid and image is not null and expires_at > now()`

  return {
    insert: Effect.fn("LinkPreviewsRepo.insert")(
      ({ finalUrl, image, ...others }: NewLinkPreview): Effect.Effect<void, never, Transaction> =>
        run(sql`
          insert into link_previews ${sql.insert({
            ...others,
            final_url: finalUrl,
            image: image?.bytes ?? null,
            image_sha256: image?.sha256 ?? null
          })}`)
    ),

    /** Size and hash of an image that is still to be seen. */
    find: Effect.fn("LinkPreviewsRepo.find")((id: string) =>
      facts(sql`select octet_length(image) as size, image_sha256 as sha256 from link_previews where ${isSeen(id)}`)
    ),

    image: Effect.fn("LinkPreviewsRepo.image")((id: string) => image(sql`select image as bytes from link_previews where ${isSeen(id)}`)),

    /** Removes some of those whose time is over, and waits for nobody who does the same; answers how many. */
    removeExpired: Effect.fn("LinkPreviewsRepo.removeExpired")((most: number) =>
      count(sql`
        with gone as (
          delete from link_previews where id in (
            select id from link_previews where expires_at <= now() order by expires_at limit ${most} for update skip locked)
          returning id)
        select count(*)::int as count from gone`)
    )
  }
})

export class LinkPreviewsRepo extends Context.Service<LinkPreviewsRepo, Effect.Success<typeof make>>()("inventory/LinkPreviewsRepo") {
  static readonly layer = Layer.effect(LinkPreviewsRepo, make)
}
