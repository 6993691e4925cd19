/** Numbers that look random and are the same for the same seed (mulberry32): every machine draws the same sample. */
export class Draws {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0
  }

  /** From 0 to 4,294,967,295. */
  bits(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  /** From 0 to below 1. */
  unit(): number {
    return this.bits() / 4_294_967_296
  }

  /** A whole number, both ends included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.unit() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.unit() < probability
  }

  pick<A>(all: ReadonlyArray<A>): A {
    return all[this.between(0, all.length - 1)] as A
  }

  /** In place. */
  shuffle<A extends { [index: number]: number; readonly length: number }>(all: A): A {
    for (let last = all.length - 1; last > 0; last--) {
      const other = this.between(0, last)
      const kept = all[last] as number
      all[last] = all[other] as number
      all[other] = kept
    }
    return all
  }
}
