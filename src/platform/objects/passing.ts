import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

// The flag is looked at when a context is made: this gives the function to us alone.
setFlagsFromString("--expose-gc")
const collect: (options: { readonly type: "minor" }) => void = runInNewContext("gc")
setFlagsFromString("--no-expose-gc")

const most = 8 * 2 ** 20
let sum = 0

/**
 * Told of bytes that only pass through the memory. Their buffers take no room on the heap, so V8 lets them pile up until it looks
 * through the whole of it: ten times in 100 MB, 30 ms each, with 60 MB of them at the peak. Among what is young they are found in
 * a millisecond.
 */
export const passed = (length: number) => {
  sum += length
  if (sum < most) return
  sum = 0
  collect({ type: "minor" })
}
