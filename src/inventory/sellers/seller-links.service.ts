import { Context, Data, Effect, Layer } from "effect"
import { Changes } from "#platform/changes/changes.service.ts"
import { Db, type Transaction } from "#platform/db/db.ts"
import { checkVersion, type IfMatch } from "#platform/http/preconditions.ts"
import { type InvalidRequest, invalidField, type PreconditionFailed } from "#platform/http/problems.ts"
import type { PartNotFound, PartRetired } from "../parts/part.ts"
import { PartIds } from "../parts/part-ids.service.ts"
import { SearchIndex } from "../search/search-index.service.ts"
import {
  linkOrNumber,
  type NewSellerLink,
  type SellerId,
  type SellerLink,
  type SellerLinkEdit,
  SellerLinkExists,
  type SellerLinkId,
  SellerLinkNotFound,
  SellerPartNumberTaken,
  saysSomething
} from "./seller.ts"
import { type Draft, type Known, type LinkOfPart, SellerLinksRepo, type TakenNumber } from "./seller-links.repo.ts"

type Missing = PartNotFound | PartRetired
type Refused = InvalidRequest | SellerLinkExists | SellerPartNumberTaken

/** What a list of parts says of where one of them is bought; absent stays as it is. */
export interface PrimarySeller {
  readonly id4: string
  readonly sellerId: SellerId
  readonly link?: string | undefined
  readonly sellerPartNumbers?: ReadonlyArray<string> | undefined
}

/** `says-nothing`: neither the list nor the part has a link or number for this seller. */
export type PrimarySellerOutcome = "changed" | "unchanged" | "says-nothing" | SellerPartNumberTaken

/** Internal: these links cannot have their numbers, and everything written with them must go. */
class NumbersTaken extends Data.TaggedError("NumbersTaken")<{ readonly taken: ReadonlyArray<TakenNumber> }> {}

/** The primary link of a part. */
export type PrimaryLink = Pick<SellerLink, "sellerId" | "link" | "sellerPartNumbers">

export class SellerLinks extends Context.Service<
  SellerLinks,
  {
    readonly add: (id4: string, link: NewSellerLink) => Effect.Effect<SellerLink, Missing | Refused>
    readonly edit: (
      id4: string,
      id: SellerLinkId,
      edit: SellerLinkEdit,
      ifMatch: IfMatch
    ) => Effect.Effect<SellerLink, Missing | SellerLinkNotFound | Refused | PreconditionFailed>
    readonly remove: (
      id4: string,
      id: SellerLinkId,
      ifMatch: IfMatch
    ) => Effect.Effect<void, Missing | SellerLinkNotFound | PreconditionFailed>
    /** The links of a part that was just inserted. Recording the change and refreshing the search are left to the caller. */
    readonly attach: (id4: string, links: ReadonlyArray<NewSellerLink>) => Effect.Effect<void, Refused, Transaction>
    /** The primary links of these parts, by part; parts without links are left out. */
    readonly primaries: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, PrimaryLink>>
    /**
     * Makes each seller the primary one of its part, with what is said of it, for imports: at most one entry per part, and only
     * parts and sellers that exist. Answers in the order of the entries; a refused one leaves nothing behind. The number of
     * statements does not grow with the entries. Recording changes and refreshing the search are left to the caller.
     */
    readonly attachMany: (entries: ReadonlyArray<PrimarySeller>) => Effect.Effect<ReadonlyArray<PrimarySellerOutcome>, never, Transaction>
  }
