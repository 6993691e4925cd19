import { createHash } from "node:crypto"
import type { Topic } from "../changes/topic.ts"

/** A place in the feed: every change of the epoch up to this number was sent. */
export interface Position {
  /** The run of the database that the number belongs to. */
  readonly epoch: string
  readonly seq: number
}

export const isAfter = (a: Position, b: Position) => a.seq > b.seq

// Self-checking, not secret: whoever forges one starts at another place of the same feed.
const checksum = (body: string) => createHash("sha256").update(`partwright event ${body}`).digest("hex").slice(0, 8)

/** The `id` of an event. */
export const formatPosition = ({ epoch, seq }: Position) => {
  const body = `${epoch}-${seq.toString(36)}`
  return `${body}-${checksum(body)}`
}

/** Undefined when it is no id that this feed ever sent: earlier versions named a transaction too, in epochs that have ended. */
export const parsePosition = (id: string): Position | undefined => {
  const [, body = "", epoch = "", seq = "", check] = /^(([0-9a-f]{8})(?:-[0-9a-z]{1,11})?-([0-9a-z]{1,11}))-([0-9a-f]{8})$/u.exec(id) ?? []
  return check !== undefined && checksum(body) === check ? { epoch, seq: Number.parseInt(seq, 36) } : undefined
}

/** What one event says. Whatever a module adds stands beside these. */
export interface Event {
  readonly topic: Topic
  readonly action: string
  readonly at: string
  readonly principal: string
  readonly requestId: string | null
  readonly entity: string
  readonly id: string
  readonly said?: Readonly<Record<string, unknown>> | null
}

/** Some bytes of an event stream, shared by all who get them. Without a topic they are for everyone. */
export interface Frame {
  readonly topic: Topic | null
  readonly bytes: Uint8Array
}

const frame = (topic: Topic | null, text: string): Frame => ({ topic, bytes: Buffer.from(text) })

/** An event without a position leaves the place of its readers as it is: they do not get it again. */
export const eventFrame = ({ action, said, topic, ...base }: Event, position?: Position) => {
  const id = position === undefined ? "" : `id: ${formatPosition(position)}\n`
  // Twice, so that these come first and cannot be replaced by what a module says.
  return frame(topic, `${id}event: ${topic}.${action}\ndata: ${JSON.stringify({ ...base, ...said, ...base })}\n\n`)
}

/** Browsers come back after so long. */
const retryMs = 1000

// An id without an event is remembered all the same (HTML, 9.2.6): who loses the connection before the first event misses nothing.
export const openingFrame = (position: Position) => frame(null, `retry: ${retryMs}\nid: ${formatPosition(position)}\n\n`)
export const resetFrame = (position: Position) => frame(null, `id: ${formatPosition(position)}\nevent: reset\ndata: {}\n\n`)
// Carries the place too: a reader of a quiet topic would otherwise fall behind what is kept.
export const heartbeatFrame = (position: Position | undefined) =>
  frame(null, `: heartbeat\n${position === undefined ? "" : `id: ${formatPosition(position)}\n`}\n`)
export const shutdownFrame = frame(null, "event: shutdown\ndata: {}\n\n")

/**
 * Who may see what: the one place that knows. The feed names what its readers may also read as viewers; with identity, what is of
 * one principal alone (jobs of others) is left out here.
 */
export const isVisibleTo = (_principal: string) => (_frame: Frame) => true
