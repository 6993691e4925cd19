interface FieldRule {
  /** The lexeme position in the `tsvector` of a part; stored, so a number is never given to another field. */
  readonly position: number
  /** R26 in tenths: sums stay whole numbers, and a score never depends on the order of addition. */
  readonly tenths: number
  /** R24: part numbers and series hold no values. */
  readonly values: boolean
}

const rule = (position: number, tenths: number, values = false): FieldRule => ({ position, tenths, values })

export const fields = {
  id4: rule(1, 10),
  manufacturerCode: rule(2, 10),
  sellerPartNumber: rule(3, 9),
  barcode: rule(4, 9),
  tags: rule(5, 8, true),
  description: rule(6, 7, true),
  type: rule(7, 6),
  manufacturer: rule(8, 5),
  series: rule(9, 5),
  package: rule(10, 5),
  seller: rule(11, 4),
  documentTitle: rule(12, 4),
  documentFile: rule(13, 4),
  voltageRating: rule(14, 3, true),
  inputVoltage: rule(15, 3, true),
  outputVoltage: rule(16, 3, true),
  pinPitch: rule(17, 3, true),
  dimensions: rule(18, 3, true),
  mountingType: rule(19, 3),
  pinCount: rule(20, 3),
  /** Lies in an index of its own, and counts where a term stands in no other field. */
  documentText: rule(21, 2)
} as const satisfies Record<string, FieldRule>

export type Field = keyof typeof fields

export const fieldNames = Object.keys(fields) as ReadonlyArray<Field>

const byPosition: ReadonlyMap<number, Field> = new Map(fieldNames.map((field) => [fields[field].position, field]))

export const fieldOfPosition = (position: number): Field | undefined => byPosition.get(position)

/** PostgreSQL knows four weights of a position. They are coarser than ours, and enough to sort out the best among thousands. */
export const weightClasses = { A: 9, B: 8, C: 7, D: 0 } as const
export type WeightClass = keyof typeof weightClasses

export const weightClassOf = (field: Field): WeightClass => {
  const { tenths } = fields[field]
  return tenths >= weightClasses.A ? "A" : tenths >= weightClasses.B ? "B" : tenths >= weightClasses.C ? "C" : "D"
}

export const weightOf = (field: Field): number => fields[field].tenths / 10
