import { Context, Data, Effect, Layer, Option, type Scope, Stream } from "effect"
import type { NewChange } from "#platform/changes/change.ts"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import type { Download } from "#platform/http/download.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import type { PayloadTooLarge, PreconditionFailed, StorageUnavailable, UnreadableFile } from "#platform/http/problems.ts"
import { type Completed, JobFailure, type JobRun } from "#platform/jobs/job-kind.ts"
import { Jobs } from "#platform/jobs/jobs.service.ts"
import { Media } from "#platform/media/media.service.ts"
import { UnsupportedMedia } from "#platform/media/media.ts"
import type { Staged } from "#platform/objects/object.ts"
import { Objects } from "#platform/objects/objects.service.ts"
import { opening } from "#platform/objects/opening.ts"
import { LinkCapture } from "../documents/capture.service.ts"
import { type Seller, type SellerId, SellerLogoNotFound, SellerNotFound } from "./seller.ts"
import { iconKind, iconSize } from "./seller-icon.ts"
import { SellerLogosRepo } from "./seller-logos.repo.ts"
import { SellersRepo } from "./sellers.repo.ts"

/** Internal: what was shown has gone since it was looked up, so it is looked up again. */
export class LogoReplaced extends Data.TaggedError("LogoReplaced") {}

interface Fetched {
  readonly found: boolean
}

/** What is shown of sellers: the logo that was uploaded, else the icon of the website, fetched once and from then on ours. */
export class SellerLogos extends Context.Service<
  SellerLogos,
  {
    readonly file: (
      id: SellerId
    ) => Effect.Effect<Download<StorageUnavailable | LogoReplaced, Scope.Scope>, SellerNotFound | SellerLogoNotFound>
    /** Begins a transaction itself, after the file is stored: never inside another one. The same bytes again change nothing. */
    readonly put: (
      id: SellerId,
      staged: Staged,
      ifMatch: IfMatch
    ) => Effect.Effect<
      Seller,
      SellerNotFound | PreconditionFailed | UnsupportedMedia | UnreadableFile | PayloadTooLarge | StorageUnavailable
    >
    /** Removes what was uploaded, if anything was. */
    readonly remove: (id: SellerId, ifMatch: IfMatch) => Effect.Effect<void, SellerNotFound | PreconditionFailed>
    /** Asks for the icon of the website that the seller has from this transaction on. */
    readonly wantIcon: (seller: Seller) => Effect.Effect<void, never, Transaction>
    readonly fetchIcon: (
      id: SellerId,
      website: string,
      run: JobRun<Fetched>
    ) => Effect.Effect<Fetched | Completed, JobFailure | StorageUnavailable, Scope.Scope>
    /** Holds what the seller shows. To be called before the seller is locked. */
    readonly lockObjectsOf: (id: SellerId) => Effect.Effect<void, never, Transaction>
    /** Removes everything of a seller that is being deleted and is locked. */
    readonly removeAllOf: (id: SellerId) => Effect.Effect<void, never, Transaction>
    /** Removes what is not shown any more. After the commit of what made it so; what it misses, the next one finds. */
    readonly tidy: (id: SellerId) => Effect.Effect<void>
  }
