import { Schema, SchemaTransformation } from "effect"

/**
 * A whole number in a path. An impossible one (`x`, `0`, `99999999999`) decodes to 0, an id that nothing has, so that the
 * handler answers 404 as for any unknown id and not 400.
 */
export const idInPath = <S extends Schema.Codec<number, number>>(id: S) => {
  const fits = Schema.is(id)
  return Schema.String.annotate({ description: "Whole number" }).pipe(
    Schema.decodeTo(
      Schema.Int as unknown as Schema.Codec<S["Type"], S["Type"]>,
      SchemaTransformation.transform<S["Type"], string>({
        decode: (text) => {
          const number = /^\d{1,15}$/u.test(text) ? Number(text) : 0
          return fits(number) ? number : (0 as S["Type"])
        },
        encode: String
      })
    )
  )
}
