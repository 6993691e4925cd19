import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { rows } from "#platform/db/db.ts"
import { toTsquery } from "../search/lexemes.ts"

const numbered = rows(Schema.Struct({ id4: Schema.String, manufacturer: Schema.NullOr(Schema.String) }))
const alike = rows(Schema.Struct({ id4: Schema.String, similarity: Schema.Number }))
const ids = rows(Schema.Struct({ id4: Schema.String }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  return {
    /** Parts with the squashed part number, those whose descriptions are most alike first. */
    withNumber: Effect.fn("DuplicatesRepo.withNumber")((number: string, description: string) =>
      numbered(sql`
        select p.id4, p.manufacturer from parts p left join search_documents d on d.part_id4 = p.id4
        where p.manufacturer_code_squashed = ${number}
        order by coalesce(similarity(d.description, ${description}), 0) desc, p.id4`)
    ),

    /** Parts with one of the squashed part numbers, in the order of the numbers. */
    withNumbers: Effect.fn("DuplicatesRepo.withNumbers")((numbers: ReadonlyArray<string>, limit: number) =>
      Effect.map(
        ids(sql`
          select p.id4 from unnest(${numbers}::text[]) with ordinality as n (number, place)
          join parts p on p.manufacturer_code_squashed = n.number collate "C" order by n.place, p.id4 limit ${limit}`),
        (found) => found.map(({ id4 }) => id4)
      )
    ),

    /** Parts of the type with exactly these values and a description that is 80 % like the folded one, most alike first. */
    described: Effect.fn("DuplicatesRepo.described")(
      (query: { readonly typeId: number; readonly values: ReadonlyArray<string>; readonly description: string }, limit: number) => {
        const { description, typeId, values } = query
        const having = toTsquery(
          values.map((value) => [{ lexemes: [value] }]),
          "every"
        )
        return alike(sql`
          select s.part_id4 as id4, s.similarity::float8 as similarity
          from parts_described_like(${description}, ${having}::tsquery) s
            join parts p on p.id4 = s.part_id4 join search_documents d on d.part_id4 = s.part_id4
          where p.type_id = ${typeId}
            and (select count(*) from unnest(d.words) u where starts_with(u.lexeme, '~')) = ${values.length}
          order by s.similarity desc, s.part_id4 limit ${limit}`)
      }
    )
  }
})

export class DuplicatesRepo extends Context.Service<DuplicatesRepo, Effect.Success<typeof make>>()("inventory/DuplicatesRepo") {
  static readonly layer = Layer.effect(DuplicatesRepo, make)
}
