/** One line of a metrics page. */
export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly series: ReadonlyArray<Series>
}

const notBase =
  /_(ms|millis|milliseconds|us|micros|microseconds|ns|nanos|nanoseconds|minutes|hours|days|kb|kib|mb|mib|gb|gib|percent)(_|$)/u

/** The pages of Prometheus' text format, version 0.0.4: the series, and everything that is wrong with them. */
export const read = (page: string): { readonly series: ReadonlyArray<Series>; readonly faults: ReadonlyArray<string> } => {
  const faults: Array<string> = []
  const families = new Map<string, { name: string; help: string; type: string; series: Array<Series> }>()
  let current: { name: string; help: string; type: string; series: Array<Series> } | undefined
  if (!page.endsWith("\n")) faults.push("the last line has no end")

  for (const line of page.split("\n").slice(0, -1)) {
    const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/u.exec(line) ?? []
    if (keyword !== undefined) {
      if (current?.name !== name) {
        if (families.has(name)) faults.push(`${name} comes in two places`)
        current = { name, help: "", type: "", series: [] }
        families.set(name, current)
      }
      const key = keyword === "HELP" ? "help" : "type"
      if (current[key] !== "") faults.push(`${name} has ${keyword} twice`)
      if (current.series.length > 0) faults.push(`${name} has ${keyword} after its series`)
      current[key] = rest
      continue
    }
    const series = parse(line)
    if (series === undefined) faults.push(`cannot be read: ${line}`)
    else if (current === undefined || !belongs(series.name, current)) faults.push(`${series.name} has neither HELP nor TYPE`)
    else current.series.push(series)
  }
  for (const family of families.values()) faults.push(...faultsOf(family))
  return { series: [...families.values()].flatMap(({ series }) => series), faults }
}

const belongs = (name: string, family: Family) =>
  name === family.name || (family.type === "histogram" && ["_bucket", "_sum", "_count"].some((end) => name === family.name + end))

const parse = (line: string): Series | undefined => {
  const [, name, , inside = "", number = ""] = /^([A-Za-z_:][\w:]*)(\{(.*)\})? (\S+)$/u.exec(line) ?? []
  if (name === undefined) return undefined
  const labels: Record<string, string> = {}
  let rest = inside
  while (rest !== "") {
    const [whole, label, value] = /^([A-Za-z_]\w*)="((?:[^"\\]|\\["\\n])*)"(?:,(?=.)|$)/u.exec(rest) ?? []
    if (whole === undefined || label === undefined || value === undefined || label in labels) return undefined
    labels[label] = value.replaceAll(/\\(.)/gu, (_, escaped: string) => (escaped === "n" ? "\n" : escaped))
    rest = rest.slice(whole.length)
  }
  const value = number === "+Inf" ? Number.POSITIVE_INFINITY : number === "-Inf" ? Number.NEGATIVE_INFINITY : Number(number)
  return Number.isNaN(value) && number !== "NaN" ? undefined : { name, labels, value }
}

const faultsOf = (family: Family): ReadonlyArray<string> => {
  const { help, name, series, type } = family
  const faults: Array<string> = []
  const wrong = (what: string) => faults.push(`${name} ${what}`)
  if (help.trim() === "") wrong("has no HELP")
  if (!["counter", "gauge", "histogram"].includes(type)) wrong(`has the type ${type === "" ? "nothing" : type}`)
  if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/u.test(name)) wrong("is not in snake case")
  if (notBase.test(name)) wrong("is not in a base unit")
  if (type === "counter" && !name.endsWith("_total")) wrong("is a counter without _total")
  if (type !== "counter" && name.endsWith("_total")) wrong("ends in _total and is no counter")
  if (/_(bucket|sum|count)$/u.test(name)) wrong("ends like a series of a histogram")
  if (type === "histogram" && !/_(seconds|bytes|ratio)$/u.test(name)) wrong("is a histogram without a unit")

  const seen = new Set<string>()
  for (const one of series) {
    const key = keyOf(one.name, one.labels)
    if (seen.has(key)) wrong(`has ${key} twice`)
    seen.add(key)
    for (const label of Object.keys(one.labels)) if (!/^[a-z][a-z0-9_]*$/u.test(label)) wrong(`has the label ${label}`)
    if (type === "counter" && !(one.value >= 0)) wrong(`counts ${one.value}`)
  }
  if (type === "histogram") for (const what of histogramFaults(family)) wrong(what)
  return faults
}

const keyOf = (name: string, labels: Series["labels"]) =>
  `${name}${JSON.stringify(Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1)))}`

const histogramFaults = ({ name, series }: Family): ReadonlyArray<string> => {
  const faults: Array<string> = []
  const withoutBound = ({ le: _, ...labels }: Series["labels"]) => keyOf("", labels)
  for (const [key, group] of Map.groupBy(series, ({ labels }) => withoutBound(labels))) {
    const buckets = group.filter((one) => one.name === `${name}_bucket`)
    const bounds = buckets.map(({ labels: { le = "" } }) => (le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le === "" ? "none" : le)))
    const counts = buckets.map(({ value }) => value)
    const rises = (all: ReadonlyArray<number>, strictly: boolean) =>
      all.every((value, at) => at === 0 || value > all[at - 1]! || (!strictly && value === all[at - 1]))
    if (bounds.some(Number.isNaN) || !rises(bounds, true)) faults.push(`has buckets out of order at ${key}`)
    if (!rises(counts, false)) faults.push(`has buckets that are not cumulative at ${key}`)
    if (bounds.at(-1) !== Number.POSITIVE_INFINITY) faults.push(`has no last bucket at ${key}`)
    const count = group.filter((one) => one.name === `${name}_count`)
    if (count.length !== 1 || count[0]?.value !== counts.at(-1)) faults.push(`counts otherwise than its last bucket at ${key}`)
    if (group.filter((one) => one.name === `${name}_sum`).length !== 1) faults.push(`has no sum at ${key}`)
  }
  return faults
}
