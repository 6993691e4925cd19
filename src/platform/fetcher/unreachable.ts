import { Data } from "effect"

export const reasons = [
  /** Not http or https, with credentials, or with a port of another service. */
  "bad-address",
  /** A name that leads nowhere and one that leads to where nobody may look read the same: the difference would map our network. */
  "no-host",
  "no-answer",
  "timeout",
  "redirects",
  "too-large",
  /** Cut short, or compressed in a way that cannot be undone. */
  "broken-body",
  "error-status"
] as const
export type Reason = (typeof reasons)[number]

/** Nothing was fetched. The sentence is for the person who gave the address. */
export class Unreachable extends Data.TaggedError("Unreachable")<{ readonly reason: Reason; readonly sentence: string }> {
  override get message() {
    return this.sentence
  }
}

export const unreachable = (reason: Reason, sentence: string) => new Unreachable({ reason, sentence })
