/** A linear congruence: the same draws in every run. */
export const randomNumbers = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const fragments = Array.from("aBz09 .,;-_+/|()'\"\\:~=^±…µμΩΩωςΣßİéẞ\u0301\u0000\u00ad\u3099\ud83d\ude00カ가अृ\u{1f600}").concat(
  "\ud800",
  "\udc00",
  "4k7",
  "1MΩ",
  "1 mΩ",
  "100n",
  "2,2µF",
  "3.3-V",
  "4.5…5V",
  "ﷺ",
  "½",
  "x".repeat(250)
)

/** Short texts of everything that has ever been trouble: markers, marks, halves of surrogate pairs, values and their separators. */
export function* randomTexts(count: number, seed = 1): Generator<string> {
  const draw = randomNumbers(seed)
  for (let i = 0; i < count; i++) {
    yield Array.from({ length: 1 + draw(12) }, () => fragments[draw(fragments.length)] ?? "").join("")
  }
}
