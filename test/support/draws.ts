/** mulberry32: the same draws for the same seed. */
export const drawsOf = (seed: number) => {
  let state = seed
  const unit = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n: number) => Math.floor(unit() * n)
  return { below, pick: <A>(of: ReadonlyArray<A>) => of[below(of.length)] as A, chance: (p: number) => unit() < p }
}
export type Draws = ReturnType<typeof drawsOf>