>()("inventory/SellerLogos") {
  static readonly layerNoDeps = Layer.effect(
    SellerLogos,
    Effect.gen(function* () {
      const logos = yield* SellerLogosRepo
      const sellers = yield* SellersRepo
      const objects = yield* Objects
      const media = yield* Media
      const capture = yield* LinkCapture
      const jobs = yield* Jobs
      const changes = yield* Changes
      const db = yield* Db

      const orNotFound = (id: SellerId) => (found: Option.Option<Seller>) =>
        Effect.fromOption(found).pipe(Effect.mapError(() => new SellerNotFound({ detail: `No seller has the id ${id}.`, sellerId: id })))
      const locked = (id: SellerId, ifMatch: IfMatch) =>
        sellers.lock(id).pipe(
          Effect.flatMap(orNotFound(id)),
          Effect.tap((seller) => checkVersion(ifMatch, seller.version))
        )
      /** Records what has become of the seller, and answers it. */
      const changed = Effect.fnUntraced(function* (before: Seller) {
        const after = yield* Effect.map(sellers.find(before.id), Option.getOrThrow)
        const change: NewChange = { topic: "seller", action: "updated", entity: "seller", entityId: String(before.id), before, after }
        yield* changes.record(change)
        return after
      })

      const lockAll = (kept: ReadonlyArray<{ readonly objectId: number }>) => objects.lock(kept.map(({ objectId }) => objectId))

      const tidy = Effect.fnUntraced(
        function* (id: SellerId) {
          const stale = yield* logos.of(id, "stale")
          if (stale.length === 0) return
          yield* db.transaction(
            Effect.gen(function* () {
              yield* lockAll(stale)
              yield* sellers.lock(id)
              yield* objects.release(yield* logos.removeStale(id, stale))
            })
          )
        },
        // What made it stale is committed: nobody is told that it has failed.
        Effect.catchCause((cause) => Effect.logWarning("logos that are not shown any more could not be removed", cause))
      )

      return SellerLogos.of({
        tidy: Effect.fn("SellerLogos.tidy")(tidy),

        file: Effect.fn("SellerLogos.file")(function* (id) {
          yield* Effect.flatMap(sellers.find(id), orNotFound(id))
          const shown = yield* logos.shown(id)
          const object = Option.isSome(shown) ? yield* objects.find(shown.value.objectId) : Option.none()
          if (Option.isNone(object)) return yield* new SellerLogoNotFound({ detail: `The seller ${id} has no logo.`, sellerId: id })
          const { mediaType, sha256, size } = object.value
          const open = opening(objects, `the logo of the seller ${id}`, () => new LogoReplaced())(object.value)
          return { size, mediaType, sha256, attachment: false, filename: null, immutable: false, open }
        }),

        put: Effect.fn("SellerLogos.put")(function* (id, staged, ifMatch) {
          const { mediaType } = yield* media.inspect(staged.path, staged.size)
          if (!accepted.has(mediaType)) {
            return yield* new UnsupportedMedia({ detail: `The file is ${mediaType}: a logo is a JPEG, PNG or WebP image.` })
          }
          const seller = yield* objects.store({ staged, bucket: "images", mediaType }, (object) =>
            Effect.gen(function* () {
              const before = yield* locked(id, ifMatch)
              const now = yield* logos.uploaded(id)
              if (Option.isSome(now) && now.value.objectId === object.id) return before
              yield* logos.add(id, object, null)
              yield* sellers.touch(id)
              return yield* changed(before)
            })
          )
          yield* tidy(id)
          return seller
        }),

        remove: Effect.fn("SellerLogos.remove")((id, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              // One that is uploaded from here on is uploaded after this.
              const seen = yield* logos.of(id, "uploaded")
              yield* lockAll(seen)
              const before = yield* locked(id, ifMatch)
              const removed = yield* logos.remove(seen)
              if (removed.length === 0) return
              yield* sellers.touch(id)
              yield* objects.release(removed)
              yield* changed(before)
            })
          )
        ),

        wantIcon: Effect.fn("SellerLogos.wantIcon")(function* ({ id, website }) {
          if (website === null) return
          // Another website is another job: one that runs already looks at the old one.
          yield* jobs.enqueue(iconKind, { sellerId: id, website }, { key: `${id} ${website}`, entity: { type: "seller", id: String(id) } })
        }),

        fetchIcon: Effect.fn("SellerLogos.fetchIcon")(function* (id, website, run) {
          const isOfItsWebsite = (seller: Option.Option<Seller>) => Option.isSome(seller) && seller.value.website === website
          // Ends in the transaction that looks: whoever comes back to this website later asks for another job.
          const ended = yield* db.transaction(
            Effect.gen(function* () {
              if (!isOfItsWebsite(yield* sellers.lock(id))) return yield* run.complete({ found: false })
              if (Option.isSome(yield* logos.icon(id, website))) return yield* run.complete({ found: true })
              return undefined
            })
          )
          if (ended !== undefined) return ended
          // Having none is nobody's failure, nor is a website that stays away: nobody could do anything about it.
          const picture = yield* capture
            .icon(website, iconSize)
            .pipe(
              Effect.catchTag("LinkUnreachable", ({ code, detail = code }) =>
                run.isLastAttempt ? Effect.succeed(null) : Effect.fail(new JobFailure({ code, detail, retryable: true }))
              )
            )
          if (picture === null) return { found: false }
          const { bytes, mediaType } = picture
          const staged = yield* objects.stage(Stream.make(bytes), { maxBytes: bytes.length }).pipe(Effect.catchTag("TooLarge", Effect.die))
          const completed = yield* objects.store({ staged, bucket: "images", mediaType }, (object) =>
            Effect.gen(function* () {
              const before = yield* sellers.lock(id)
              if (Option.isNone(before) || !isOfItsWebsite(before)) {
                yield* objects.release([object.id])
                return yield* run.complete({ found: false })
              }
              yield* logos.add(id, object, website)
              yield* changed(before.value)
              return yield* run.complete({ found: true })
            })
          )
          yield* tidy(id)
          return completed
        }),

        lockObjectsOf: Effect.fn("SellerLogos.lockObjectsOf")((id) => Effect.flatMap(logos.of(id, "all"), lockAll)),

        removeAllOf: Effect.fn("SellerLogos.removeAllOf")((id) =>
          Effect.flatMap(Effect.flatMap(logos.of(id, "all"), logos.remove), objects.release)
        )
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([SellerLogosRepo.layer, SellersRepo.layer, LinkCapture.layer, Changes.layer]))
}

const accepted: ReadonlySet<string> = new Set(["image/jpeg", "image/png", "image/webp"])
