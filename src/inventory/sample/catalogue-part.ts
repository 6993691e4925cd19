import type { Draws } from "./draws.ts"

/** A part as a catalogue describes it. */
export interface CataloguePart {
  readonly description: string
  /** How many of it one buys at once. */
  readonly bag: readonly [min: number, max: number]
  readonly tags: ReadonlyArray<string>
  readonly manufacturer?: string
  readonly manufacturerCode?: string
  readonly mountingType?: "SMD" | "Through-Hole"
  readonly package?: string
  readonly pinCount?: number
  readonly pinPitch?: string
  readonly voltageRating?: string
  readonly series?: string
  readonly dimensions?: string
}

export type DrawPart = (draws: Draws) => CataloguePart

export const smd = { mountingType: "SMD" } as const
export const tht = { mountingType: "Through-Hole" } as const

export const words = (text: string): ReadonlyArray<string> => text.split(" ")

/** A table of names, one row a line, columns divided by `|`. */
export const table = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text
    .trim()
    .split("\n")
    .map((row) => row.split("|").map((cell) => cell.trim()))
