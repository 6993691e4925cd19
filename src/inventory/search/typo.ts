/** R25, in code points. */
export const allowedTypos = (term: string): 0 | 1 | 2 | 3 => {
  const length = Array.from(term).length
  return length < 4 ? 0 : length < 8 ? 1 : length < 12 ? 2 : 3
}

/**
 * The optimal string alignment distance between the term and the nearest prefix of the word, or Infinity when it exceeds the limit.
 * A swap of neighbours counts 1, and nothing inside the swapped pair is edited again.
 */
export const prefixDistance = (term: string, word: string, limit: number): number => {
  const a = Array.from(term)
  // Further letters of the word only add to the distance.
  const b = Array.from(word.slice(0, 2 * (a.length + limit))).slice(0, a.length + limit)
  if (b.length < a.length - limit) return Infinity
  const width = b.length + 1
  let beforePrevious = new Array<number>(width).fill(Infinity)
  let previous = Array.from({ length: width }, (_, j) => (j <= limit ? j : Infinity))
  for (let i = 1; i <= a.length; i++) {
    // Cells further from the diagonal than the limit exceed it.
    const from = Math.max(0, i - limit)
    const to = Math.min(b.length, i + limit)
    const current = new Array<number>(width).fill(Infinity)
    let best = Infinity
    for (let j = from; j <= to; j++) {
      const distance =
        j === 0
          ? i
          : Math.min(
              at(previous, j) + 1,
              at(current, j - 1) + 1,
              at(previous, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
              i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(beforePrevious, j - 2) + 1 : Infinity
            )
      current[j] = distance
      best = Math.min(best, distance)
    }
    // No swap leads out of here: a cell two rows back that was low enough would have left one within the limit in this row.
    if (best > limit) return Infinity
    beforePrevious = previous
    previous = current
  }
  const nearest = Math.min(...previous)
  return nearest <= limit ? nearest : Infinity
}

const at = (row: ReadonlyArray<number>, index: number): number => row[index] ?? Infinity