>()("inventory/SellerLinks") {
  static readonly layerNoDeps = Layer.effect(
    SellerLinks,
    Effect.gen(function* () {
      const repo = yield* SellerLinksRepo
      const partIds = yield* PartIds
      const index = yield* SearchIndex
      const db = yield* Db
      const changes = yield* Changes

      /** The links of the part, which nobody else changes until the transaction ends. */
      const locked = Effect.fnUntraced(function* (id4: string) {
        const found = yield* repo.lockParts([id4])
        return found.has(id4) ? yield* repo.of([id4]) : yield* partIds.missing(id4)
      })
      const find = Effect.fnUntraced(function* (links: ReadonlyArray<LinkOfPart>, id4: string, id: SellerLinkId, ifMatch: IfMatch) {
        const link = links.find((other) => other.id === id)
        if (link === undefined)
          return yield* new SellerLinkNotFound({
            detail: id === 0 ? `${id4} has no such seller link.` : `${id4} has no seller link ${id}.`,
            id4,
            linkId: id
          })
        yield* checkVersion(ifMatch, link.version)
        return link
      })
      const requireSeller = Effect.fnUntraced(function* (sellerId: SellerId, pointer: string) {
        const known = yield* repo.keepSellers([sellerId])
        if (!known.has(sellerId)) return yield* unknownSeller(pointer)
      })
      const finish = Effect.fnUntraced(function* (id4: string, before: ReadonlyArray<LinkOfPart>) {
        yield* index.refresh([id4])
        const after = yield* repo.of([id4])
        yield* changes.record({
          topic: "part",
          action: "updated",
          entity: "part",
          entityId: id4,
          before: { sellerLinks: before.map(asLink) },
          after: { sellerLinks: after.map(asLink) }
        })
        return after
      })

      /** Writes the drafts, of which at most one per part is primary; `before` are the links that their parts have. */
      const write: (drafts: ReadonlyArray<Draft>, before: ReadonlyArray<LinkOfPart>) => Effect.Effect<void, NumbersTaken, Transaction> =
        Effect.fnUntraced(function* (drafts, before) {
          const primary = new Map(drafts.filter((draft) => draft.primary).map((draft) => [draft.id4, draft.id]))
          const replaced = before.filter((link) => link.primary && primary.has(link.id4) && primary.get(link.id4) !== link.id)
          yield* repo.clearPrimary(replaced.map(({ id }) => id))

          const ids = yield* repo.insert(drafts.filter(({ id }) => id === null))
          yield* repo.update(drafts.filter(isKnown))

          const earlier = new Map(before.map((link) => [link.id, link]))
          const written = drafts.map((draft): Known => ({ ...draft, id: draft.id ?? (ids.get(draft) as SellerLinkId) }))
          const renumbered = written.filter((draft) => !sameNumbers(draft, earlier.get(draft.id)))
          yield* repo.removeNumbers(renumbered.filter(({ id }) => earlier.has(id)).map(({ id }) => id))
          const taken = yield* repo.addNumbers(renumbered)
          if (taken.length > 0) return yield* new NumbersTaken({ taken })
        })
      const writeOrRefuse = (drafts: ReadonlyArray<Draft>, before: ReadonlyArray<LinkOfPart>) =>
        Effect.catchTag(write(drafts, before), "NumbersTaken", ({ taken }) => numberTaken(taken[0] as TakenNumber))

      /** Writes the drafts among the outcomes, without those that cannot have their numbers. */
      const settle = (
        outcomes: ReadonlyArray<Draft | PrimarySellerOutcome>,
        before: ReadonlyArray<LinkOfPart>
      ): Effect.Effect<ReadonlyArray<PrimarySellerOutcome>, never, Transaction> =>
        db.savepoint(write(outcomes.filter(isDraft), before)).pipe(
          Effect.as(outcomes.map((outcome) => (isDraft(outcome) ? ("changed" as const) : outcome))),
          Effect.catchTag("NumbersTaken", ({ taken }) => {
            const refused = new Map(taken.toReversed().map((number) => [number.wantedBy, numberTaken(number)]))
            return settle(
              outcomes.map((outcome) => (isDraft(outcome) ? (refused.get(outcome.id4) ?? outcome) : outcome)),
              before
            )
          })
        )

      return SellerLinks.of({
        add: Effect.fn("SellerLinks.add")((id4, link) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(id4)
              yield* requireSeller(link.sellerId, "/sellerId")
              const known = before.find(({ sellerId }) => sellerId === link.sellerId)
              if (known !== undefined) return yield* linkExists(id4, known)
              yield* writeOrRefuse([{ ...link, id: null, id4, primary: link.primary || before.length === 0 }], before)
              const after = yield* finish(id4, before)
              return asLink(after.find(({ sellerId }) => sellerId === link.sellerId) as LinkOfPart)
            })
          )
        ),

        edit: Effect.fn("SellerLinks.edit")((id4, id, edit, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(id4)
              const link = yield* find(before, id4, id, ifMatch)
              if (link.primary && edit.primary === false) return yield* invalidField("body", "/primary", staysPrimary)
              const draft = {
                ...link,
                ...edit,
                sellerPartNumbers: edit.sellerPartNumbers === undefined ? link.sellerPartNumbers : (edit.sellerPartNumbers ?? [])
              }
              if (!saysSomething(draft)) return yield* invalidField("body", "", `The link must keep ${linkOrNumber}`)
              if (draft.sellerId !== link.sellerId) {
                yield* requireSeller(draft.sellerId, "/sellerId")
                const known = before.find(({ sellerId }) => sellerId === draft.sellerId)
                if (known !== undefined) return yield* linkExists(id4, known)
              }
              yield* writeOrRefuse([draft], before)
              const after = yield* finish(id4, before)
              return asLink(after.find((other) => other.id === id) as LinkOfPart)
            })
          )
        ),

        remove: Effect.fn("SellerLinks.remove")((id4, id, ifMatch) =>
          db.transaction(
            Effect.gen(function* () {
              const before = yield* locked(id4)
              const link = yield* find(before, id4, id, ifMatch)
              yield* repo.remove(id)
              if (link.primary) yield* repo.promoteOldest(id4)
              yield* finish(id4, before)
            })
          )
        ),

        attach: Effect.fn("SellerLinks.attach")(function* (id4, links) {
          if (links.length === 0) return
          const known = yield* repo.keepSellers(links.map(({ sellerId }) => sellerId))
          const primary = Math.max(
            links.findIndex((link) => link.primary),
            0
          )
          for (const [at, link] of links.entries()) {
            if (!known.has(link.sellerId)) return yield* unknownSeller(`/sellerLinks/${at}/sellerId`)
            if (link.primary && at !== primary)
              return yield* invalidField("body", `/sellerLinks/${at}/primary`, "Only one link can be primary")
            if (links.findIndex(({ sellerId }) => sellerId === link.sellerId) !== at) {
              return yield* new SellerLinkExists({ detail: `Two of the links name the seller ${link.sellerId}.`, sellerId: link.sellerId })
            }
          }
          yield* writeOrRefuse(
            links.map((link, at) => ({ ...link, id: null, id4, primary: at === primary })),
            []
          )
        }),

        primaries: Effect.fn("SellerLinks.primaries")((ids) =>
          ids.length === 0
            ? Effect.succeed(new Map<string, PrimaryLink>())
            : Effect.map(repo.of(ids), (links) => new Map(links.filter(({ primary }) => primary).map((link) => [link.id4, link])))
        ),

        attachMany: Effect.fn("SellerLinks.attachMany")(function* (entries) {
          if (entries.length === 0) return []
          const ids = entries.map(({ id4 }) => id4)
          yield* repo.lockParts(ids)
          const before = yield* repo.of(ids)
          const earlier = new Map(before.map((link) => [`${link.id4} ${link.sellerId}`, link]))
          const outcomes = entries.map((entry): Draft | PrimarySellerOutcome => {
            const link = earlier.get(`${entry.id4} ${entry.sellerId}`)
            const draft: Draft = {
              id: link?.id ?? null,
              id4: entry.id4,
              sellerId: entry.sellerId,
              link: entry.link ?? link?.link ?? null,
              sellerPartNumbers: entry.sellerPartNumbers ?? link?.sellerPartNumbers ?? [],
              primary: true
            }
            if (!saysSomething(draft)) return "says-nothing"
            return link?.primary && link.link === draft.link && sameNumbers(draft, link) ? "unchanged" : draft
          })
          return yield* settle(outcomes, before)
        })
      })
    })
  )
  static readonly layer = this.layerNoDeps.pipe(Layer.provide([SellerLinksRepo.layer, PartIds.layer, SearchIndex.layer, Changes.layer]))
}

const isDraft = (outcome: Draft | PrimarySellerOutcome): outcome is Draft =>
  typeof outcome !== "string" && !(outcome instanceof SellerPartNumberTaken)

const isKnown = (draft: Draft): draft is Known => draft.id !== null

const asLink = ({ id4: _, ...link }: LinkOfPart): SellerLink => link

const sameNumbers = (draft: Draft, link: LinkOfPart | undefined) =>
  link !== undefined &&
  draft.sellerId === link.sellerId &&
  JSON.stringify(draft.sellerPartNumbers) === JSON.stringify(link.sellerPartNumbers)

const staysPrimary = "A part with links has a primary one. Make another link primary and this one no longer is"

const unknownSeller = (pointer: string) => invalidField("body", pointer, "No seller has this id")

const linkExists = (id4: string, { sellerId, sellerName }: SellerLink) =>
  new SellerLinkExists({ detail: `${id4} has a link to ${sellerName} already.`, sellerId })

const numberTaken = ({ id4, number }: TakenNumber) =>
  new SellerPartNumberTaken({ detail: `The seller part number ${number} belongs to ${id4}.`, number, id4 })
